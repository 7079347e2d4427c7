"""Run one node: ``python -m actors CONFIG NODE [--data-dir DIR]``.

Keeps ``DIR/NODE/data``, ``DIR/NODE/log.jsonl`` and ``DIR/NODE/pid``.  Exit codes: 0 after
a clean stop (SIGTERM, SIGINT), 1 if the node failed while it ran, 2 if it could not start.
"""

from __future__ import annotations

import argparse
import errno
import faulthandler
import os
import resource
import sys
import threading
from pathlib import Path

from actors import log
from actors.node import Node, NodeFailedError, StartupError
from toystore.config import ClusterConfig, ConfigError, load

STARTUP_FAILED = 2
NODE_FAILED = 1
SWITCH_INTERVAL_S = 0.001
"""How long a thread may keep the interpreter from another that wants it."""


def main() -> int:
    """Parse the command line, run the node, return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m actors", description="Run one toystore node.")
    parser.add_argument("config", type=Path, help="the cluster's YAML file")
    parser.add_argument("node", help="which of its members to run")
    parser.add_argument("--data-dir", type=Path, default=None, help="default: ./data/CLUSTER")
    parser.add_argument(
        "--stop-on-eof", action="store_true", help="stop when standard input ends (for a parent)"
    )
    options = parser.parse_args()
    faulthandler.enable()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    raise_file_limit()
    try:
        config = load(options.config)
        config.member(options.node)
        folder = (options.data_dir or Path("data") / config.cluster) / options.node
        make_folder(folder)
        open_log(folder / "log.jsonl", config, options.node)
        return run(config, options.node, folder, [0] if options.stop_on_eof else [])
    except (StartupError, ConfigError) as error:
        print(f"{options.node}: {error}", file=sys.stderr)
        return STARTUP_FAILED


def run(config: ClusterConfig, name: str, folder: Path, watched: list[int]) -> int:
    """Run the node until it stops or fails."""
    try:
        Node(config, name, folder).run(watched)
    except NodeFailedError as error:
        log.event("node", "node.failed", error=str(error))
        return NODE_FAILED
    except StartupError as error:
        log.event("node", "node.failed", error=str(error))
        raise
    return 0


def open_log(path: Path, config: ClusterConfig, node: str) -> None:
    """Log to the node's folder.  Raises `StartupError` if the file cannot be opened."""
    settings = config.log
    try:
        log.configure(
            path,
            node=node,
            level=settings.level,
            rotate_bytes=settings.rotate_bytes,
            rotate_files=settings.rotate_files,
        )
    except OSError as error:
        raise StartupError(f"cannot write {path}: {error.strerror}") from None


def make_folder(folder: Path) -> None:
    """Make the node's folder.  Raises `StartupError` if it cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise StartupError(f"cannot write to {folder}: {error.strerror}") from None


def raise_file_limit() -> None:
    """Sockets are file descriptors: take as many as the system lets us."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    if threading.active_count() > 1:
        os._exit(code)  # an actor that hangs must not keep a failed node from ending
    sys.exit(code)
