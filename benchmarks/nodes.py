"""Three nodes for a benchmark, on ports of their own; gone again afterwards."""

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
    guard, base_port = reserve_ports(len(NAMES))
    with guard, tempfile.TemporaryDirectory(prefix=f"toystore-{cluster}-") as folder:
        path = Path(folder) / "cluster.yaml"
        described = {"cluster": cluster, "base_port": base_port, "members": list(NAMES)}
        path.write_text(yaml.safe_dump(described | more))
        async with LocalCluster(load(path), path, Path(folder), print) as running:
            yield running
