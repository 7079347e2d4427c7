"""Plans: from the changes that an operator wants to the next ring record, and what will move.

    changes, newest record ──▶ members after ──▶ next record ──▶ its slots ──▶ moves, load, warnings
    (changes.py)                                                                     (concerns.py)

Nothing here asks a node or decides anything: a plan is a pure function of what is known, and is
only made true by the voters of the record that it is based on.  A slot with another new owner is
a move from its old owner; a slot whose old owner is lost is rebuilt from the other owners.
Sizes are estimates: a member's records are assumed to be spread evenly over its ranges.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any, NamedTuple

from toystore.core.reconfiguration.changes import (
    Change,
    PlanError,
    listed,
    members_after,
    read_changes,
)
from toystore.core.reconfiguration.concerns import concerns
from toystore.core.reconfiguration.known import Known, Totals
from toystore.core.reconfiguration.sizes import mean_range, owned_ranges, planned_load
from toystore.core.reconfiguration.successors import aborted
from toystore.core.ring.record import RingRecord, RingRecordError, check_ring, unpack_ring
from toystore.core.ring.view import RingView, Slot, ring_view


class Move(NamedTuple):
    """What moves from one member to another."""

    source: str | None
    """None: the old owner is lost, and the ranges are rebuilt from their other owners."""
    target: str
    partitions: int
    """Counted once for each N that buckets have."""
    keys: int
    bytes: int


class Share(NamedTuple):
    """How many partitions a member owns, of the default bucket's N."""

    name: str
    before: int
    after: int


@dataclass(frozen=True)
class Plan:
    """See the module's docstring."""

    number: int
    changes: tuple[Change, ...]
    base: int
    """The epoch of the record that it changes."""
    base_digest: bytes
    record: RingRecord
    """The record that a commit proposes."""
    moves: tuple[Move, ...]
    load: tuple[Share, ...]
    warnings: tuple[str, ...]

    @property
    def shown(self) -> dict[str, Any]:
        """As clients see it; docs/PROTOCOL.md lists the keys."""
        moves: list[dict[str, Any]] = [
            {"from": source, "to": target, "partitions": partitions, "keys": keys, "bytes": size}
            for source, target, partitions, keys, size in self.moves
        ]
        sums = {key: sum(move[key] for move in moves) for key in ("partitions", "keys", "bytes")}
        return {
            "plan": self.number,
            "changes": [change.row for change in self.changes],
            "base": self.base,
            "base_digest": self.base_digest.hex(),
            "record": json.loads(self.record.packed),
            "moves": moves,
            "load": [share._asdict() for share in self.load],
            "warnings": list(self.warnings),
            **sums,
        }

    @property
    def packed(self) -> bytes:
        """`shown` as JSON, which storage keeps."""
        return json.dumps(self.shown, sort_keys=True, separators=(",", ":")).encode()


def unpack_plan(packed: bytes) -> Plan:
    """A plan from `Plan.packed`.  Raises `RingRecordError` if no node could follow its record."""
    shown = json.loads(packed)
    record = json.dumps(shown["record"], sort_keys=True, separators=(",", ":")).encode()
    columns = ("from", "to", "partitions", "keys", "bytes")
    return Plan(
        shown["plan"],
        read_changes(shown["changes"]),
        shown["base"],
        bytes.fromhex(shown["base_digest"]),
        unpack_ring(record),
        tuple(Move._make(move[key] for key in columns) for move in shown["moves"]),
        tuple(Share(**share) for share in shown["load"]),
        tuple(shown["warnings"]),
    )


def make_plan(
    number: int, rows: object, base: RingRecord, known: Known, *, made_by: str, made_us: int
) -> Plan:
    """The plan of some changes.

    Args:
        number: what operators call it.
        rows: the changes as a client has sent them, such as ``[["join", "n4"]]``.
        base: the newest record.
        known: what else is known of the cluster.
        made_by: the node that makes it.
        made_us: its wall clock, in microseconds.

    Raises:
        PlanError: the changes are impossible; the text says what would be possible.
    """
    changes = read_changes(rows)
    why = ", ".join(map(str, changes))
    lists = _lists_while_moving(changes, base) if base.moving else _lists(changes, base, known)
    record = base.next(known.lineage, **lists, made_by=made_by, made_us=made_us, why=why)
    _check_count(record, base, known.copies)
    _check_record(record)
    before, after = ring_view(base, known.n), ring_view(record, known.n)
    slots = _moving_slots(before, after, known.copies)
    return Plan(
        number,
        changes,
        base.epoch,
        base.digest,
        record,
        _moves(slots, before, known),
        _load(base, record, known.n),
        concerns(base, record, known, slots),
    )


