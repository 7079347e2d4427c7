"""The hand-off machine: hints go home when their owner is alive again (Dynamo 4.6).

The hints themselves are storage's; this machine asks for them, carries them over and
has them forgotten once their owner is known to hold them.  It counts them every
``retry_s``, and at once when an owner can be reached again; for each owner that has
hints, is alive and has its link up, one delivery runs, with one batch in flight:

    started ──▶ TAKING ── hints ──▶ DELIVERING ── taken by the owner ──▶ DROPPING
                 │  ▲                                                      │
                 │  └────────────────── there may be more ─────────────────┘
                 └── none left ──▶ finished

Whatever goes wrong on the way (the owner is no longer alive, its link is lost, somebody
is silent, hints are refused) ends the delivery, and a later count starts it anew.  So a
hint may be delivered twice, which is harmless, but it is dropped only when its owner
said that it holds it or something newer, and only if it is still the one delivered.

The next delivery begins behind the batch over which the last one ended, and comes back to
it at the end of the queue: what an owner never takes holds up nothing behind it.  While
nothing is taken at all, each pause is twice as long as the one before, up to a bound, and
the same cause is logged once.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from enum import Enum

from toystore.core.data.record import stamp_of
from toystore.core.protocol.address import STORAGE, Address, Peer
from toystore.core.protocol.machine import Now, Outbox
from toystore.core.protocol.messages import Message
from toystore.core.protocol.messages.codes import MemberStatus, ReplicaStatus
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
    Leave,
    LinkLost,
    LinkUp,
    MembersChanged,
    SendFailed,
)
from toystore.core.protocol.settings import HandoffSettings

PAUSES_MAX = 16
"""An owner that takes nothing is tried no more seldom than about every so many ``retry_s``."""
SLOWEST_BYTES_PER_S = 1024 * 1024
"""A batch is given this much time on top, for one large hint may be far above a usual batch."""
_SAFE = (ReplicaStatus.OK, ReplicaStatus.SUPERSEDED)
"""What an owner says of a hint that may be dropped: it has it, or something newer."""
_LINK_LOST = "link lost"


class Handoff:
    """Delivers the hints that this node holds to their owners."""

    def __init__(
        self, *, node: str, settings: HandoffSettings, outbox: Outbox, chance: random.Random
    ) -> None:
        self._node = node
        self._settings = settings
        self._out = outbox
        self._chance = chance
        self._storage = Peer(node, STORAGE)
        self._alive = {node}
        self._linked = {node}
        self._deliveries: dict[str, _Delivery] = {}
        self._paused_until: dict[str, float] = {}
        self._failures: dict[str, int] = {}
        """How many deliveries in a row an owner has taken nothing of."""
        self._causes: dict[str, str] = {}
        """Why its last delivery ended, as long as that is not over."""
        self._tried: dict[str, bytes] = {}
        """The digest of the last hint tried in vain: the next delivery begins behind it."""
        self._warned_at: dict[str, float] = {}
        self._count_at: float | None = 0.0
        # A reply to the machine that this one replaces must not match a request of ours.
        self._request = chance.getrandbits(62)

    def receive(self, message: Message, sender: Address, now: Now) -> None:
        """Take in one message; after `Leave` there is nothing more to do."""
        if self._count_at is None:
            return
        match message:
            case CountHintsReply():
                self._counted(message, now)
            case TakeHintsReply():
                self._taken(message, now)
            case DeliverHintsReply():
                self._delivered(message, sender, now)
            case DropHintsReply():
                self._dropped(message, now)
            case MembersChanged():
                self._members_changed(message.members, now)
            case LinkUp():
                self._link_up(message.node, now)
            case LinkLost():
                self._link_lost(message.node, now)
            case SendFailed():
                self._send_failed(message, now)
            case Leave():
                self._leave(now)

    def on_deadline(self, now: Now) -> None:
        """Give up on whoever was silent for too long, and count the hints again."""
        due = self.next_deadline()
        if due is None or due > now.monotonic:
            return
        # The first count is due since ever, so that it is never late.
        if due and now.monotonic - due > self._settings.stall_s:
            self._stalled(now.monotonic - due, now)
        for owner, delivery in list(self._deliveries.items()):
            if delivery.deadline <= now.monotonic:
                self._pause(owner, f"{delivery.awaited(self._node)} did not answer in time", now)
        if self._count_at is not None and self._count_at <= now.monotonic:
            self._count(now)

    def next_deadline(self) -> float | None:
        """The next count, or the end of patience with an answer, whichever is sooner."""
        if self._count_at is None:
            return None
        return min([self._count_at, *(one.deadline for one in self._deliveries.values())])

    def on_failure(self, now: Now) -> None:
        """Nobody waits for an answer, and the hints are safe in storage."""

    # --- one delivery -------------------------------------------------------------------

    def _counted(self, message: CountHintsReply, now: Now) -> None:
        """Start delivering to whoever has hints and can take them."""
        for owner, hints, size, oldest_us in message.counts:
            if not hints:
                continue
            self._warn_of_age(owner, hints, size, oldest_us, now)
            if (
                self._reachable(owner)
                and owner not in self._deliveries
                and self._paused_until.get(owner, now.monotonic) <= now.monotonic
            ):
                delivery = _Delivery(owner, hints, size, self._tried.pop(owner, b""), now)
                self._deliveries[owner] = delivery
                if owner not in self._causes:
                    self._announce(delivery)
                self._take(delivery, now)

    def _announce(self, delivery: _Delivery) -> None:
        """Say that a delivery has begun, or that after some in vain one gets on again."""
        if not delivery.announced:
            delivery.announced = True
            self._out.log(
                "handoff.started", owner=delivery.owner, hints=delivery.hints, bytes=delivery.bytes
            )

    def _take(self, delivery: _Delivery, now: Now) -> None:
        """Ask storage for the oldest hints that are left."""
        delivery.enter(_Step.TAKING, now.monotonic + self._settings.reply_timeout_s)
        batch_bytes = self._settings.batch_bytes
        self._out.send(self._storage, TakeHints(delivery.owner, batch_bytes, delivery.after))

    def _taken(self, message: TakeHintsReply, now: Now) -> None:
        """Send the batch to its owner; an empty one means that all is delivered."""
        delivery = self._delivery(message.owner, _Step.TAKING)
        if delivery is None:
            return
        if not message.hints:
            if not delivery.after:
                self._finish(delivery, now)
                return
            delivery.after = b""
            self._take(delivery, now)
            return
        self._request += 1
        delivery.request = self._request
        delivery.batch = message.hints
        size = sum(len(record) for _, record in message.hints)
        patience_s = self._settings.reply_timeout_s + size // SLOWEST_BYTES_PER_S
        delivery.enter(_Step.DELIVERING, now.monotonic + patience_s)
        self._out.send(Peer(delivery.owner, STORAGE), DeliverHints(self._request, message.hints))

    def _delivered(self, message: DeliverHintsReply, sender: Address, now: Now) -> None:
        """Have those forgotten that the owner holds; those it refused stay."""
        owner = sender.node if isinstance(sender, Peer) else ""
        delivery = self._delivery(owner, _Step.DELIVERING)
        if delivery is None or delivery.request != message.request:
            return
        safe = {
            digest: stamp_of(record)
            for (digest, record), status in zip(delivery.batch, message.statuses, strict=False)
            if status in _SAFE
        }
        delivery.count += len(safe)
        delivery.batch = tuple(hint for hint in delivery.batch if hint[0] not in safe)
        if not safe:
            self._pause_refused(delivery, now)
            return
        self._causes.pop(owner, None)
        self._announce(delivery)
        delivery.enter(_Step.DROPPING, now.monotonic + self._settings.reply_timeout_s)
        self._out.send(self._storage, DropHints(owner, tuple(safe.items())))

    def _dropped(self, message: DropHintsReply, now: Now) -> None:
        """Go on with the next batch, unless some of this one were refused."""
        delivery = self._delivery(message.owner, _Step.DROPPING)
        if delivery is None:
            return
        if delivery.batch:
            self._pause_refused(delivery, now)
        else:
            self._take(delivery, now)

    def _finish(self, delivery: _Delivery, now: Now) -> None:
        """Nothing is left for this owner."""
        del self._deliveries[delivery.owner]
        self._forgive(delivery.owner)
        took_s = round(now.monotonic - delivery.started_at, 6)
        self._out.log("handoff.finished", owner=delivery.owner, hints=delivery.count, took_s=took_s)

    def _pause(self, owner: str, cause: str, now: Now, kind: str = "") -> None:
        """End the delivery to ``owner``, if one runs, for a while.

        ``kind``: what the causes have in common that are logged once, or the cause itself.
        """
        delivery = self._deliveries.pop(owner, None)
        if delivery is None:
            return
        if delivery.batch:
            self._tried[owner] = delivery.batch[-1][0]
        failures = 0 if delivery.count else self._failures.get(owner, 0)
        self._failures[owner] = failures + 1
        self._paused_until[owner] = now.monotonic + self._pause_s(failures)
        if self._causes.get(owner) != (kind or cause):
            self._causes[owner] = kind or cause
            self._out.log("handoff.paused", owner=owner, hints=delivery.count, cause=cause)

    def _pause_s(self, failures: int) -> float:
        """How long to wait after so many others in vain.

        Everyone who holds hints for an owner sends it a batch: they must not fall into step.
        """
        times = float(min(2**failures, PAUSES_MAX))
        return self._settings.retry_s * (times * self._chance.uniform(0.8, 1.2) if failures else 1)

    def _pause_refused(self, delivery: _Delivery, now: Now) -> None:
        """To go on at once would be too much for an owner whose disk is full."""
        cause = f"{delivery.owner} refused {len(delivery.batch)} hints"
        self._pause(delivery.owner, cause, now, "refused")

    def _forgive(self, owner: str) -> None:
        """Whatever went wrong before is over."""
        for memory in (self._paused_until, self._failures, self._causes):
            memory.pop(owner, None)

    def _delivery(self, owner: str, step: _Step) -> _Delivery | None:
        """The delivery to ``owner`` if that is its step; a late or doubled reply finds none."""
        delivery = self._deliveries.get(owner)
        return delivery if delivery is not None and delivery.step is step else None

    # --- who can be reached -------------------------------------------------------------

    def _members_changed(self, members: Iterable[MemberState], now: Now) -> None:
        """A suspect is waited for: it may refute, or it may be dead."""
        back = []
        for name, status, *_ in members:
            if name == self._node:
                continue
            if status != MemberStatus.ALIVE:
                self._alive.discard(name)
                self._pause(name, f"{name} is no longer alive", now)
            elif name not in self._alive:
                self._alive.add(name)
                self._forgive(name)
                back.append(name)
        self._welcome(back, now)

    def _link_up(self, node: str, now: Now) -> None:
        """Gossip may have said so before the link was there.

        A link that is lost over each batch comes back each time: it is waited for as others are.
        """
        if node in self._linked:
            return
        self._linked.add(node)
        if self._causes.get(node) != _LINK_LOST:
            self._forgive(node)
        elif self._failures[node] == 1:
            self._paused_until.pop(node, None)
        else:
            return
        self._welcome([node], now)

    def _link_lost(self, node: str, now: Now) -> None:
        """What was in flight may be lost."""
        if node != self._node:
            self._linked.discard(node)
            self._pause(node, f"the link to {node} is lost", now, _LINK_LOST)

    def _welcome(self, nodes: Iterable[str], now: Now) -> None:
        """Whoever can be reached again need not wait for the next count."""
        if any(self._reachable(node) for node in nodes):
            self._count(now)

    def _reachable(self, owner: str) -> bool:
        return owner in self._alive and owner in self._linked

    def _send_failed(self, failed: SendFailed, now: Now) -> None:
        """A count that failed is made up for by the next; a batch pauses its delivery."""
        cause = "overloaded" if failed.overloaded else "unreachable"
        match failed.message:
            case TakeHints(owner=owner):
                delivery = self._delivery(owner, _Step.TAKING)
            case DropHints(owner=owner):
                delivery = self._delivery(owner, _Step.DROPPING)
            case DeliverHints(request=request):
                delivery = self._delivery(failed.node, _Step.DELIVERING)
                if delivery is not None and delivery.request != request:
                    return
            case _:
                return
        if delivery is not None:
            self._pause(delivery.owner, f"{failed.node} is {cause}", now)

    # --- time ---------------------------------------------------------------------------

    def _count(self, now: Now) -> None:
        """Ask storage what there is, and set the next count a jittered ``retry_s`` away."""
        self._out.send(self._storage, CountHints())
        self._count_at = now.monotonic + self._settings.retry_s * self._chance.uniform(0.8, 1.2)

    def _stalled(self, late_s: float, now: Now) -> None:
        """This process was held up, so the answers may be waiting: accuse nobody."""
        self._out.log("actor.stalled", late_s=round(late_s, 3))
        for delivery in self._deliveries.values():
            if delivery.deadline <= now.monotonic:
                delivery.deadline = now.monotonic + self._settings.reply_timeout_s

    def _warn_of_age(self, owner: str, hints: int, size: int, oldest_us: int, now: Now) -> None:
        """Say it once per owner and ``age_warn_s``."""
        age_s = (now.wall_us - oldest_us) / 1e6
        warn_s = self._settings.age_warn_s
        warned_at = self._warned_at.get(owner)
        if age_s < warn_s or (warned_at is not None and now.monotonic - warned_at < warn_s):
            return
        self._warned_at[owner] = now.monotonic
        self._out.log("hint.aged", owner=owner, hints=hints, bytes=size, age_s=round(age_s, 3))

    def _leave(self, now: Now) -> None:
        """The hints stay on disk; the next start of this node goes on with them."""
        for owner in list(self._deliveries):
            self._pause(owner, "this node is stopping", now)
        self._count_at = None


class _Step(Enum):
    """How far a delivery is: each step waits for the reply of its name (see the drawing)."""

    TAKING = "taking"
    DELIVERING = "delivering"
    DROPPING = "dropping"


class _Delivery:
    """The hints of one owner on their way."""

    __slots__ = (
        "after",
        "announced",
        "batch",
        "bytes",
        "count",
        "deadline",
        "hints",
        "owner",
        "request",
        "started_at",
        "step",
    )

    def __init__(self, owner: str, hints: int, size: int, after: bytes, now: Now) -> None:
        """``hints`` and ``size``: what is kept; ``after``: behind which one to begin."""
        self.owner = owner
        self.hints = hints
        self.bytes = size
        self.after = after
        self.started_at = now.monotonic
        self.announced = False
        """Whether it is in the log that this delivery has begun."""
        self.step = _Step.TAKING
        self.deadline = 0.0
        self.request = 0
        self.batch: tuple[tuple[bytes, bytes], ...] = ()
        """Those of the last batch that the owner has not taken."""
        self.count = 0
        """How many hints it has taken in all."""

    def enter(self, step: _Step, deadline: float) -> None:
        """Wait for the answer that ``step`` names, until ``deadline``."""
        self.step = step
        self.deadline = deadline

    def awaited(self, node: str) -> str:
        """Whose answer is awaited: the owner's, or that of ``node``'s own storage."""
        return f"storage of {self.owner if self.step is _Step.DELIVERING else node}"
