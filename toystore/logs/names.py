"""The order of names: numbers in them are compared as numbers."""

from __future__ import annotations

import re
from collections.abc import Iterable


def in_order(names: Iterable[str]) -> list[str]:
    """Sort names naturally: n2 before n10."""
    return sorted(names, key=in_order_of)


def in_order_of(name: str) -> list[tuple[int, int, str]]:
    """The sort key of `in_order`: numbers in a name are compared as numbers."""
    parts = re.split(r"(\d+)", name)
    return [(1, int(part), "") if part.isdecimal() else (0, 0, part) for part in parts]
