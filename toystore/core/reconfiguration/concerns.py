"""What an operator should know before a plan is committed: its warnings.

A plan with warnings can be committed.  What cannot work at all is a `PlanError`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from toystore.core.reconfiguration.changes import listed
from toystore.core.reconfiguration.known import Known
from toystore.core.reconfiguration.sizes import planned_load
from toystore.core.ring.record import RingRecord
from toystore.core.ring.ring import fair_shares
from toystore.core.ring.view import RingView, Slot

SERVED_LEAST = 0.95
"""Below this part of what its weight demands, a member's weight counts as not served."""


def concerns(
    base: RingRecord, record: RingRecord, known: Known, slots: Counter[Slot]
) -> tuple[str, ...]:
    """The warnings of a plan that replaces ``base`` by ``record``.

    ``slots``: in how many ranges each slot that begins to move is.
    """
    return (
        *_too_few_voters(base, known),
        *_down_members(record, known, slots),
        *_removed_members(base, record, known),
        *_new(base, record, known, _too_few_zones),
        *_new(base, record, known, _weights_not_served),
        *_inherited(base, record, known),
    )


def _new(
    base: RingRecord,
    record: RingRecord,
    known: Known,
    warn: Callable[[RingRecord, Known], Iterable[str]],
) -> Iterator[str]:
    """The warnings about the new members that are not true of the present ones already."""
    before = set(warn(base, known))
    yield from (text for text in warn(record, known) if text not in before)


def _too_few_voters(base: RingRecord, known: Known) -> Iterator[str]:
    voters = [one.name for one in base.voters]
    answer = [name for name in voters if name in known.alive]
    needed = len(voters) // 2 + 1
    if len(answer) < needed:
        yield (
            f"a commit needs {needed} of {len(voters)} members, and {len(answer)} answer: "
            f"start the others first ({listed(sorted(set(voters) - set(answer)))}); if they have "
            "failed permanently, remove them in the plan, and commit it with --unsafe-without"
        )


def _down_members(record: RingRecord, known: Known, slots: Counter[Slot]) -> Iterator[str]:
    """Members that take part and do not answer; a node that waits to join has just answered."""
    rebuilt = sum(count for slot, count in slots.items() if slot.old is None)
    for name in sorted(set(record.all) - known.alive - set(known.waiting)):
        waits = sum(count for slot, count in slots.items() if name in slot.nodes)
        until = f"until it is back, or is removed (remove {name}, if it has failed permanently)"
        if waits or rebuilt:
            yield f"{name} is down: {waits or rebuilt} moves wait {until}"
        elif record.moving:
            yield f"{name} is down: the ring stays moving {until}"


def _removed_members(base: RingRecord, record: RingRecord, known: Known) -> Iterator[str]:
    removed = set(record.lost) - set(base.lost)
    for name in sorted(removed & known.alive):
        yield (
            f"{name} answers, and would be removed as dead: its replicas are rebuilt from the "
            f"others; leave {name} moves them"
        )
    before = RingView(base, known.n)
    lost = sum(
        set(before.owners(partition, n)) <= removed
        for n in known.copies
        for partition in range(base.partitions)
        if removed
    )
    if lost:
        yield (
            f"{listed(sorted(removed))} are the only owners of {lost} partitions: "
            "what these have stored is lost"
        )


def _too_few_zones(record: RingRecord, known: Known) -> Iterator[str]:
    zones = {one.zone for one in record.members if one.name not in record.lost}
    n = max(known.copies)
    if any(zones) and len(zones) < n:
        yield (
            f"too few zones: {len(zones)} ({listed(sorted(zone or 'none' for zone in zones))}) "
            f"for N = {n}, so a zone has more than one replica of a partition"
        )


def _weights_not_served(record: RingRecord, known: Known) -> Iterator[str]:
    members = [one.placed for one in record.members if one.name not in record.lost]
    n = min(known.n, len(members))
    weights = sum(member.weight for member in members)
    due = {one.name: n * record.partitions * one.weight / weights for one in members}
    shares = zip(members, fair_shares(members, record.partitions, n), strict=True)
    short = [one for one, share in shares if share < SERVED_LEAST * due[one.name]]
    if short:
        (name, weight, *_), *others = short
        so_are = f" (the same is true of {listed(one.name for one in others)})" if others else ""
        yield (
            f"{name} has weight {weight} of {weights} in all, which would be {due[name]:,.0f} "
            f"partitions; it gets {planned_load(record, known.n)[name]:,}, because a member has at "
            f"most one replica of a partition, and zones come before weights{so_are}"
        )


def _inherited(base: RingRecord, record: RingRecord, known: Known) -> Iterator[str]:
    """A newcomer that replaces a member has its weight and zone, whatever it was started with."""
    seats = {one.seat for one in base.members}
    for one in record.members:
        told = known.waiting.get(one.name) if one.seat in seats else None
        if told is not None and (told.weight, told.zone) != (one.weight, one.zone):
            yield (
                f"{one.name} becomes a member with weight {one.weight} and "
                f"zone {one.zone or 'none'}, not with its own (weight {told.weight}, "
                f"zone {told.zone or 'none'}): change them in a later plan"
            )
