"""Checks of floors, and of the tombstones that are removed below them, straight from the disks.

`floors_only_rise`    the floor of a range at a node never sinks while the node has its disk
`floors_rise_at_rest` no floor rises above those of all nodes while the ring moves
`deletes_are_final`   when a tombstone is removed, no member keeps a value that it has deleted

Below a floor nothing tells a deleted key from one that was never written.  The checks of histories
compare stamps, so `Floors.complete` gives each read that has found nothing the stamp of the newest
delete that may have been removed by then.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping

from toystore.check.history import DELETE, FAIL, GET, OK, Row
from toystore.check.promises import Violation
from toystore.core.data.record import (
    DIGEST_BYTES,
    CorruptRecordError,
    check_record,
    digest_of,
    is_tombstone,
    stamp_of,
)
from toystore.core.protocol.messages.codes import RangeState
from toystore.core.ring.ranges import Range, Ranges
from toystore.core.storage.floors import NO_FLOOR
from toystore.core.storage.layout import (
    FLOOR,
    HINT,
    HINT_TIME_BYTES,
    RECORD,
    floor_key,
    state_key,
)
from toystore.core.storage.store import Store
from toystore.sim.disk import SimDisk

_BEHIND = (b"", bytes([RangeState.BEHIND]))


class Floors:
    """The floors that were on any disk, and the deletes that may have been removed below them."""

    def __init__(
        self, members: Callable[[], Mapping[str, SimDisk]], range_of: Callable[[bytes], Range]
    ) -> None:
        """``members``: the disks of all members.  ``range_of``: the range of a digest."""
        self._members = members
        self._range_of = range_of
        self._at: dict[str, dict[Range, bytes]] = {}
        """The floors on each disk."""
        self._highest: dict[Range, list[tuple[float, bytes]]] = {}
        """From when on a range had which floor at any node, in the order of time."""
        self._deletes: dict[bytes, list[bytes]] = {}
        """The stamps of all deletes under a digest that may have happened, in order."""

    # --- deletes ------------------------------------------------------------------------

    def answered(self, row: Row) -> None:
        """A client has got an answer, or none."""
        if row.operation == DELETE and row.outcome != FAIL and row.stamp:
            stamps = self._deletes.setdefault(_digest(row), [])
            stamps.insert(bisect_left(stamps, stamp := bytes.fromhex(row.stamp)), stamp)

    def removed(self, digest: bytes, floor: bytes) -> bytes:
        """The stamp of the newest delete below a floor; empty if there is none."""
        stamps = self._deletes.get(digest, [])
        at = bisect_left(stamps, floor)
        return stamps[at - 1] if at else b""

    def removed_at(self, disk: Store, digest: bytes) -> bytes:
        """The stamp of the newest delete that may have been removed on a disk."""
        return self.removed(digest, disk.get(floor_key(self._range_of(digest))) or NO_FLOOR)

    def complete(self, rows: Iterable[Row]) -> Iterator[Row]:
        """The rows; a read of nothing has the stamp of the delete that was removed by then."""
        for row in rows:
            if row.operation == GET and row.outcome == OK and not row.stamp:
                digest = _digest(row)
                highest = self._highest.get(self._range_of(digest), [])
                at = bisect_right(highest, row.return_s, key=lambda rise: rise[0])
                floor = highest[at - 1][1] if at else NO_FLOOR
                yield row._replace(stamp=self.removed(digest, floor).hex())
            else:
                yield row

    # --- floors -------------------------------------------------------------------------

    def forget(self, name: str) -> None:
        """A node has another disk, or one that has lost its last batches."""
        self._at.pop(name, None)

    def started(self, name: str, disk: Store, now_s: float) -> None:
        """A process begins, perhaps after a commit that no check has seen."""
        known = self._at.setdefault(name, {})
        for of, floor in floors_on(disk):
            known[of] = max(floor, known.get(of, NO_FLOOR))
            self._rises(of, floor, now_s)

    def committed(self, name: str, ranges: Ranges, disk: SimDisk, now_s: float) -> list[Violation]:
        """A batch of a storage is on its disk; ``ranges``: those of the node."""
        before, floors = self._at.get(name, {}), dict(floors_on(disk))
        if floors == before:
            return []
        self._at[name] = floors
        found = [
            Violation("floors_only_rise", f"{name} has lowered its floor of {of}")
            for of, floor in before.items()
            if floors.get(of, NO_FLOOR) < floor and (of in floors or of in ranges.owned)
        ]
        for of, floor in floors.items():
            if floor > before.get(of, NO_FLOOR) and of in ranges.owned:
                if self._rises(of, floor, now_s) and ranges.ring.record.moving:
                    text = f"{name} has raised its floor of {of} in epoch {ranges.ring.epoch}"
                    found.append(Violation("floors_rise_at_rest", text))
                found += self._brought_back(name, of, floor, disk)
        return found

    def _rises(self, of: Range, floor: bytes, now_s: float) -> bool:
        """Whether the floor of a range is higher than any before."""
        highest = self._highest.setdefault(of, [])
        rises = not highest or floor > highest[-1][1]
        if rises:
            highest.append((now_s, floor))
        return rises

    def _brought_back(
        self, name: str, of: Range, floor: bytes, disk: SimDisk
    ) -> Iterator[Violation]:
        """The values that the tombstones which a batch has removed had deleted.

        A range that is BEHIND may have slept: it forgets tombstones that were removed elsewhere.
        """
        if disk.get(state_key(of)) in _BEHIND:
            return
        for key, record in disk.under_way:
            if key[:1] != RECORD or record is None or disk.get(key) is not None:
                continue
            digest = key[len(RECORD) :]
            if self._range_of(digest) == of and is_tombstone(record):
                for keeper in self._keepers(of, digest, stamp_of(record)):
                    if keeper != name:
                        text = f"{name} has removed the tombstone of a value that {keeper} keeps"
                        yield Violation("deletes_are_final", f"{text} in {of}, below {floor.hex()}")

    def _keepers(self, of: Range, digest: bytes, stamp: bytes) -> Iterator[str]:
        """The members that have an older value under a digest, and will not delete it."""
        for name, disk in self._members().items():
            kept = [
                hint[HINT_TIME_BYTES:]
                for key, hint in disk.scan(HINT)
                if key[-DIGEST_BYTES:] == digest
            ]
            record = disk.get(RECORD + digest)
            if record is not None and disk.get(state_key(of)) not in _BEHIND:
                kept.append(record)
            if any(_is_older_value(one, stamp) for one in kept):
                yield name


def floors_on(disk: Store) -> Iterator[tuple[Range, bytes]]:
    """The floors on a disk."""
    for key, floor in disk.scan(FLOOR):
        yield Range(key[1], int.from_bytes(key[2:], "big")), floor


def _digest(row: Row) -> bytes:
    bucket, key = row.place
    return digest_of(bucket, key.encode(), row.n)


def is_sound(record: bytes) -> bool:
    """Whether a record is not corrupt."""
    try:
        check_record(record)
    except CorruptRecordError:
        return False
    return True


def _is_older_value(record: bytes, stamp: bytes) -> bool:
    return is_sound(record) and not is_tombstone(record) and stamp_of(record) < stamp
