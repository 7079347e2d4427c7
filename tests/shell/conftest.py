"""A ZeroMQ context and a log for each test of the shell."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq
from shell_scene import logging_to


@pytest.fixture
def context() -> Iterator[zmq.Context[Any]]:
    """Ends with the test, whatever that left open."""
    made: zmq.Context[Any] = zmq.Context()
    yield made
    made.destroy(linger=0)


@pytest.fixture
def log_path(tmp_path: Path) -> Iterator[Path]:
    """The log, configured, for `logged`."""
    with logging_to(tmp_path / "log.jsonl") as path:
        yield path
