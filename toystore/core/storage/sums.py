"""The sums of this node's records, leaf by leaf, in memory (Dynamo, section 4.7).

    a put             *notes* the heads of the record before and of the new one, under its digest
    a note is folded  when sums are asked for, or after a commit if there are too many: the old
                      head leaves the sum of its leaf, and the new one enters it
    a leaf is walked  when its sum is asked for and not known: each record is read and checked, and
                      summed if it is sound

A leaf loses its sum if anything about it is doubtful: a corrupt record was read or overwritten, or
the transaction was aborted in which it was noted, folded or walked.

After a start no leaf has a sum, so all checksums are verified once.  With sums in the store, in the
record's transaction, a put would wait for all of this (docs/ARCHITECTURE.md has the figures).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from toystore.core.data.record import CorruptRecordError, check_record, is_tombstone
from toystore.core.protocol.machine import Outbox
from toystore.core.ring.ranges import LEAVES, Leaf, Range, Ranges
from toystore.core.ring.tree import HEAD_BYTES, hash_of, sum_of
from toystore.core.storage.store import Store
from toystore.core.storage.stretch import scan_stretch

NOTES_MAX = 2048
"""More notes are folded after a commit, so that no question has to fold many."""
WORK_MAX = 1000
"""How much one question may cost, in records that are read, and the last leaf beyond."""

SEEK = 4  # what it costs to find the first record of a leaf
_WORK_BYTES = 4096  # what costs as much to check as one more record


class LeafSum(NamedTuple):
    """The sum of the sound records of a leaf."""

    xor: int
    """Of their hashes."""
    records: int
    tombstones: int
    """How many of them are tombstones."""

    @property
    def packed(self) -> bytes:
        """As it stands in the tree of its range."""
        return sum_of(self.xor, self.records)


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
    """The sums of the ranges that the node has, and which of those have changed."""

    def __init__(self, store: Store, ranges: Ranges, outbox: Outbox) -> None:
        """``outbox``: for the log.  All owned ranges have changed."""
        self._store = store
        self._ranges = ranges
        self._out = outbox
        self._sums: dict[int, LeafSum] = {}
        """By the index of the leaf (`Ranges.index_of`)."""
        self._notes: dict[bytes, tuple[bytes | None, bytes]] = {}
        """By digest: the head that is in the sum of the leaf, if any, and the one in the store."""
        self._noted: list[bytes] = []
        """The digests that were noted in this transaction."""
        self._rotten: dict[int, set[bytes]] = {}
        """The digests of known corrupt records.  None of them is in a sum."""
        self._known: dict[int, Range] = {}
        """By their numbers (`Ranges.number_of`)."""
        self._changed: dict[Range, None] = {}
        """The ranges that have changed, the longest unreported first."""
        self._summed: set[int] = set()
        """The leaves that were folded or walked in this transaction."""
        self._reported: list[Range] = []
        """The ranges that were reported in this transaction."""
        self._replaced: list[tuple[int, bytes]] = []
        """The leaves and digests of the corrupt records that were overwritten in it."""
        self._doubted: list[tuple[int, bytes]] = []
        """Those that were met for the first time in it."""
        self.follow(ranges.owned)

    def follow(self, known: Iterable[Range]) -> None:
        """The node has these ranges; those that it did not have have changed."""
        before = set(self._known.values())
        self._known = {self._ranges.number_of(of): of for of in sorted(known)}
        self._changed |= dict.fromkeys(of for of in self._known.values() if of not in before)

    # --- what is told of the records ----------------------------------------------------

    def note(self, digest: bytes, before: bytes | None, record: bytes) -> None:
        """The sound ``record`` has taken the place of ``before``, or of nothing, in the store."""
        if self._rotten and self._forget(digest):
            return
        note = self._notes.get(digest)
        if note is not None:
            head = note[0]
        elif before is None:
            head = None
        else:
            try:
                head = sound_head(before)
            except CorruptRecordError as error:
                self._out.log("record.corrupt", digest=digest.hex(), reason=str(error))
                self._out.log("record.replaced", digest=digest.hex())
                self._lose(self._ranges.index_of(digest))
                return
        self._notes[digest] = head, record[:HEAD_BYTES]
        self._noted.append(digest)

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

    def rotten_in(self, of: Range) -> list[bytes]:
        """Those of one range."""
        return sorted(one for leaf in self._leaves(of) for one in self._rotten.get(leaf, ()))

    def known(self) -> dict[int, LeafSum]:
        """The sums of the leaves that are summed as they are stored, by the index of the leaf."""
        known = self._sums.copy()
        for digest in self._notes:
            known.pop(self._ranges.index_of(digest), None)
        return known

    def change(self, of: Range) -> None:
        """Something else about a range has changed."""
        self._changed[of] = None

    def drop(self, digests: Iterable[bytes]) -> None:
        """Records were deleted."""
        for digest in digests:
            self._notes.pop(digest, None)
            leaf = self._ranges.index_of(digest)
            self._sums.pop(leaf, None)
            self._rotten.get(leaf, set()).discard(digest)

    # --- what is asked ------------------------------------------------------------------

    def change_all(self) -> None:
        """Each range that the node has counts as changed."""
        self._changed = dict.fromkeys((*self._known.values(), *self._changed))

    @property
    def has_changed(self) -> bool:
        """Whether any range has changed.  It may be one that the node does not have."""
        return bool(self._notes or self._changed)

    def changed(self) -> tuple[Range, ...]:
        """The ranges that have changed, the longest unreported first."""
        self._fold(0)
        return tuple(self._changed)

    def report(self, of: Range) -> None:
        """A range is reported as it is now."""
        del self._changed[of]
        self._reported.append(of)

    def tree(self, of: Range, work: Work) -> bytes | None:
        """The tree of a range; None if it would cost more than is left of ``work``."""
        self._fold(0)
        sums = []
        for leaf in self._leaves(of):
            leaf_sum = self._sum(leaf, work)
            if leaf_sum is None:
                return None
            sums.append(leaf_sum)
        return b"".join(one.packed for one in sums)

    def records(self, of: Range) -> int:
        """How many records a range has, in the leaves that are summed."""
        return sum(one.records for one in self._summed_leaves(of))

    def tombstones(self, of: Range) -> int:
        """How many of them are tombstones."""
        return sum(one.tombstones for one in self._summed_leaves(of))

    def leaves_with_tombstones(self, of: Range, work: Work) -> Iterator[int]:
        """The indexes of the leaves that have tombstones, even if it is more than ``work``."""
        self._fold(0)
        for leaf in self._leaves(of):
            if (self._sums.get(leaf) or self._walk(leaf, work).sum).tombstones:
                yield leaf

    def scrub(self, leaf: Leaf) -> Scrub:
        """Read and check each record of a leaf, and sum it afresh."""
        index = self._ranges.index_of(self._ranges.first_of(leaf))
        known = frozenset(self._rotten.get(index, ()))
        self._fold(0)
        before = self._sums.get(index)
        walk = self._walk(index, Work())
        if walk.sum != before:
            self._change(index)
        drifted = before not in (None, walk.sum) and walk.rotten <= known
        return Scrub(walk, drifted)

    # --- transactions -------------------------------------------------------------------

    def on_commit(self) -> None:
        """What was noted, folded and walked in this transaction is what is stored."""
        self._fold(NOTES_MAX)
        self._forget_transaction()

    def on_abort(self) -> None:
        """Nothing of this transaction was stored, and no report was sent."""
        for digest in self._noted:
            self._notes.pop(digest, None)
            self._lose(self._ranges.index_of(digest))
        for leaf in self._summed:
            self._rotten.pop(leaf, None)
            self._lose(leaf)
        for leaf, digest in self._replaced:
            self._rotten.setdefault(leaf, set()).add(digest)
        for leaf, digest in self._doubted:
            self._rotten.get(leaf, set()).discard(digest)
        self._changed |= dict.fromkeys(self._reported)
        self._forget_transaction()

    def _forget_transaction(self) -> None:
        self._noted.clear()
        self._summed.clear()
        self._reported.clear()
        self._replaced.clear()
        self._doubted.clear()

    # --- sums ---------------------------------------------------------------------------

    def _sum(self, leaf: int, work: Work) -> LeafSum | None:
        """The sum of a leaf without notes; None if ``work`` is used up."""
        leaf_sum = self._sums.get(leaf)
        if leaf_sum is not None:
            return leaf_sum
        return self._walk(leaf, work).sum if work.left > 0 else None

    def _fold(self, notes_max: int) -> None:
        """Fold notes until at most ``notes_max`` are left."""
        notes, sums = self._notes, self._sums
        while len(notes) > notes_max:
            digest, (before, after) = notes.popitem()
            leaf = self._ranges.index_of(digest)
            self._change(leaf)
            if leaf not in sums:
                continue
            xor, records, tombstones = sums[leaf]
            xor ^= hash_of(digest, after)
            tombstones += is_tombstone(after)
            if before is None:
                records += 1
            else:
                xor ^= hash_of(digest, before)
                tombstones -= is_tombstone(before)
            sums[leaf] = LeafSum(xor, records, tombstones)
            self._summed.add(leaf)

    def _walk(self, leaf: int, work: Work) -> Walk:
        """Read, check and sum each record of a leaf."""
        xor = records = tombstones = size = 0
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
                tombstones += is_tombstone(record)
        work.left -= SEEK + records + len(rotten) + size // _WORK_BYTES
        self._summed.add(leaf)
        self._sums[leaf] = LeafSum(xor, records, tombstones)
        if rotten:
            self._rotten[leaf] = rotten
        return Walk(self._sums[leaf], frozenset(rotten), size)

    def _lose(self, leaf: int) -> None:
        """The sum of a leaf is not known any more."""
        self._sums.pop(leaf, None)
        self._change(leaf)

    def _forget(self, digest: bytes) -> bool:
        """A record was overwritten; True if it was known to be corrupt."""
        leaf = self._ranges.index_of(digest)
        rotten = self._rotten.get(leaf, set())
        if digest not in rotten:
            return False
        rotten.remove(digest)
        if not rotten:
            del self._rotten[leaf]
        self._replaced.append((leaf, digest))
        self._out.log("record.replaced", digest=digest.hex())
        self._lose(leaf)
        return True

    def _change(self, leaf: int) -> None:
        of = self._known.get(leaf // LEAVES)
        if of is not None:
            self._changed[of] = None

    def _leaves(self, of: Range) -> range:
        """The indexes of the leaves of a range."""
        first = self._ranges.number_of(of) * LEAVES
        return range(first, first + LEAVES)

    def _summed_leaves(self, of: Range) -> Iterator[LeafSum]:
        self._fold(0)
        sums = (self._sums.get(leaf) for leaf in self._leaves(of))
        return (one for one in sums if one is not None)


def sound_head(record: bytes) -> bytes:
    """The part of a record that is summed.  Raises `CorruptRecordError`."""
    check_record(record)
    return record[:HEAD_BYTES]
