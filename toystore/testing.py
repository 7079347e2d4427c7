"""A real cluster for the tests of an application that uses toystore.

    @pytest.fixture(scope="session")
    def cluster():
        with toystore.testing.running(nodes=1) as cluster:
            yield cluster

    @pytest.fixture
    def store(cluster):
        cluster.clear()
        with cluster.client() as store:
            yield store

The nodes are processes of their own on free ports of this machine.  They keep everything in
memory, and their logs in a temporary folder.  They end with the ``with`` block, or when the
process that started them ends, even if it is killed.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from toystore.client import Client
from toystore.extras import what_is_missing

try:
    import yaml

    from toystore.config import load
    from toystore.localcluster.cluster import LocalCluster
    from toystore.localcluster.ports import reserve_ports
except ModuleNotFoundError as missing:
    raise ImportError(f"toystore.testing: {what_is_missing(missing)}") from None

__all__ = ["RunningCluster", "running"]

NODES_MAX = 19
"""The most nodes in one block of ports."""
_Answer = TypeVar("_Answer")


class RunningCluster:
    """A running cluster; made by `running`."""

    def __init__(self, local: LocalCluster) -> None:
        self._local = local
        self._runner = asyncio.Runner()
        # The calling thread may have an event loop of its own, as in an asynchronous test.
        self._thread = ThreadPoolExecutor(1, "toystore.testing")

    @property
    def endpoints(self) -> list[str]:
        """The client ports of all nodes."""
        return [node.endpoint for node in self._local.nodes.values()]

    def client(self, **options: Any) -> Client:
        """A client of all nodes; ``options`` as of `Client`."""
        return Client(self.endpoints, **options)

    def clear(self) -> None:
        """Delete all data.

        All nodes are killed and started without data, which takes some tenths of a second.
        Clients stay usable: they connect again.

        Raises:
            toystore.localcluster.preflight.StartError: a node did not start.
        """
        for name in self._local.nodes:
            self._local.kill(name)
        self._run(self._start_again())

    async def _start_again(self) -> None:
        await asyncio.gather(*map(self._local.restart, self._local.nodes))
        await self._local.ready()

    def _start(self) -> None:
        self._run(self._local.__aenter__())
        self._run(self._local.ready())

    def _stop(self) -> None:
        try:
            self._run(self._local.__aexit__())
        finally:
            self._thread.submit(self._runner.close).result()
            self._thread.shutdown()

    def _run(self, work: Coroutine[Any, Any, _Answer]) -> _Answer:
        return self._thread.submit(self._runner.run, work).result()


@contextmanager
def running(nodes: int = 1) -> Iterator[RunningCluster]:
    """A cluster of one node, or of several with up to three copies of each key.

    Raises:
        ValueError: ``nodes`` is not from 1 to `NODES_MAX`.
        toystore.localcluster.preflight.StartError: a node did not start; the text has its
            last message.
    """
    if isinstance(nodes, bool) or not isinstance(nodes, int) or not 0 < nodes <= NODES_MAX:
        raise ValueError(f"nodes is {nodes!r}; should be a whole number from 1 to {NODES_MAX}")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="toystore-")))
        guard, base_port = reserve_ports(nodes)
        stack.enter_context(guard)
        path = folder / "cluster.yaml"
        path.write_text(yaml.safe_dump(_description(folder.name, nodes, base_port)))
        cluster = RunningCluster(LocalCluster(load(path), path, folder, _ignore))
        stack.callback(cluster._stop)
        cluster._start()
        yield cluster


def _description(name: str, nodes: int, base_port: int) -> dict[str, Any]:
    """The content of the YAML file."""
    return {
        "cluster": name,
        "base_port": base_port,
        "partitions": 64,
        "durability": "memory",
        "members": [f"n{number}" for number in range(1, nodes + 1)],
        "buckets": {"default": {"n": min(nodes, 3), "r": min(nodes, 2), "w": min(nodes, 2)}},
    }


def _ignore(line: str) -> None:
    """Ignore a line: the nodes have their logs."""
