"""The storage machine: what a replica says of its disk.

It keeps records, and hints for owners that could not be reached, in the one `Store`
that its shell gave it (`layout.py` lists the kinds of keys), and answers whoever asked:

    WriteReplica   ─┐                 ┌─ older, or nothing held ─▶ written, OK
    RepairReplica   ├─▶ what is held  ├─ the very same ──────────▶ OK
    DeliverHints   ─┘                 ├─ newer ──────────────────▶ SUPERSEDED
                                      ├─ rotten ─────────────────▶ logged; written, OK
                                      └─ of another key ─────────▶ INTERNAL, kept

Because the newer record stays whatever the order of the writes, replicas that saw the
same writes hold the same (docs/ARCHITECTURE.md).  The machine keeps nothing outside the
store: its shell may abort a batch and feed it again, or drop it.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from toystore.core.data.record import (
    DIGEST_BYTES,
    CorruptRecordError,
    check_record,
    newer,
    same_key,
    stamp_of,
)
from toystore.core.protocol.address import Address
from toystore.core.protocol.machine import Now, Outbox
from toystore.core.protocol.messages import Message
from toystore.core.protocol.messages.codes import ReplicaStatus
from toystore.core.protocol.messages.disk import (
    LoadDisks,
    LoadDisksReply,
    SaveDisk,
    SettleDisk,
    StorageStatus,
    StorageStatusReply,
)
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
from toystore.core.protocol.messages.replica import (
    ReadReplica,
    ReadReplicaReply,
    RepairReplica,
    WriteReplica,
    WriteReplicaReply,
)
from toystore.core.storage.hints import Hints, HintTotal
from toystore.core.storage.layout import (
    DISK,
    FACT,
    NO,
    PEER,
    RECORD,
    REFUSING,
    SETTLED,
    VOTES,
    YES,
    fits_a_key,
)
from toystore.core.storage.store import Store

_OK = int(ReplicaStatus.OK)
_SUPERSEDED = int(ReplicaStatus.SUPERSEDED)
_NOT_FOUND = int(ReplicaStatus.NOT_FOUND)
_NO_VOTE = int(ReplicaStatus.NO_VOTE)
_REFUSED = int(ReplicaStatus.REFUSED)
_INTERNAL = int(ReplicaStatus.INTERNAL)

_Answer = tuple[int, bytes | None]
"""To a write: its status, and the stamp that is held if that is newer."""
_HELD: _Answer = (_OK, None)
_FAILED: _Answer = (_INTERNAL, None)


class Storage:
    """Serves one node's store."""

    def __init__(
        self,
        *,
        store: Store,
        node: str,
        hint_bytes_max: int,
        outbox: Outbox,
        chance: random.Random,  # noqa: ARG002 - every machine is given one
    ) -> None:
        """``hint_bytes_max``: bytes of hinted records that are kept, for all owners together."""
        self._store = store
        self._node = node
        self._hint_bytes_max = hint_bytes_max
        self._out = outbox
        self._hints = Hints(store)
        self._handlers: dict[type[Any], Callable[[Any, Address, Now], None]] = {
            WriteReplica: self._write_replica,
            ReadReplica: self._read_replica,
            RepairReplica: self._repair_replica,
            TakeHints: self._take_hints,
            DeliverHints: self._deliver_hints,
            DropHints: self._drop_hints,
            CountHints: self._count_hints,
            LoadDisks: self._load_disks,
            SaveDisk: self._save_disk,
            SettleDisk: self._settle_disk,
            StorageStatus: self._storage_status,
        }

    def receive(self, message: Message, sender: Address, now: Now) -> None:
        """Take in one message; news of links and members is nothing to a disk."""
        handler = self._handlers.get(type(message))
        if handler is not None:
            handler(message, sender, now)

    def on_deadline(self, now: Now) -> None:
        """Nothing is ever due."""

    def next_deadline(self) -> float | None:
        """Storage waits for nothing."""
        return None

    def on_failure(self, now: Now) -> None:
        """Nothing is held."""

    # --- records ------------------------------------------------------------------------

    def _write_replica(self, message: WriteReplica, sender: Address, now: Now) -> None:
        if message.hint_owner is None or message.hint_owner == self._node:
            status, stamp = self._write(message.digest, message.record)
        else:
            status, stamp = self._hint(message.hint_owner, message.digest, message.record, now)
        self._out.send(sender, WriteReplicaReply(message.request, status, stamp))

    def _repair_replica(self, message: RepairReplica, _sender: Address, _now: Now) -> None:
        self._write(message.digest, message.record)

    def _deliver_hints(self, message: DeliverHints, sender: Address, _now: Now) -> None:
        statuses = tuple(self._write(digest, record)[0] for digest, record in message.hints)
        self._out.send(sender, DeliverHintsReply(message.request, statuses))

    def _read_replica(self, message: ReadReplica, sender: Address, _now: Now) -> None:
        """Answer with the newest sound copy among the record and the hints asked for."""
        digest = message.digest
        copies = [self._store.get(RECORD + digest)]
        copies += [self._hints.find(owner, digest) for owner in message.hint_owners]
        held = [copy for copy in copies if copy is not None]
        best: bytes | None = None
        for copy in held:
            if self._is_sound(digest, copy):
                best = copy if best is None else newer(best, copy)
        if best is not None:
            status = _OK
        elif held or not self._votes():
            # What was here has rotted, or was lost with another disk: that proves nothing.
            status = _NO_VOTE
        else:
            status = _NOT_FOUND
        self._out.send(sender, ReadReplicaReply(message.request, status, best))

    def _write(self, digest: bytes, record: bytes) -> _Answer:
        """Keep ``record`` as this node's own, unless what is held stands against it."""
        try:
            check_record(record)
        except CorruptRecordError:
            return _FAILED
        if len(digest) != DIGEST_BYTES:
            return _FAILED
        key = RECORD + digest
        objection = self._objection(digest, self._store.get(key), record)
        if objection is not None:
            return objection
        self._store.put(key, record)
        return _HELD

    def _hint(self, owner: str, digest: bytes, record: bytes, now: Now) -> _Answer:
        """Keep ``record`` for ``owner``, or what is newer in its place, if there is room."""
        try:
            check_record(record)
        except CorruptRecordError:
            return _FAILED
        if len(digest) != DIGEST_BYTES or not fits_a_key(owner):
            return _FAILED
        own = self._store.get(RECORD + digest)
        answer = self._objection(digest, own, record) or _HELD
        if own is not None and answer[0] == _SUPERSEDED:
            # Nobody may ever acknowledge that one, and the owner would miss both.
            record = own
        elif answer is not _HELD:
            return answer
        objection = self._objection(digest, self._hints.find(owner, digest), record)
        if objection is not None:
            return answer if objection is _HELD else objection
        kept = self._hints.total_of_all()
        if kept.bytes + len(record) > self._hint_bytes_max:
            if self._store.get(REFUSING) is None:
                self._store.put(REFUSING, YES)
                self._out.log("hint.refused", owner=owner, hints=kept.hints, bytes=kept.bytes)
            return _REFUSED, None
        if not self._hints.total(owner).hints:
            self._out.log("hint.stored", owner=owner, hints=1, bytes=len(record))
        self._hints.keep(owner, digest, record, now.wall_us)
        return answer

    def _objection(self, digest: bytes, held: bytes | None, record: bytes) -> _Answer | None:
        """The answer of what is held to a sound ``record``; None if it gives way."""
        if held is None:
            return None
        stamp = stamp_of(record)
        older = stamp_of(held) < stamp and held[:1] == record[:1]
        if older and same_key(held, record):
            return None
        # Before it may stand against a write it must be sound itself.
        if not self._is_sound(digest, held):
            return None
        if not same_key(held, record):
            return _FAILED
        if stamp_of(held) > stamp:
            return _SUPERSEDED, stamp_of(held)
        return _HELD if newer(held, record) == held else None

    def _is_sound(self, digest: bytes, held: bytes) -> bool:
        try:
            check_record(held)
        except CorruptRecordError as error:
            self._log_corrupt(digest, error)
            return False
        return True

    def _log_corrupt(self, digest: bytes, error: CorruptRecordError) -> None:
        self._out.log("record.corrupt", digest=digest.hex(), reason=str(error))

    # --- hints --------------------------------------------------------------------------

    def _take_hints(self, message: TakeHints, sender: Address, _now: Now) -> None:
        sound: list[tuple[bytes, bytes]] = []
        if fits_a_key(message.owner):
            sound, corrupt = self._hints.oldest(message.owner, message.bytes_max, message.after)
            for digest, error in corrupt:
                self._log_corrupt(digest, error)
        self._out.send(sender, TakeHintsReply(message.owner, tuple(sound)))

    def _drop_hints(self, message: DropHints, sender: Address, _now: Now) -> None:
        owner = message.owner
        dropped = sum(self._hints.drop(owner, *delivered) for delivered in message.delivered)
        if dropped:
            self._store.delete(REFUSING)
        left = self._hints.total(owner).hints
        self._out.send(sender, DropHintsReply(owner, dropped, left))

    def _count_hints(self, _message: CountHints, sender: Address, _now: Now) -> None:
        counts = tuple(
            (owner, *total, self._hints.oldest_us(owner))
            for owner, total in self._hints.totals().items()
        )
        self._out.send(sender, CountHintsReply(counts))

    # --- the disk -----------------------------------------------------------------------

    def _votes(self) -> bool:
        """Whether "not found" may be believed of this disk."""
        return self._store.get(VOTES) == YES

    def _disk(self) -> str:
        return (self._store.get(DISK) or b"").decode(errors="replace")

    def _load_disks(self, _message: LoadDisks, sender: Address, _now: Now) -> None:
        known = tuple(
            (key[len(PEER) :].decode(errors="replace"), disk.decode(errors="replace"))
            for key, disk in self._store.scan(PEER)
        )
        settled = self._store.get(SETTLED) == YES
        self._out.send(sender, LoadDisksReply(self._disk(), settled, self._votes(), known))

    def _save_disk(self, message: SaveDisk, _sender: Address, _now: Now) -> None:
        if fits_a_key(message.member):
            self._store.put(PEER + message.member.encode(), message.disk.encode())

    def _settle_disk(self, message: SettleDisk, _sender: Address, _now: Now) -> None:
        self._store.put(SETTLED, YES)
        self._store.put(VOTES, YES if message.votes else NO)

    def _facts(self) -> int:
        return sum(1 for _ in self._store.scan(FACT))

    def _storage_status(self, message: StorageStatus, sender: Address, now: Now) -> None:
        totals = self._hints.totals()
        hints = {
            owner: {
                "count": total.hints,
                "bytes": total.bytes,
                "oldest_age_s": max(0, now.wall_us - self._hints.oldest_us(owner)) / 1e6,
            }
            for owner, total in totals.items()
        }
        size = self._store.size()
        status = {
            "disk": self._disk(),
            "votes": self._votes(),
            "keys": max(0, size.keys - self._facts() - sum(map(_keys_of_hints, totals.values()))),
            "disk_bytes": size.disk_bytes,
            "hints": hints,
            "hint_bytes_max": self._hint_bytes_max,
        }
        self._out.send(sender, StorageStatusReply(message.request, status))


def _keys_of_hints(total: HintTotal) -> int:
    """How many keys of the store the hints for one owner take up, their total among them."""
    return 2 * total.hints + 1
