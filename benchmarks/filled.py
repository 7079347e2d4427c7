"""Nodes that have every key and a load beside them, and how a benchmark looks at them."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import yaml
from checked_load import CheckedLoad, Plan
from nodes import nodes_of

from toystore import AsyncClient, ToystoreError
from toystore.localcluster.cluster import LocalCluster

PATIENCE_S = 600.0
LOOK_S = 0.1
"""The time between two looks at a status or at a disk."""

Row = dict[str, Any]


@contextlib.asynccontextmanager
async def filled(
    options: argparse.Namespace, *, nodes: int = 5, plan: Plan | None = None, **more: Any
) -> AsyncIterator[tuple[LocalCluster, CheckedLoad]]:
    """Nodes that have every key, and a load that does not run yet."""
    plan = plan or Plan(options.rate, options.keys, seed=options.seed)
    members = [f"n{number}" for number in range(1, nodes + 1)]
    described = {"cluster": "rebuild", "members": members, "durability": "sync"}
    async with nodes_of(described | more) as cluster:
        await cluster.ready()
        endpoints = [node.endpoint for node in cluster.nodes.values()]
        async with CheckedLoad(endpoints, plan) as load:
            failed = await load.fill()
            if failed:
                raise SystemExit(f"{len(failed)} keys could not be written: {failed[0].outcome}")
            await cluster.settled(PATIENCE_S)
            yield cluster, load


def config_with(cluster: LocalCluster, antientropy: Row | None) -> Path:
    """A configuration with these settings of anti-entropy; or the cluster's own."""
    path = cluster.folder / "cluster.yaml"
    if antientropy is None:
        return path
    other = cluster.folder / "other.yaml"
    other.write_text(
        yaml.safe_dump(yaml.safe_load(path.read_text()) | {"antientropy": antientropy})
    )
    return other


async def status_of(cluster: LocalCluster, name: str) -> Row:
    """The status of a node; empty if it does not answer."""
    endpoint = cluster.nodes[name].endpoint
    async with AsyncClient(endpoint, timeout=2.0) as client:
        try:
            return await client.status(endpoint)
        except ToystoreError:
            return {}


def bytes_between(cluster: LocalCluster) -> int:
    """The bytes that have crossed between storages and coordinators on present connections.

    As the kernel has counted them (`ss`); failure detection has ports of its own.
    """
    ports = [f"dport = :{member.peer_port}" for member in cluster.config.members]
    command = ["ss", "-tinH", " or ".join(ports)]
    printed = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    words = [word.partition(":") for word in printed.split()]
    return sum(int(n) for name, _, n in words if name in ("bytes_acked", "bytes_received"))


def runs(cluster: LocalCluster, name: str) -> bool:
    """Whether a node has a process."""
    cluster.reap()
    return cluster.nodes[name].process is not None


def show_row(title: str, row: Row) -> None:
    """Print figures as lines."""
    print(f"{title}:")
    for key, value in row.items():
        print(f"  {key:<22} {value}", flush=True)


async def until(condition: Callable[[], Any], what: str, look_s: float = LOOK_S) -> None:
    """Wait for a condition, or for a coroutine that returns it.  Raises TimeoutError."""
    end = time.monotonic() + PATIENCE_S
    while True:
        holds = condition()
        if await holds if asyncio.iscoroutine(holds) else holds:
            return
        if time.monotonic() > end:
            raise TimeoutError(f"after {PATIENCE_S:g} s not yet: {what}")
        await asyncio.sleep(look_s)
