"""Processes that stand in for nodes."""

from __future__ import annotations

import sys
from pathlib import Path

from toystore.config import load
from toystore.localcluster.cluster import LocalCluster

NAMES = ("n1", "n2", "n3")
IDLE = "import sys; sys.stdin.read()"
STUBBORN = (
    "import signal, pathlib, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "pathlib.Path(sys.argv[4], sys.argv[2]).touch(); signal.pause()"
)
N2_FAILS = "import sys; sys.argv[2] == 'n2' and sys.exit('no luck') or sys.stdin.read()"


def stand_ins(config_path: Path, folder: Path, code: str, told: list[str]) -> LocalCluster:
    """A cluster whose nodes run ``code``."""
    command = (sys.executable, "-c", code)
    return LocalCluster(load(config_path), config_path, folder, told.append, command=command)
