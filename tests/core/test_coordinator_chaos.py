"""Whatever is lost, late, doubled or refused: one answer each, in time, and nothing left behind.

Replicas, links and clocks do as a seed says.  Every request has a key of its own, so that
each message tells whose it is.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from typing import Any

import pytest
from coordinator_scene import (
    ALIVE,
    CLIENT,
    DEAD,
    INTERNAL,
    NO_VOTE,
    NOT_FOUND,
    OK,
    REFUSED,
    SUPERSEDED,
    SUSPECT,
    FixedView,
    Scene,
    stamp_at,
)

from toystore.core.data.context import unpack_context
from toystore.core.data.record import digest_of, pack_record, stamp_of, unpack_record
from toystore.core.protocol.address import COORDINATOR, STORAGE, Peer
from toystore.core.protocol.messages.client import (
    ErrorReply,
    GetReply,
    Status,
    SupersededReply,
    WriteReply,
)
from toystore.core.protocol.messages.codes import Code
from toystore.core.protocol.messages.local import SendFailed
from toystore.core.protocol.messages.replica import (
    ReadReplica,
    ReadReplicaReply,
    WriteReplica,
    WriteReplicaReply,
)

MEMBERS = 6
STEPS = 400
BUCKETS = {"default": 3, "pair": 2, "single": 1}
"""The buckets of a scene, and their N."""
WRITE_STATUSES = [OK] * 12 + [REFUSED, REFUSED, SUPERSEDED, INTERNAL]
READ_STATUSES = [OK] * 8 + [NOT_FOUND] * 6 + [NO_VOTE, REFUSED, INTERNAL]


class Chaos:
    """A scene in which a seed acts, and what it has seen."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        names = [f"n{i}" for i in range(1, MEMBERS + 1)]
        self.ring = FixedView([tuple(self.chance.sample(names, MEMBERS)) for _ in range(8)])
        self.scene = Scene(MEMBERS, ring=self.ring)
        self.open: list[tuple[Peer, Any]] = []
        self.asked: dict[int, dict[str, Any]] = {}
        """What clients asked, by request: the quorum, until when, and the key."""
        self.answered: dict[int, Any] = {}
        self.request_of: dict[bytes, int] = {}
        self.yes: defaultdict[bytes, set[tuple[str, str]]] = defaultdict(set)
        """By stamp: (slot's owner, node) of every replica that has the write."""
        self.hinted: defaultdict[bytes, set[str]] = defaultdict(set)
        """By stamp: owners whose hint is kept, or was left with the coordinator."""
        self.found: defaultdict[int, dict[str, bytes | None]] = defaultdict(dict)
        """By get: what each node has said it holds."""

    def run(self) -> None:
        acts = [self.client] * 5 + [self.answer] * 26
        acts += [self.lose, self.unsent, self.links, self.members, self.stall] + [
            self.pass_time
        ] * 3
        for _ in range(STEPS):
            self.chance.choice(acts)()
            self.look()
        while not self.scene.machine.idle:
            self.scene.wait(0.05)
            self.look()

    # --- what happens -------------------------------------------------------------------

    def client(self) -> None:
        request = len(self.asked) + 1
        key = b"key-%d" % request
        bucket = self.chance.choice(list(BUCKETS))
        n = BUCKETS[bucket]
        quorum = self.chance.randint(1, n)
        timeout_ms = self.chance.choice([20, 200, 1000, 3000])
        stamp = self.chance.choice([None, stamp_at(self.scene.seconds - 100, b"%08d" % request)])
        digest = digest_of(bucket, key, n)
        self.request_of[digest] = request
        until = self.scene.seconds + timeout_ms / 1000
        self.asked[request] = {"quorum": quorum, "until": until, "digest": digest}
        self.asked[request] |= {"bucket": bucket, "key": key}
        kind = self.chance.choice(["get", "put", "delete"])
        if kind == "get":
            self.scene.get(key, bucket=bucket, r=quorum, timeout_ms=timeout_ms)
        else:
            ask = self.scene.put if kind == "put" else self.scene.delete
            forwarded = self.chance.random() < 0.5
            terms = {"w": quorum, "timeout_ms": timeout_ms, "forwarded": forwarded}
            ask(key, bucket=bucket, stamp=stamp, **terms)

    def answer(self) -> None:
        """One of those that were asked answers, perhaps twice."""
        if not self.open:
            return
        at = self.chance.randrange(len(self.open))
        peer, message = self.open[at]
        if self.chance.random() < 0.9:
            del self.open[at]
        if peer.actor == COORDINATOR:
            reply = self.forward_reply(message)
        elif type(message) is WriteReplica:
            reply = self.write_reply(peer.node, message)
        else:
            reply = self.read_reply(peer.node, message)
        self.scene.told(reply, peer)

    def write_reply(self, node: str, message: WriteReplica) -> WriteReplicaReply:
        status = self.chance.choice(WRITE_STATUSES)
        stamp = unpack_record(message.record).stamp
        owner = message.hint_owner or node
        if status == OK:
            self.yes[stamp].add((owner, node))
        if status in (OK, SUPERSEDED, INTERNAL):
            self.hinted[stamp].add(owner)
        newest = stamp_at(self.scene.seconds - 99) if status == SUPERSEDED else None
        return WriteReplicaReply(message.request, status, newest)

    def read_reply(self, node: str, message: Any) -> ReadReplicaReply:
        status = self.chance.choice(READ_STATUSES)
        request = self.request_of[message.digest]
        record = None
        if status == OK:
            stamp = stamp_at(self.chance.randint(-3, 0))
            asked = self.asked[request]
            record = pack_record(stamp, asked["bucket"], asked["key"], b"%d" % stamp[7])
        if status in (OK, NOT_FOUND) and request not in self.answered:
            self.found[request].setdefault(node, record)
        return ReadReplicaReply(message.request, status, record)

    def forward_reply(self, message: Any) -> Any:
        newest = stamp_at(self.scene.seconds - 99)
        owners = self.owners(digest_of(message.bucket, message.key, BUCKETS[message.bucket]))
        reply = self.chance.choice(
            [
                WriteReply(message.request, message.stamp, len(owners), 0),
                SupersededReply(message.request, newest),
                ErrorReply(message.request, Code.UNAVAILABLE, "no", True),
                ErrorReply(message.request, Code.NOT_SERVING, "no", True),
                ErrorReply(message.request, Code.OVERLOADED, "no", False),
            ]
        )
        if type(reply) is WriteReply:
            # The other coordinator has stored it with each owner, whatever is done here.
            self.yes[message.stamp].update((owner, owner) for owner in owners)
            self.hinted[message.stamp].update(owners)
        return reply

    def owners(self, digest: bytes) -> tuple[str, ...]:
        return self.ring.order(self.ring.partition_of(digest))[: digest[0]]

    def lose(self) -> None:
        if self.open:
            del self.open[self.chance.randrange(len(self.open))]

    def unsent(self) -> None:
        if self.open:
            peer, message = self.open.pop(self.chance.randrange(len(self.open)))
            overloaded = self.chance.random() < 0.5
            self.scene.told(SendFailed(*peer, message, overloaded), peer)

    def links(self) -> None:
        node = f"n{self.chance.randint(2, MEMBERS)}"
        self.chance.choice([self.scene.link, self.scene.link, self.scene.unlink])(node)

    def members(self) -> None:
        node = f"n{self.chance.randint(2, MEMBERS)}"
        self.scene.gossip({node: self.chance.choice([ALIVE, ALIVE, SUSPECT, DEAD])})

    def pass_time(self) -> None:
        self.scene.wait(self.chance.expovariate(10))

    def stall(self) -> None:
        if self.chance.random() < 0.1:
            self.scene.stall(self.chance.uniform(0.2, 3))

    # --- what must hold -----------------------------------------------------------------

    def look(self) -> None:
        """Take in what the machine has done, and check it."""
        kinds = (WriteReplica, ReadReplica)
        self.open += [(Peer(to, STORAGE), m) for to, m in self.scene.asked if type(m) in kinds]
        self.open += [(Peer(to, COORDINATOR), m) for to, m in self.scene.forwarded]
        for to, message in self.scene.asked:
            if type(message) is WriteReplica and to == "n1" and message.hint_owner is not None:
                self.hinted[unpack_record(message.record).stamp].add(message.hint_owner)
        self.scene.asked.clear()
        self.scene.forwarded.clear()
        for reply in self.scene.answers:
            assert reply.request not in self.answered, "answered twice"
            self.answered[reply.request] = reply
            self.check(reply)
        self.scene.answers.clear()
        late = [
            request
            for request, asked in self.asked.items()
            if asked["until"] < self.scene.seconds and request not in self.answered
        ]
        assert late == [], "not answered in time"

    def check(self, reply: Any) -> None:
        quorum = self.asked[reply.request]["quorum"]
        if type(reply) is GetReply:
            # Who was given up is not listened to any more, but may have held something newer.
            held = [record or b"" for record in self.found[reply.request].values()]
            answered = unpack_context(reply.context) if reply.context else b""
            below = [record for record in held if stamp_of(record) <= answered]
            assert len(below) >= reply.owners + reply.fallbacks >= quorum
            assert bool(reply.values) == bool(answered)
        elif type(reply) is WriteReply and reply.stamp in self.yes:
            yes = self.yes[reply.stamp]
            assert reply.owners + reply.fallbacks >= quorum
            assert len({node for _, node in yes}) >= quorum, "a node was counted twice"
            assert len({owner for owner, _ in yes}) >= quorum, "a slot was counted twice"

    def check_copies(self) -> None:
        """Of every write acknowledged here, each owner has a copy or a hint."""
        for request, reply in self.answered.items():
            if type(reply) is WriteReply and reply.stamp in self.yes:
                owners = self.owners(self.asked[request]["digest"])
                assert set(owners) - self.hinted[reply.stamp] <= {"n1"}, (request, reply)


@pytest.mark.parametrize("seed", range(30))
def test_every_request_has_one_answer_in_time_and_leaves_nothing_behind(seed: int) -> None:
    chaos = Chaos(seed)

    chaos.run()

    assert set(chaos.answered) == set(chaos.asked)
    chaos.check_copies()
    scene = chaos.scene
    assert scene.machine.next_deadline() is None
    scene.told(Status(0), CLIENT)
    scene.wait(1)
    requests = scene.sole_answer().status["requests"]
    assert (requests["held"], requests["bytes"]) == (0, 0)


def test_the_chaos_reaches_every_outcome() -> None:
    """So that the test above cannot pass for want of anything happening."""
    seen: Counter[Any] = Counter()

    for seed in range(30):
        chaos = Chaos(seed)
        chaos.run()
        for reply in chaos.answered.values():
            seen[reply.code if type(reply) is ErrorReply else type(reply)] += 1

    outcomes = {GetReply, WriteReply, SupersededReply}
    outcomes |= {Code.UNAVAILABLE, Code.OVERLOADED, Code.TIMEOUT, Code.INTERNAL}
    assert outcomes <= set(seen), seen
