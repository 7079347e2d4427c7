"""The hand-off machine: hints are delivered when their owner is alive again (Dynamo 4.6).

The hints are kept by storage.  This machine asks for them, sends them to their owner, and
has them deleted once the owner has stored them.  It counts them every ``retry_s``, and at
once when an owner can be reached again.  For each owner that has hints, is alive and has its
link up, one delivery runs, with one batch in flight (`delivery.py` has its states).

A failure ends a delivery, and a later count starts another.  So a hint may be delivered
twice, which is harmless.  It is deleted only when its owner has answered that it has it or
something newer, and only if it is still the one that was delivered.

While ranges move, a hint may go to other nodes than its owner, or to more than one: `batch.py`
has the rules.  Hints for an owner that is no member any more are delivered at once.  A node that
leaves the ring must not take its hints with it: if an owner cannot be reached, another member
keeps the hint for it.

The next delivery begins behind the batch over which the last one failed, and comes back to it
at the end of the queue: a hint that an owner never takes delays none behind it.  How long
an owner is not tried after a failure is in `pauses.py`.
"""

from __future__ import annotations

import random
from collections.abc import Iterable

from toystore.core.handoff.batch import Batch, Hint
from toystore.core.handoff.delivery import Delivery, Input, State
from toystore.core.handoff.pauses import LINK_LOST, UNREACHED, Pauses
from toystore.core.handoff.reach import Reach
from toystore.core.protocol.address import STORAGE, Address, Peer
from toystore.core.protocol.machine import Now, Outbox
from toystore.core.protocol.messages import Message
from toystore.core.protocol.messages.codes import MemberStatus
from toystore.core.protocol.messages.gossip import MemberState
from toystore.core.protocol.messages.hints import (
    CountHints,
    CountHintsReply,
    DeliverHints,
    DeliverHintsReply,
    DropHints,
    DropHintsReply,
    TakeHints,
    TakeHintsReply,
)
from toystore.core.protocol.messages.local import (
    LinkLost,
    LinkUp,
    MembersChanged,
    SendFailed,
)
from toystore.core.protocol.messages.ring import RingChanged
from toystore.core.protocol.settings import HandoffSettings
from toystore.core.ring.record import RingRecord, unpack_ring
from toystore.core.ring.view import RingView

SLOWEST_BYTES_PER_S = 1024 * 1024
"""A batch is given this much time more, because one large hint may exceed a usual batch."""


