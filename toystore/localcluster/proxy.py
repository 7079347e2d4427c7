"""The process through which all bytes from node to node go while a scenario impairs links.

It listens on a port of its own for each port of each node and each node that connects to it, and
connects on to the real node.  links.py starts it; ways.py has what happens to the bytes.

If a node refuses a connection, its listener here closes, so that the next one is refused here as
well, until the node listens again.  The first connection is reset.

Protocol: a JSON object on a line, answered by a line.

    {"nodes": {name: [address, {port name: port}]}}    first; the answer has a list of
                                                       [from, to, port name, port of this process]
    {"ways": [[from, to], ...], "impair": {...}}       these ways are like this from now on
    {"ways": [[from, to], ...], "reset": true}         their connections are reset, once

It ends with its standard input.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
import sys
from collections.abc import Coroutine
from functools import partial
from typing import Any, NamedTuple

from toystore.localcluster.ways import End, Impairment, Way, abort

LINE_BYTES_MAX = 16 * 1024 * 1024
DATAGRAM_PORT = "gossip_port"
"""The port to which messages are datagrams."""
LOOK_AGAIN_S = 0.1
"""How often a target that refused is looked for."""


class Target(NamedTuple):
    """Where a connection that was accepted leads to."""

    sender: str
    receiver: str
    port_name: str
    address: str
    port: int


class Accepted(End):
    """The end that a node connected to; it reads nothing until the other end is there."""

    def __init__(self, proxy: Proxy, target: Target) -> None:
        super().__init__(proxy.ways[target[:2]], datagrams=target.port_name == DATAGRAM_PORT)
        self._proxy = proxy
        self._target = target

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connect on."""
        super().connection_made(transport)
        self.transport.pause_reading()
        self._proxy.connect_on(self, self._target)


class Proxy:
    """Every way, and a listener for each port of each node on every way to it."""

    def __init__(self) -> None:
        self.ways: dict[tuple[str, str], Way] = {}
        self._servers: dict[Target, asyncio.Server] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self) -> None:
        """Do what the lines on standard input say, until it ends."""
        lines = asyncio.StreamReader(limit=LINE_BYTES_MAX)
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
        async for line in lines:
            print(json.dumps(await self._obey(json.loads(line))), flush=True)

    async def _obey(self, order: dict[str, Any]) -> Any:
        """Do what a line says; returns the answer."""
        if "nodes" in order:
            return await self._listen(order["nodes"])
        for sender, receiver in order["ways"]:
            way = self.ways[sender, receiver]
            if "reset" in order:
                way.reset()
            else:
                way.impair(Impairment(**order["impair"]))
        return "done"

    async def _listen(self, nodes: dict[str, tuple[str, dict[str, int]]]) -> list[Any]:
        """Listen on a free port for each target; returns the ports."""
        found = []
        self.ways = {(a, b): Way() for a in nodes for b in nodes if a != b}
        for sender, receiver in self.ways:
            address, ports = nodes[receiver]
            for name, port in ports.items():
                target = Target(sender, receiver, name, address, port)
                found.append((sender, receiver, name, await self._listen_for(target, 0)))
        return found

    async def _listen_for(self, target: Target, port: int) -> int:
        """Listen for one target; returns the port, a free one if ``port`` is 0."""
        loop = asyncio.get_running_loop()
        accepted = partial(Accepted, self, target)
        server = self._servers[target] = await loop.create_server(accepted, target.address, port)
        found: int = server.sockets[0].getsockname()[1]
        return found

    def connect_on(self, end: End, target: Target) -> None:
        """Connect an accepted end to its target, in the background."""
        self._begin(self._dial(end, target))

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _dial(self, end: End, target: Target) -> None:
        """Connect on, unless the ways are cut."""
        there, back = self.ways[target[:2]], self.ways[target.receiver, target.sender]
        far = End(back, datagrams=target.port_name == DATAGRAM_PORT)
        if not (there.impairment.cut or back.impairment.cut):
            try:
                await asyncio.get_running_loop().create_connection(
                    lambda: far, target.address, target.port
                )
            except ConnectionRefusedError:
                if there.impairment.hole or back.impairment.hole:
                    return  # nothing comes back through a hole, neither a reset nor a refusal
                self._refuse(target)
            except OSError:
                pass
            else:
                end.join(far)
                far.join(end)
                if end.transport.is_closing() or there.impairment.cut or back.impairment.cut:
                    end.reset()
                else:
                    end.transport.resume_reading()
                return
        abort(end.transport)

    def _refuse(self, target: Target) -> None:
        """Refuse connections, too, until the target does not."""
        server = self._servers.pop(target, None)
        if server is not None:
            port = server.sockets[0].getsockname()[1]
            server.close()
            self._begin(self._listen_again(target, port))

    async def _listen_again(self, target: Target, port: int) -> None:
        """Listen on a port again, once the target listens."""
        while target not in self._servers:
            await asyncio.sleep(LOOK_AGAIN_S)
            with contextlib.suppress(OSError):
                transport, _ = await asyncio.get_running_loop().create_connection(
                    asyncio.Protocol, target.address, target.port
                )
                abort(transport)
                await self._listen_for(target, port)


def main() -> None:
    """Serve, with as many connections as the system allows."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    asyncio.run(Proxy().serve())


if __name__ == "__main__":
    main()
