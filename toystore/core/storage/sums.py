"""The sums of this node's records, leaf by leaf, in memory (Dynamo, section 4.7).

    a put            *notes* the head of the record before, under its digest
    a sum is needed  and a leaf has notes: it is *folded*.  Each old head leaves the sum, and
                     that of the record which is now in the store enters it
    ... and a leaf has none: it is *walked*.  Each record is read and checked, and summed if sound

A leaf loses its sum if a put finds `NOTES_MAX` notes, or if anything about it is doubtful: a
corrupt record was read or overwritten, or the transaction in which it was folded or walked was
aborted.  Notes outlive an abort: a fold finds the same record as before.

After a start no leaf has a sum, so all checksums are verified once.  To keep the sums in the store,
in the record's transaction, would cost a put much more (docs/ARCHITECTURE.md has the figures).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

from toystore.core.data.record import CorruptRecordError, check_record
from toystore.core.protocol.machine import Outbox
from toystore.core.ring.ranges import LEAVES, Leaf, Range, Ranges
from toystore.core.ring.tree import HEAD_BYTES, hash_of, sum_of
from toystore.core.storage.layout import RECORD
from toystore.core.storage.store import Store
from toystore.core.storage.stretch import scan_stretch

NOTES_MAX = 64
"""A leaf with more notes is walked: that costs no more than to fold them."""
WORK_MAX = 2000
"""How much one question may cost, in records that are read, and the last leaf beyond."""

_SEEK = 4  # what it costs to find the first record of a leaf
_WORK_BYTES = 4096  # what costs as much to check as one more record


class LeafSum(NamedTuple):
    """The sum of the sound records of a leaf."""

    xor: int
    """Of their hashes."""
    records: int


class Work:
    """What one question may still cost."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = WORK_MAX


class Walk(NamedTuple):
    """What a walk of a leaf has read."""

    sum: LeafSum
    rotten: frozenset[bytes]
    """The digests of the corrupt records."""
    bytes: int


class Scrub(NamedTuple):
    """What a scrub of a leaf has found."""

    walk: Walk
    drifted: bool
    """Whether the sum was not that of the records, and no new rot explains that."""


