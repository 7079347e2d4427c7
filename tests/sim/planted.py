"""Faults that are planted into the product, one at a time, to see whether the simulator finds them.

Each is a small, believable mistake in one rule of Dynamo, SWIM or the store, made by
replacing one method for the time of a test; the product has no switch for any of them.
``python -m tests.sim.plant`` searches for a seed that catches each; kept_seeds.json has
the seeds that tests run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from toystore.client.machine import ClientMachine
from toystore.client.request import PutRequest
from toystore.core.data.record import digest_of, newer, stamp_of, unpack_record
from toystore.core.data.stamp import HybridLogicalClock
from toystore.core.membership.disks import Disks
from toystore.core.membership.exchanges import Exchanges
from toystore.core.membership.members import Members
from toystore.core.membership.own_state import OwnState
from toystore.core.membership.peers import Peers
from toystore.core.membership.suspicion import Suspicions
from toystore.core.protocol import failures
from toystore.core.protocol.messages.codes import MemberStatus, ReplicaStatus
from toystore.core.protocol.messages.hints import DeliverHints, DeliverHintsReply, DropHints
from toystore.core.protocol.messages.replica import (
    ReadReplicaReply,
    RepairReplica,
    WriteReplica,
    WriteReplicaReply,
)
from toystore.core.repair.handoff import Handoff
from toystore.core.repair.pauses import Pauses
from toystore.core.requests import reading
from toystore.core.requests.coordinator import Coordinator
from toystore.core.requests.quorum import verdict
from toystore.core.requests.reading import Read
from toystore.core.requests.sloppy_quorum import FALLBACK, OWNER, SloppyQuorum
from toystore.core.requests.writing import Write
from toystore.core.ring.ring import Ring
from toystore.core.storage.hints import Hints
from toystore.core.storage.layout import RECORD
from toystore.core.storage.records import Records
from toystore.core.storage.storage import Storage
from toystore.engines.group_commit import GroupCommit

Patch = pytest.MonkeyPatch


# --- hints and hand-off -----------------------------------------------------------------


def hints_are_dropped_once_sent(patch: Patch) -> None:
    taken = Handoff._taken

    def faulty(self: Any, message: Any, now: Any) -> None:
        taken(self, message, now)
        sent = tuple((digest, stamp_of(record)) for digest, record in message.hints)
        self._out.send(self._storage, DropHints(message.owner, sent))

    patch.setattr(Handoff, "_taken", faulty)


def refused_hints_are_dropped(patch: Patch) -> None:
    patch.setattr("toystore.core.repair.delivery._SAFE", tuple(ReplicaStatus))


def handoff_gives_up_after_one_failure(patch: Patch) -> None:
    patch.setattr(Pauses, "_length_s", lambda self, failures: float("inf"))
    patch.setattr(Pauses, "end", lambda self, owner: None)
    patch.setattr(Handoff, "_count_for", lambda self, nodes, now: None)


def a_fallback_keeps_a_hint_as_a_record_of_its_own(patch: Patch) -> None:
    def faulty(self: Any, owner: str, digest: bytes, record: bytes, now: Any) -> Any:
        return self._records.write(digest, record)

    patch.setattr(Storage, "_hint", faulty)


def hints_are_kept_for_the_first_owner_only(patch: Patch) -> None:
    def faulty(self: Any, slot: int) -> Any:
        self.indefinite = True
        return WriteReplica(self.number, self.digest, self._record, self.owners[0])

    patch.setattr(Write, "fallback_question", faulty)


def no_hint_is_left_when_no_fallback_is(patch: Patch) -> None:
    patch.setattr(Write, "_hold", lambda self, slot: None)


def a_hint_without_room_is_said_to_be_kept(patch: Patch) -> None:
    hint = Storage._hint

    def faulty(self: Any, owner: str, digest: bytes, record: bytes, now: Any) -> Any:
        status, stamp = hint(self, owner, digest, record, now)
        return (int(ReplicaStatus.OK) if status == ReplicaStatus.REFUSED else status), stamp

    patch.setattr(Storage, "_hint", faulty)


def delivered_hints_overwrite_what_is_newer(patch: Patch) -> None:
    def faulty(self: Any, message: DeliverHints, sender: Any, now: Any) -> None:
        for digest, record in message.hints:
            self._store.put(RECORD + digest, record)
        statuses = (int(ReplicaStatus.OK),) * len(message.hints)
        self._out.send(sender, DeliverHintsReply(message.request, statuses))

    patch.setattr(Storage, "_deliver_hints", faulty)


def a_newer_hint_does_not_replace_the_older(patch: Patch) -> None:
    keep = Hints.keep

    def faulty(self: Any, owner: str, digest: bytes, record: bytes, wall_us: int) -> None:
        if self.find(owner, digest) is None:
            keep(self, owner, digest, record, wall_us)

    patch.setattr(Hints, "keep", faulty)


def a_large_hint_is_never_taken(patch: Patch) -> None:
    first = Hints._first

    def faulty(self: Any, owner: str, bytes_max: int, start: bytes = b"") -> Any:
        sound, corrupt = first(self, owner, bytes_max, start)
        return ([] if sum(len(record) for _, record in sound) > bytes_max else sound), corrupt

    patch.setattr(Hints, "_first", faulty)


def a_write_is_over_once_answered(patch: Patch) -> None:
    patch.setattr(Write, "settled", lambda self: True)


# --- replicas ---------------------------------------------------------------------------


def a_delete_removes_the_record_and_leaves_no_tombstone(patch: Patch) -> None:
    write = Records.write

    def faulty(self: Any, digest: bytes, record: bytes) -> Any:
        answer = write(self, digest, record)
        if self._store.get(RECORD + digest) == record and unpack_record(record).tombstone:
            self._store.delete(RECORD + digest)
        return answer

    patch.setattr(Records, "write", faulty)


def a_tombstone_gives_way_to_any_value(patch: Patch) -> None:
    def faulty(a: bytes, b: bytes) -> bytes:
        values = [one for one in (a, b) if not unpack_record(one).tombstone]
        return newer(a, b) if len(values) != 1 else values[0]

    patch.setattr(reading, "newer", faulty)


def replicas_keep_the_older_record(patch: Patch) -> None:
    def faulty(self: Any, digest: bytes, stored: bytes | None, record: bytes) -> Any:
        if stored is None or stamp_of(stored) > stamp_of(record):
            return None
        return int(ReplicaStatus.OK), None

    patch.setattr(Records, "objection", faulty)


def read_repair_does_not_look_what_is_there(patch: Patch) -> None:
    def faulty(self: Any, message: RepairReplica, sender: Any, now: Any) -> None:
        self._store.put(RECORD + message.digest, message.record)

    patch.setattr(Storage, "_repair_replica", faulty)


def checksums_are_not_checked(patch: Patch) -> None:
    for module in ("data.record", "storage.records", "storage.storage"):
        patch.setattr(f"toystore.core.{module}.check_record", stamp_of)


def a_rotten_record_counts_as_not_found(patch: Patch) -> None:
    read_replica = Storage._read_replica

    def faulty(self: Any, message: Any, sender: Any, now: Any) -> None:
        read_replica(self, message, sender, now)
        replies = self._out.sends[sender]
        if replies[-1].status == ReplicaStatus.NO_VOTE:
            replies[-1] = ReadReplicaReply(message.request, int(ReplicaStatus.NOT_FOUND), None)

    patch.setattr(Storage, "_read_replica", faulty)


def an_empty_new_disk_votes_not_found(patch: Patch) -> None:
    patch.setattr(Disks, "replace", lambda self, own, before: None)


def answers_leave_though_the_batch_was_undone(patch: Patch) -> None:
    patch.setattr(GroupCommit, "_give_up", lambda self: self._engine.abort())


def buckets_share_their_keys(patch: Patch) -> None:
    for module in ("toystore.core.requests.coordinator", "toystore.sim.audit"):
        patch.setattr(f"{module}.digest_of", lambda bucket, key: digest_of("default", key))


def a_full_disk_says_that_it_kept_what_it_refused(patch: Patch) -> None:
    def faulty(message: Any) -> Any:
        match message:
            case WriteReplica():
                return WriteReplicaReply(message.request, int(ReplicaStatus.OK), None)
            case _:
                return failures.refuse_write(message)

    patch.setattr("toystore.engines.group_commit.refuse_write", faulty)


# --- quorums ----------------------------------------------------------------------------


def a_fallback_counts_twice(patch: Patch) -> None:
    vote = SloppyQuorum.vote

    def faulty(self: Any, slot: int, node: str) -> None:
        vote(self, slot, node)
        self.yes += self.slots[slot] == FALLBACK

    patch.setattr(SloppyQuorum, "vote", faulty)


def a_fallback_passes_for_an_owner(patch: Patch) -> None:
    def faulty(self: Any, slot: int, node: str) -> None:
        if self.slots[slot] not in (OWNER, FALLBACK):
            self.slots[slot] = OWNER
            self.yes += 1

    patch.setattr(SloppyQuorum, "vote", faulty)


def the_callers_quorum_is_ignored(patch: Patch) -> None:
    put = Coordinator._put

    def faulty(self: Any, message: Any, sender: Any, now: Any) -> None:
        put(self, message._replace(w=None), sender, now)

    patch.setattr(Coordinator, "_put", faulty)


def one_vote_less_is_enough(patch: Patch) -> None:
    def faulty(needed: int, yes: int, pending: int) -> Any:
        return verdict(max(1, needed - 1), yes, pending)

    patch.setattr("toystore.core.requests.sloppy_quorum.verdict", faulty)


def superseded_counts_as_a_vote(patch: Patch) -> None:
    on_reply = Write.on_reply

    def faulty(self: Any, reply: WriteReplicaReply, node: str, now: Any) -> None:
        if reply.status == ReplicaStatus.SUPERSEDED:
            reply = reply._replace(status=int(ReplicaStatus.OK))
        on_reply(self, reply, node, now)

    patch.setattr(Write, "on_reply", faulty)


def a_read_gives_the_first_answer_and_not_the_newest(patch: Patch) -> None:
    patch.setattr(reading, "newer", lambda a, b: a)


def a_read_repairs_nobody(patch: Patch) -> None:
    patch.setattr(Read, "_repair", lambda self, newest: None)


def a_read_repairs_fallbacks_as_well(patch: Patch) -> None:
    def faulty(self: Any, newest: bytes) -> None:
        for node in self.order:
            if node in self.desk.reachable:
                repair = RepairReplica(self._digest, newest)
                self.desk.outbox.send(self.desk.storages[node], repair)

    patch.setattr(Read, "_repair", faulty)


def a_tombstone_has_no_context(patch: Patch) -> None:
    succeed = Read.succeed

    def faulty(self: Any, now: Any) -> None:
        newest = self._newest
        if newest is not None and unpack_record(newest).tombstone:
            self._newest = None
        succeed(self, now)
        self._newest = newest

    patch.setattr(Read, "succeed", faulty)


def any_coordinator_mints_a_clients_write_anew(patch: Patch) -> None:
    superseded = Write._superseded

    def faulty(self: Any, node: str, stamp: bytes, now: Any) -> None:
        self.minted = True
        superseded(self, node, stamp, now)

    patch.setattr(Write, "_superseded", faulty)


def a_timeout_says_that_nothing_happened(patch: Patch) -> None:
    patch.setattr(Write, "definite", property(lambda self: True))


def a_forwarded_write_is_stamped_anew(patch: Patch) -> None:
    stamped = Coordinator._stamped

    def faulty(self: Any, message: Any, now: Any) -> bytes:
        stamp = stamped(self, message, now)
        return self._desk.clock.mint(now.wall_us) if message.forwarded else stamp

    patch.setattr(Coordinator, "_stamped", faulty)


def the_ring_names_an_owner_twice(patch: Patch) -> None:
    order = Ring.order

    def faulty(self: Any, partition: int) -> tuple[str, ...]:
        names = order(self, partition)
        return (names[0], *names[:-1]) if partition == 3 else names

    patch.setattr(Ring, "order", faulty)


# --- clients and clocks -----------------------------------------------------------------


def each_retry_is_stamped_anew(patch: Patch) -> None:
    message = PutRequest.message
    begin = ClientMachine.begin

    def faulty_begin(self: Any, request: Any, now: float) -> None:
        request.waiter = self._clock
        begin(self, request, now)

    def faulty(self: Any, now: float) -> Any:
        if self.stamp is not None and self.moves:
            self.stamp = self.waiter.mint()
        return message(self, now)

    patch.setattr(ClientMachine, "begin", faulty_begin)
    patch.setattr(PutRequest, "message", faulty)


def a_clock_forgets_what_it_was_shown(patch: Patch) -> None:
    patch.setattr(HybridLogicalClock, "merge", lambda self, stamp: None)


def a_client_forgets_its_earlier_attempts(patch: Patch) -> None:
    move = ClientMachine._move

    def faulty(self: Any, request: Any, now: float) -> None:
        request.silent = False
        move(self, request, now)

    patch.setattr(ClientMachine, "_move", faulty)


def a_clock_follows_the_wall_back(patch: Patch) -> None:
    mint = HybridLogicalClock.mint

    def faulty(self: Any, wall_us: int) -> bytes:
        self._time_us = min(self._time_us, wall_us)
        return mint(self, wall_us)

    patch.setattr(HybridLogicalClock, "mint", faulty)


# --- membership -------------------------------------------------------------------------


def the_accused_does_not_refute(patch: Patch) -> None:
    patch.setattr(OwnState, "_refute", lambda self, own, cause, sender: None)


def a_refutation_does_not_raise_the_incarnation(patch: Patch) -> None:
    refute = OwnState._refute

    def faulty(self: Any, own: Any, cause: str, sender: str) -> None:
        refute(self, own._replace(incarnation=max(0, own.incarnation - 1)), cause, sender)

    patch.setattr(OwnState, "_refute", faulty)


def the_dead_are_never_spoken_to_again(patch: Patch) -> None:
    start = Exchanges.start

    def faulty(self: Any, name: str) -> None:
        known = self._members.get(name)
        if known is None or known.status != MemberStatus.DEAD:
            start(self, name)

    patch.setattr(Exchanges, "start", faulty)


def news_is_not_passed_on(patch: Patch) -> None:
    patch.setattr(Members, "updates", lambda self, updates_max, sends_max: ())


def who_leaves_does_not_say_so(patch: Patch) -> None:
    patch.setattr(Peers, "announce_leave", lambda self: None)


def suspects_are_never_given_up(patch: Patch) -> None:
    patch.setattr(Suspicions, "_timeout_s", lambda self: float("inf"))


def a_node_that_returns_is_still_called_left(patch: Patch) -> None:
    learn = OwnState.learn

    def faulty(self: Any, received: Any, sender: str) -> None:
        if received.status != MemberStatus.LEFT:
            learn(self, received, sender)

    patch.setattr(OwnState, "learn", faulty)


PLANTED: dict[str, Callable[[Patch], None]] = {
    name: plant
    for name, plant in list(globals().items())
    if getattr(plant, "__module__", "") == __name__
}
"""Every fault above, by name."""
