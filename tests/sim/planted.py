"""Faults that are planted into the product, one at a time, to see whether the simulator finds them.

Each is a small, believable mistake in one rule of Dynamo, SWIM or the store, made for the
time of a test (seams.py); the product has no switch for any of them.
``python -m tests.sim.plant`` searches for a seed that catches each; kept_seeds.json has
the seeds that tests run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from toystore.client.request import PutRequest, WriteRequest
from toystore.core.antientropy.antientropy import Antientropy
from toystore.core.data.record import check_record, digest_of, newer, stamp_of, unpack_record
from toystore.core.data.stamp import HybridLogicalClock, pack_stamp, unpack_stamp
from toystore.core.handoff.handoff import Handoff
from toystore.core.membership.exchanges import Exchanges
from toystore.core.membership.members import Members
from toystore.core.membership.own_state import OwnState
from toystore.core.membership.peers import Peers
from toystore.core.membership.swim import Swim
from toystore.core.protocol.address import Address
from toystore.core.protocol.failures import refuse_write
from toystore.core.protocol.machine import Outbox
from toystore.core.protocol.messages.client import Delete, ErrorReply, GetReply, Put
from toystore.core.protocol.messages.codes import Code, MemberStatus, ReplicaStatus
from toystore.core.protocol.messages.hints import DeliverHints, DeliverHintsReply
from toystore.core.protocol.messages.replica import (
    ReadReplicaReply,
    RepairReplica,
    WriteReplica,
    WriteReplicaReply,
)
from toystore.core.requests.coordinator import Coordinator
from toystore.core.requests.quorum import verdict
from toystore.core.requests.sloppy_quorum import SloppyQuorum
from toystore.core.requests.slot import FALLBACK, OWNER
from toystore.core.requests.writing import Write
from toystore.core.ring.ring import Ring
from toystore.core.ring.tree import HEAD_BYTES
from toystore.core.storage.hints import Hints
from toystore.core.storage.layout import RECORD
from toystore.core.storage.records import Records
from toystore.core.storage.storage import Storage
from toystore.core.storage.store import Store
from toystore.core.storage.sums import Sums, sound_head

from .seams import Patch, Send, everywhere, hears, replace, says, settings, storage

OK, SUPERSEDED = int(ReplicaStatus.OK), int(ReplicaStatus.SUPERSEDED)
NEVER_S = 1e9

# --- hints and hand-off -----------------------------------------------------------------


def hints_are_dropped_once_sent(patch: Patch) -> None:
    def faulty(oldest: Any, self: Any, owner: str, *given: Any) -> Any:
        sound, corrupt = oldest(self, owner, *given)
        for digest, record in sound:
            self.delete(owner, digest, stamp_of(record))
        return sound, corrupt

    replace(patch, Hints, "oldest", faulty)


def refused_hints_are_dropped(patch: Patch) -> None:
    def faulty(message: DeliverHintsReply) -> DeliverHintsReply:
        return message._replace(statuses=(OK,) * len(message.statuses))

    hears(patch, Handoff, DeliverHintsReply, faulty)


def handoff_gives_up_after_one_failure(patch: Patch) -> None:
    settings(patch, Handoff, retry_s=NEVER_S)


def a_fallback_keeps_a_hint_as_a_record_of_its_own(patch: Patch) -> None:
    hears(patch, Storage, WriteReplica, lambda message: message._replace(hint_owner=None))


def a_hint_without_room_is_said_to_be_kept(patch: Patch) -> None:
    def faulty(send: Send, to: Address, message: WriteReplicaReply) -> None:
        refused = message.status == ReplicaStatus.REFUSED
        send(to, message._replace(status=OK) if refused else message)

    says(patch, Storage, WriteReplicaReply, faulty)


def delivered_hints_overwrite_what_is_newer(patch: Patch) -> None:
    def faulty(store: Store, message: DeliverHints) -> None:
        for digest, record in message.hints:
            store.put(RECORD + digest, record)

    storage(patch, DeliverHints, before=faulty)


def a_newer_hint_does_not_replace_the_older(patch: Patch) -> None:
    def faulty(keep: Any, self: Any, owner: str, digest: bytes, *given: Any) -> None:
        if self.find(owner, digest) is None:
            keep(self, owner, digest, *given)

    replace(patch, Hints, "keep", faulty)


def a_large_hint_is_never_taken(patch: Patch) -> None:
    def faulty(oldest: Any, self: Any, owner: str, bytes_max: int, *given: Any) -> Any:
        sound, corrupt = oldest(self, owner, bytes_max, *given)
        return ([] if sum(len(record) for _, record in sound) > bytes_max else sound), corrupt

    replace(patch, Hints, "oldest", faulty)


# --- replicas ---------------------------------------------------------------------------


def a_delete_removes_the_record_and_leaves_no_tombstone(patch: Patch) -> None:
    def faulty(store: Store, message: WriteReplica) -> None:
        stored = store.get(RECORD + message.digest)
        if stored == message.record and unpack_record(stored).tombstone:
            store.delete(RECORD + message.digest)

    storage(patch, WriteReplica, after=faulty)


def a_tombstone_gives_way_to_any_value(patch: Patch) -> None:
    def faulty(true: Any, a: bytes, b: bytes) -> bytes:
        values = [one for one in (a, b) if not unpack_record(one).tombstone]
        return true(a, b) if len(values) != 1 else values[0]

    everywhere(patch, newer, faulty, within="toystore.core.requests")


def replicas_keep_the_older_record(patch: Patch) -> None:
    def faulty(
        _: Any, self: Any, digest: bytes, stored: bytes | None, record: bytes, is_sound: Any
    ) -> Any:
        if stored is None or stamp_of(stored) > stamp_of(record):
            return None
        return OK, None

    replace(patch, Records, "objection", faulty)


def read_repair_does_not_look_what_is_there(patch: Patch) -> None:
    def faulty(store: Store, message: RepairReplica) -> None:
        store.put(RECORD + message.digest, message.record)

    storage(patch, RepairReplica, before=faulty)


def checksums_are_not_checked(patch: Patch) -> None:
    everywhere(patch, check_record, lambda _, record: stamp_of(record), within="toystore.core")


def a_rotten_record_counts_as_not_found(patch: Patch) -> None:
    def faulty(send: Send, to: Address, message: ReadReplicaReply) -> None:
        if message.status == ReplicaStatus.NO_VOTE:
            message = message._replace(status=int(ReplicaStatus.NOT_FOUND))
        send(to, message)

    says(patch, Storage, ReadReplicaReply, faulty)


def answers_leave_though_the_batch_was_undone(patch: Patch) -> None:
    replace(patch, Outbox, "clear", lambda _, self: None)


def buckets_share_their_keys(patch: Patch) -> None:
    everywhere(patch, digest_of, lambda true, _, key, n: true("default", key, n), within="toystore")


def a_full_disk_says_that_it_kept_what_it_refused(patch: Patch) -> None:
    def faulty(refuse: Any, message: Any) -> Any:
        kept = isinstance(message, WriteReplica)
        return WriteReplicaReply(message.request, OK, None) if kept else refuse(message)

    everywhere(patch, refuse_write, faulty, within="toystore")


# --- anti-entropy -----------------------------------------------------------------------


def the_overwritten_record_stays_in_the_sum(patch: Patch) -> None:
    def faulty(note: Any, self: Sums, digest: bytes, _before: Any, *given: Any) -> None:
        note(self, digest, None, *given)

    replace(patch, Sums, "note", faulty)


def rot_stays_in_the_sum(patch: Patch) -> None:
    def faulty(_: Any, record: bytes) -> bytes:
        return record[:HEAD_BYTES]

    everywhere(patch, sound_head, faulty, within="toystore.core.storage")


def young_records_are_never_compared(patch: Patch) -> None:
    settings(patch, Antientropy, young_s=NEVER_S)


# --- quorums ----------------------------------------------------------------------------


def a_fallback_counts_twice(patch: Patch) -> None:
    def faulty(vote: Any, self: Any, slot: int, node: str) -> None:
        vote(self, slot, node)
        self.yes += self.sides[slot] == FALLBACK

    replace(patch, SloppyQuorum, "vote", faulty)


def a_fallback_passes_for_an_owner(patch: Patch) -> None:
    def faulty(_: Any, self: Any, slot: int, node: str) -> None:
        if self.sides[slot] not in (OWNER, FALLBACK):
            self.sides[slot] = OWNER
            self.yes += 1

    replace(patch, SloppyQuorum, "vote", faulty)


def the_callers_quorum_is_ignored(patch: Patch) -> None:
    hears(patch, Coordinator, Put, lambda message: message._replace(w=None))


def one_vote_less_is_enough(patch: Patch) -> None:
    def faulty(true: Any, needed: int, yes: int, pending: int) -> Any:
        return true(max(1, needed - 1), yes, pending)

    everywhere(patch, verdict, faulty, within="toystore.core.requests")


def superseded_counts_as_a_vote(patch: Patch) -> None:
    def faulty(message: WriteReplicaReply) -> WriteReplicaReply:
        return message._replace(status=OK) if message.status == SUPERSEDED else message

    hears(patch, Coordinator, WriteReplicaReply, faulty)


def a_read_gives_the_first_answer_and_not_the_newest(patch: Patch) -> None:
    everywhere(patch, newer, lambda _, a, b: a, within="toystore.core.requests")


def a_tombstone_has_no_context(patch: Patch) -> None:
    def faulty(send: Send, to: Address, message: GetReply) -> None:
        send(to, message if message.values else message._replace(context=b""))

    says(patch, Coordinator, GetReply, faulty)


def any_coordinator_mints_a_clients_write_anew(patch: Patch) -> None:
    def faulty(on_reply: Any, self: Any, reply: WriteReplicaReply, *given: Any) -> None:
        if reply.status == SUPERSEDED:
            self.mutation = self.mutation._replace(minted=True)
        on_reply(self, reply, *given)

    replace(patch, Write, "on_reply", faulty)


def a_timeout_says_that_nothing_happened(patch: Patch) -> None:
    def faulty(send: Send, to: Address, message: ErrorReply) -> None:
        definite = message.definite or message.code in (Code.TIMEOUT, Code.UNAVAILABLE)
        send(to, message._replace(definite=definite))

    says(patch, Coordinator, ErrorReply, faulty)


def a_forwarded_write_is_stamped_anew(patch: Patch) -> None:
    for kind in (Put, Delete):
        hears(patch, Coordinator, kind, _stamped_anew)


def _stamped_anew(message: Any) -> Any:
    if not message.forwarded:
        return message
    time_us, counter, minter = unpack_stamp(message.stamp)
    return message._replace(stamp=pack_stamp(time_us, counter + 1000, minter))


def the_ring_names_an_owner_twice(patch: Patch) -> None:
    def faulty(order: Any, self: Any, partition: int) -> tuple[str, ...]:
        names = order(self, partition)
        return (names[0], *names[:-1]) if partition == 3 else names

    replace(patch, Ring, "order", faulty)


# --- clients and clocks -----------------------------------------------------------------


def each_retry_is_stamped_anew(patch: Patch) -> None:
    def faulty(message: Any, self: Any, now: float) -> Any:
        if self.stamp is not None and self.moves:
            time_us, counter, minter = unpack_stamp(self.stamp)
            self.stamp = pack_stamp(time_us, counter + 1000, minter)
        return message(self, now)

    replace(patch, PutRequest, "message", faulty)


def a_clock_forgets_what_it_was_shown(patch: Patch) -> None:
    replace(patch, HybridLogicalClock, "merge", lambda _, self, stamp: None)


def a_client_forgets_its_earlier_attempts(patch: Patch) -> None:
    def faulty(message: Any, self: WriteRequest, now: float) -> Any:
        self.indefinite = False
        return message(self, now)

    for kind in WriteRequest.__subclasses__():
        replace(patch, kind, "message", faulty)


def a_clock_follows_the_wall_back(patch: Patch) -> None:
    def faulty(mint: Any, self: Any, wall_us: int) -> bytes:
        time_us, counter, minter = unpack_stamp(mint(self, wall_us))
        return pack_stamp(min(time_us, wall_us), counter, minter)

    replace(patch, HybridLogicalClock, "mint", faulty)


# --- membership -------------------------------------------------------------------------


def the_accused_does_not_refute(patch: Patch) -> None:
    replace(patch, OwnState, "_refute", lambda _, self, own, cause, sender: None)


def a_refutation_does_not_raise_the_incarnation(patch: Patch) -> None:
    def faulty(refute: Any, self: Any, own: Any, cause: str, sender: str) -> None:
        refute(self, own._replace(incarnation=max(0, own.incarnation - 1)), cause, sender)

    replace(patch, OwnState, "_refute", faulty)


def the_dead_are_never_spoken_to_again(patch: Patch) -> None:
    def faulty(start: Any, self: Any, name: str) -> None:
        known = self._members.get(name)
        if known is None or known.status != MemberStatus.DEAD:
            start(self, name)

    replace(patch, Exchanges, "start", faulty)


def news_is_not_passed_on(patch: Patch) -> None:
    replace(patch, Members, "updates", lambda _, self, updates_max, sends_max: ())


def who_leaves_does_not_say_so(patch: Patch) -> None:
    replace(patch, Peers, "announce_leave", lambda _, self: None)


def suspects_are_never_given_up(patch: Patch) -> None:
    settings(patch, Swim, suspicion_mult=NEVER_S)


def a_node_that_returns_is_still_called_left(patch: Patch) -> None:
    def faulty(learn: Any, self: Any, received: Any, sender: str) -> None:
        if received.status != MemberStatus.LEFT:
            learn(self, received, sender)

    replace(patch, OwnState, "learn", faulty)


PLANTED: dict[str, Callable[[Patch], None]] = {
    name: plant
    for name, plant in list(globals().items())
    if getattr(plant, "__module__", "") == __name__ and not name.startswith("_")
}
"""Every fault above, by name."""
