"""The checks of a ring that are made while the cluster runs; what they find ends the run.

voices.py has those of the slots, given_away.py those of what is given away, least_moved.py that of
how much moves, rings.py those of the records.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from toystore.check.history import OK, Row
from toystore.check.promises import Loss, Violation
from toystore.core.data.record import digest_of
from toystore.core.protocol.messages import Message
from toystore.core.protocol.messages.antientropy import SetRange, StoreRecords, SweepRange
from toystore.core.protocol.messages.ring import OfferRings
from toystore.core.ring.ranges import Range, Ranges
from toystore.core.ring.record import RingRecord
from toystore.core.storage.store import Store
from toystore.sim.disk import SimDisk
from toystore.sim.given_away import GivenAway
from toystore.sim.least_moved import LeastMoved
from toystore.sim.rings import Rings
from toystore.sim.scenario import Scenario
from toystore.sim.voices import Voices


class RingChecks:
    """The checks of one cluster; they do nothing if its ring does not change."""

    def __init__(
        self,
        scenario: Scenario,
        rings: Rings,
        copies: Mapping[str, int],
        disks: Callable[[], Mapping[str, SimDisk]],
        losses: Callable[[], list[Loss]],
        removed_at: Callable[[Store, bytes], bytes],
        violations: list[Violation],
    ) -> None:
        """``copies``: N of each bucket.  ``disks``: of all nodes, by name.  ``losses``: so far.
        ``removed_at``: see `Voices`.  ``violations``: where to put what is found."""
        self._rings = rings
        self._copies = copies
        self._losses = losses
        self._found = violations
        self._changes = scenario.changes_ring
        self._undisturbed = scenario.only_ring_changes
        self._voices = Voices(disks, losses, removed_at)
        self._given_away = GivenAway(disks, self._lossy, lambda: rings.newest.epoch)
        self._least_moved = LeastMoved(disks, copies.values())

    def _lossy(self) -> set[str]:
        """The nodes that have lost something."""
        return {loss.node for loss in self._losses()}

    def committed(self, ranges: Ranges, messages: list[Message]) -> None:
        """A node has committed a batch; ``ranges``: of it, by the record that it has adopted."""
        if not self._changes:
            return
        if any(isinstance(message, SetRange | SweepRange | OfferRings) for message in messages):
            self._found += self._given_away.committed(ranges, messages)
        for message in messages:
            if isinstance(message, StoreRecords) and self._undisturbed:
                self._least_moved.stored(ranges, message)

    def on_disk(self, moved: Iterable[Range] | None) -> None:
        """A batch has reached the disk that may set the states of these ranges; None: of all."""
        if not self._changes:
            return
        newest, view = self._rings.newest, self._rings.view
        if not self._losses() and not newest.lost and newest.moving:
            self._found += self._voices.one_voice_a_slot(view, self._copies.values())
        self._found += self._voices.acknowledged_votes(view, moved)

    def answered(self, row: Row) -> None:
        """A client has the answer to a request, or has waited for too long."""
        if self._changes and row.writes and row.outcome == OK:
            bucket, key = row.place
            view, digest = self._rings.view, digest_of(bucket, key.encode(), row.n)
            self._voices.acknowledge(digest, row)
            of = Range(row.n, view.partition_of(digest))
            self._found += self._voices.acknowledged_votes(view, [of])

    def adopted(self, node: str, record: RingRecord) -> None:
        """A node has adopted a ring record; check what has moved if nothing does any more."""
        is_news = record.epoch not in self._rings.records
        self._rings.adopted(node, record)
        before = self._rings.records.get(record.epoch - 1)
        if before is None or not (is_news and before.moving) or record.moving:
            return
        if self._undisturbed:
            self._found += self._least_moved.ended(before, self._rings.view)
