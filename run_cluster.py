"""Run a whole toystore cluster on this machine, from one YAML file.

    python run_cluster.py configs/ten_nodes.yaml

Starts every member as a separate process, reports when all of them see each other, watches
them and stops them on Ctrl-C.  If the file has a scenario, it plays that while a small load
runs, and prints a summary of which nodes logged what.  If standard output cannot be written
or has no reader, it stops the nodes, too.  Exit codes: 0 after a clean stop, 1 if a node died
that was not killed by the scenario, 2 if the cluster could not be started, 3 if standard
output could not be written; if it has no reader, SIGPIPE ends the process, as shells expect.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import errno
import os
import random
import signal
import sys
import time
from collections.abc import Coroutine
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from toystore import __version__, streams
from toystore.extras import what_is_missing

if __name__ == "__main__":  # until there is a cluster to stop, Ctrl-C just ends this
    signal.signal(signal.SIGINT, signal.SIG_DFL)
try:
    from actors import log
    from toystore.config import ClusterConfig, ConfigError, load
    from toystore.localcluster import preflight
    from toystore.localcluster.cluster import LocalCluster
    from toystore.localcluster.faults import Faults
    from toystore.localcluster.links import Links, LinksError
    from toystore.localcluster.load import Load, report
    from toystore.localcluster.preflight import StartError
    from toystore.localcluster.ring_changes import RingChanges
    from toystore.localcluster.scenario import Played, play
    from toystore.localcluster.screen import Screen, make_screen
    from toystore.logs.report import investigate
    from toystore.logs.story import story
except ModuleNotFoundError as missing:
    print(f"run_cluster.py: {what_is_missing(missing)}", file=sys.stderr)
    sys.exit(2)

T = TypeVar("T")

CLEAN, NODE_DIED, NOT_STARTED, OUTPUT_LOST = 0, 1, 2, 3
AFTERWARDS_S = 2.0
"""How long the load runs after the scenario."""
DRAIN_S_MAX = 15.0
"""How long the summary waits for the delivery of hints."""
OUTPUT_CHECK_S = 0.5


def main() -> int:
    """Run a cluster, unless standard output is unusable; returns the exit code."""
    output = streams.take_over(lambda _: None)
    try:
        code = start(output)
    except SystemExit as told:  # by argparse
        code = int(told.code or 0)
    sys.stdout.flush()
    if output.lost is None or code != CLEAN:
        return code
    if output.lost.errno == errno.EPIPE:
        return streams.end_by_broken_pipe()
    streams.complain(f"standard output cannot be written: {output.lost.strerror}")
    return OUTPUT_LOST


def start(output: streams.Output) -> int:
    """Parse the command line, run the cluster, return the exit code."""
    parser = argparse.ArgumentParser(description="Run a toystore cluster on this machine.")
    parser.add_argument("config", type=Path, help="the cluster's YAML file")
    parser.add_argument(
        "--data-dir", type=Path, help="where to store data; default: ./data/CLUSTER"
    )
    parser.add_argument(
        "--duration", type=float, metavar="S", help="stop S seconds after all nodes are ready"
    )
    parser.add_argument("--fresh", action="store_true", help="remove the nodes' old data first")
    options = parser.parse_args()
    try:
        config = load(options.config)
        folder = options.data_dir or Path("data") / config.cluster
        with preflight.held(folder):
            preflight.check(config, folder)
            if warning := preflight.warning(config):
                streams.complain(f"warning: {warning}")
            if options.fresh:
                preflight.remove(config, folder)
            open_log(folder / "run.jsonl", config)
            return asyncio.run(run(config, options.config, folder, options.duration, output))
    except (ConfigError, StartError, LinksError) as error:
        streams.complain(str(error))
        return NOT_STARTED
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # what remains is to exit with this code


def open_log(path: Path, config: ClusterConfig) -> None:
    """Open the runner's log, of what is done to the nodes.  Raises `StartError`."""
    try:
        log.configure(path, node="run_cluster", aloud=False, **config.log.model_dump())
    except OSError as error:
        raise StartError(f"cannot write {path}: {error.strerror}") from None


class Stop(asyncio.Event):
    """Set once it is time to stop."""

    reason = "all is done"

    def because(self, reason: str) -> None:
        """Set it, for this reason."""
        self.reason = reason
        self.set()


