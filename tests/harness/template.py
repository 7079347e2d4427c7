"""Nodes that are forks of a process which has imported everything: that saves most of their start.

    template    imports what a node imports, waits for orders, and forks
    node        the fork: it runs ``faulty_node.py`` as a new interpreter would

The program that orders a node becomes its parent, so that it can wait for it as for a process that
it has started itself: the template forks twice, and orphans are left to the nearest subreaper
(prctl(2)).  A node with faults gets a new interpreter, in which nothing is imported before them.
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

_SET_CHILD_SUBREAPER = 36
_ORDER_BYTES_MAX = 2**20
_OF_ONE_TEST = "PYTEST_CURRENT_TEST"


def spawn(
    command: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    stderr: IO[bytes],
    **_: Any,
) -> Process:
    """A node by a ``command`` of `LocalCluster`, with a pipe as its standard input."""
    control = _template(cwd, tuple(sorted((k, v) for k, v in env.items() if k != _OF_ONE_TEST)))
    reading, writing = os.pipe()
    order = json.dumps(command).encode()
    _leave_orphans_to_this(True)
    try:
        socket.send_fds(control, [order], [reading, stderr.fileno()])
        pid = int(control.recv(32))
    finally:
        _leave_orphans_to_this(False)
        os.close(reading)
    return Process(pid, os.fdopen(writing, "wb"))


class Process:
    """A node that runs, as `subprocess.Popen` would have it."""

    def __init__(self, pid: int, stdin: IO[bytes]) -> None:
        self.pid = pid
        self.stdin = stdin
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Its exit code, or minus the number of a signal; None while it runs."""
        return self._reap(os.WNOHANG)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end.  Raises `subprocess.TimeoutExpired`."""
        if self.poll() is None and timeout is not None:
            ended = os.pidfd_open(self.pid)
            try:
                poll = select.poll()
                poll.register(ended, select.POLLIN)
                if not poll.poll(timeout * 1000):
                    raise subprocess.TimeoutExpired(f"node {self.pid}", timeout)
            finally:
                os.close(ended)
        code = self._reap(0)
        assert code is not None
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def _reap(self, flags: int) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, flags)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode


@functools.cache
def _template(cwd: Path, env: tuple[tuple[str, str], ...]) -> socket.socket:
    """Start a template with this environment, which ends with this process; it takes orders."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with its:
        template = subprocess.Popen(
            (sys.executable, "-m", "tests.harness.template", str(its.fileno())),
            cwd=cwd,
            env=dict(env),
            pass_fds=(its.fileno(),),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            process_group=0,
        )
    atexit.register(_end, template, ours)
    return ours


def _end(template: subprocess.Popen[bytes], control: socket.socket) -> None:
    control.close()
    template.wait()


def _leave_orphans_to_this(yes: bool) -> None:
    """Whether this process becomes the parent of orphans among its descendants."""
    if ctypes.CDLL(None, use_errno=True).prctl(_SET_CHILD_SUBREAPER, int(yes), 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


# --- in the template --------------------------------------------------------------------


def main() -> None:
    """Fork nodes as ordered; returns in a node when it ends, and when no more orders come."""
    import actors.__main__  # noqa: F401

    from . import faulty_node

    control = socket.socket(fileno=int(sys.argv[1]))
    gc.freeze()
    while True:
        order, files, *_ = socket.recv_fds(control, _ORDER_BYTES_MAX, 2)
        if not order:
            return
        pid = _fork_twice()
        if pid == 0:
            break
        control.send(str(pid).encode())
        for file in files:
            os.close(file)
    control.close()
    os.setpgid(0, 0)
    _take_over(*files)
    command = json.loads(order)
    sys.argv = command[1:]
    if faulty_node.faults_of(sys.argv):
        os.execv(command[0], command)
    faulty_node.main()


def _fork_twice() -> int:
    """Fork a process whose parent has ended: its pid, or 0 in that process."""
    reading, writing = os.pipe()
    between = os.fork()
    if between == 0:
        pid = os.fork()
        if pid:
            os.write(writing, str(pid).encode())
            os._exit(0)
        pid_of_fork = 0
    else:
        os.waitpid(between, 0)
        pid_of_fork = int(os.read(reading, 32))
    os.close(reading)
    os.close(writing)
    return pid_of_fork


def _take_over(stdin: int, stderr: int) -> None:
    """Have these files as standard input and error."""
    for file, standard in ((stdin, 0), (stderr, 2)):
        os.dup2(file, standard)
        os.close(file)


if __name__ == "__main__":
    main()
