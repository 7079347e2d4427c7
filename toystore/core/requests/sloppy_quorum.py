"""A sloppy quorum: asking the first N healthy nodes, and counting what they say.

After Dynamo, section 4.6.  A request has one *slot* per owner of its key.  A slot is first
asked of its owner, or, if that one cannot be reached, of a fallback in its place; a
fallback stands in one slot only.  An owner that is doubted (doubts.py) is asked, and
counts as silent from the beginning: a fallback is asked at the same time.  However many
nodes were asked for a slot, it has one vote, so that W votes are W different copies.

slot.py has the states of a slot.  OPEN, SILENT and DEFERRED slots may yet get a vote; when
those are too few for the quorum the request fails at once.  A silent node that was replaced
and answers after all is heard.
"""

from __future__ import annotations

from collections.abc import Sequence

from toystore.core.protocol.address import Peer
from toystore.core.protocol.machine import Now
from toystore.core.protocol.messages import Message
from toystore.core.protocol.messages.codes import Code
from toystore.core.requests.desk import Desk, Held, Ticket
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
_NOBODY: frozenset[str] = frozenset()


class SloppyQuorum(Held):
    """What a write and a read have in common.

    Subclasses say what is asked (`owner_question`, `fallback_question`), what to do when
    the quorum is met (`succeed`), and when nothing is left to do after that (`settled`).
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
        Held.__init__(self, desk, ticket)
        self.place = place
        self.owners = place.owners
        self.needed = needed
        self.forget()

    def forget(self) -> None:
        """Nobody has been asked, nobody has answered."""
        n = len(self.owners)
        self.asked: dict[str, int] = {}
        """The slot for which a node was asked, for every node that may still answer."""
        self.silent = _NOBODY
        """Those of the asked that nobody waits for: their time is up, or they are doubted."""
        self.slots: list[Slot] = [OPEN] * n
        self._spent = _NOBODY
        """The fallbacks that have been asked."""
        self.yes = 0
        self.cause: int = Code.UNAVAILABLE

    # --- for subclasses -----------------------------------------------------------------

    def owner_question(self) -> Message:
        """What an owner is asked."""
        raise NotImplementedError

    def fallback_question(self, slot: int) -> Message:
        """What a fallback is asked that stands in ``slot``."""
        raise NotImplementedError

    def succeed(self, now: Now) -> None:
        """The quorum is met: answer."""
        raise NotImplementedError

    def settled(self) -> bool:
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
        self.settle(now)

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
        """The next reachable fallback in the order, the doubted last; none is named twice."""
        nodes, fallbacks = self.desk.nodes, self.place.order[len(self.owners) :]
        for wanted in (nodes.trusted, nodes.reachable):
            for node in fallbacks:
                if node in wanted and node not in self._spent:
                    self._spent |= {node}
                    return node
        return None

    # --- listening ----------------------------------------------------------------------

    def heard(self, node: str) -> int | None:
        """``node`` has spoken: for which slot?  None if nothing is awaited from it."""
        if self.silent:
            self.silent -= {node}
        return self.asked.pop(node, None)

    def vote(self, slot: int, node: str) -> None:
        """``node`` says yes for ``slot``; the second yes for a slot changes nothing."""
        if self.slots[slot] not in (OWNER, FALLBACK):
            self.slots[slot] = OWNER if self.owners[slot] == node else FALLBACK
            self.yes += 1

    def refuse(self, node: str, now: Now) -> None:
        """``node`` will not say yes; somebody else may, in its place."""
        was_silent = node in self.silent
        slot = self.heard(node)
        if slot is None:
            return
        if self.slots[slot] == OPEN and not was_silent:
            self.replace(slot, now)
        elif self.slots[slot] == SILENT and slot not in self.asked.values():
            self.slots[slot] = CLOSED
        self.settle(now)

    def drop(self, slot: int, state: Slot, cause: int) -> None:
        """Nobody (else) is asked for ``slot``, and ``cause`` is why."""
        if self.slots[slot] in (OPEN, SILENT):
            self.slots[slot] = state
            self.cause = cause

    def settle(self, now: Now) -> None:
        """Answer if the quorum is met or has become impossible; end if nothing is left."""
        if not self.answered:
            count = self.slots.count
            pending = count(OPEN) + count(SILENT) + count(DEFERRED)
            decided = verdict(self.needed, self.yes, pending)
            if decided is _MET:
                self.succeed(now)
            elif decided is _IMPOSSIBLE:
                self.fail(self.cause, self.tally(), now)
        if self.answered and self.settled():
            self.end()

    def tally(self) -> str:
        """How far it came, for an error's text."""
        return f"{self.yes} of the {self.needed} replicas needed have answered"

    # --- what may happen ----------------------------------------------------------------

    def unheard(self, nodes: Sequence[str]) -> list[Peer]:
        """The storages that have not answered, and were waited for."""
        storages = self.desk.nodes.storages
        return [storages[node] for node in nodes if node in self.asked and node not in self.silent]

    def on_silence(self, peers: Sequence[Peer], now: Now) -> None:
        """Replace the silent in mid-request; they may still answer."""
        fresh = [peer.node for peer in peers]
        self.silent = self.silent.union(fresh)
        for node in fresh:
            slot = self.asked[node]
            if self.slots[slot] == OPEN:
                self.replace(slot, now)
        self.settle(now)

    def on_lost(self, node: str, now: Now) -> None:
        """Replace it in mid-request."""
        self.refuse(node, now)

    def on_unsent(self, node: str, overloaded: bool, now: Now) -> None:
        """A link that is down is a lost node; a full queue is not to be filled elsewhere.

        That of a doubted owner is, since its fallback has been asked already.
        """
        if not overloaded or node in self.silent:
            self.refuse(node, now)
            return
        slot = self.heard(node)
        if slot is not None:
            self.drop(slot, OVERLOADED, Code.OVERLOADED)
            self.settle(now)
