"""Checks of the ranges that a node gives away, at the commits by which it does so.

`released_is_pushed`  what a node has of a range that it has released, its successor has, too
`kept_until_stable`   what a node has given away it keeps until the ring is stable

By the second an abort finds every record where it was.  A node that has lost data is not checked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from toystore.check.promises import Violation
from toystore.core.data.record import CorruptRecordError, check_record, stamp_of
from toystore.core.data.row import time_us_of
from toystore.core.protocol.messages import Message
from toystore.core.protocol.messages.antientropy import SetRange, SweepRange
from toystore.core.protocol.messages.codes import RangeState
from toystore.core.protocol.messages.ring import OfferRings
from toystore.core.ring.ranges import Range, Ranges
from toystore.core.storage.layout import RECORD, floor_key, state_key
from toystore.core.storage.store import Store
from toystore.core.storage.stretch import scan_stretch

RETIRED, RELEASED = (bytes([state]) for state in (RangeState.RETIRED, RangeState.RELEASED))


class GivenAway:
    """What each node had of the ranges that it gives away."""

    def __init__(
        self,
        disks: Callable[[], Mapping[str, Store]],
        lossy: Callable[[], set[str]],
        epoch: Callable[[], int],
    ) -> None:
        """``disks``: of all nodes, by name.  ``lossy``: the nodes that have lost data.
        ``epoch``: of the newest ring record that any node has."""
        self._disks = disks
        self._lossy = lossy
        self._epoch = epoch
        self._digests: dict[tuple[str, Range], set[bytes]] = {}

    def committed(self, ranges: Ranges, messages: Iterable[Message]) -> list[Violation]:
        """A node has committed a batch; ``ranges``: of it, by the record that it has adopted."""
        name, found = ranges.node, list[Violation]()
        if name in self._lossy():
            return found
        asked: dict[Range, bool] = {}
        for message in messages:
            if isinstance(message, SetRange | SweepRange):
                releases = isinstance(message, SetRange) and message.state == RangeState.RELEASED
                asked[Range(message.n, message.partition)] = releases
            elif isinstance(message, OfferRings):
                asked.update((of, False) for one, of in self._digests if one == name)
        for of, releases in asked.items():
            found += self._check(ranges, of, releases)
        return found

    def _check(self, ranges: Ranges, of: Range, releases: bool) -> Iterator[Violation]:
        """Check one range; remember what it has if it was given away just now.

        ``releases``: whether it was released just now.
        """
        place = ranges.node, of
        disk = self._disks()[ranges.node]
        state = disk.get(state_key(of))
        if state not in (RETIRED, RELEASED):
            self._digests.pop(place, None)
            return
        records = dict(_records(disk, ranges, of))
        if releases and state == RELEASED and self._epoch() == ranges.ring.epoch:
            yield from self._unpushed(ranges, of, records)
        if not ranges.ring.record.moving:
            self._digests.pop(place, None)
        elif missing := self._digests.setdefault(place, set(records)) - records.keys():
            text = f"{ranges.node} has deleted {len(missing)} records of {of}"
            yield Violation("kept_until_stable", f"{text} in epoch {ranges.ring.epoch}")

    def _unpushed(
        self, ranges: Ranges, of: Range, records: Mapping[bytes, bytes]
    ) -> Iterator[Violation]:
        """A violation for each node that takes over a range and lacks records of it."""
        slot = ranges.slot(of)
        takers = ranges.ring.owners(of.partition, of.n) if slot is None else (slot.new,)
        for taker in takers:
            if taker is None or taker in self._lossy():
                continue
            disk = self._disks()[taker]
            floor_us = int.from_bytes(disk.get(floor_key(of)) or b"", "big")
            lacks = [
                digest.hex()
                for digest, record in records.items()
                if _is_sound(record)
                and time_us_of(record) >= floor_us
                and _is_older(disk.get(RECORD + digest), record)
            ]
            if lacks:
                text = f"{ranges.node} has released {of}, and {taker} lacks {', '.join(lacks)}"
                yield Violation("released_is_pushed", text)


def _records(disk: Store, ranges: Ranges, of: Range) -> Iterator[tuple[bytes, bytes]]:
    leaves = ranges.leaves(of)
    return scan_stretch(disk, ranges.first_of(leaves[0]), ranges.end_of(leaves[-1]))


def _is_sound(record: bytes) -> bool:
    try:
        check_record(record)
    except CorruptRecordError:
        return False
    return True


def _is_older(stored: bytes | None, record: bytes) -> bool:
    return stored is None or stamp_of(stored) < stamp_of(record)
