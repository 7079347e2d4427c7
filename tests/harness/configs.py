"""Configurations for the nodes of a test."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import yaml

from toystore.config import load
from toystore.localcluster.ports import reserve_ports
from toystore.net.endpoint import Endpoint

QUICK = {"probe_period_s": 0.3, "probe_timeout_s": 0.1}
"""SWIM's settings where a test waits for the dead to be noticed."""
UNHURRIED = {"probe_period_s": 1.5, "probe_timeout_s": 0.7}
"""SWIM's settings where nobody must be called dead: a busy machine is slow to answer too."""


def write_config(folder: Path, size: int, **more: Any) -> tuple[socket.socket, Path]:
    """A configuration for nodes n1, n2, ...: the socket that holds their ports, and the file.

    ``more`` goes into the file as it is.
    """
    guard, base_port = reserve_ports(size)
    raw: dict[str, Any] = {
        "cluster": folder.name,
        "base_port": base_port,
        "members": [f"n{number}" for number in range(1, size + 1)],
        "swim": QUICK,
    }
    path = folder / "cluster.yaml"
    path.write_text(yaml.safe_dump(raw | more))
    return guard, path


def client_endpoint(path: Path, node: str = "n1") -> str:
    """Where clients reach a node."""
    member = load(path).member(node)
    return str(Endpoint(member.host, member.client_port))


def change_config(path: Path, into: Path | None = None, **changes: Any) -> Path:
    """Change fields of a configuration where it is, or ``into`` another file."""
    raw = yaml.safe_load(path.read_text())
    into = into or path
    into.write_text(yaml.safe_dump(raw | changes))
    return into
