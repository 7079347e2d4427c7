"""The nodes that were added to a local cluster: the next run starts them, too.

The file of the cluster does not list them, so the runner keeps where they listen.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from toystore.config import MemberConfig

ADDED = "added.json"


def remember(folder: Path, members: Iterable[MemberConfig]) -> None:
    """Keep these in the data folder of the cluster, in the place of those before."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [member.model_dump(exclude_none=True) for member in members]
    (folder / ADDED).write_text(json.dumps(rows, indent=1) + "\n")


def remembered(folder: Path) -> list[MemberConfig]:
    """The nodes that were added in earlier runs and have a folder still."""
    try:
        rows = json.loads((folder / ADDED).read_text())
    except (OSError, ValueError):
        return []
    members = [MemberConfig.model_validate(row) for row in rows]
    return [member for member in members if (folder / member.name).is_dir()]