async def run(
    config: ClusterConfig,
    config_path: Path,
    folder: Path,
    duration_s: float | None,
    output: streams.Output,
) -> int:
    """Start, watch and stop the cluster; the exit code.  Raises `StartError`."""
    stop = Stop()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:  # by nohup
            loop.add_signal_handler(number, stop.because, number.name)

    def stop_too(why: OSError) -> None:
        loop.call_soon_threadsafe(stop.because, f"standard output is lost: {why.strerror}")

    output.when_lost = stop_too
    listening = asyncio.create_task(look_for_readers(output))
    screen = make_screen()
    nodes = len(config.members)
    screen.tell(f"starting {nodes} nodes of {config.cluster}; data in {folder}")
    log_event = partial(log.event, "runner")
    cluster = LocalCluster(config, config_path, folder, screen.tell, log=log_event)
    log_event(
        "run.started",
        version=__version__,
        pid=os.getpid(),
        cluster=config.cluster,
        config=str(config_path),
        nodes=nodes,
    )
    try:
        with contextlib.ExitStack() as stack:
            faults = prepare_faults(cluster, config_path, stack)
            async with cluster:
                took_s = await unless(stop, cluster.ready())
                if took_s is not None:
                    log_event("run.ready", took_s=round(took_s, 3))
                    screen.tell(f"ready: {nodes}/{nodes} nodes in {took_s:.1f} s")
                    if duration_s is not None:
                        loop.call_later(duration_s, stop.because, "the duration is over")
                    await attend(cluster, screen, stop, faults)
                log_event("run.stopping", reason=stop.reason)
    except (StartError, LinksError) as error:
        log_event("run.failed", error=str(error))
        raise
    log_event("run.stopped", died=sorted(cluster.died))
    screen.tell("stopped")
    listening.cancel()
    return NODE_DIED if cluster.died else CLEAN


def prepare_faults(
    cluster: LocalCluster, config_path: Path, stack: contextlib.ExitStack
) -> Faults | None:
    """If the scenario acts on links, have them lead through a proxy, until ``stack`` ends."""
    if not any(step.on_links for step in cluster.config.scenario):
        return None
    links = stack.enter_context(Links(cluster.config, config_path))
    cluster.config_paths = links.write_configs(cluster.folder / "links")
    return Faults(links)


async def look_for_readers(output: streams.Output) -> None:
    """Detect that standard output has lost its reader, also while there is no output."""
    while True:
        output.check()
        await asyncio.sleep(OUTPUT_CHECK_S)


async def attend(
    cluster: LocalCluster, screen: Screen, stop: asyncio.Event, faults: Faults | None
) -> None:
    """Watch a cluster until it is time to stop, and play its scenario if it has one."""
    config = cluster.config
    watching = asyncio.create_task(cluster.watch())
    with screen.showing(cluster):
        if config.scenario or config.load:
            lines = await demonstrate(cluster, screen, stop, faults)
        else:
            lines = []
            await unless(stop, cluster.deserted())
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching
    for line in lines:
        screen.tell(line)


async def demonstrate(
    cluster: LocalCluster, screen: Screen, stop: asyncio.Event, faults: Faults | None
) -> list[str]:
    """Play the scenario under load; returns the lines of the summary."""
    config = cluster.config
    began = time.monotonic()
    played: list[Played] = []
    lines, read_back = [""], None
    load = requests = None
    changes = RingChanges(cluster, screen.tell)
    if config.load:
        endpoints = [node.endpoint for node in cluster.nodes.values()]
        load = Load(config.load, endpoints, random.Random())
        requests = asyncio.create_task(load.run())
    if config.scenario:
        await unless(stop, play(config.scenario, cluster, screen.tell, played, faults, changes))
        await unless(stop, asyncio.sleep(AFTERWARDS_S))
    else:
        await unless(stop, cluster.deserted())
    took_s = time.monotonic() - began
    if load and requests:
        load.stop()
        await requests
    if config.scenario and await unless(stop, cluster.settled(DRAIN_S_MAX)) is False:
        lines.append("hints were still on their way")
    if load:
        read_back = await unless(stop, load.read_back())
        await load.close()
        lines += report(load.tally, took_s, read_back)
    if any(step.changes_ring for step in config.scenario):
        lines += await unless(stop, changes.report()) or []
    if played:
        logged = investigate([str(cluster.folder)], begins_at=cluster.made_at)
        lines += ["", *story(logged)]
    return lines


async def unless(stop: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """The result of ``work``, or None if it was time to stop first."""
    working = asyncio.create_task(work)
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not working.done():
        working.cancel()
        await asyncio.wait({working})
        return None
    return await working


if __name__ == "__main__":
    sys.exit(main())