class Sums:
    """The sums of the owned ranges, and which of those have changed."""

    def __init__(self, store: Store, ranges: Ranges, outbox: Outbox) -> None:
        """``outbox``: for the log.  All ranges have changed."""
        self._store = store
        self._ranges = ranges
        self._out = outbox
        self._sums: dict[int, LeafSum] = {}
        """By the index of the leaf (`Ranges.index_of`)."""
        self._notes: dict[int, dict[bytes, bytes | None]] = {}
        """Of leaves that have a sum: the head that is in the sum, by digest."""
        self._rotten: dict[int, set[bytes]] = {}
        """The digests of known corrupt records.  None of them is in a sum."""
        self._owned = {self._first(of) // LEAVES: of for of in sorted(ranges.owned)}
        self._changed = dict.fromkeys(self._owned.values())
        """The ranges that have changed, the longest unreported first."""
        self._summed: set[int] = set()
        """The leaves that were folded or walked in this transaction."""
        self._reported: list[Range] = []
        """The ranges that were reported in this transaction."""
        self._replaced: list[tuple[int, bytes]] = []
        """The leaves and digests of the corrupt records that were overwritten in it."""
        self._doubted: list[tuple[int, bytes]] = []
        """Those that were met for the first time in it."""

    # --- what is told of the records ----------------------------------------------------

    def note(self, digest: bytes, before: bytes | None) -> None:
        """The record ``before``, or nothing, was overwritten in the store."""
        leaf = self._ranges.index_of(digest)
        notes = self._notes.get(leaf)
        known = leaf in self._rotten and self._forget(leaf, digest)
        if notes is None:
            self._change(leaf)
            if leaf in self._sums:
                self._notes[leaf] = notes = {}
            else:
                return
        elif digest in notes:
            return
        elif len(notes) >= NOTES_MAX:
            self._lose(leaf)
            return
        try:
            notes[digest] = None if before is None else sound_head(before)
        except CorruptRecordError as error:
            self._lose(leaf)
            if not known:
                self._out.log("record.corrupt", digest=digest.hex(), reason=str(error))
                self._out.log("record.replaced", digest=digest.hex())

    def doubt(self, digest: bytes) -> bool:
        """A record was found to be corrupt when it was read; False if that was known."""
        leaf = self._ranges.index_of(digest)
        rotten = self._rotten.setdefault(leaf, set())
        if digest in rotten:
            return False
        rotten.add(digest)
        self._doubted.append((leaf, digest))
        self._lose(leaf)
        return True

    @property
    def rotten(self) -> int:
        """How many records are known to be corrupt."""
        return sum(map(len, self._rotten.values()))

    def rotten_digests(self) -> Iterator[bytes]:
        """The digests of the records that are known to be corrupt."""
        return itertools.chain.from_iterable(self._rotten.values())

    def known(self) -> dict[int, LeafSum]:
        """The sums of the leaves that are summed as they are stored, by the index of the leaf."""
        return {leaf: one for leaf, one in self._sums.items() if leaf not in self._notes}

    def change(self, of: Range) -> None:
        """Something else about an owned range has changed."""
        self._changed[of] = None

    # --- what is asked ------------------------------------------------------------------

    def changed(self) -> tuple[Range, ...]:
        """The ranges that have changed, the longest unreported first."""
        return tuple(self._changed)

    def report(self, of: Range) -> None:
        """A range is reported as it is now."""
        del self._changed[of]
        self._reported.append(of)

    def tree(self, of: Range, work: Work) -> bytes | None:
        """The tree of an owned range; None if it would cost more than is left of ``work``."""
        first = self._first(of)
        sums = []
        for leaf in range(first, first + LEAVES):
            leaf_sum = self._sum(leaf, work)
            if leaf_sum is None:
                return None
            sums.append(leaf_sum)
        return b"".join(sum_of(*one) for one in sums)

    def scrub(self, leaf: Leaf) -> Scrub:
        """Read and check each record of an owned leaf, and sum it afresh."""
        index = self._ranges.index_of(self._ranges.first_of(leaf))
        known = frozenset(self._rotten.get(index, ()))
        before = self._fold(index, Work()) if index in self._sums else None
        walk = self._walk(index, Work())
        if walk.sum != before:
            self._change(index)
        drifted = before not in (None, walk.sum) and walk.rotten <= known
        return Scrub(walk, drifted)

    # --- transactions -------------------------------------------------------------------

    def on_commit(self) -> None:
        """What was summed in this transaction is what is stored."""
        self._summed.clear()
        self._reported.clear()
        self._replaced.clear()
        self._doubted.clear()

    def on_abort(self) -> None:
        """What was summed in this transaction was never stored, and no report was sent."""
        for leaf in self._summed:
            self._rotten.pop(leaf, None)
            self._lose(leaf)
        self._summed.clear()
        self._changed |= dict.fromkeys(self._reported)
        self._reported.clear()
        for leaf, digest in self._replaced:
            self._rotten.setdefault(leaf, set()).add(digest)
        self._replaced.clear()
        for leaf, digest in self._doubted:
            self._rotten.get(leaf, set()).discard(digest)
        self._doubted.clear()
        self._doubted.clear()

    # --- sums ---------------------------------------------------------------------------

    def _sum(self, leaf: int, work: Work) -> LeafSum | None:
        """The sum of a leaf as it is stored; None if ``work`` is used up."""
        leaf_sum = self._sums.get(leaf)
        if leaf_sum is not None and leaf not in self._notes:
            return leaf_sum
        if work.left <= 0:
            return None
        folded = None if leaf_sum is None else self._fold(leaf, work)
        return self._walk(leaf, work).sum if folded is None else folded

    def _fold(self, leaf: int, work: Work) -> LeafSum | None:
        """The sum with its notes folded in; None if a record of them is corrupt."""
        xor, records = self._sums[leaf]
        notes = self._notes.pop(leaf, {})
        work.left -= len(notes)
        for digest, before in notes.items():
            if before is not None:
                xor ^= hash_of(digest, before)
                records -= 1
            stored = self._store.get(RECORD + digest)
            if stored is not None:
                try:
                    xor ^= hash_of(digest, sound_head(stored))
                except CorruptRecordError:
                    return None
                records += 1
        self._summed.add(leaf)
        self._sums[leaf] = LeafSum(xor, records)
        return self._sums[leaf]

    def _walk(self, leaf: int, work: Work) -> Walk:
        """Read, check and sum each record of a leaf."""
        xor = records = size = 0
        rotten: set[bytes] = set()
        known = self._rotten.pop(leaf, set())
        for digest, record in scan_stretch(self._store, *self._ranges.stretch_at(leaf)):
            size += len(record)
            try:
                xor ^= hash_of(digest, sound_head(record))
            except CorruptRecordError as error:
                rotten.add(digest)
                if digest not in known:
                    self._out.log("record.corrupt", digest=digest.hex(), reason=str(error))
            else:
                records += 1
        work.left -= _SEEK + records + len(rotten) + size // _WORK_BYTES
        self._summed.add(leaf)
        self._sums[leaf] = LeafSum(xor, records)
        if rotten:
            self._rotten[leaf] = rotten
        return Walk(self._sums[leaf], frozenset(rotten), size)

    def _lose(self, leaf: int) -> None:
        """The sum of a leaf is not known any more."""
        self._sums.pop(leaf, None)
        self._notes.pop(leaf, None)
        self._change(leaf)

    def _forget(self, leaf: int, digest: bytes) -> bool:
        """A record was overwritten; True if it was known to be corrupt."""
        rotten = self._rotten[leaf]
        if digest not in rotten:
            return False
        rotten.remove(digest)
        if not rotten:
            del self._rotten[leaf]
        self._replaced.append((leaf, digest))
        self._out.log("record.replaced", digest=digest.hex())
        return True

    def _change(self, leaf: int) -> None:
        of = self._owned.get(leaf // LEAVES)
        if of is not None:
            self._changed[of] = None

    def _first(self, of: Range) -> int:
        """The index of the first leaf of a range."""
        return self._ranges.index_of(self._ranges.first_of(Leaf(of.n, of.partition * LEAVES)))


def sound_head(record: bytes) -> bytes:
    """The part of a record that is summed.  Raises `CorruptRecordError`."""
    check_record(record)
    return record[:HEAD_BYTES]
