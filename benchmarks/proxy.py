"""What the proxy of a scenario's links costs: ten nodes under a small load, without it and with it.

    python benchmarks/proxy.py [--nodes 10] [--ops-per-s 200] [--seconds 20]

Prints the CPU time of the nodes and of the proxy, in cores, and the latencies of the requests.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import tempfile
from pathlib import Path

import yaml

from toystore.config import load
from toystore.localcluster.cluster import LocalCluster
from toystore.localcluster.links import Links
from toystore.localcluster.load import Load
from toystore.localcluster.ports import reserve_ports


def main() -> None:
    """Measure both."""
    parser = argparse.ArgumentParser(description="Measure what the proxy of links costs.")
    parser.add_argument("--nodes", type=int, default=10)
    parser.add_argument("--ops-per-s", type=float, default=200.0)
    parser.add_argument("--seconds", type=float, default=20.0)
    options = parser.parse_args()
    print(f"{options.nodes} nodes, {options.ops_per_s:g} requests/s, {options.seconds:g} s each")
    for proxied in (False, True):
        with tempfile.TemporaryDirectory(prefix="toystore-") as folder:
            asyncio.run(measure(Path(folder), options, proxied=proxied))


async def measure(folder: Path, options: argparse.Namespace, *, proxied: bool) -> None:
    """Run a cluster, and print a line."""
    guard, base_port = reserve_ports(options.nodes)
    with guard, contextlib.ExitStack() as stack:
        path = folder / "cluster.yaml"
        members = [f"n{number}" for number in range(1, options.nodes + 1)]
        load_of = {"ops_per_s": options.ops_per_s}
        raw = {"cluster": "proxy", "members": members, "base_port": base_port, "load": load_of}
        path.write_text(yaml.safe_dump(raw | {"swim": {"profile": "local"}}))
        cluster = LocalCluster(load(path), path, folder, print)
        links = stack.enter_context(Links(cluster.config, path)) if proxied else None
        if links is not None:
            cluster.config_paths = links.write_configs(folder / "links")
        async with cluster:
            await cluster.ready()
            await attend(cluster, links, options.seconds)


async def attend(cluster: LocalCluster, links: Links | None, seconds: float) -> None:
    """Send the load, and print what it took."""
    assert cluster.config.load is not None
    nodes = list(cluster.nodes.values())
    requests = Load(cluster.config.load, [node.endpoint for node in nodes], random.Random(7))
    sending = asyncio.create_task(requests.run())
    await asyncio.sleep(2)  # until connections are there
    pids = [node.process.pid for node in nodes if node.process is not None]
    before = sum(map(cpu_s, pids)), cpu_s(links.pid) if links else 0.0
    await asyncio.sleep(seconds)
    after = sum(map(cpu_s, pids)), cpu_s(links.pid) if links else 0.0
    requests.stop()
    await sending
    await requests.close()
    of_nodes, of_proxy = ((b - a) / seconds for a, b in zip(before, after, strict=True))
    p50, p99 = (requests.tally.percentile_ms(share) for share in (0.5, 0.99))
    print(
        f"{'with the proxy' if links else 'without it':<14}  nodes {of_nodes:.2f} cores, "
        f"proxy {of_proxy:.2f} cores; p50 {p50:.3g} ms, p99 {p99:.3g} ms; "
        f"{requests.tally.failed.total()} of {requests.tally.ok.total()} failed",
        flush=True,
    )


def cpu_s(pid: int) -> float:
    """The CPU time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
