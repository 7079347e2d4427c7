"""A sloppy quorum (Dynamo, section 4.6): ask the first N healthy nodes, and count their votes.

A request has N slots, one for each replica of its key.  A slot has a *side* for each of its
nodes: one owner, or two while the replica moves (place.py, slot.py).  The owner is asked, or, if
it cannot be reached, a fallback in its place.  A fallback is asked for one side only.  An owner
that is doubted (doubts.py) is asked too, but counts as silent from the beginning: a fallback
is asked at the same time.  A slot has one vote (votes.py), however many nodes were asked for it,
so W votes are W different copies.

The request fails as soon as the slots that may still get a vote are too few for the quorum.  The
answer of a silent node counts, even if the node has been replaced.

When the ring changes, an open request is planned again: an owner that has said yes keeps its vote
if it is still a node of the range, and all other nodes are asked.  The request gets another number,
so that answers by the old ring no longer count.
"""

from __future__ import annotations

from collections.abc import Sequence

from toystore.core.protocol.address import Peer
from toystore.core.protocol.machine import Now
from toystore.core.protocol.messages import Message
from toystore.core.protocol.messages.codes import Code
from toystore.core.requests.desk import Desk, DeskRequest, Ticket
from toystore.core.requests.place import Layouts, Place
from toystore.core.requests.quorum import Verdict, verdict
from toystore.core.requests.slot import (
    CLOSED,
    FALLBACK,
    MOVED,
    OPEN,
    OVERLOADED,
    OWNER,
    SILENT,
    STALE,
    Side,
)
from toystore.core.requests.votes import Vote, Votes, count

_MET, _IMPOSSIBLE = Verdict.MET, Verdict.IMPOSSIBLE
NO_NODES: frozenset[str] = frozenset()


