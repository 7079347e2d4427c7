"""The ring (stub; being written)."""

from __future__ import annotations

from typing import NamedTuple


class Member(NamedTuple):
    """A member of the ring."""

    name: str
    weight: int = 1
    zone: str = ""
