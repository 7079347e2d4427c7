"""A write for a key that this node does not own: forwarded to an owner, which coordinates it.

While a replica moves its old owner and its new one may coordinate, and the receiver may know
another epoch: it plans the write by its own ring.

An owner coordinates a put (Dynamo, section 4.5), because its own vote needs no message over
the network.  A write is stamped before it is forwarded, and a coordinator that receives a
forwarded write does not forward it again.  So all of them run the same write, and it does
no harm if two run it at the same time.
These nodes are tried:

    the reachable owners, in order  ─▶  this node itself  ─▶  the owners that are doubted

If no owner is reachable, the first reachable fallback is tried and then this node.  The next
node is tried when one is lost or does not serve.  When one is silent for
``replica_timeout_s``, this node begins at once.  A node that may still answer is still
awaited: the caller gets the first success, and a failure only when no node is left to try
and none is awaited.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from toystore.core.data.stamp import STAMP_BYTES
from toystore.core.protocol.address import COORDINATOR, Peer
from toystore.core.protocol.machine import Now
from toystore.core.protocol.messages import Message
from toystore.core.protocol.messages.client import ErrorReply, SupersededReply, WriteReply
from toystore.core.protocol.messages.codes import Code
from toystore.core.requests.desk import Desk, DeskRequest, Ticket
from toystore.core.requests.mutation import Mutation
from toystore.core.requests.place import Layouts
from toystore.core.requests.writing import Write

_ASK_ANOTHER = (Code.NOT_SERVING, Code.OVERLOADED, Code.UNAVAILABLE, Code.CLOCK_BEHIND)

_NOTHING_DONE = (Code.NOT_SERVING, Code.CLOCK_BEHIND)
"""Codes with which a client asks another node, as if nothing had been done."""


class Forward(DeskRequest):
    """A write that other coordinators run for this node, and this node itself if need be."""

    __slots__ = (
        "_awaited",
        "_error",
        "_indefinite",
        "_mutation",
        "_own",
        "_skips_others",
        "_tried",
        "_turn",
    )

    hears = (WriteReply, SupersededReply, ErrorReply)

    def __init__(self, desk: Desk, ticket: Ticket, mutation: Mutation) -> None:
        DeskRequest.__init__(self, desk, ticket)
        self._mutation = mutation
        self._indefinite = False
        """Whether a node that is not awaited any more may have done it."""
        self._forget()

    def _forget(self) -> None:
        """Forget who was tried."""
        self._tried: list[str] = []
        self._awaited: list[str] = []
        """The tried nodes that may still answer."""
        self._turn: str | None = None
        """The node whose turn it is: when it drops out the next is tried."""
        self._skips_others = False
        """A node was silent: this node comes next."""
        self._own: OwnWrite | None = None
        self._error: ErrorReply | None = None
        """The error for the answer if there is no success."""

    def start(self, now: Now) -> None:
        """Open it on the desk, and forward the write."""
        self.desk.open(self)
        self._probe(now)
        self._next(now)

    # --- what may happen ----------------------------------------------------------------

    def on_reply(self, reply: Message, node: str, now: Now) -> None:
        """A coordinator that was asked has answered."""
        if node not in self._awaited:
            return
        self._awaited.remove(node)
        if type(reply) is WriteReply:
            self._pass_on(reply, now)
        elif type(reply) is SupersededReply:
            self._superseded(reply, now)
        elif type(reply) is ErrorReply:
            self._failed(reply, node, now)

    def on_deadline(self, now: Now) -> None:
        """Answer with a timeout; the write may still happen."""
        self.fail(Code.TIMEOUT, f"{', '.join(self._awaited)} did not answer in time", now)

    def awaited(self, nodes: Sequence[str]) -> list[Peer]:
        """The coordinators among ``nodes`` that have not answered."""
        return [Peer(node, COORDINATOR) for node in nodes if node in self._awaited]

    def on_silence(self, peers: Sequence[Peer], now: Now) -> None:
        """Begin here too: the silent node may be at work on it, or hang."""
        if any(peer.node == self._turn for peer in peers):
            self._skips_others = True
            self._next(now)

    def on_lost(self, node: str, now: Now) -> None:
        """Try the next node; the lost one may have done it."""
        if node in self._awaited:
            self._indefinite = True
            self._stop_awaiting(node, now)

    def on_removed(self, now: Now) -> None:
        """End: no other node answers this one."""
        if not self.answered:
            self.fail_as_removed(now)

    def on_unsent(self, node: str, overloaded: bool, now: Now) -> None:  # noqa: ARG002 - as every DeskRequest has it
        """Try the next node; this one has not received it."""
        if node in self._awaited:
            self._stop_awaiting(node, now)

    def on_ring(self, layouts: Layouts, now: Now) -> None:  # noqa: ARG002 - as every DeskRequest has it
        """Choose by this ring which node is tried next."""
        place = layouts.again(self._mutation.place)
        self._mutation = self._mutation._replace(place=place)

    def end(self) -> None:
        """Leave the desk, with this node's own write unless that has answered."""
        if self._own is not None and not self._own.answered:
            self.desk.close(self._own)
        self.desk.close(self)

    @property
    def definite(self) -> bool:
        """Whether each node that was tried has certainly done nothing."""
        own = self._own
        others = [node for node in self._awaited if node != self.desk.node]
        return not (self._indefinite or others or (own is not None and own.indefinite))

    # --- who is asked -------------------------------------------------------------------

    def _next(self, now: Now) -> None:
        """Try the next node; if none is left, wait for those that may still answer."""
        desk = self.desk
        if now.monotonic >= self.ticket.deadline:
            return  # after a pause of this process; the deadline is served next
        self._turn = next((node for node in self._candidates() if node not in self._tried), None)
        if self._turn == desk.node:
            self._coordinate(now)
        elif self._turn is not None:
            self._forward_to(self._turn, now)
            desk.watch(self.number, (self._turn,), now)
        elif not self._awaited:
            self._give_up(now)

    def _candidates(self) -> Iterator[str]:
        """The nodes that could coordinate it, the best first."""
        reachable, layout = self.desk.nodes.reachable, self._mutation.place.layout
        owners = [owner for owner in layout.nodes if owner in reachable]
        if not self._skips_others:
            yield from (owner for owner in owners if not self._doubts(owner))
        if not owners and not self._tried:
            others = (n for n in layout.order if n in reachable and not self._doubts(n))
            yield next(others, self.desk.node)  # this node is not in the order if it leaves
        yield self.desk.node
        yield from owners

    def _doubts(self, node: str) -> bool:
        nodes = self.desk.nodes
        return nodes.coordinators[node] in nodes.doubts

    def _probe(self, now: Now) -> None:
        """Forward it to a doubted owner too, once in a while: it may answer again."""
        nodes = self.desk.nodes
        owners = (owner for owner in self._mutation.place.layout.nodes if owner in nodes.reachable)
        peers = (nodes.coordinators[owner] for owner in owners)
        if nodes.doubts and (peer := nodes.doubts.to_probe(peers, now.monotonic)):
            self._forward_to(peer.node, now)

    def _forward_to(self, node: str, now: Now) -> None:
        timeout_ms = max(1, int((self.ticket.deadline - now.monotonic) * 1000))
        message = self._mutation.forwarded(self.number, timeout_ms)
        self._tried.append(node)
        self._awaited.append(node)
        self.desk.outbox.send(self.desk.nodes.coordinators[node], message)

    def _coordinate(self, now: Now) -> None:
        node = self.desk.node
        self._tried.append(node)
        self._awaited.append(node)
        self._own = OwnWrite(self, self._mutation)
        self._own.start(now)

    # --- what comes of it ---------------------------------------------------------------

    def _pass_on(self, reply: WriteReply | SupersededReply, now: Now) -> None:
        self.answer(reply._replace(request=self.ticket.request), now)
        self.end()

    def _superseded(self, reply: SupersededReply, now: Now) -> None:
        """Mint a higher stamp if this node has minted the stamp; else the client does."""
        if not self._mutation.minted or len(reply.stamp) != STAMP_BYTES:
            self._pass_on(reply, now)
            return
        if self._own is not None:
            self.desk.close(self._own)
        self._mutation = self._mutation.reminted(self.desk.clock, reply.stamp, now)
        self._indefinite = True
        self.desk.renumber(self)
        self._forget()
        self._next(now)

    def _failed(self, reply: ErrorReply, node: str, now: Now) -> None:
        """Try the next node, unless it would fail too, as the write is at fault."""
        self._indefinite |= not reply.definite
        self._error = reply
        if reply.code not in _ASK_ANOTHER:
            order = self._mutation.place.layout.order
            self._tried += [one for one in order if one not in self._tried]
        if node == self._turn or not self._awaited:
            self._next(now)

    def _stop_awaiting(self, node: str, now: Now) -> None:
        self._awaited.remove(node)
        if node == self._turn or not self._awaited:
            self._next(now)

    def _give_up(self, now: Now) -> None:
        error = self._error
        assert error is not None, "this node itself was tried, and it always answers"
        is_true = self.definite or error.code not in _NOTHING_DONE
        self.fail(error.code if is_true else Code.UNAVAILABLE, error.text, now)


class OwnWrite(Write):
    """The write when this node itself runs it for a `Forward`, which gets the answer."""

    __slots__ = ("_forward",)

    def __init__(self, forward: Forward, mutation: Mutation) -> None:
        """The forward holds its bytes, and mints its stamp again if need be."""
        Write.__init__(self, forward.desk, forward.ticket, mutation._replace(minted=False))
        self.bytes = 0
        self._forward = forward

    def answer(self, reply: Message, now: Now) -> None:
        """Give the answer to the forward."""
        self.answered = True
        self.desk.unanswered -= 1
        self._forward.on_reply(reply, self.desk.node, now)
