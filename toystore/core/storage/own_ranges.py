"""The ranges of this node: which of them it owns, and the state of each (range_states.py).

Both follow from the newest ring record that this disk has adopted.  A record is adopted, and the
state of each range that it changes is set, in one transaction.  What is in memory here is a copy of
what is in the store, and is read again after a batch was undone.

A range whose N no bucket of this node has is left alone: it counts as WHOLE.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from toystore.core.data.record import DIGEST_BYTES
from toystore.core.protocol.messages.codes import RangeState
from toystore.core.ring.ranges import LEAVES, Leaf, Range, Ranges
from toystore.core.ring.record import RingRecord, unpack_ring
from toystore.core.storage.layout import (
    ADOPTED,
    RECORD,
    RING_RECORD,
    STATE,
    ring_record_key,
    state_key,
)
from toystore.core.storage.range_states import (
    FOLLOWED,
    Ownership,
    has_successor,
    may_become,
    ownership,
)
from toystore.core.storage.store import Store
from toystore.core.storage.stretch import scan_stretch

_STATE_BYTES = 6  # of a key
_BEHIND, _NONE, _WHOLE = RangeState.BEHIND, RangeState.NONE, RangeState.WHOLE
_OF_BYTE = {bytes([state]): state for state in RangeState}
MERGING = frozenset((RangeState.WHOLE, RangeState.BEHIND))
"""The states in which records are stored that owners should have."""


class _Memory(NamedTuple):
    """What the store says."""

    ranges: Ranges
    stated: Mapping[Range, RangeState]
    """The ranges whose state is in the store."""
    moved: int
    """The epoch of the newest record by which ranges moved; 0 if there was none."""
    known: frozenset[Range]
    """The ranges that the node owns or has anything of."""
    whole: frozenset[int]
    """The numbers of those that it owns and that are whole."""


def _memory(ranges: Ranges, stated: Mapping[Range, RangeState], moved: int) -> _Memory:
    whole = frozenset(map(ranges.number_of, ranges.owned.difference(stated)))
    return _Memory(ranges, stated, moved, ranges.owned.union(stated), whole)


class Adoption(NamedTuple):
    """What the adoption of a ring record has changed."""

    changed: frozenset[Range]
    """The ranges with another state."""
    strays: int
    """In how many of them records lie that the node does not own."""


class _Parts:
    """Which parts the node has in its ranges: found once for each ring, as they are asked often."""

    def __init__(self, ranges: Ranges) -> None:
        self.ranges = ranges
        self.of = functools.cache(functools.partial(_ownership, ranges))
        """``of(range)``: the part in a range."""

    @functools.cached_property
    def leaving(self) -> dict[Range, None]:
        """The ranges that move away from the node to another, in order."""
        ranges = self.ranges
        if not ranges.ring.record.moving:
            return {}
        return dict.fromkeys(
            of
            for of in sorted(filter(ranges.loses, ranges.owned))
            if has_successor(ranges.ring.slots(of.partition, of.n), ranges.node)
        )


class OwnRanges:
    """The ranges of one node, and their states in ``store``."""

    def __init__(self, store: Store, ranges: Ranges) -> None:
        """``ranges``: by the record with which the node has started."""
        self._store = store
        self._start = ranges
        self._now = _memory(ranges, {}, 0)
        self._parts = _Parts(ranges)
        self._early: dict[Range, int] | None = None
        """The ranges to which coordinators with a newer ring record have written, and the epoch of
        the newest such record; 0 if that is not known.  None before the store was searched for
        records of which nothing was known."""
        self.is_read = False
        """Whether all here is what the store says."""

    # --- what there is ------------------------------------------------------------------

    @property
    def ranges(self) -> Ranges:
        """The ranges by the newest record that was adopted."""
        return self._now.ranges

    @property
    def record(self) -> RingRecord:
        """This record."""
        return self._now.ranges.ring.record

    @property
    def stays(self) -> bool:
        """Whether the node is a member once nothing moves any more."""
        return any(one.name == self._now.ranges.node for one in self.record.members)

    @property
    def moved(self) -> int:
        """The epoch of the newest record by which ranges moved: owners' writes of earlier epochs
        may have been sent to too few nodes."""
        return self._now.moved

    @property
    def owned(self) -> frozenset[Range]:
        """The ranges that the node owns, also those that move away from it."""
        return self._now.ranges.owned

    @property
    def known(self) -> frozenset[Range]:
        """These, and others of which it has anything."""
        return self._now.known

    def state(self, of: Range) -> RangeState:
        """The state of a range."""
        stated = self._now.stated.get(of)
        if stated is not None:
            return stated
        unknown = of.n not in self.ranges.copies
        return _WHOLE if unknown or of in self.owned else _NONE

    def state_at(self, digest: bytes) -> RangeState:
        """The state of the range of a digest."""
        now = self._now
        if now.ranges.index_of(digest) // LEAVES in now.whole:
            return _WHOLE
        return self.state(now.ranges.range_of(digest))

    def ownership(self, of: Range) -> Ownership:
        """Which part the node has in a range."""
        return self._parts_now().of(of)

    @property
    def stated(self) -> int:
        """The number of ranges whose state is in the store."""
        return len(self._now.stated)

    def behind(self) -> int:
        """How many ranges lack records."""
        return sum(state is _BEHIND for state in self._now.stated.values())

    def lacking(self) -> list[Range]:
        """The ranges that lack records, of those that the node keeps or gets."""
        return [
            of for of, state in self._now.stated.items() if state is _BEHIND and self._stays(of)
        ]

    def staying(self) -> list[Range]:
        """The ranges that the node keeps or gets."""
        return [of for of in self.owned if self._stays(of)]

    def _stays(self, of: Range) -> bool:
        return of in self.owned and self.ownership(of) is not Ownership.OLD

    def leaving(self) -> list[Range]:
        """The ranges that move away from this node to another, and are not released yet."""
        released = RangeState.RELEASED
        return [of for of in self._parts_now().leaving if self.state(of) is not released]

    def gives_away(self, digest: bytes) -> bool:
        """Whether the range of a digest moves away from this node, and is not released yet."""
        of = self.ranges.range_of(digest)
        released = self.state(of) is RangeState.RELEASED
        return not released and of in self._parts_now().leaving

    def _parts_now(self) -> _Parts:
        if self._parts.ranges is not self.ranges:
            self._parts = _Parts(self.ranges)
        return self._parts

    # --- what changes -------------------------------------------------------------------

    def read(self) -> None:
        """Read the store, in an open transaction."""
        epoch, moved = self._adopted()
        ranges = self.ranges if epoch == self.record.epoch else self._start
        if epoch and epoch != ranges.ring.epoch:
            packed = self._store.get(ring_record_key(epoch))
            ranges = ranges if packed is None else ranges.follow(unpack_ring(packed))
        stated = {}
        for key, value in self._store.scan(STATE):
            of = Range(key[1], int.from_bytes(key[2:], "big")) if len(key) == _STATE_BYTES else None
            if of is not None and of.partition < ranges.ring.partitions:
                stated[of] = _OF_BYTE.get(value, _BEHIND)
        self._now = _memory(ranges, stated, moved)
        if self._early is None:
            self._early = dict.fromkeys(self._unknown(), 0)
        self.is_read = True

    def forget(self) -> None:
        """A batch was undone: read the store again."""
        self.is_read = False

    def set(self, of: Range, state: RangeState) -> bool:
        """Set the state of a range, if that is possible now; False if not."""
        if not may_become(self.state(of), state, self.ownership(of)):
            return False
        self.put({of: state})
        return True

    def put(self, states: Mapping[Range, RangeState]) -> None:
        """Set the states of ranges."""
        now, stated = self._now, dict(self._now.stated)
        for of in sorted(states):
            stated.pop(of, None)
            if states[of] in (_NONE, _WHOLE):
                self._store.delete(state_key(of))
            else:
                stated[of] = states[of]
                self._store.put(state_key(of), bytes([states[of]]))
        number_of = now.ranges.number_of
        known = {of for of in states if of in self.owned or of in stated}
        whole = {number_of(of) for of in states if of in self.owned and of not in stated}
        self._now = now._replace(
            stated=stated,
            known=now.known.difference(states) | known,
            whole=now.whole.difference(map(number_of, states)) | whole,
        )

    def fall_behind(self, ranges: Iterable[Range]) -> None:
        """Of these ranges, those that are whole lack records from now on."""
        self.put({of: _BEHIND for of in ranges if self.state(of) is _WHOLE})

    def written_early(self, digest: bytes, epoch: int) -> None:
        """A record was written by a coordinator with a newer ring record than this node's."""
        assert self._early is not None
        of = self.ranges.range_of(digest)
        self._early[of] = max(epoch, self._early.get(of, 0))

    def is_early(self, of: Range) -> bool:
        """Whether a range was written to, in this run, by a newer ring record than this node's."""
        assert self._early is not None
        return self._early.get(of, 0) > self.record.epoch

    def adopt(self, record: RingRecord) -> Adoption:
        """Follow the next record.  A range that is whole stays so while the node owns it."""
        before = self._now
        ranges = before.ranges.follow(record)
        after = {
            of: FOLLOWED[self.state(of)][_ownership(ranges, of)]
            for of in before.stated.keys() | (before.ranges.owned ^ ranges.owned)
            if of.n in ranges.copies
        }
        empty = [of for of in after if of not in ranges.owned and not self.has_records(of)]
        after |= dict.fromkeys(empty, _NONE)
        changed = {of: state for of, state in after.items() if state is not self.state(of)}
        moved = record.epoch if record.moving else before.moved
        self._store.put(ADOPTED, b"%d,%d" % (record.epoch, moved))
        self._now = _memory(ranges, before.stated, moved)
        self.put(changed)
        assert self._early is not None
        early = [of for of in self._early if self._is_unknown(of) and self.has_records(of)]
        self._mark_strays(early)
        return Adoption(frozenset(changed).union(early), len(early))

    def find_strays(self) -> int:
        """Records that are where the node owns nothing are stray; returns in how many ranges."""
        return self._mark_strays(self._unknown())

    def _mark_strays(self, found: Iterable[Range]) -> int:
        strays = set(found)
        self.put(dict.fromkeys(strays, RangeState.STRAY))
        return len(strays)

    def _is_unknown(self, of: Range) -> bool:
        return of not in self.known and of.n in self.ranges.copies

    def catch_up(self) -> None:
        """At the start of a node: follow the newest record in the store.

        A running node adopts each record.  One that it has not adopted was stored on an empty disk
        by a node that has joined: each of its ranges is to be fetched.
        """
        self.read()
        epoch, moved = self._adopted()
        records = [unpack_ring(packed) for _, packed in self._store.scan(RING_RECORD)]
        if not records or records[-1].epoch <= epoch:
            return
        moved = max((one.epoch for one in records if one.moving), default=moved)
        self._store.put(ADOPTED, b"%d,%d" % (records[-1].epoch, moved))
        self._now = _memory(self.ranges.follow(records[-1]), self._now.stated, moved)
        self.put(dict.fromkeys(self.known - self.owned, _NONE))
        self.fall_behind(self.owned)

    # --- the store ----------------------------------------------------------------------

    def _adopted(self) -> tuple[int, int]:
        """The epoch that was adopted last, and that of the newest record by which ranges moved."""
        adopted = self._store.get(ADOPTED) or b""
        if not re.fullmatch(rb"\d+,\d+", adopted):
            return 0, 0
        epoch, moved = map(int, adopted.split(b","))
        return epoch, moved

    def stretch(self, of: Range) -> tuple[bytes, bytes]:
        """The first digest of a range, and the first after it."""
        leaves = self.ranges.leaves(of)
        return self.ranges.first_of(leaves[0]), self.ranges.end_of(leaves[-1])

    def has_records(self, of: Range) -> bool:
        """Whether any record of a range is stored."""
        return next(scan_stretch(self._store, *self.stretch(of)), None) is not None

    def _unknown(self) -> Iterator[Range]:
        """The ranges that have records although nothing of them is known here."""
        ranges, known = self.ranges, self.known
        for n in sorted(ranges.copies):
            partition = 0
            while partition < ranges.ring.partitions:
                if Range(n, partition) not in known:
                    digest = self._first_digest(n, ranges.first_of(Leaf(n, partition * LEAVES)))
                    if digest is None:
                        break
                    of = ranges.range_of(digest)
                    if of not in known:
                        yield of
                    partition = of.partition
                partition += 1

    def _first_digest(self, n: int, start: bytes) -> bytes | None:
        """The first digest of a stored record from ``start`` on, of those with this N."""
        for key, _ in self._store.scan(RECORD + n.to_bytes(1, "big"), start[1:]):
            if len(key) == len(RECORD) + DIGEST_BYTES:
                return key[len(RECORD) :]
        return None


def _ownership(ranges: Ranges, of: Range) -> Ownership:
    return ownership(ranges.ring.slots(of.partition, of.n), ranges.node)
