"""How ranges are watched, compared and scrubbed, by their sums (Dynamo, section 4.7).

    WatchRanges      the ranges whose records have changed, with their trees
    CompareRanges    those whose root is not the one that another owner has
    ScrubLeaf        reads a leaf, and compares its records with its checksums and its sum

Each question costs a bounded amount of work.  What is beyond is left for the next.
"""

from __future__ import annotations

from collections.abc import Sequence

from toystore.core.protocol.address import Address, Peer
from toystore.core.protocol.machine import Outbox
from toystore.core.protocol.messages.antientropy import (
    CompareRanges,
    CompareRangesReply,
    QuestionFailedReply,
    RangeSum,
    ScrubLeaf,
    ScrubLeafReply,
    WatchRanges,
    WatchRangesReply,
)
from toystore.core.protocol.messages.codes import RangeState
from toystore.core.ring.ranges import Leaf, Range
from toystore.core.ring.tree import root_of
from toystore.core.storage.disk_facts import DiskFacts
from toystore.core.storage.floors import Floors
from toystore.core.storage.own_ranges import OwnRanges
from toystore.core.storage.questions import BadQuestionError, check_known
from toystore.core.storage.sums import Sums, Work
from toystore.core.storage.tombstones import Tombstones

RANGES_MAX = 1024
"""The most ranges in one answer to the watcher."""


class Comparing:
    """Answers questions about whole ranges."""

    def __init__(
        self,
        sums: Sums,
        own: OwnRanges,
        facts: DiskFacts,
        floors: Floors,
        tombstones: Tombstones,
        outbox: Outbox,
    ) -> None:
        self._sums = sums
        self._own = own
        self._facts = facts
        self._floors = floors
        self._tombstones = tombstones
        self._out = outbox
        self._watcher: tuple[Address, int] | None = None
        """Who waits for a change, and the request; the last one only."""
        self._late: set[str] = set()
        """The members of which it is logged that their floors are too late."""

    # --- the watcher --------------------------------------------------------------------

    def watch(self, message: WatchRanges, sender: Address) -> WatchRangesReply | None:
        """The ranges that have changed; None, and an answer later, if there are none."""
        self._watcher = None
        if message.every:
            self._sums.change_all()
        if self._sums.has_changed:
            return self._changes(message.request)
        self._watcher = sender, message.request
        return None

    @property
    def is_watched(self) -> bool:
        """Whether the watcher waits for the next change, and no answer is on its way to it."""
        return self._watcher is not None

    def on_commit(self) -> None:
        """Wake the watcher if a range has changed.  It asks again: only then are sums computed."""
        if self._watcher is not None and self._sums.has_changed:
            watcher, request = self._watcher
            self._watcher = None
            self._out.send(watcher, WatchRangesReply(request, (), more=True))

    def on_abort(self) -> None:
        """Nothing of this batch was logged."""
        self._late.clear()

    def on_failure(self) -> None:
        """The watcher asks the next machine."""
        if self._watcher is not None:
            watcher, request = self._watcher
            self._watcher = None
            self._out.send(watcher, QuestionFailedReply(request, "storage has failed"))

    def _changes(self, request: int) -> WatchRangesReply:
        work = Work()
        ranges: list[RangeSum] = []
        for of in self._sums.changed()[:RANGES_MAX]:
            tree = self._sums.tree(of, work)
            if tree is None:
                break
            state = self._own.state(of)
            behind, floor = state is RangeState.BEHIND, self._floors.of(of)
            tombstones = self._sums.tombstones(of)
            ranges.append(RangeSum(*of, behind, tree, state, floor, tombstones))
            self._sums.report(of)
        return WatchRangesReply(request, tuple(ranges), more=self._sums.has_changed)

    # --- other questions ----------------------------------------------------------------

    def compare(self, message: CompareRanges, sender: Address, wall_us: int) -> CompareRangesReply:
        """The ranges that differ from those of another owner.

        Before, floors that are lower than the asker's are raised.  A range whose floor there is too
        late by the own clock (``wall_us``) is unready.  A disk that is not confirmed may have lost
        the ranges that it counts as whole: it is ready for none.

        Raises `BadQuestionError`.
        """
        if message.epoch > self._own.record.epoch or not self._facts.confirmed():
            every = tuple((n, partition) for n, partition, _ in message.roots)
            return CompareRangesReply(message.request, (), every)
        work = Work()
        differing: list[tuple[int, int, bytes]] = []
        unready: list[tuple[int, int]] = []
        states = bytearray()
        floors: list[int] = []
        asked = _floors_of(message)
        latest = self._tombstones.latest(wall_us)
        self._log_late(max(asked, default=0) - latest, sender)
        for (n, partition, root), theirs in zip(message.roots, asked, strict=True):
            of = Range(n, partition)
            fits = theirs <= latest
            if fits and work.left > 0 and self._own.state(of) is RangeState.WHOLE:
                self._tombstones.follow(of, theirs, work)
            floors.append(self._floors.of(of))
            state = self._own.state(of) if of in self._own.known else RangeState.NONE
            states.append(state)
            ready = fits and (message.rebuilding or floors[-1] >= theirs)
            tree = self._tree(of, state, message.rebuilding, work) if ready else None
            if tree is None:
                unready.append((n, partition))
            elif root_of(tree) != root:
                differing.append((n, partition, tree))
        return CompareRangesReply(
            message.request,
            tuple(differing),
            tuple(unready),
            bytes(states),
            tuple(floors) if any(floors) else (),
        )

    def _log_late(self, late_us: int, sender: Address) -> None:
        """Log once for each member that its floors are too late; not if ``late_us`` is negative."""
        if late_us > 0 and isinstance(sender, Peer) and sender.node not in self._late:
            self._late.add(sender.node)
            self._out.log("floor.refused", member=sender.node, late_s=round(late_us / 1e6, 3))

    def _tree(self, of: Range, state: RangeState, rebuilding: bool, work: Work) -> bytes | None:
        """The tree of a range; None if it is not to be compared or not ready."""
        if state is RangeState.NONE or (state is not RangeState.WHOLE and not rebuilding):
            return None
        return self._sums.tree(of, work)

    def scrub(self, message: ScrubLeaf) -> ScrubLeafReply:
        """Read a leaf.  Raises `BadQuestionError`."""
        leaf = Leaf(message.n, message.leaf)
        check_known(leaf.range, self._own.known)
        walk, drifted = self._sums.scrub(leaf)
        if drifted:
            of = leaf.range
            self._out.log("sums.drifted", n=of.n, partition=of.partition, leaf=leaf.number)
        records = walk.sum.records + len(walk.rotten)
        return ScrubLeafReply(message.request, records, walk.bytes, len(walk.rotten), drifted)


def _floors_of(message: CompareRanges) -> Sequence[int]:
    """The asker's floor of each range.  Raises `BadQuestionError`."""
    floors = message.floors or (0,) * len(message.roots)
    if len(floors) != len(message.roots):
        raise BadQuestionError(f"{len(floors)} floors of {len(message.roots)} ranges")
    return floors
