"""Nodes for a benchmark, on ports of their own; gone again afterwards."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import yaml

from toystore.config import load
from toystore.localcluster.cluster import LocalCluster
from toystore.localcluster.ports import reserve_ports

NAMES = ("n1", "n2", "n3")


@contextlib.asynccontextmanager
async def three_nodes(cluster: str, **more: Any) -> AsyncIterator[LocalCluster]:
    """Nodes that have been started; wait for `LocalCluster.ready`.

    ``cluster`` is its name; ``more`` goes into the YAML file as it is.
    """
    described = {"cluster": cluster, "members": list(NAMES)}
    async with nodes_of(described | more) as running:
        yield running


@contextlib.asynccontextmanager
async def nodes_of(described: dict[str, Any]) -> AsyncIterator[LocalCluster]:
    """The nodes of a configuration that gives no ports; wait for `LocalCluster.ready`."""
    guard, base_port = reserve_ports(len(described["members"]))
    with guard, tempfile.TemporaryDirectory(prefix="toystore-benchmark-") as folder:
        path = Path(folder) / "cluster.yaml"
        path.write_text(yaml.safe_dump(described | {"base_port": base_port}))
        async with LocalCluster(load(path), path, Path(folder), print) as running:
            yield running
