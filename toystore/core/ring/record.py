"""The ring record: who the members are, decided once for each epoch.

    epoch 0       the members in the configuration at the founding of the cluster
    epoch e + 1   decided by a majority of the members of epoch e; names the digest of record e

A record is *stable*: its members own the ranges; or *moving*: the ranges are on their way from
the owners in the ``old`` list to those in ``members``.  It is written as JSON, so that an operator
can read it, and it is identified by the BLAKE2b digest of these bytes.  The digest of the record
at the founding is the *lineage* of the cluster.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from toystore.core.ring.ring import Member
from toystore.core.ring.rules import clash, is_number, member_fault

DIGEST_BYTES = 16
RECORDS_KEPT = 8
"""How many records a process keeps unpacked."""
PORTS = ("client_port", "peer_port", "gossip_port", "exchange_port")
"""A member's ports, as the configuration names them, in the order of `Listed.ports`."""


class RingRecordError(ValueError):
    """Bytes that are not a ring record; the text says why."""


class Listed(NamedTuple):
    """A member, as a ring record lists it."""

    name: str
    seat: str
    """What its partitions are drawn from: its name, or the seat of the member that it replaced."""
    disk: str
    """The id of its disk, 32 hex digits; "" if it was not known."""
    weight: int
    zone: str
    host: str
    ports: tuple[int, ...]
    """In the order of `PORTS`; () in a cluster without addresses (the simulator)."""

    @property
    def placed(self) -> Member:
        """The member as the ring places it."""
        return Member(self.name, self.weight, self.zone, self.seat)


class Gone(NamedTuple):
    """A member that was removed or has left, for ever: its disk is never taken back."""

    name: str
    disk: str
    epoch: int
    """The first epoch without it."""


@dataclass(frozen=True)
class RingRecord:
    """See the module's docstring."""

    cluster: str
    partitions: int
    members: tuple[Listed, ...]
    """The members; of a moving record, those that will own the ranges."""
    epoch: int = 0
    parent: bytes = b""
    """The digest of the record before; of epoch 1, the lineage; b"" at the founding."""
    lineage: bytes = b""
    """b"" in the record of the founding, whose own digest it is."""
    old: tuple[Listed, ...] = ()
    """Of a moving record: the members that owned the ranges before."""
    lost: tuple[str, ...] = ()
    """The names in ``old`` or ``members`` that were declared dead for good."""
    gone: tuple[Gone, ...] = ()
    made_by: str = ""
    """The node that has proposed it."""
    made_us: int = 0
    """When, by that node's wall clock."""
    why: str = ""
    """For operators: "join n4, leave n1"."""

    @functools.cached_property
    def packed(self) -> bytes:
        """The record as canonical JSON."""
        fields: dict[str, Any] = {
            name: value.hex() if isinstance(value, bytes) else value
            for name, value in vars(self).items()
            if name in self.__dataclass_fields__
        }
        for key in ("members", "old", "gone"):
            fields[key] = [row._asdict() for row in fields[key]]
        return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()

    @functools.cached_property
    def digest(self) -> bytes:
        """16 bytes that identify the record."""
        return digest_of(self.packed)

    @property
    def moving(self) -> bool:
        """Whether ranges are on their way from the old owners to the new."""
        return bool(self.old)

    @functools.cached_property
    def all(self) -> dict[str, Listed]:
        """Every member that takes part, old or new, by name: without the lost."""
        listed = {one.name: one for one in (*self.old, *self.members)}
        return {name: one for name, one in listed.items() if name not in self.lost}

    @property
    def addressed(self) -> bool:
        """Whether the members have addresses: all have, but in the simulator."""
        return any(one.ports for one in self.members)

    @property
    def voters(self) -> tuple[Listed, ...]:
        """Who decides the next epoch: the old members while moving, without the lost."""
        return tuple(one for one in self.old or self.members if one.name not in self.lost)

    def leaves(self, name: str) -> bool:
        """Whether the node ``name`` gives all its ranges away, and is no member afterwards."""
        return self.moving and name not in [one.name for one in self.members]

    def removal(self, name: str, disk: str) -> str | None:
        """Why the node ``name`` with this disk is not a member; None if it is one.

        A name that is listed with another disk is a member whose disk was replaced, unless this
        disk was removed.
        """
        gone = next((one for one in self.gone if one[:2] == (name, disk)), None)
        listed = self.all.get(name)
        if listed is not None and (gone is None or listed.disk == disk):
            return None
        epoch = self.epoch if gone is None else gone.epoch
        how = f" ({self.why})" if epoch == self.epoch else ""
        return f"{name} is no member of cluster {self.cluster!r} since epoch {epoch}{how}"

    def follows(self, before: RingRecord, lineage: bytes) -> bool:
        """Whether this record may come next after ``before`` in a cluster of this lineage."""
        is_next = (self.epoch, self.parent) == (before.epoch + 1, before.child_parent(lineage))
        is_alike = (self.partitions, self.addressed) == (before.partitions, before.addressed)
        return is_next and is_alike and self.lineage in (lineage, self._as_of(lineage).digest)

    def child_parent(self, lineage: bytes) -> bytes:
        """The parent that the record of the next epoch names."""
        return self.digest if self.epoch else lineage

    def next(self, lineage: bytes, **changes: Any) -> RingRecord:
        """The record of the next epoch; ``changes``: the fields that differ."""
        parent = self.child_parent(lineage)
        return replace(self, epoch=self.epoch + 1, parent=parent, lineage=lineage, **changes)

    def split_off(self) -> RingRecord:
        """This record as the first of a new lineage: it was decided without a majority.

        The new lineage is the digest of the record as it would be in the old one, so a node of the
        old lineage can check it.
        """
        return replace(self, lineage=self.digest)

    def _as_of(self, lineage: bytes) -> RingRecord:
        return replace(self, lineage=lineage)


