"""Run one node: ``python -m actors CONFIG NODE [--data-dir DIR]``.

Keeps ``DIR/NODE/data``, ``DIR/NODE/log.jsonl`` and ``DIR/NODE/pid``.  Exit codes: 0 after
a clean stop (SIGTERM, SIGINT), 1 if the node failed while it ran, 2 if it could not start,
3 if it is no longer a member.
"""

from __future__ import annotations

import argparse
import faulthandler
import gc
import os
import resource
import signal
import sys
import threading
from pathlib import Path

from toystore import streams
from toystore.extras import what_is_missing

try:
    from actors import log
    from actors.disk import (
        NodeFailedError,
        RemovedError,
        StartupError,
        by_record,
        disk_of,
        still_listed,
    )
    from actors.folder import Folder, FolderError
    from actors.life import CLEAN, FAILED
    from actors.node import Node
    from toystore.config import ClusterConfig, ConfigError, load
except ModuleNotFoundError as missing:
    print(f"actors: {what_is_missing(missing)}", file=sys.stderr)
    sys.exit(2)

REMOVED = 3
STARTUP_FAILED = 2
NODE_FAILED = 1
WHAT_NOW = (
    "its data are never taken back: stop what starts this process; an empty folder may join again "
    "by `toystore node --join`"
)
SWITCH_INTERVAL_S = 0.001
"""How long a thread may run while another waits for the interpreter."""
GARBAGE_AFTER = 10_000
"""How many objects more than were freed are made before cycles are searched for.  A request makes
none, and all that are under way would be searched in vain."""
PRIVATE = 0o077
"""The umask: other users may not read or write the files that are made here."""


def main() -> int:
    """Parse the command line, run the node, return its exit code."""
    streams.take_over(lambda _: None)  # a node runs on if its output is closed
    parser = argparse.ArgumentParser(prog="python -m actors", description="Run one toystore node.")
    parser.add_argument("config", type=Path, help="the cluster's YAML file")
    parser.add_argument("node", help="the member to run")
    parser.add_argument(
        "--data-dir", type=Path, default=None, help="where to store data; default: ./data/CLUSTER"
    )
    parser.add_argument(
        "--stop-on-eof", action="store_true", help="stop when standard input ends (for a parent)"
    )
    options = parser.parse_args()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until there is a log to be reopened
    faulthandler.enable()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    gc.freeze()  # imported objects are never freed
    gc.set_threshold(GARBAGE_AFTER)
    os.umask(PRIVATE)
    raise_file_limit()
    try:
        config = load(options.config)
        config.member(options.node)
        path = (options.data_dir or Path("data") / config.cluster) / options.node
        with Folder(path) as folder:
            return run(config, options.node, folder, [0] if options.stop_on_eof else [])
    except (StartupError, FolderError, ConfigError) as error:
        print(f"{options.node}: {error}", file=sys.stderr)
        return STARTUP_FAILED
    except RemovedError as error:
        print(f"{options.node}: {error}; {WHAT_NOW}", file=sys.stderr)
        return REMOVED


def run(config: ClusterConfig, name: str, folder: Folder, watched: list[int]) -> int:
    """Run the node until it stops or fails."""
    logging = False

    def claim() -> None:
        nonlocal logging
        folder.claim()
        open_log(folder.log, config, name)
        logging = True

    try:
        with disk_of(config, name, folder.data, claim) as (engine, disk):
            still_listed(disk.record, name, disk.id)
            Node(by_record(config, disk.record), name, folder).run(engine, disk, watched)
        folder.life.end(CLEAN)
    except (StartupError, NodeFailedError) as error:
        if logging:
            log.event("node", "node.failed", error=str(error))
        if isinstance(error, NodeFailedError):
            folder.life.end(f"{FAILED}{error}")
            return NODE_FAILED
        raise
    except RemovedError as error:
        folder.life.end(f"{FAILED}{error}")
        raise
    return 0


def open_log(path: Path, config: ClusterConfig, node: str) -> None:
    """Log to the node's folder.  Raises `StartupError` if the file cannot be opened."""
    try:
        log.configure(path, node=node, **config.log.model_dump())
    except OSError as error:
        raise StartupError(f"cannot write {path}: {error.strerror}") from None


def raise_file_limit() -> None:
    """Raise the limit of file descriptors, which sockets use, as far as the system allows."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    if threading.active_count() > 1:
        os._exit(code)  # an actor that hangs must not stop a failed node from ending
    sys.exit(code)
