"""Checks before anything is started, so that no cluster is started in part.

The data folder must be writable and not in use by another cluster; every port of every
member must be free.  All errors are reported together.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from toystore.config import ClusterConfig, MemberConfig
from toystore.net import listening
from toystore.net.names import Resolver

LOCK = ".lock"
JOINED = "cluster.yaml"
"""A node that has joined keeps the configuration here: it is in no file."""
_OURS = ("data", "pid", "life", "log.jsonl", JOINED)


class StartError(Exception):
    """The cluster cannot be started; the text says why, and what to do about it."""


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Lock the data folder while the block runs; create it if it does not exist.

    The kernel releases the lock when this process ends, even if it is killed.  A folder that
    was created for a cluster that never started is removed.  Raises `StartError`.
    """
    made = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StartError(f"cannot write to {folder}: {error.strerror}") from None
    try:
        _take(lock, folder)
        try:
            yield
        except StartError:
            if made and os.listdir(folder) == [LOCK]:
                shutil.rmtree(folder)
            raise
    finally:
        os.close(lock)


def _take(lock: int, folder: Path) -> None:
    """Lock the open lock file, and write our process id to it, if the disk has room."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = (folder / LOCK).read_text(encoding="utf-8", errors="replace").strip()
        raise StartError(
            f"{folder} is in use by another run_cluster.py (pid {pid}); "
            "stop that one, or give another --data-dir"
        ) from None
    with contextlib.suppress(OSError):  # the lock works without the pid, which is for people
        os.ftruncate(lock, os.pwrite(lock, f"{os.getpid()}\n".encode(), 0))


def check(config: ClusterConfig, folder: Path) -> None:
    """Raises `StartError` with a line for each node that could not run here."""
    resolver = Resolver()
    for member in config.members:
        resolver.find(member.bind)  # all at once
    faults = [fault for member in config.members for fault in _faults(member, folder, resolver)]
    if faults:
        raise StartError("\n".join(faults))


def warning(config: ClusterConfig) -> str | None:
    """A warning about the ports, or None."""
    ports = (port for member in config.members for port in member.ports.values())
    return listening.ephemeral(ports)


def _faults(member: MemberConfig, folder: Path, resolver: Resolver) -> Iterator[str]:
    """The reasons why a member cannot run on this machine."""
    theirs = folder / member.name
    if theirs.exists() and not (theirs.is_dir() and os.access(theirs, os.W_OK | os.X_OK)):
        yield f"{member.name}: cannot write to {theirs}"
    try:
        hosts = listening.hosts(member.bind, resolver)
    except listening.ListenError as error:
        yield f"{member.name}: {error} (all members run on this machine)"
        return
    busy = []
    for key, port in member.ports.items():
        try:
            for host in hosts:
                listening.probe(host, port)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                yield (
                    f"{member.name}: cannot bind {key} {port} on {member.bind}: {error.strerror}"
                    " (all members run on this machine)"
                )
                return
            busy.append(f"{key} {port}")
    if busy:
        yield (
            f"{member.name}: {', '.join(busy)} in use on {member.bind}; "
            "stop what listens there, or give another base_port"
        )


def remove(config: ClusterConfig, folder: Path) -> None:
    """Remove the folders of the members, and of nodes that have joined them, for a fresh start.

    Raises `StartError`, and removes nothing, if one contains foreign files.
    """
    theirs = [folder / member.name for member in config.members]
    theirs = [path for path in theirs if path.exists() or path.is_symlink()]
    theirs += [path.parent for path in folder.glob(f"*/{JOINED}") if path.parent not in theirs]
    foreign = [path for path in theirs if not _is_ours(path)]
    if foreign:
        raise StartError(
            "\n".join(f"{path} does not look like a node's folder; not removed" for path in foreign)
        )
    for path in theirs:
        shutil.rmtree(path)


def _is_ours(path: Path) -> bool:
    """Whether a folder contains only files of a node."""
    return (
        path.is_dir()
        and not path.is_symlink()
        and all(entry in _OURS or entry.startswith("log.jsonl.") for entry in os.listdir(path))
    )
