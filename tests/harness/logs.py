"""What a node or a runner has logged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def logged(path: Path, *events: str) -> list[dict[str, Any]]:
    """The entries of a log, oldest first: those of ``events``, or all.

    None if there is no file.  A line that is still being written is left out.
    """
    if not path.exists():
        return []
    with path.open() as log:
        entries = (json.loads(line) for line in log if line.endswith("}\n"))
        return [entry for entry in entries if not events or entry["event"] in events]
