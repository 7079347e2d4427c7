"""A coordinator on a stage: the tests play clients, replicas, gossip and the clock.

Every key has the owners n1, n2, n3 and the fallbacks n4, n5, ... unless a test says
otherwise, so that a scenario reads without knowing where a key falls.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from toystore.core.data.context import pack_context
from toystore.core.data.record import pack_record
from toystore.core.data.stamp import pack_stamp
from toystore.core.protocol.address import (
    ANTIENTROPY,
    COORDINATOR,
    GOSSIP,
    RING,
    STORAGE,
    Caller,
    Peer,
)
from toystore.core.protocol.events import EVENTS
from toystore.core.protocol.machine import Now, Outbox
from toystore.core.protocol.messages.client import Delete, ErrorReply, Get, Put
from toystore.core.protocol.messages.codes import Code, MemberStatus, ReplicaStatus
from toystore.core.protocol.messages.gossip import MemberState
from toystore.core.protocol.messages.local import LinkLost, LinkUp, MembersChanged, SendFailed
from toystore.core.protocol.messages.replica import (
    ReadReplica,
    ReadReplicaReply,
    WriteReplica,
    WriteReplicaReply,
)
from toystore.core.protocol.settings import BucketSettings, CoordinatorSettings, LimitSettings
from toystore.core.requests.coordinator import Coordinator
from toystore.core.ring.record import Listed, RingRecord
from toystore.core.ring.view import RingView

OK, SUPERSEDED, NOT_FOUND, NO_VOTE, REFUSED, INTERNAL, STALE, MOVED = map(int, ReplicaStatus)
ALIVE, SUSPECT, DEAD, LEFT = map(int, MemberStatus)
START_US = 1_700_000_000_000_000
CLIENT = Caller((b"client", b""))
SILENCE_S = CoordinatorSettings().replica_timeout_s


def stamp_at(seconds: float, minter: bytes = b"client-1") -> bytes:
    """A stamp so many seconds after the scene's beginning."""
    return pack_stamp(START_US + int(seconds * 1_000_000), 0, minter)


def record_at(seconds: float, value: bytes = b"value", key: bytes = b"key", **fields: Any) -> bytes:
    return pack_record(stamp_at(seconds), "default", key, value, **fields)


def context_at(seconds: float) -> bytes:
    return pack_context(stamp_at(seconds))


class FixedRing:
    """A ring of which a test gives the order of each partition."""

    partitions = 8

    def __init__(self, orders: Sequence[tuple[str, ...]]) -> None:
        self.orders = [orders[at % len(orders)] for at in range(self.partitions)]

    def partition_of(self, digest: bytes) -> int:
        return digest[1] >> 5

    def order(self, partition: int) -> tuple[str, ...]:
        return self.orders[partition]

    def shares(self) -> dict[str, tuple[int, int]]:
        return dict.fromkeys(self.orders[0], (self.partitions, 0))


class FixedView(RingView):
    """What a record means if each partition has these orders, and had ``before`` while it moves."""

    def __init__(
        self,
        orders: Sequence[tuple[str, ...]],
        *,
        before: Sequence[tuple[str, ...]] = (),
        epoch: int = 0,
        lost: tuple[str, ...] = (),
    ) -> None:
        members, old = (
            tuple(
                Listed(name, name, "", 1, "", "", ()) for name in sorted({n for o in of for n in o})
            )
            for of in (orders, before)
        )
        fixed: Any = FixedRing(orders), FixedRing(before or orders)
        self.record = RingRecord("scene", 8, members, epoch=epoch, old=old, lost=lost)
        self.ring, self.before = fixed
        self._lost = frozenset(lost)
        self._remember()


BEFORE = ("n1", "n2", "n3", "n4", "n5", "n6")
AFTER = ("n1", "n2", "n4", "n3", "n5", "n6")


def moving_from_n3_to_n4(members: int = 6, epoch: int = 1) -> FixedView:
    """A ring in which the third replica of every range moves; the fallbacks are n5 and n6."""
    return FixedView([AFTER[:members]], before=[BEFORE[:members]], epoch=epoch)


def one_order(*order: str, **changes: Any) -> FixedView:
    """Every partition has this order."""
    return FixedView([order], **changes)


