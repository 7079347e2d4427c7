"""A configuration for three nodes, which nobody has started."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.configs import write_config


@pytest.fixture
def config_path(tmp_path: Path) -> Iterator[Path]:
    """On ports of its own."""
    guard, path = write_config(tmp_path, 3, cluster="three")
    with guard:
        yield path
