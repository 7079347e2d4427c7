"""A sloppy quorum (Dynamo, section 4.6): ask the first N healthy nodes, and count their votes.

A request has one *slot* for each owner of its key (slot.py).  The owner is asked, or, if it
cannot be reached, a fallback in its place.  A fallback is asked for one slot only.  An owner
that is doubted (doubts.py) is asked too, but counts as silent from the beginning: a fallback
is asked at the same time.  A slot has one vote, however many nodes were asked for it, so W
votes are W different copies.

A slot that is OPEN, SILENT or DEFERRED may still get a vote.  The request fails as soon as
these slots are too few for the quorum.  The answer of a silent node counts, even if the node
has been replaced.
"""

from __future__ import annotations

from collections.abc import Sequence

from toystore.core.protocol.address import Peer
from toystore.core.protocol.machine import Now
from toystore.core.protocol.messages import Message
from toystore.core.protocol.messages.codes import Code
from toystore.core.requests.desk import Desk, DeskRequest, Ticket
from toystore.core.requests.place import Place
from toystore.core.requests.quorum import Verdict, verdict
from toystore.core.requests.slot import (
    CLOSED,
    DEFERRED,
    FALLBACK,
    OPEN,
    OVERLOADED,
    OWNER,
    SILENT,
    Slot,
)

_MET, _IMPOSSIBLE = Verdict.MET, Verdict.IMPOSSIBLE
_NO_NODES: frozenset[str] = frozenset()