def endpoint_of(listed: Listed) -> str:
    """Where clients reach a member: ``tcp://HOST:PORT``."""
    if not listed.ports:
        return "simulated"
    host = f"[{listed.host}]" if ":" in listed.host else listed.host
    return f"tcp://{host}:{listed.ports[0]}"


def digest_of(packed: bytes) -> bytes:
    """The digest of a packed record."""
    return hashlib.blake2b(packed, digest_size=DIGEST_BYTES).digest()


def founding(cluster: str, partitions: int, members: Iterable[Listed]) -> RingRecord:
    """The record of epoch 0.  The order in which the members are listed decides nothing."""
    return RingRecord(cluster, partitions, tuple(sorted(members)), why="founded")


@functools.lru_cache(maxsize=RECORDS_KEPT)
def unpack_ring(packed: bytes) -> RingRecord:
    """A record from its bytes; each actor of a node asks for the same few.

    Raises:
        RingRecordError: they are not canonical, or no node could follow the record (`check_ring`).
    """
    try:
        fields = json.loads(packed)
        json.dumps(fields, ensure_ascii=False).encode()  # fails if a text cannot be encoded
        for key in ("parent", "lineage"):
            fields[key] = bytes.fromhex(fields[key])
        for key in ("members", "old"):
            fields[key] = tuple(_listed(row) for row in fields[key])
        fields["gone"] = tuple(Gone(**row) for row in fields["gone"])
        fields["lost"] = tuple(fields["lost"])
        record = RingRecord(**fields)
        canonical = record.packed == packed
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise RingRecordError(f"not a ring record: {type(error).__name__}: {error}") from None
    if not canonical:
        raise RingRecordError("not a ring record: it is not canonical")
    check_ring(record)
    return record


def check_ring(record: RingRecord) -> None:
    """Raise `RingRecordError` if a node could not turn this record into its settings."""
    fault = _fault(record)
    if fault is not None:
        raise RingRecordError(f"not a ring record: {fault}")


def _fault(record: RingRecord) -> str | None:
    """What is wrong with a record; None if nothing is."""
    gone = record.gone
    texts = [record.cluster, record.made_by, record.why, *record.lost]
    texts += [text for one in gone for text in (one.name, one.disk)]
    numbers = [record.epoch, record.made_us, record.partitions, *(one.epoch for one in gone)]
    if not all(isinstance(text, str) for text in texts) or not all(map(is_number, numbers)):
        return "a field is of another type"
    for one in (*record.members, *record.old):
        fault = member_fault(*one)
        if fault is not None:
            return fault
    return _twice(record.members) or _twice(record.old) or _together(record)


def _twice(members: tuple[Listed, ...]) -> str | None:
    """The name or the seat that two members of one list have, in a text."""
    for what, values in (("name", [m.name for m in members]), ("seat", [m.seat for m in members])):
        twice = [value for value, count in Counter(values).items() if count > 1]
        if twice:
            return f"two members have the {what} {twice[0]!r:.80}"
    return None


def _together(record: RingRecord) -> str | None:
    """What is wrong with the members as a whole."""
    stay = [one for one in record.members if one.name not in record.lost]
    if not stay or not record.voters:
        return "no member is left"
    if len({bool(one.ports) for one in (*record.members, *record.old)}) > 1:
        return "some members have ports, and others have none"
    return clash((one.name, one.host, one.ports) for one in record.all.values())


def _listed(row: dict[str, Any]) -> Listed:
    return Listed(**{**row, "ports": tuple(row["ports"])})
