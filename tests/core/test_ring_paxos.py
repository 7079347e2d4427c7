"""Whatever the network and the nodes do, no epoch has two records (random schedules)."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise

import pytest

from tests.core.ring_scene import LINEAGE, Scene
from toystore.core.protocol.address import Address, Peer
from toystore.core.protocol.messages import Message
from toystore.core.protocol.messages.ring import (
    DescribeMoves,
    DescribeMovesReply,
    FetchRings,
    FetchRingsReply,
    OfferRings,
    RingCommandReply,
)
from toystore.core.reconfiguration.proposal import Round
from toystore.core.ring.record import RingRecord, unpack_ring
from toystore.core.storage.layout import VOTE
from toystore.core.storage.ring_acceptor import Acceptor

STEPS = 250
PORT = 7500


class Chaos(Scene):
    """Nodes in a network that loses, repeats, delays and reorders messages, and that restart."""

    def __init__(self, seed: int, *, restarted: Callable[[Chaos, str], None] | None = None) -> None:
        """``restarted``: called after the storage of a node was restarted."""
        self.random = random.Random(seed)
        self.flying: list[tuple[Peer, Address, Message]] = []
        self.wild = False
        super().__init__(self.random.choice((3, 3, 4, 5)), seed=seed)
        self.decided: dict[int, RingRecord] = {}
        """The record of each epoch, as the first node has adopted it."""
        self.wanted: dict[int, str] = {}
        """For each commit that was sent, what it was to change."""
        self.wiped = ""
        self._restarted = restarted or (lambda scene, name: None)

    def post(self, sender: Peer, to: Address, message: Message) -> None:
        """Within a node messages arrive at once and in order; others may be lost, or come twice.

        A census is always complete, so that each commit has a plan.
        """
        local = not isinstance(to, Peer) or to.node == sender.node
        if not self.wild or local or isinstance(message, (DescribeMoves, DescribeMovesReply)):
            super().post(sender, to, message)
        elif self.random.random() > (0.6 if isinstance(message, OfferRings) else 0.1):
            self.flying += [(sender, to, message)] * self.random.choice((1, 1, 1, 2))

    def go_wild(self) -> None:
        """Let anything happen for a time."""
        self.wild = True
        for _ in range(STEPS):
            self._happen()
            self.deliver()
            self.check()
        self.wild = False

    def _happen(self) -> None:
        what = self.random.random()
        name = self.random.choice(list(self.nodes))
        if what < 0.75 and self.flying:
            self.arrive(*self.flying.pop(self.random.randrange(len(self.flying))))
        elif what < 0.84:
            self._step(self.time + 1.0)
        elif what < 0.89:
            self._commit(name)
        elif what < 0.91:
            self.nodes[name].start_ring()
        elif what < 0.95:
            self._restart(name)
        elif what < 0.99:
            self.cut.clear()
            if self.random.random() < 0.7:
                self.split(name)
        elif not self.wiped:
            self._wipe(name)

    def _commit(self, name: str) -> None:
        """Commit a plan that differs from all others."""
        host = f"h{len(self.wanted)}"
        planned = self.send_command(name, "plan", changes=[["readdress", name, f"{host}:{PORT}"]])
        self.deliver()
        reply = self.reply_to(planned)
        if reply is not None and not reply.code:
            self.wanted[self.send_command(name, "commit")] = host

    def _restart(self, name: str) -> None:
        """The process ends and starts again, on the same disk."""
        node = self.nodes[name]
        node.start(votes=None)
        self._restarted(self, name)

    def _wipe(self, name: str) -> None:
        self.wiped = name
        node = self.nodes[name]
        node.new_disk()
        node.left["votes"] = False
        node.start(votes=False)

    def check(self) -> None:
        """Each epoch has one record, and they follow each other."""
        for node in self.nodes.values():
            newest = node.record
            if newest.epoch:
                other = self.decided.setdefault(newest.epoch, newest)
                assert other == newest, f"epoch {newest.epoch}: {other.why}, {newest.why}"

    def heal(self) -> None:
        """The network works again, and the wiped node has rebuilt its data."""
        self.cut.clear()
        for node in self.nodes.values():
            node.left["votes"] = True
        for _ in range(10):
            self.flying.clear()
            newest = max(self.nodes, key=lambda name: self.nodes[name].record.epoch)
            for name in self.nodes:
                self.see(name, newest)
            self.run(10)
            self.check()

    def chain(self) -> list[RingRecord]:
        """All records that the first node has."""
        self.nodes["n1"].feed_storage(FetchRings(1, 0), Peer("reader", "coordinator"))
        [reply] = [one for _, _, one in self.queue if isinstance(one, FetchRingsReply)]
        return list(map(unpack_ring, reply.records))


@pytest.mark.parametrize("seed", range(60))
def test_no_epoch_has_two_records_and_every_answer_is_true(seed):
    scene = Chaos(seed)
    scene.go_wild()

    scene.heal()

    assert len({node.record for node in scene.nodes.values()}) == 1
    chain = scene.chain()
    assert [one.epoch for one in chain] == list(range(1, len(chain) + 1))
    assert all(after.follows(before, LINEAGE) for before, after in pairwise(chain))
    hosts = [{one.host for one in record.members} for record in chain]
    for commit, host in scene.wanted.items():
        happened = sum(
            host in there and host not in before for before, there in pairwise([set(), *hosts])
        )
        reply = scene.reply_to(commit)
        assert happened <= 1
        if reply is not None:
            assert _is_true(reply, happened=bool(happened)), (reply, happened)


def test_the_schedules_decide_much_in_spite_of_all():
    scenes = [Chaos(seed) for seed in range(20)]
    for scene in scenes:
        scene.go_wild()

    assert sum(len(scene.decided) for scene in scenes) > 20
    assert any(scene.wiped for scene in scenes)


def _is_true(reply: RingCommandReply, *, happened: bool) -> bool:
    if not reply.code:
        return happened
    return not (reply.definite and happened)


def forget_promises(scene: Chaos, name: str) -> None:
    """Planted: an acceptor loses its vote when it restarts."""
    scene.nodes[name].engine.put(VOTE, b"")
    scene.nodes[name].engine.delete(VOTE)


def ignore_accepted(self: Round, voter: str, ballot: tuple[int, str], record: bytes) -> None:
    """Planted: a proposer does not propose what was accepted before."""
    self.agreed.add(voter)


def finds_two_records(seeds: int, **chaos) -> bool:
    for seed in range(seeds):
        scene = Chaos(seed, **chaos)
        try:
            scene.go_wild()
            scene.heal()
        except AssertionError as error:
            return str(error).startswith("epoch ")
    return False


def test_a_promise_that_is_forgotten_over_a_restart_is_found():
    assert finds_two_records(300, restarted=forget_promises)


def test_an_accepted_record_that_is_ignored_by_the_next_proposer_is_found(monkeypatch):
    monkeypatch.setattr(Round, "promised", ignore_accepted)

    assert finds_two_records(300)


def test_a_new_disk_that_votes_as_the_old_one_is_found(monkeypatch):
    monkeypatch.setattr(Acceptor, "_check_disk", lambda self: None)

    assert finds_two_records(1000)
