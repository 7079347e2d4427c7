"""Nodes for a benchmark, on ports of their own; gone again afterwards."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import yaml

from toystore.config import load
from toystore.localcluster.cluster import LocalCluster
from toystore.localcluster.links import Links
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
    with _prepared(described) as (cluster, _):
        async with cluster:
            yield cluster


@contextlib.asynccontextmanager
async def linked_nodes_of(described: dict[str, Any]) -> AsyncIterator[tuple[LocalCluster, Links]]:
    """As `nodes_of`, with links that can be impaired."""
    with _prepared(described) as (cluster, path), Links(cluster.config, path) as links:
        cluster.config_paths = links.write_configs(cluster.folder / "links")
        async with cluster:
            yield cluster, links


@contextlib.contextmanager
def _prepared(described: dict[str, Any]) -> Iterator[tuple[LocalCluster, Path]]:
    """A cluster on free ports whose nodes do not run yet, and its configuration."""
    guard, base_port = reserve_ports(len(described["members"]))
    with guard, tempfile.TemporaryDirectory(prefix="toystore-benchmark-") as folder:
        path = Path(folder) / "cluster.yaml"
        path.write_text(yaml.safe_dump(described | {"base_port": base_port}))
        yield LocalCluster(load(path), path, Path(folder), print), path