class Handoff:
    """Delivers the hints that this node keeps to their owners."""

    def __init__(
        self,
        *,
        node: str,
        ring: RingView,
        settings: HandoffSettings,
        outbox: Outbox,
        chance: random.Random,
    ) -> None:
        self._node = node
        self._reach = Reach(node, ring)
        self._settings = settings
        self._out = outbox
        self._chance = chance
        self._storage = Peer(node, STORAGE)
        self._deliveries: dict[str, Delivery] = {}
        self._pauses = Pauses(settings.retry_s, chance)
        self._tried: dict[str, bytes] = {}
        """The digest of the last hint of a batch that failed, by owner."""
        self._warned_at: dict[str, float] = {}
        self._count_at = 0.0
        # A reply to the machine that this one replaces must not match a request of this one.
        self._request = chance.getrandbits(62)

    def receive(self, message: Message, sender: Address, now: Now) -> None:
        """Take in one message."""
        match message:
            case CountHintsReply():
                self._counted(message, now)
            case TakeHintsReply():
                self._taken(message, now)
            case DeliverHintsReply():
                self._delivered(message, sender, now)
            case DropHintsReply():
                self._deleted(message, now)
            case RingChanged():
                self._ring_changed(unpack_ring(message.record), now)
            case MembersChanged():
                self._reach.alive.difference_update(message.removed)
                self._members_changed(message.members, now)
            case LinkUp():
                self._link_up(message.node, now)
            case LinkLost():
                self._link_lost(message.node, now)
            case SendFailed():
                self._send_failed(message, now)

    def on_deadline(self, now: Now) -> None:
        """End the deliveries whose answer is overdue, and count the hints again."""
        due = self.next_deadline()
        if due > now.monotonic:
            return
        # The first count is due at 0.0, and is never late.
        if due and now.monotonic - due > self._settings.stall_s:
            self._stalled(now.monotonic - due, now)
        for owner, delivery in list(self._deliveries.items()):
            if delivery.deadline <= now.monotonic:
                self._expire(owner, delivery, now)
        if self._count_at <= now.monotonic:
            self._count(now)

    def next_deadline(self) -> float:
        """When the next count or the first answer is due."""
        return min([self._count_at, *(one.deadline for one in self._deliveries.values())])

    def on_failure(self, now: Now) -> None:
        """No caller waits for an answer, and the hints are safe in storage."""

    # --- one delivery -------------------------------------------------------------------

    def _counted(self, message: CountHintsReply, now: Now) -> None:
        """Start delivering to each owner that has hints and can take them."""
        for owner, hints, size, oldest_us in message.counts:
            if not hints:
                continue
            self._warn_of_age(owner, hints, size, oldest_us, now)
            if (
                self._reach.can_deliver(owner)
                and owner not in self._deliveries
                and self._pauses.is_over(owner, now.monotonic)
            ):
                after = self._tried.pop(owner, b"")
                delivery = Delivery(owner, hints, size, after, now.monotonic)
                self._deliveries[owner] = delivery
                if not self._pauses.fails(owner):
                    self._announce(delivery)
                self._take(delivery, now)

    def _announce(self, delivery: Delivery) -> None:
        """Log that a delivery has begun, or that the owner takes hints again."""
        if not delivery.announced:
            delivery.announced = True
            self._out.log(
                "handoff.started",
                owner=delivery.owner,
                hints=delivery.hints,
                bytes=delivery.size_bytes,
            )

    def _take(self, delivery: Delivery, now: Now) -> None:
        """Ask storage for the oldest hints that are left."""
        delivery.deadline = now.monotonic + self._settings.reply_timeout_s
        batch_bytes = self._settings.batch_bytes
        self._out.send(self._storage, TakeHints(delivery.owner, batch_bytes, delivery.after))

    def _taken(self, message: TakeHintsReply, now: Now) -> None:
        """Send the batch to its owner; an empty one means that all is delivered."""
        delivery = self._delivery(message.owner, State.TAKING)
        if delivery is None:
            return
        if message.hints:
            self._deliver(delivery, message.hints, now)
        elif delivery.after:
            delivery.move(Input.QUEUE_END)
            delivery.after = b""
            self._take(delivery, now)
        else:
            self._finish(delivery, now)

    def _deliver(self, delivery: Delivery, hints: tuple[Hint, ...], now: Now) -> None:
        """Send a batch to its owner, or to the nodes that have its ranges."""
        delivery.move(Input.HINTS)
        delivery.batch = batch = Batch(delivery.owner, hints, ring=self._reach.ring)
        self._ask(delivery, batch, now)

    def _ask(self, delivery: Delivery, batch: Batch, now: Now) -> None:
        """Send what has to be sent and was not; once all is answered, have hints deleted."""
        size = 0
        for question in batch.ask(self._reach.way):
            self._request += 1
            delivery.open[self._request] = question
            size += sum(len(record) for _, record in question.hints)
            way = question.way
            deliver = DeliverHints(self._request, question.hints, way.hint_owner)
            self._out.send(Peer(way.to, STORAGE), deliver)
        if size:
            timeout_s = self._settings.reply_timeout_s + size // SLOWEST_BYTES_PER_S
            delivery.deadline = now.monotonic + timeout_s
        if not delivery.open:
            self._conclude(delivery, batch, now)

    def _delivered(self, message: DeliverHintsReply, sender: Address, now: Now) -> None:
        """A node has answered what was sent to it."""
        delivery = self._delivering(message.request)
        if delivery is None or delivery.batch is None:
            return
        if sender == Peer(delivery.open[message.request].way.to, STORAGE):
            delivery.batch.learn(delivery.open.pop(message.request), message.statuses)
            self._ask(delivery, delivery.batch, now)

    def _conclude(self, delivery: Delivery, batch: Batch, now: Now) -> None:
        """Have the hints deleted that all nodes have which have to; the others stay."""
        delivery.open.clear()
        taken = batch.take_safe()
        if not taken:
            self._fail_left(delivery, batch, now)
            return
        delivery.move(Input.TAKEN)
        delivery.count += len(taken)
        self._pauses.on_taken(delivery.owner)
        self._announce(delivery)
        delivery.deadline = now.monotonic + self._settings.reply_timeout_s
        self._out.send(self._storage, DropHints(delivery.owner, taken))

    def _deleted(self, message: DropHintsReply, now: Now) -> None:
        """Continue with the next batch, unless hints of this one were refused."""
        delivery = self._delivery(message.owner, State.DELETING)
        if delivery is None:
            return
        if delivery.batch:
            self._fail_left(delivery, delivery.batch, now)
        else:
            delivery.move(Input.DELETED)
            self._take(delivery, now)

    def _finish(self, delivery: Delivery, now: Now) -> None:
        """No hint is left for this owner."""
        delivery.move(Input.NO_HINTS)
        del self._deliveries[delivery.owner]
        self._pauses.end(delivery.owner)
        if delivery.owner not in self._reach.ring.members:
            self._warned_at.pop(delivery.owner, None)
        took_s = round(now.monotonic - delivery.started_at, 6)
        self._out.log("handoff.finished", owner=delivery.owner, hints=delivery.count, took_s=took_s)

    def _fail(self, owner: str, cause: str, now: Now, kind: str = "") -> None:
        """End the delivery to ``owner``, if one runs; the next one comes after a pause.

        ``kind``: what the causes have in common that are logged once, or "" for the cause.
        """
        delivery = self._deliveries.pop(owner, None)
        if delivery is None:
            return
        delivery.move(Input.FAILURE)
        if delivery.batch:
            self._tried[owner] = delivery.batch.last
        delivered = delivery.count > 0
        if self._pauses.begin(owner, kind or cause, now.monotonic, delivered=delivered):
            self._out.log("handoff.paused", owner=owner, hints=delivery.count, cause=cause)

    def _fail_left(self, delivery: Delivery, batch: Batch, now: Now) -> None:
        """To continue at once would be too much for an owner whose disk is full."""
        nodes = batch.waits_for
        unreached = [node for node in nodes if not self._reach.is_reachable(node)]
        if unreached:
            cause, kind = f"{', '.join(unreached)} cannot be reached", UNREACHED
        else:
            cause, kind = f"{', '.join(nodes)} refused {len(batch)} hints", "refused"
        self._fail(delivery.owner, cause, now, kind)

    def _expire(self, owner: str, delivery: Delivery, now: Now) -> None:
        """An answer is overdue: delete what all nodes have, or fail."""
        if delivery.state is State.DELIVERING and delivery.batch and delivery.batch.safe():
            self._conclude(delivery, delivery.batch, now)
        else:
            self._fail(owner, f"{delivery.awaits(self._node)} did not answer in time", now)

    def _give_up(self, node: str, now: Now) -> None:
        """A node that was sent hints of other owners cannot be reached any more."""
        for delivery in list(self._deliveries.values()):
            self._forget(delivery, delivery.open_to(node), now)

    def _forget(self, delivery: Delivery, requests: list[int], now: Now) -> None:
        """What was sent is not answered."""
        for request in requests:
            del delivery.open[request]
        if requests and not delivery.open and delivery.batch is not None:
            self._conclude(delivery, delivery.batch, now)

    def _delivering(self, request: int) -> Delivery | None:
        """The delivery that has sent this `DeliverHints`; None for a late or repeated reply."""
        return next((one for one in self._deliveries.values() if request in one.open), None)

    def _delivery(self, owner: str, state: State) -> Delivery | None:
        """The delivery to ``owner`` in this state; None for a late or repeated reply."""
        delivery = self._deliveries.get(owner)
        return delivery if delivery is not None and delivery.state is state else None

    # --- the ring -----------------------------------------------------------------------

    def _ring_changed(self, record: RingRecord, now: Now) -> None:
        """Deliver by the new ring: what is under way goes on by the next count."""
        self._reach.follow(record)
        for delivery in self._deliveries.values():
            delivery.move(Input.FAILURE)
        self._deliveries.clear()
        self._pauses.end_all()
        self._count(now)

    # --- which owners can be reached ----------------------------------------------------

    def _members_changed(self, members: Iterable[MemberState], now: Now) -> None:
        """Hints are not sent to a suspected member: it may refute, or it may be dead."""
        back = []
        for name, status, *_ in members:
            if name == self._node:
                continue
            if status != MemberStatus.ALIVE:
                self._reach.alive.discard(name)
                self._fail(name, f"{name} is no longer alive", now)
                self._give_up(name, now)
            elif name not in self._reach.alive:
                self._reach.alive.add(name)
                self._pauses.end(name)
                back.append(name)
        self._count_for(back, now)

    def _link_up(self, node: str, now: Now) -> None:
        """A link may come up after gossip has called its member alive, or before."""
        if node not in self._reach.linked:
            self._reach.linked.add(node)
            if self._pauses.on_link_up(node):
                self._count_for([node], now)

    def _link_lost(self, node: str, now: Now) -> None:
        """What was in flight may be lost."""
        if node != self._node:
            self._reach.linked.discard(node)
            self._fail(node, f"the link to {node} is lost", now, LINK_LOST)
            self._give_up(node, now)

    def _count_for(self, nodes: Iterable[str], now: Now) -> None:
        """Count at once if one of these nodes can be reached again."""
        if any(self._reach.is_reachable(node) for node in nodes):
            self._pauses.end_unreached()
            self._count(now)

    def _send_failed(self, failed: SendFailed, now: Now) -> None:
        """A delivery fails with its message; a count is repeated in any case."""
        cause = "overloaded" if failed.overloaded else "unreachable"
        match failed.message:
            case TakeHints(owner=owner):
                delivery = self._delivery(owner, State.TAKING)
            case DropHints(owner=owner):
                delivery = self._delivery(owner, State.DELETING)
            case DeliverHints(request=request):
                delivery = self._delivering(request)
                if delivery is not None and delivery.owner != failed.node:
                    self._forget(delivery, [request], now)
                    return
            case _:
                return
        if delivery is not None:
            self._fail(delivery.owner, f"{failed.node} is {cause}", now)

    # --- time ---------------------------------------------------------------------------

    def _count(self, now: Now) -> None:
        """Ask storage what there is, and set the next count a jittered ``retry_s`` away."""
        self._out.send(self._storage, CountHints())
        self._count_at = now.monotonic + self._settings.retry_s * self._chance.uniform(0.8, 1.2)

    def _stalled(self, late_s: float, now: Now) -> None:
        """This process was stalled, so the answers may be waiting: no delivery fails for it."""
        self._out.log("actor.stalled", late_s=round(late_s, 3))
        for delivery in self._deliveries.values():
            if delivery.deadline <= now.monotonic:
                delivery.deadline = now.monotonic + self._settings.reply_timeout_s

    def _warn_of_age(self, owner: str, hints: int, size: int, oldest_us: int, now: Now) -> None:
        """Log old hints once per owner and ``age_warn_s``."""
        age_s = (now.wall_us - oldest_us) / 1e6
        warn_s = self._settings.age_warn_s
        warned_at = self._warned_at.get(owner)
        if age_s < warn_s or (warned_at is not None and now.monotonic - warned_at < warn_s):
            return
        self._warned_at[owner] = now.monotonic
        self._out.log("hint.aged", owner=owner, hints=hints, bytes=size, age_s=round(age_s, 3))
