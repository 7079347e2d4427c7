"""What a comparison is made of: parts of ranges, the direction of each, and what has crossed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from toystore.core.ring.ranges import Range


class Direction(Enum):
    """Which records of a part cross."""

    BOTH = "those that are newer here, and those that are newer there"
    FETCH = "those that are newer there"
    PUSH = "those that are newer here"


class Part(NamedTuple):
    """What is left to be compared of a range."""

    of: Range
    start: bytes
    end: bytes
    direction: Direction = Direction.BOTH
    floor: int = 0
    """Of the range at the other owner, as the comparison began."""


@dataclass(slots=True)
class Moved:
    """What has crossed between this node and others."""

    records_in: int = 0
    records_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0

    def add(self, other: Moved) -> None:
        """Add what has crossed in another comparison."""
        self.records_in += other.records_in
        self.records_out += other.records_out
        self.bytes_in += other.bytes_in
        self.bytes_out += other.bytes_out

    @property
    def records(self) -> int:
        """Records in both directions that were new to their receiver."""
        return self.records_in + self.records_out

    @property
    def bytes(self) -> int:
        """Bytes of rows and records in both directions."""
        return self.bytes_in + self.bytes_out
