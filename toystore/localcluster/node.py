"""One node of a local cluster: its process, and its last status.

The process is ``python -m actors CONFIG NODE`` in a process group of its own, so that a
Ctrl-C reaches only the runner, which then stops the nodes in order.  Its standard input is
a pipe from the runner: when the runner ends, even if it is killed, the pipe ends and the node
stops (the kernel wakes a paused one, whose process group is then an orphan).  Its standard
error is a file without a name, in which the runner can read why the node died.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import IO, Any, NamedTuple

import toystore
from toystore.config import MemberConfig
from toystore.net.endpoint import Endpoint

Spawn = Callable[..., "subprocess.Popen[bytes]"]
"""Starts a process, with the arguments of `subprocess.Popen`."""

ROOT = Path(toystore.__file__).resolve().parent.parent
_LOG_TAIL_BYTES = 64 * 1024
NO_LOG_LINE = (ValueError, TypeError, KeyError, RecursionError)
"""The errors for a line that is not of a log: a killed node may leave an incomplete line."""


class State(Enum):
    """The state of a process; the status of a node comes from the other nodes."""

    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPING = "stopping"
    STOPPED = "stopped"
    KILLED = "killed"
    LEFT = "left"
    """It is no longer a member of the ring: it ended by itself."""
    DIED = "died"
    """It ended without an order of the runner."""


NO_MEMBER = 3
"""The exit code of a node that is no longer a member."""
HAS_PROCESS = (State.STARTING, State.RUNNING, State.PAUSED, State.STOPPING)


class Moved(NamedTuple):
    """What a node's anti-entropy has moved, in and out."""

    records: int
    bytes: int
    """Of the records, and of what is compared to find those that differ."""

    def less(self, other: Moved) -> Moved:
        """What has moved since ``other`` was read."""
        return Moved(self.records - other.records, self.bytes - other.bytes)


@dataclass
class Node:
    """One node: its process, and its last status."""

    member: MemberConfig
    folder: Path
    state: State = State.STOPPED
    process: subprocess.Popen[bytes] | None = None
    stderr: IO[bytes] | None = None
    status: dict[str, Any] = field(default_factory=dict)
    """Empty while it does not answer."""

    @property
    def name(self) -> str:
        """The member's name."""
        return self.member.name

    @property
    def endpoint(self) -> str:
        """Where clients reach it."""
        return str(Endpoint(self.member.host, self.member.client_port))

    @property
    def sees_alive(self) -> list[str]:
        """The members that it believes to be alive."""
        members = self.status.get("members", ())
        return [member["name"] for member in members if member["status"] == "alive"]

    def lists(self, name: str) -> bool:
        """Whether it has this member on its list, dead or alive."""
        return any(member["name"] == name for member in self.status.get("members", ()))

    @property
    def hints(self) -> int:
        """How many hints it keeps for other nodes."""
        return sum(held["count"] for held in self.status.get("hints", {}).values())

    @property
    def moved(self) -> Moved:
        """What its anti-entropy has moved since its start; each exchange counts at one node."""
        status = self.status.get("antientropy") or {}
        return Moved(
            status.get("records_in", 0) + status.get("records_out", 0),
            status.get("bytes_in", 0) + status.get("bytes_out", 0),
        )

    @property
    def is_stopped(self) -> bool:
        """Whether a signal, of the runner or not, has paused its process."""
        if self.process is None or self.process.poll() is not None:
            return False
        flags = os.WSTOPPED | os.WNOHANG | os.WNOWAIT
        with contextlib.suppress(ChildProcessError):
            return os.waitid(os.P_PID, self.process.pid, flags) is not None
        return False

    def is_settled(self, owners: Collection[str]) -> bool:
        """Whether it and its storage answer, with no hints for ``owners`` there or to come."""
        status = self.status
        return (
            bool(status.get("storage"))
            and status["requests"]["settling"] == 0
            and status["hints"].keys().isdisjoint(owners)
        )

    def start(self, command: Sequence[str], spawn: Spawn = subprocess.Popen) -> int:
        """Start its process by ``command``; returns the pid."""
        self.stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `release`
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        self.process = spawn(
            command,
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": path},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,  # a known line; its last message is on standard error
            stderr=self.stderr,
            process_group=0,
        )
        self.state = State.STARTING
        return self.process.pid

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, unless the process has ended."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)

    def ending(self) -> tuple[int, int | None, str | None]:
        """The pid, and the exit code or the signal's name, of a process that has ended."""
        assert self.process is not None
        pid, code = self.process.pid, self.process.returncode
        return (pid, code, None) if code >= 0 else (pid, None, signal.Signals(-code).name)

    def why_it_ended(self) -> str:
        """The exit code or signal, and its last message."""
        code = self.process.returncode if self.process else 0
        how = f"exit {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"
        last_words = self.last_words()
        return f"{how}: {last_words}" if last_words else how

    def last_words(self) -> str:
        """The last line on its standard error, or else the last error in its log."""
        if self.stderr is not None:
            self.stderr.seek(0)
            lines = self.stderr.read().decode(errors="replace").strip().splitlines()
            if lines:
                return lines[-1].strip()
        return self._last_logged_error()

    def _last_logged_error(self) -> str:
        with contextlib.suppress(OSError), (self.folder / "log.jsonl").open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - _LOG_TAIL_BYTES))
            for line in reversed(log.read().splitlines()):
                with contextlib.suppress(*NO_LOG_LINE):
                    entry = json.loads(line)
                    if entry["level"] in ("error", "critical"):
                        return f"{entry['event']}: {entry.get('error', '')}"
        return ""

    def release(self) -> None:
        """Close the pipe and the file of a process that has ended."""
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.close()
        if self.stderr is not None:
            self.stderr.close()
        self.process = self.stderr = None
