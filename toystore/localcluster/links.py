"""The links between the nodes of a local cluster, if they lead through the proxy (proxy.py).

`Links` runs the process, writes a configuration for each node in which the other nodes are reached
through ports of the proxy, and impairs or resets ways.  Ports are free ports of the address that a
node has anyway, so this works on every system and beside other clusters.
"""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

import yaml

from toystore.config import ClusterConfig
from toystore.config.plain_yaml import read
from toystore.localcluster.node import ROOT
from toystore.localcluster.ways import Impairment

NODE_PORTS = ("peer_port", "gossip_port", "exchange_port")
"""The ports to which nodes connect."""
Pair = tuple[str, str]
"""The sender and the receiver of a way."""


class LinksError(Exception):
    """The proxy has ended, and with it all links between nodes."""


class Links:
    """The links of one cluster, from ``with`` to its end.  Its methods block for milliseconds."""

    def __init__(self, config: ClusterConfig, config_path: Path) -> None:
        self.names = tuple(member.name for member in config.members)
        self._config = config
        self._raw, _ = read(config_path)
        self._process: subprocess.Popen[str]
        self._ports: dict[Pair, dict[str, int]] = {}
        self._addresses: dict[str, str] = {}

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "toystore.localcluster.proxy"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            process_group=0,  # Ctrl-C reaches only the runner
        )
        self._addresses = {member.name: _address(member.host) for member in self._config.members}
        nodes = {
            member.name: (
                self._addresses[member.name],
                {name: member.ports[name] for name in NODE_PORTS},
            )
            for member in self._config.members
        }
        for sender, receiver, name, port in self._order(nodes=nodes):
            self._ports.setdefault((sender, receiver), {})[name] = port
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(OSError):  # it has ended, and did not read the last line
            self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    @property
    def pid(self) -> int:
        """The process of the proxy."""
        return self._process.pid

    def write_configs(self, folder: Path) -> dict[str, Path]:
        """Write a configuration for each node, as ``FOLDER/NODE.yaml``; returns the paths."""
        folder.mkdir(exist_ok=True)
        paths = {name: folder / f"{name}.yaml" for name in self.names}
        for name, path in paths.items():
            path.write_text(yaml.safe_dump(self._config_for(name)))
        return paths

    def impair(self, impairment: Impairment, ways: Iterable[Pair]) -> None:
        """From now on these ways are like this.  Raises `LinksError`."""
        self._order(ways=list(ways), impair=asdict(impairment))

    def reset(self, ways: Iterable[Pair]) -> None:
        """Reset the connections of these pairs, once.  Raises `LinksError`."""
        self._order(ways=list(ways), reset=True)

    def _config_for(self, name: str) -> dict[str, Any]:
        """The configuration of one node."""
        members = [
            member.model_dump(exclude_none=True)
            if member.name == name
            else member.model_dump(exclude_none=True)
            | {"through": {"host": self._addresses[member.name]} | self._ports[name, member.name]}
            for member in self._config.members
        ]
        assert isinstance(self._raw, dict)
        return self._raw | {"members": members}

    def _order(self, **order: Any) -> Any:
        """Send a line to the proxy; returns its answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except OSError:
            answer = ""
        if not answer:
            code = self._process.wait()
            raise LinksError(f"the proxy of the links has ended (exit {code}); no link works")
        return json.loads(answer)


def _address(host: str) -> str:
    """The address of a host of this machine."""
    return str(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0])