class SloppyQuorum(DeskRequest):
    """What a write and a read have in common.

    Subclasses say what is asked (`owner_question`, `fallback_question`), what to do when
    the quorum is met (`succeed`), and when nothing is left to do after that (`is_complete`).
    """

    __slots__ = (
        "_spent",
        "asked",
        "cause",
        "needed",
        "owners",
        "place",
        "silent",
        "slots",
        "yes",
    )

    def __init__(self, desk: Desk, ticket: Ticket, place: Place, needed: int) -> None:
        """``needed``: how many votes make the quorum, R or W."""
        DeskRequest.__init__(self, desk, ticket)
        self.place = place
        self.owners = place.owners
        self.needed = needed
        self.forget()

    def forget(self) -> None:
        """Forget who was asked and what was answered."""
        n = len(self.owners)
        self.asked: dict[str, int] = {}
        """The slot for which a node was asked, for every node that may still answer."""
        self.silent = _NO_NODES
        """The asked nodes from which no answer is expected: they are late, or doubted."""
        self.slots: list[Slot] = [OPEN] * n
        self._spent = _NO_NODES
        """The fallbacks that have been asked."""
        self.yes = 0
        self.cause: int = Code.UNAVAILABLE

    # --- for subclasses -----------------------------------------------------------------

    def owner_question(self) -> Message:
        """What an owner is asked."""
        raise NotImplementedError

    def fallback_question(self, slot: int) -> Message:
        """What a fallback is asked in the place of the owner of ``slot``."""
        raise NotImplementedError

    def succeed(self, now: Now) -> None:
        """The quorum is met: answer."""
        raise NotImplementedError

    def is_complete(self) -> bool:
        """Whether nothing is left to do once it is answered."""
        raise NotImplementedError

    # --- asking -------------------------------------------------------------------------

    def ask(self, now: Now) -> None:
        """Ask the first N healthy nodes, or fail if they are too few."""
        desk, owners = self.desk, self.owners
        nodes = desk.nodes
        if not nodes.trusted.issuperset(owners):
            self._ask_sloppily(now)
            return
        send, storages, question = desk.outbox.send, nodes.storages, self.owner_question()
        for owner in owners:
            send(storages[owner], question)
        self.asked = dict(zip(owners, range(len(owners)), strict=True))
        desk.watch(self.number, owners, now)

    def _ask_sloppily(self, now: Now) -> None:
        reachable, trusted = self.desk.nodes.reachable, self.desk.nodes.trusted
        healthy = min(len(self.owners), sum(node in reachable for node in self.place.order))
        if healthy < self.needed:
            text = f"only {healthy} of the {self.needed} replicas needed can be reached"
            self.fail(Code.UNAVAILABLE, text, now)
            return
        self.silent = reachable.difference(trusted).intersection(self.owners)
        for slot, owner in enumerate(self.owners):
            if owner in reachable:
                self._ask_one(owner, slot, self.owner_question(), now)
            if owner not in trusted:
                self.replace(slot, now)
        self.decide(now)

    def replace(self, slot: int, now: Now) -> None:
        """Ask the next fallback for ``slot``, which is OPEN."""
        spare = self._next_spare()
        if spare is None:
            self.exhausted(slot)
        else:
            self._ask_one(spare, slot, self.fallback_question(slot), now)

    def exhausted(self, slot: int) -> None:
        """No fallback is left for ``slot``."""
        self.slots[slot] = SILENT if slot in self.asked.values() else CLOSED

    def _ask_one(self, node: str, slot: int, question: Message, now: Now) -> None:
        self.asked[node] = slot
        self.desk.outbox.send(self.desk.nodes.storages[node], question)
        self.desk.watch(self.number, (node,), now)

    def _next_spare(self) -> str | None:
        """The next reachable fallback that was not asked, if there is one; the doubted are last."""
        nodes, fallbacks = self.desk.nodes, self.place.order[len(self.owners) :]
        for wanted in (nodes.trusted, nodes.reachable):
            for node in fallbacks:
                if node in wanted and node not in self._spent:
                    self._spent |= {node}
                    return node
        return None

    # --- listening ----------------------------------------------------------------------

    def stop_awaiting(self, node: str) -> int | None:
        """``node`` has answered.  Returns the slot for which it was asked; None if it was not."""
        if self.silent:
            self.silent -= {node}
        return self.asked.pop(node, None)

    def vote(self, slot: int, node: str) -> None:
        """``node`` says yes for ``slot``; the second yes for a slot changes nothing."""
        if self.slots[slot] not in (OWNER, FALLBACK):
            self.slots[slot] = OWNER if self.owners[slot] == node else FALLBACK
            self.yes += 1

    def do_without(self, node: str, now: Now) -> None:
        """``node`` will not vote: ask the next fallback in its place."""
        was_silent = node in self.silent
        slot = self.stop_awaiting(node)
        if slot is None:
            return
        if self.slots[slot] == OPEN and not was_silent:
            self.replace(slot, now)
        elif self.slots[slot] == SILENT and slot not in self.asked.values():
            self.slots[slot] = CLOSED
        self.decide(now)

    def give_up(self, slot: int, state: Slot, cause: int) -> None:
        """Ask no other node for ``slot``; a failure of the request has the code ``cause``."""
        if self.slots[slot] in (OPEN, SILENT):
            self.slots[slot] = state
            self.cause = cause

    def decide(self, now: Now) -> None:
        """Answer if the quorum is met or has become impossible; end if nothing is left."""
        if not self.answered:
            count = self.slots.count
            pending = count(OPEN) + count(SILENT) + count(DEFERRED)
            decided = verdict(self.needed, self.yes, pending)
            if decided is _MET:
                self.succeed(now)
            elif decided is _IMPOSSIBLE:
                self.fail(self.cause, self.tally(), now)
        if self.answered and self.is_complete():
            self.end()

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
            slot = self.asked[node]
            if self.slots[slot] == OPEN:
                self.replace(slot, now)
        self.decide(now)

    def on_lost(self, node: str, now: Now) -> None:
        """Ask a fallback in its place."""
        self.do_without(node, now)

    def on_unsent(self, node: str, overloaded: bool, now: Now) -> None:
        """Replace a node whose link is down, but not one that is overloaded.

        More messages to other nodes would not help an overloaded cluster.  The fallback of a
        doubted owner has its message already.
        """
        if not overloaded or node in self.silent:
            self.do_without(node, now)
            return
        slot = self.stop_awaiting(node)
        if slot is not None:
            self.give_up(slot, OVERLOADED, Code.OVERLOADED)
            self.decide(now)
