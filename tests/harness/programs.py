"""One program of ours, started as from a shell: a node, run_cluster.py, ``toystore``."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from toystore.localcluster.node import ROOT

from .logs import logged
from .waiting import PATIENCE_S

TOYSTORE = (sys.executable, "-m", "toystore")
NODE = (sys.executable, "-m", "actors")


class Program:
    """A program that runs, and is ended for good when the block ends."""

    def __init__(self, command: Sequence[str | Path], **options: Any) -> None:
        """``options`` are those of `subprocess.Popen`; both outputs are read as one."""
        usual = {"cwd": ROOT, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        self.process = subprocess.Popen(command, text=True, **usual | options)
        self.lines: list[str] = []
        """What was read so far."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self.process:
            try:
                self.stop()
            finally:
                self.process.kill()

    def until(self, pattern: str) -> re.Match[str]:
        """Read on until a line matches."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            if match := re.search(pattern, line):
                return match
        raise AssertionError(f"no line matches {pattern!r}:\n" + "\n".join(self.lines))

    def end(self) -> int:
        """Read the rest, wait, and return the exit code."""
        if self.process.stdout is not None and not self.process.stdout.closed:
            self.lines += self.process.stdout.read().splitlines()
        return self.process.wait(PATIENCE_S)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal, and wait for the end."""
        self.process.send_signal(number)
        return self.end()


class ClusterRun(Program):
    """A run of run_cluster.py."""

    def __init__(self, config: Path, folder: Path, *options: str, **more: Any) -> None:
        self.folder = folder
        program = (sys.executable, ROOT / "run_cluster.py", config, "--data-dir", folder)
        super().__init__((*program, *options), **more)

    def until_ready(self) -> None:
        """Wait until all nodes serve."""
        self.until(r"^ready: (\d+)/\1 nodes in \d+\.\d s$")

    def logged(self, *events: str) -> list[dict[str, Any]]:
        """What the runner has logged itself."""
        return logged(self.folder / "run.jsonl", *events)

    def events(self, name: str, *events: str) -> list[dict[str, Any]]:
        """What a node has logged."""
        return logged(self.folder / name / "log.jsonl", *events)

    def pid(self, name: str) -> int:
        """A node's."""
        return int((self.folder / name / "pid").read_text())


def is_alive(pid: int) -> bool:
    """Whether a process is there, and is not the mere remains of one."""
    return state_of(pid)[:1] not in ("", "Z")


def state_of(pid: int) -> str:
    """A process's state, as ps has it."""
    command = ("ps", "-o", "stat=", "-p", str(pid))
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def last_words(config: Path, node: str, folder: Path, *, code: int) -> str:
    """Run a node that must end by itself, with this exit code: the last line that it says."""
    command = (*NODE, config, node, "--data-dir", folder)
    ended = subprocess.run(
        command,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert ended.returncode == code, ended
    assert "Traceback" not in ended.stderr
    return ended.stderr.splitlines()[-1]
