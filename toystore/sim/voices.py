"""Checks of the slots of a ring that changes, straight from the disks.

`one_voice_a_slot`    in each slot a node is WHOLE; true as long as no disk was lost
`acknowledged_votes`  as many slots vote with an acknowledged write as its answer counted owners

By the second, each set of R slots that vote has one in common with the W that have the write if
R+W>N, whatever moves: reads are then as true as without a change.  A node votes in a slot if it is
WHOLE there by its own disk and its own ring record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from toystore.check.history import Row
from toystore.check.promises import Loss, Violation
from toystore.core.data.record import stamp_of
from toystore.core.protocol.messages.codes import RangeState
from toystore.core.ring.ranges import Range
from toystore.core.ring.record import unpack_ring
from toystore.core.ring.view import RingView
from toystore.core.storage.layout import RECORD, RING_RECORD, state_key
from toystore.core.storage.store import Store

WHOLE = (None, bytes([RangeState.WHOLE]))


class Voices:
    """The nodes that vote, by their disks, and the acknowledged writes that they have to have."""

    def __init__(
        self,
        disks: Callable[[], Mapping[str, Store]],
        losses: Callable[[], list[Loss]],
        removed_at: Callable[[Store, bytes], bytes],
    ) -> None:
        """``disks``: of all nodes, by name.  ``losses``: what was lost so far.

        ``removed_at``: the stamp of the tombstone that may have been removed on a disk.
        """
        self._disks = disks
        self._losses = losses
        self._removed_at = removed_at
        self._newest: dict[bytes, dict[int, Row]] = {}
        """The newest acknowledged writes under a digest, by the number of their owners."""
        self._views: dict[bytes, RingView] = {}
        """The rings of all records that were found on a disk."""

    def acknowledge(self, digest: bytes, row: Row) -> None:
        """A write was acknowledged by so many owners."""
        if row.owners:
            rows = self._newest.setdefault(digest, {})
            before = rows.get(row.owners)
            if before is None or before.stamp < row.stamp:
                rows[row.owners] = row

    def one_voice_a_slot(self, ring: RingView, copies: Iterable[int]) -> list[Violation]:
        """In each slot of ``ring`` a node is WHOLE; ``copies``: the N of all buckets."""
        votes = self._voters(ring)
        ranges = [Range(n, at) for n in sorted(set(copies)) for at in range(ring.partitions)]
        return [
            Violation("one_voice_a_slot", f"no node of {slot.nodes} is WHOLE in {of}, {ring.epoch}")
            for of in ranges
            for slot in ring.slots(of.partition, of.n)
            if not any(votes(name, of) for name in slot.nodes)
        ]

    def acknowledged_votes(
        self, ring: RingView, ranges: Iterable[Range] | None = None
    ) -> list[Violation]:
        """No more slots of ``ring`` vote without a write than had not stored it.

        A node that has lost data since may vote without it.  ``ranges``: None means all.
        """
        votes = self._voters(ring)
        wanted = None if ranges is None else set(ranges)
        found: list[Violation] = []
        for digest, rows in self._newest.items():
            of = Range(digest[0], ring.partition_of(digest))
            if wanted is None or of in wanted:
                slots = ring.slots(of.partition, of.n)
                voters = [[name for name in slot.nodes if votes(name, of)] for slot in slots]
                for row in rows.values():
                    found += self._without(digest, row, voters, f"{of}, epoch {ring.epoch}")
        return found

    def _without(
        self, digest: bytes, row: Row, voters: list[list[str]], where: str
    ) -> Iterator[Violation]:
        """A violation if too many slots vote without a write; ``voters``: of each slot."""
        disks = self._disks()
        names = {name for names in voters for name in names}
        lack = {name for name in names if self._stamp_on(disks[name], digest).hex() < row.stamp}
        without = sum(not lack.isdisjoint(names) for names in voters)
        if without <= len(voters) - row.owners:
            return
        lost = {loss.node for loss in self._losses() if (loss.at_s or 0.0) >= row.invoke_s}
        if without > len(voters) - row.owners + len(lost):
            text = f"{', '.join(sorted(lack))} vote without it in {where}"
            yield Violation("acknowledged_votes", text, (row,))

    def _stamp_on(self, disk: Store, digest: bytes) -> bytes:
        """The stamp of what a disk has under a digest, or had before it was removed."""
        stored = disk.get(RECORD + digest)
        return self._removed_at(disk, digest) if stored is None else stamp_of(stored)

    def _voters(self, ring: RingView) -> Callable[[str, Range], bool]:
        """Whether a node votes in a range."""
        disks = self._disks()
        views = {name: self._view_of(disk, ring) for name, disk in disks.items()}

        def votes(name: str, of: Range) -> bool:
            own = views[name]
            owns = own is not None and name in own.nodes(of.partition, of.n)
            return owns and disks[name].get(state_key(of)) in WHOLE

        return votes

    def _view_of(self, disk: Store, ring: RingView) -> RingView | None:
        """The ring by the newest record on a disk."""
        packed = b""
        for _, packed in disk.scan(RING_RECORD):  # noqa: B007 - the last one is wanted
            pass
        if packed and packed not in self._views:
            self._views[packed] = ring.follow(unpack_ring(packed))
        return self._views.get(packed)
