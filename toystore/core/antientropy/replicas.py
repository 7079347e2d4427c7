"""What this node knows of its replicas: the state and tree of each range, and when it changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from toystore.core.protocol.messages.antientropy import RangeSum
from toystore.core.protocol.messages.codes import RangeState
from toystore.core.protocol.settings import AntientropySettings
from toystore.core.ring.ranges import Range, Ranges
from toystore.core.ring.tree import differing, root_of

STALE_S = 5.0
"""How long it is waited that storage tells of what was stored: perhaps nothing has changed."""
COMPARED = (RangeState.WHOLE, RangeState.BEHIND)
"""The states in which a range takes records of other owners."""

Stretch = tuple[bytes, bytes]
"""The first digest of a stretch, and the first after it."""


class Replicas:
    """The ranges of which this node has records, or should have, as its storage has last told."""

    __slots__ = (
        "_changed_at",
        "_settings",
        "_since",
        "_stale_until",
        "_trees",
        "behind",
        "floors",
        "ranges",
        "roots",
        "states",
        "tombstones",
    )

    def __init__(self, ranges: Ranges, settings: AntientropySettings) -> None:
        self.ranges = ranges
        """By the newest ring record that this machine has received."""
        self._settings = settings
        self._trees: dict[Range, bytes] = {}
        self._changed_at: dict[Range, float] = {}
        """When a range has changed last, in monotonic seconds; not that it was first told of."""
        self._since: dict[Range, float] = {}
        """When it has changed first since the last comparison."""
        self._stale_until: dict[Range, float] = {}
        """Ranges that this node has written to itself, until storage tells of that."""
        self.roots: dict[Range, bytes] = {}
        self.states: dict[Range, RangeState] = {}
        self.behind: set[Range] = set()
        """The ranges that lack records; they do not vote."""
        self.floors: dict[Range, int] = {}
        """Below its floor, what is not stored of a range is dead; in microseconds since 1970."""
        self.tombstones: dict[Range, int] = {}
        """How many tombstones each range has, if it has any."""

    @property
    def epoch(self) -> int:
        """Of the newest ring record that this machine has received."""
        return self.ranges.ring.epoch

    def learn(self, told: Iterable[RangeSum], now_s: float) -> list[Range]:
        """Storage has told of ranges; returns those to compare: the root or the state is new."""
        fresh = []
        for one in told:
            of, root = Range(one.n, one.partition), root_of(one.tree)
            state_before = self.states.get(of)
            self._stale_until.pop(of, None)
            state = RangeState.BEHIND if one.behind else RangeState(one.state)
            before = self.roots.get(of)
            self.roots[of], self._trees[of] = root, one.tree
            self.floors[of], self.tombstones[of] = one.floor, one.tombstones
            self.set_state(of, state)
            if before not in (None, root):
                self._touch(of, now_s)
            if state in COMPARED and (root != before or state_before not in COMPARED):
                fresh.append(of)
        return fresh

    def set_state(self, of: Range, state: RangeState) -> None:
        """Storage has another state of a range."""
        (self.behind.add if state is RangeState.BEHIND else self.behind.discard)(of)
        if state is RangeState.NONE:
            for known in (self.states, self.roots, self._trees, self.floors, self.tombstones):
                known.pop(of, None)
        else:
            self.states[of] = state

    def stored(self, of: Range, now_s: float) -> None:
        """Records of another owner were stored; storage will tell that the range has changed."""
        self._stale_until[of] = now_s + STALE_S
        self._touch(of, now_s)

    def has_floor(self, of: Range, floor: int) -> None:
        """Storage has raised the floor of a range; it will tell what it has deleted."""
        if floor > self.floors.get(of, 0):
            self.floors[of] = floor
            self.doubt(of)

    def doubt(self, of: Range) -> None:
        """The tree of a range is not known until storage tells of it again."""
        self._stale_until[of] = float("inf")

    def is_known(self, of: Range, now_s: float) -> bool:
        """Whether storage has told of a range since this node has last stored records in it."""
        return of in self.roots and self._stale_until.get(of, 0.0) <= now_s

    def has_rested(self, of: Range, now_s: float) -> bool:
        """Whether a range has not changed for some time, or has changed for too long."""
        changed_at = self._changed_at.get(of)
        return (
            changed_at is None
            or changed_at + self._settings.rest_s <= now_s
            or self._since.get(of, now_s) + self._settings.rest_max_s <= now_s
        )

    def is_calm(self, of: Range, now_s: float) -> bool:
        """Whether a range has not changed for ``young_s``: no write to it can be under way.

        Its records then count as old, whatever their stamps say: the clock of a client, or of this
        node, may be wrong.
        """
        changed_at = self._changed_at.get(of)
        return changed_at is None or changed_at + self._settings.young_s <= now_s

    def compared(self, of: Range) -> None:
        """A range is compared now."""
        self._since.pop(of, None)

    def _touch(self, of: Range, now_s: float) -> None:
        self._changed_at[of] = now_s
        self._since.setdefault(of, now_s)

    def stretches(self, of: Range, tree: bytes) -> Iterator[Stretch]:
        """The stretches of a range in which ``tree`` differs from its own: runs of leaves."""
        leaves = self.ranges.leaves(of)
        start = end = b""
        for at in differing(self._trees[of], tree):
            first = self.ranges.first_of(leaves[at])
            if first != end:
                if end:
                    yield start, end
                start = first
            end = self.ranges.end_of(leaves[at])
        if end:
            yield start, end