class Scene:
    """One coordinator and all that it sees."""

    def __init__(
        self,
        members: int = 5,
        *,
        node: str = "n1",
        n: int = 3,
        r: int = 2,
        w: int = 2,
        up: bool = True,
        ring: Any = None,
        limits: LimitSettings | None = None,
        seed: int = 7,
    ) -> None:
        self.members = tuple(f"n{i}" for i in range(1, members + 1))
        self.node = node
        self.outbox = Outbox()
        self.seconds = 100.0
        self.wall_us = START_US
        self.machine = Coordinator(
            node=node,
            cluster="scene",
            version="1.2.3",
            started_s=90.0,
            ring=ring or one_order(*self.members),
            members={name: f"tcp://{name}:7400" for name in self.members},
            settings=CoordinatorSettings(
                buckets={
                    "default": BucketSettings(n, r, w),
                    "pair": BucketSettings(2, 1, 1),
                    "single": BucketSettings(1, 1, 1),
                },
                limits=limits or LimitSettings(),
            ),
            outbox=self.outbox,
            chance=random.Random(seed),
        )
        self.answers: list[Any] = []
        """What the client has been told."""
        self.asked: list[tuple[str, Any]] = []
        """What storages have been asked: (node, message)."""
        self.forwarded: list[tuple[str, Any]] = []
        self.probed: list[str] = []
        """Whose lost link gossip has been told of."""
        self.repairs: list[Any] = []
        """What the anti-entropy of this node has been asked."""
        self.commands: list[Any] = []
        """What the ring actor of this node has been asked."""
        self.events: list[str] = []
        self._requests = 0
        if up:
            self.gossip(dict.fromkeys(self.members, ALIVE))
            for name in self.members:
                self.link(name)

    # --- what happens -------------------------------------------------------------------

    @property
    def now(self) -> Now:
        return Now(self.seconds, self.wall_us)

    def turn_to(self, ring: FixedView) -> None:
        """The ring changes."""
        self.machine.follow(ring, self.now)
        self._collect()

    def told(self, message: Any, sender: Any) -> None:
        self.machine.receive(message, sender, self.now)
        self._collect()

    def put(self, key: bytes = b"key", value: bytes = b"value", **fields: Any) -> int:
        return self._ask(Put, key=key, value=value, **fields)

    def delete(self, key: bytes = b"key", **fields: Any) -> int:
        return self._ask(Delete, key=key, **fields)

    def get(self, key: bytes = b"key", **fields: Any) -> int:
        self._requests += 1
        given = {"bucket": "default", "r": None, "timeout_ms": 2000}
        self.told(Get(request=self._requests, key=key, **(given | fields)), CLIENT)
        return self._requests

    def _ask(self, kind: Any, **fields: Any) -> int:
        self._requests += 1
        given: dict[str, Any] = {
            "bucket": "default",
            "stamp": stamp_at(0),
            "context": b"",
            "w": None,
            "timeout_ms": 2000,
            "forwarded": False,
        }
        self.told(kind(request=self._requests, **(given | fields)), CLIENT)
        return self._requests

    def gossip(self, states: dict[str, int], *, joined: bool = True) -> None:
        members = tuple(MemberState(name, status, 1, "") for name, status in states.items())
        self.told(MembersChanged(joined, members), Peer(self.node, GOSSIP))

    def link(self, node: str) -> None:
        self.told(LinkUp(node), Peer(node, STORAGE))

    def unlink(self, *nodes: str) -> None:
        for node in nodes:
            self.told(LinkLost(node), Peer(node, STORAGE))

    def says(self, node: str, status: int = OK, given: bytes | None = None, at: int = -1) -> None:
        """``node`` answers what it was asked last (or ``at``), with a record or a stamp."""
        question = self.questions(node)[at]
        kind = WriteReplicaReply if type(question) is WriteReplica else ReadReplicaReply
        self.told(kind(question.request, status, given), Peer(node, STORAGE))

    def answers_forward(self, node: str, reply: Any) -> None:
        """The coordinator of ``node`` answers what was forwarded to it last."""
        put = next(message for to, message in reversed(self.forwarded) if to == node)
        self.told(reply._replace(request=put.request), Peer(node, COORDINATOR))

    def unsent(self, node: str, *, overloaded: bool = False, actor: str = STORAGE) -> None:
        """What was sent to ``node`` last comes back."""
        sends = self.asked if actor == STORAGE else self.forwarded
        message = next(message for to, message in reversed(sends) if to == node)
        self.told(SendFailed(node, actor, message, overloaded), Peer(node, actor))

    def wait(self, seconds: float) -> None:
        """Let time pass, serving every deadline on it punctually."""
        end = self.seconds + seconds
        while (due := self.machine.next_deadline()) is not None and due <= end:
            self._wind(max(due, self.seconds))
            self.machine.on_deadline(self.now)
            self._collect()
        self._wind(end)

    def stall(self, seconds: float) -> None:
        """This process is held up: deadlines pass unserved, and are served too late."""
        self._wind(self.seconds + seconds)
        self.machine.on_deadline(self.now)
        self._collect()

    def _wind(self, seconds: float) -> None:
        self.wall_us += int((seconds - self.seconds) * 1_000_000)
        self.seconds = seconds

    def _collect(self) -> None:
        for to, messages in self.outbox.sends.items():
            if to == CLIENT:
                self.answers += messages
            elif to == Peer(self.node, GOSSIP):
                self.probed += [message.node for message in messages]
            elif to == Peer(self.node, ANTIENTROPY):
                self.repairs += messages
            elif to == Peer(self.node, RING):
                self.commands += messages
            else:
                sends = self.asked if to.actor == STORAGE else self.forwarded
                sends += [(to.node, message) for message in messages]
        for event in self.outbox.events:
            assert set(event.fields) == set(EVENTS[event.name].fields)
            self.events.append(event.name)
        self.outbox.clear()

    # --- what was seen ------------------------------------------------------------------

    def questions(self, node: str) -> list[Any]:
        """What the storage of ``node`` was asked and has to answer."""
        kinds = (WriteReplica, ReadReplica)
        return [message for to, message in self.asked if to == node and type(message) in kinds]

    def writes(self) -> list[tuple[str, str | None]]:
        """Who was told to keep the record, and as a hint for whom, in order of sending."""
        return [(to, m.hint_owner) for to, m in self.asked if type(m) is WriteReplica]

    def reads(self) -> list[tuple[str, tuple[str, ...]]]:
        """Who was asked for the record, and for whose hints."""
        return [(to, m.hint_owners) for to, m in self.asked if type(m) is ReadReplica]

    def sole_answer(self) -> Any:
        assert len(self.answers) == 1, self.answers
        return self.answers[0]

    def error(self) -> tuple[Code, bool]:
        """The code of the only answer, an error, and whether it is definite."""
        reply = self.sole_answer()
        assert type(reply) is ErrorReply
        assert reply.text
        return Code(reply.code), reply.definite
