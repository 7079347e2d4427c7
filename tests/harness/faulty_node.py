"""Runs a node as ``python -m actors`` does, but under conditions that are not right.

They are in the file ``DIR/NODE.faults``, a JSON object; without one the node is as any:

    config         the path of a configuration to use instead
    clock_s        the wall clock is so many seconds off, as by an operator who sets the date
    clock_pipe     each number that is written to this named pipe is seconds by which the
                   wall clock jumps
    commit_s       each commit takes so many seconds longer: a slow disk
    files          so many file descriptors, and no more (RLIMIT_NOFILE)
    data_bytes     so much private memory, and no more (RLIMIT_DATA); what is mapped from
                   files, as LMDB's map is, does not count
    silent_names   whoever asks a name server waits for so many seconds
    wire_version   it speaks this version of the protocol
    namespace      its network is the namespace of this name (``ip netns``)
    remove_after_least_s   the least `remove_after_s` that the configuration may have

Everything is done before the node's first line runs; the product has no switch for any of it.
"""

from __future__ import annotations

import ctypes
import json
import resource
import runpy
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

import toystore.wire
from toystore.config import sections
from toystore.engines.lmdb_engine import LmdbEngine


def main() -> None:
    """Make the faults, then be the node; called as LocalCluster calls ``python -m actors``."""
    faults = faults_of(sys.argv)
    sys.argv[1] = faults.pop("config", sys.argv[1])
    for name, value in faults.items():
        FAULTS[name](value)
    runpy.run_module("actors", run_name="__main__", alter_sys=True)


def faults_of(arguments: list[str]) -> dict[str, Any]:
    """The faults of the node that is started with these arguments."""
    folder = arguments[arguments.index("--data-dir") + 1]
    named = [option for option in arguments if option.startswith("--name=")]
    node = named[0].partition("=")[2] if named else arguments[2]
    file = Path(folder, f"{node}.faults")
    faults: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    return faults


def shift_clock(by_s: float) -> None:
    """From now on the wall clock is ``by_s`` seconds off; deadlines are not."""
    true_s, true_ns = time.time, time.time_ns
    by_ns = int(by_s * 1e9)
    time.time = lambda: true_s() + by_s
    time.time_ns = lambda: true_ns() + by_ns


def jump_at(pipe: str) -> None:
    """The wall clock jumps by each number that is written to a named pipe."""

    def jump() -> None:
        while True:
            shift_clock(float(Path(pipe).read_text()))

    threading.Thread(target=jump, daemon=True).start()


def silent_names(for_s: float) -> None:
    """Lookups of names take ``for_s`` and find nothing."""

    def silent(*_: Any, **__: Any) -> Any:
        time.sleep(for_s)
        raise socket.gaierror(socket.EAI_AGAIN, "no name server answers")

    socket.getaddrinfo = silent


def slow_commits(by_s: float) -> None:
    """Each commit takes ``by_s`` longer; meanwhile, as in an fsync, other threads run."""
    commit = LmdbEngine.commit

    def slowly(engine: LmdbEngine) -> None:
        time.sleep(by_s)
        commit(engine)

    LmdbEngine.commit = slowly  # type: ignore[method-assign]


def limit_files(most: int) -> None:
    """The node raises its own limit as far as it may: this is how far."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def limit_data(most: int) -> None:
    """Of bytes that a process has to itself."""
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def speak(version: int) -> None:
    """Another version of the protocol, in what is said and in what is understood."""
    toystore.wire.VERSION = version


def enter_namespace(name: str) -> None:
    """All sockets that are made from now on are of this network namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    with Path("/run/netns", name).open("rb") as space:
        if libc.setns(space.fileno(), 0):
            raise OSError(ctypes.get_errno(), f"cannot enter the network namespace {name}")


def remove_soon(after_s: float) -> None:
    """Members that are dead may be removed after ``after_s`` already."""
    sections.REMOVE_AFTER_LEAST_S = after_s


FAULTS = {
    "clock_s": shift_clock,
    "clock_pipe": jump_at,
    "commit_s": slow_commits,
    "silent_names": silent_names,
    "files": limit_files,
    "data_bytes": limit_data,
    "wire_version": speak,
    "namespace": enter_namespace,
    "remove_after_least_s": remove_soon,
}

if __name__ == "__main__":
    main()
