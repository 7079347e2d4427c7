"""Run one node: ``python -m actors CONFIG NODE [--data-dir DIR]``.

Or one that no configuration lists, which waits to be taken in:
``python -m actors --join ENDPOINT --name NODE --base-port PORT --data-dir DIR``.

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
    from actors.adopting import catch_up
    from actors.asking import StoppedError
    from actors.disk import (
        NodeFailedError,
        RemovedError,
        StartupError,
        by_record,
        disk_of,
    )
    from actors.folder import Folder, FolderError
    from actors.joining import Joining, newcomer
    from actors.life import CLEAN, FAILED
    from actors.node import Node
    from toystore.config import ClusterConfig, ConfigError, MemberConfig, load
    from toystore.net.endpoint import EndpointError
    from toystore.net.endpoint import parse as parse_endpoint
except ModuleNotFoundError as missing:
    print(f"actors: {what_is_missing(missing)}", file=sys.stderr)
    sys.exit(2)

REMOVED = 3
STARTUP_FAILED = 2
NODE_FAILED = 1
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
    options = read_arguments()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until there is a log to be reopened
    faulthandler.enable()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    gc.freeze()  # imported objects are never freed
    gc.set_threshold(GARBAGE_AFTER)
    os.umask(PRIVATE)
    raise_file_limit()
    watched = [0] if options.stop_on_eof else []
    try:
        if options.join:
            return join(options, watched)
        config = load(options.config)
        me = config.member(options.node)
        path = (options.data_dir or Path("data") / config.cluster) / me.name
        with Folder(path) as folder:
            return run(config, me, folder, watched)
    except (StartupError, FolderError, ConfigError, EndpointError) as error:
        print(f"{options.node or options.name}: {error}", file=sys.stderr)
        return STARTUP_FAILED
    except RemovedError as error:
        print(f"{options.node or options.name}: {error}", file=sys.stderr)
        return REMOVED


def read_arguments() -> argparse.Namespace:
    """The command line; exits if it makes no sense."""
    parser = argparse.ArgumentParser(prog="toystore node", description="Run one toystore node.")
    parser.add_argument("config", type=Path, nargs="?", help="the cluster's YAML file")
    parser.add_argument("node", nargs="?", help="the member to run")
    parser.add_argument(
        "--data-dir", type=Path, default=None, help="where to store data; default: ./data/CLUSTER"
    )
    parser.add_argument(
        "--stop-on-eof", action="store_true", help="stop when standard input ends (for a parent)"
    )
    new = parser.add_argument_group("a node that is not in the file")
    new.add_argument("--join", metavar="ENDPOINT", help="the client port of any member")
    new.add_argument("--name", help="the name of this node")
    new.add_argument("--base-port", type=int, help="the client port; the other three follow")
    new.add_argument("--host", default="127.0.0.1", help="where other nodes reach this one")
    new.add_argument("--bind", default="", help="what this node binds; default: the host")
    new.add_argument("--weight", type=int, default=1)
    new.add_argument("--zone", default="")
    options = parser.parse_args()
    if options.join is not None and options.config is not None:
        parser.error("CONFIG and --join exclude each other: a node that joins needs no file")
    if options.join is None and options.node is None:
        parser.error("CONFIG and MEMBER are needed, or --join")
    if options.join is not None and None in (options.name, options.base_port, options.data_dir):
        parser.error("--join needs --name, --base-port and --data-dir")
    return options


def join(options: argparse.Namespace, watched: list[int]) -> int:
    """Run a node that no file lists, once it is a member."""
    me, contact = newcomer(options), parse_endpoint(options.join)
    with Folder(options.data_dir / me.name) as folder:
        joining = Joining(me, contact, folder, watched)
        try:
            with joining:
                config = joining.described()
        except StoppedError:
            return 0
        return run(config, me, folder, watched, joining)


def run(
    config: ClusterConfig,
    me: MemberConfig,
    folder: Folder,
    watched: list[int],
    joining: Joining | None = None,
) -> int:
    """Run the node until it stops or fails; ``joining``: how it becomes a member, if it is not."""
    logging = False

    def claim() -> None:
        nonlocal logging
        folder.claim()
        open_log(folder.log, config, me.name)
        logging = True

    try:
        new_id = joining.disk if joining else ""
        with disk_of(config, me.name, folder.data, claim, new_id) as (engine, found):
            disk = found
            if joining is not None and not found.record.epoch:
                with joining:
                    disk = joining.wait(config, engine, found)
            disk = catch_up(config, me, engine, disk, folder.path)
            config = joining.listing(config, disk) if joining else by_record(config, disk.record)
            Node(config, me, folder).run(engine, disk, watched)
        folder.life.end(CLEAN)
    except StoppedError:
        pass
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