def _lists(changes: tuple[Change, ...], base: RingRecord, known: Known) -> dict[str, Any]:
    """The lists of the next record of a stable ring."""
    members = members_after(changes, base, known.waiting)
    kinds = {change.kind for change in changes}
    if kinds == {"readdress"}:
        return {"members": members}
    if "readdress" in kinds:
        raise PlanError(
            "readdress moves nothing, and is a plan of its own: commit it first, then plan the rest"
        )
    removed = tuple(sorted(change.member for change in changes if change.kind == "remove"))
    return {"members": members, "old": base.members, "lost": removed}


def _lists_while_moving(changes: tuple[Change, ...], base: RingRecord) -> dict[str, Any]:
    """The lists of the next record of a moving ring: only members can be declared lost."""
    if any(change.kind != "remove" for change in changes):
        raise PlanError(
            f"the ring is moving (epoch {base.epoch}: {base.why}); until it is stable, you can "
            "only abort that (toystore cluster abort), or remove a member that has failed "
            "permanently. `toystore cluster status` shows how far it is"
        )
    names = [change.member for change in changes]
    for name in names:
        if name not in base.all:
            raise PlanError(f"no member is called {name!r:.80}; there are {', '.join(base.all)}")
    return {"lost": tuple(sorted({*base.lost, *names}))}


def _check_count(record: RingRecord, base: RingRecord, copies: frozenset[int]) -> None:
    """Raise `PlanError` if fewer members than the largest N would remain."""
    left = [one.name for one in record.members if one.name not in record.lost]
    n = max(copies)
    if len(left) < n and len(left) < len(base.members):
        remain = (
            f"{len(left)} members would remain ({listed(left)})" if left else "none would remain"
        )
        raise PlanError(
            f"{remain}, but a bucket has N = {n}, and needs {n} members: {_more_members(base)}"
        )


def _more_members(base: RingRecord) -> str:
    """How there can be enough members, although some are removed or leave."""
    if not base.moving:
        return "let nodes join first, or in the same plan"
    if aborted(base) is None:
        return "start the member again; once the ring is stable, let nodes join"
    return (
        "no node joins while the ring moves: abort first (toystore cluster abort), then remove and "
        "join in one plan"
    )


def _check_record(record: RingRecord) -> None:
    """Raise `PlanError` if the voters would refuse the record."""
    try:
        check_ring(record)
    except RingRecordError as error:
        raise PlanError(f"no node could follow this change: {error}") from None


def _moving_slots(before: RingView, after: RingView, copies: frozenset[int]) -> Counter[Slot]:
    """In how many ranges each slot that begins to move is: (old owner, new owner).

    A range whose order is the same has none, unless its owner is lost.
    """
    lost, new, old = after.record.lost, after.ring, after.before
    return Counter(
        slot
        for n in sorted(copies)
        for partition in range(after.partitions)
        if lost or new.order(partition)[:n] != old.order(partition)[:n]
        for slot in after.slots(partition, n)
        if slot.moves and slot.new is not None and slot not in before.slots(partition, n)
    )


def _moves(slots: Counter[Slot], before: RingView, known: Known) -> tuple[Move, ...]:
    """The moves, with about how many keys and bytes they have."""
    owned = owned_ranges(before.ring, known.copies)
    mean = mean_range(owned, known.totals)

    def size_of(slot: Slot, count: int) -> Move:
        per_range = mean
        if slot.old is not None and slot.old in known.totals and owned[slot.old]:
            per_range = Totals(*(total / owned[slot.old] for total in known.totals[slot.old]))
        sizes = (round(count * each) for each in per_range)
        return Move(slot.old, slot.new or "", count, *sizes)

    moves = (size_of(slot, count) for slot, count in slots.items())
    return tuple(sorted(moves, key=lambda move: (move.target, move.source or "")))


def _load(base: RingRecord, record: RingRecord, n: int) -> tuple[Share, ...]:
    """The share of each member, before and after; of a moving ring, what it is to own."""
    old, new = planned_load(base, n), planned_load(record, n)
    names = sorted({*base.all, *record.all})
    return tuple(Share(name, old.get(name, 0), new.get(name, 0)) for name in names)