class SloppyQuorum(DeskRequest):
    """What a write and a read have in common.

    Subclasses say what is asked (`owner_question`, `fallback_question`), what is a vote of a slot
    (`vote_of`), what to do when the quorum is met (`succeed`), and when nothing is left to do
    after that (`is_complete`).
    """

    __slots__ = (
        "_spent",
        "asked",
        "cause",
        "needed",
        "nodes",
        "place",
        "sides",
        "silent",
        "yes",
    )

    def __init__(self, desk: Desk, ticket: Ticket, place: Place, needed: int) -> None:
        """``needed``: how many votes make the quorum, R or W."""
        DeskRequest.__init__(self, desk, ticket)
        self.place = place
        self.needed = needed
        self.forget()

    def forget(self) -> None:
        """Forget who was asked and what was answered."""
        self.nodes = nodes = self.place.layout.nodes
        """The node of each side."""
        self.asked: dict[str, int] = {}
        """The side for which a node was asked, for every node that may still answer."""
        self.silent = NO_NODES
        """The asked nodes from which no answer is expected: they are late, or doubted."""
        self.sides: list[Side] = [OPEN] * len(nodes)
        self._spent = NO_NODES
        """The fallbacks that have been asked."""
        self.yes = 0
        """How many slots have a vote."""
        self.cause: int = Code.UNAVAILABLE

    # --- for subclasses -----------------------------------------------------------------

    def owner_question(self) -> Message:
        """What an owner is asked."""
        raise NotImplementedError

    def fallback_question(self, side: int) -> Message:
        """What a fallback is asked in the place of the node of ``side``."""
        raise NotImplementedError

    def vote_of(self, states: Sequence[Side]) -> Vote:
        """The vote of a slot while replicas move, from the states of its sides."""
        raise NotImplementedError

    def succeed(self, now: Now) -> None:
        """The quorum is met: answer."""
        raise NotImplementedError

    def is_complete(self) -> bool:
        """Whether nothing is left to do once it is answered."""
        raise NotImplementedError

    # --- asking -------------------------------------------------------------------------

    def ask(self, now: Now) -> None:
        """Ask the nodes of all slots, and fallbacks for those that cannot be reached."""
        desk, owners = self.desk, self.nodes
        nodes = desk.nodes
        if not nodes.trusted.issuperset(owners):
            self._ask_sloppily(now)
            return
        send, storages, question = desk.outbox.send, nodes.storages, self.owner_question()
        for owner in owners:
            send(storages[owner], question)
        self.asked = self.place.layout.sides.copy()
        desk.watch(self.number, owners, now)

    def _ask_sloppily(self, now: Now) -> None:
        """Ask for each side that is OPEN, or fail if too few nodes can be reached."""
        reachable, trusted = self.desk.nodes.reachable, self.desk.nodes.trusted
        layout = self.place.layout
        healthy = min(len(layout.slots), sum(node in reachable for node in layout.order))
        if healthy < self.needed:
            text = f"only {healthy} of the {self.needed} replicas needed can be reached"
            self.fail(Code.UNAVAILABLE, text, now)
            return
        sides = [(side, self.nodes[side]) for side, state in enumerate(self.sides) if state == OPEN]
        self.asked = {node: side for side, node in sides if node in reachable}
        self.silent = reachable.difference(trusted).intersection(self.asked)
        for side, node in sides:
            if node in reachable:
                self.ask_one(node, side, self.owner_question(), now)
            if node not in trusted:
                self.replace(side, now)
        self.decide(now)

    def replace(self, side: int, now: Now) -> None:
        """Ask the next fallback for ``side``, which is OPEN."""
        spare = self._next_spare()
        if spare is None:
            self.exhausted(side, now)
        else:
            self.ask_one(spare, side, self.fallback_question(side), now)

    def exhausted(self, side: int, now: Now) -> None:  # noqa: ARG002 - for subclasses
        """No fallback is left for ``side``."""
        self.sides[side] = SILENT if side in self.asked.values() else CLOSED

    def ask_one(self, node: str, side: int, question: Message, now: Now) -> None:
        """Ask ``node`` for ``side``."""
        self.asked[node] = side
        self.desk.outbox.send(self.desk.nodes.storages[node], question)
        self.desk.watch(self.number, (node,), now)

    def _next_spare(self) -> str | None:
        """The next reachable fallback that was not asked, if there is one; the doubted are last."""
        nodes, fallbacks = self.desk.nodes, self.place.layout.fallbacks
        for wanted in (nodes.trusted, nodes.reachable):
            for node in fallbacks:
                if node in wanted and node not in self._spent:
                    self._spent |= {node}
                    return node
        return None

    # --- another ring -------------------------------------------------------------------

    def on_ring(self, layouts: Layouts, now: Now) -> None:
        """Plan it again by this ring, unless it is answered, or its time is over.

        After a pause of this process the ring may change before the deadline is served.
        """
        if not self.answered and now.monotonic < self.ticket.deadline:
            self.plan_again(layouts.again(self.place), now)

    def plan_again(self, place: Place, now: Now) -> None:
        """Keep the votes of owners that count at ``place``, and ask every other node.

        A vote counts only in the next epoch: a node that was no owner in an epoch in between may
        have deleted the record and be an owner again.
        """
        kept: set[str] = set()
        if place.layout.epoch <= self.place.layout.epoch + 1:
            voted = zip(self.nodes, self.sides, strict=True)
            kept = {node for node, state in voted if state == OWNER}
        self.place = place
        self.desk.renumber(self)
        self.forget()
        for side, node in enumerate(self.nodes):
            if node in kept:
                self.vote(side, node)
        self._ask_sloppily(now)

    def wait_for_ring(self, node: str, now: Now) -> None:
        """``node`` has a newer ring: wait for it, or do without the node if it is answered."""
        self.desk.newer_rings.note(node, self.place.layout.epoch, now)
        if self.answered:
            self.do_without(node, now)
            return
        side = self.stop_awaiting(node)
        assert side is not None
        self.give_up(side, STALE, self.cause)
        self.decide(now)

    # --- listening ----------------------------------------------------------------------

    def stop_awaiting(self, node: str) -> int | None:
        """``node`` has answered.  Returns the side for which it was asked; None if it was not."""
        if self.silent:
            self.silent -= {node}
        return self.asked.pop(node, None)

    def vote(self, side: int, node: str) -> None:
        """``node`` says yes for ``side``; the second yes for a side changes nothing."""
        if self.sides[side] not in (OWNER, FALLBACK, MOVED):
            self.sides[side] = OWNER if self.nodes[side] == node else FALLBACK
            self.yes += 1

    def gave_away(self, node: str, now: Now) -> None:
        """``node`` has given its replica away: the other node of its slot votes alone."""
        side = self.stop_awaiting(node)
        assert side is not None
        if self.sides[side] not in (OWNER, FALLBACK, STALE):
            self.sides[side] = MOVED
        self.decide(now)

    def do_without(self, node: str, now: Now) -> None:
        """``node`` will not vote: ask the next fallback in its place."""
        was_silent = node in self.silent
        side = self.stop_awaiting(node)
        if side is None:
            return
        if self.sides[side] == OPEN and not was_silent:
            self.replace(side, now)
        elif self.sides[side] == SILENT and side not in self.asked.values():
            self.sides[side] = CLOSED
        self.decide(now)

    def give_up(self, side: int, state: Side, cause: int) -> None:
        """Ask no other node for ``side``; a failure of the request has the code ``cause``."""
        if self.sides[side] in (OPEN, SILENT):
            self.sides[side] = state
            self.cause = cause

    def decide(self, now: Now) -> None:
        """Answer if the quorum is met or has become impossible; end if nothing is left."""
        if not self.answered:
            sides = self.sides
            pending = len(sides) - self.yes - sides.count(OVERLOADED) - sides.count(CLOSED)
            if self.place.layout.moves:
                votes = self.votes()
                self.yes, pending = votes.owners + votes.fallbacks, votes.pending
            decided = verdict(self.needed, self.yes, pending)
            if decided is _MET:
                self.succeed(now)
            elif decided is _IMPOSSIBLE:
                self.fail(self.cause, self.tally(), now)
        if self.answered and self.is_complete():
            self.end()

    def votes(self) -> Votes:
        """How many slots have a vote or may still get one, while replicas move."""
        return count(self.vote_of, self.sides, self.place.layout.slots)

    def voted(self) -> tuple[int, int]:
        """How many slots are filled by their owners, and how many with fallbacks."""
        if self.place.layout.moves:
            return self.votes()[:2]
        return self.sides.count(OWNER), self.sides.count(FALLBACK)

    def tally(self) -> str:
        """How many votes there are, for the text of an error."""
        return f"{self.yes} of the {self.needed} replicas needed have answered"

    # --- what may happen ----------------------------------------------------------------

    def awaited(self, nodes: Sequence[str]) -> list[Peer]:
        """The storages among ``nodes`` from which an answer is still expected."""
        storages = self.desk.nodes.storages
        return [storages[node] for node in nodes if node in self.asked and node not in self.silent]

    def on_silence(self, peers: Sequence[Peer], now: Now) -> None:
        """Ask fallbacks in the place of the silent nodes, which may still answer."""
        fresh = [peer.node for peer in peers]
        self.silent = self.silent.union(fresh)
        for node in fresh:
            side = self.asked[node]
            if self.sides[side] == OPEN:
                self.replace(side, now)
        self.decide(now)

    def on_lost(self, node: str, now: Now) -> None:
        """Ask a fallback in its place."""
        self.do_without(node, now)

    def on_removed(self, now: Now) -> None:
        """End: no other node answers this one."""
        if self.answered:
            self.end()
        else:
            self.fail_as_removed(now)

    def on_unsent(self, node: str, overloaded: bool, now: Now) -> None:
        """Replace a node whose link is down, but not one that is overloaded.

        More messages to other nodes would not help an overloaded cluster.  The fallback of a
        doubted owner has its message already.
        """
        if not overloaded or node in self.silent:
            self.do_without(node, now)
            return
        side = self.stop_awaiting(node)
        if side is not None:
            self.give_up(side, OVERLOADED, Code.OVERLOADED)
            self.decide(now)
