"""Which members a set of ranges is still to be compared with, or asked about.

A node that is behind in a range visits the owners that may have its records, a node that loses one
visits the new owner, and a repair that an operator has asked for visits every other owner.  The
owners of one range are visited one after another: what the first has brought is not brought again
by the second.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence

from toystore.core.ring.ranges import Range


class Visits:
    """The visits that are left."""

    __slots__ = ("_left", "_with")

    def __init__(self) -> None:
        self._left: dict[Range, list[str]] = {}
        self._with: Counter[str] = Counter()
        """With how many ranges each owner is to be visited."""

    def __len__(self) -> int:
        """How many ranges have visits left."""
        return len(self._left)

    def __contains__(self, of: Range) -> bool:
        return of in self._left

    def __iter__(self) -> Iterator[Range]:
        return iter(self._left)

    def plan(self, of: Range, owners: Sequence[str]) -> None:
        """Visit ``owners`` for a range; neighbours on the ring begin with different owners."""
        self.forget(of)
        if owners:
            at = of.partition % len(owners)
            self._left[of] = [*owners[at:], *owners[:at]]
            self._with.update(owners)

    def forget(self, of: Range) -> None:
        """Visit no owner of a range any more."""
        self._with.subtract(self._left.pop(of, ()))

    def done(self, of: Range, owner: str) -> bool:
        """A range was compared with ``owner``; True if that was its last visit."""
        left = self._left.get(of, [])
        if owner not in left:
            return False
        left.remove(owner)
        self._with[owner] -= 1
        if not left:
            del self._left[of]
        return not left

    def drop(self, keep: Collection[str]) -> list[Range]:
        """Visit only owners in ``keep``; returns the ranges that have no visit left by that."""
        ended = []
        for of, left in list(self._left.items()):
            gone = [owner for owner in left if owner not in keep]
            if any(self.done(of, owner) for owner in gone):
                ended.append(of)
        return ended

    def has_owner(self, owner: str) -> bool:
        """Whether any range is to be compared with ``owner``."""
        return self._with.get(owner, 0) > 0

    def next_with(self, owner: str, reachable: frozenset[str]) -> list[Range]:
        """The ranges for which ``owner`` is the next of those that can be reached."""
        return [
            of
            for of, left in self._left.items()
            if next((one for one in left if one in reachable), None) == owner
        ]

    def owners(self) -> set[str]:
        """All owners that are still to be visited."""
        return {owner for owner, ranges in self._with.items() if ranges > 0}
