"""The records that may come next, beside those of plans: what changes, as fields of a record.

moving  ── all is moved ──▶ stable       the members that have left are gone
  │                     '─▶ moving       to the list without a member that was lost
  ├── abort ──────────▶ moving           back to the old members
either ── lost ───────▶ moving           a member is dead for good
stable ── reseat ─────▶ stable           a member has another disk
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

from toystore.core.ring.record import Gone, Listed, RingRecord


def finished(record: RingRecord) -> dict[str, Any]:
    """What follows once all ranges of a moving record have moved."""
    lost = _lost(record, record.members)
    if lost:
        return _next(record, record.members, _without(record.members, lost), lost)
    return _next(record, (), record.members)


def aborted(record: RingRecord) -> dict[str, Any] | None:
    """The way back from a moving record; None if there is nothing to go back to.

    If an old member was lost, its place is to be filled, too: other nodes would be paired in the
    slots than now, and two of one slot might vote in two.  Then only the way forward is left.
    """
    back = record.old
    if _lost(record, back) or set(back) == set(_without(record.members, record.lost)):
        return None
    return _next(record, record.members, back, _lost(record, record.members))


def without(record: RingRecord, names: Collection[str]) -> dict[str, Any]:
    """Members are dead for good."""
    lost = tuple(sorted({*record.lost, *names}))
    if record.moving:
        return {"lost": lost}
    return _next(record, record.members, _without(record.members, names), lost)


def reseated(record: RingRecord, name: str, disk: str) -> dict[str, Any]:
    """A member has another disk, which has rebuilt all that the one before had."""
    return _next(
        record,
        (),
        tuple(one._replace(disk=disk) if one.name == name else one for one in record.members),
    )


def with_disks(record: RingRecord, disks: Mapping[str, str]) -> RingRecord:
    """The record with the disks of members that it does not list yet."""

    def known(listed: Iterable[Listed]) -> tuple[Listed, ...]:
        return tuple(one._replace(disk=one.disk or disks.get(one.name, "")) for one in listed)

    return replace(record, old=known(record.old), members=known(record.members))


def _next(
    record: RingRecord,
    old: tuple[Listed, ...],
    members: tuple[Listed, ...],
    lost: tuple[str, ...] = (),
) -> dict[str, Any]:
    """The lists of the next record; those that it does not list any more are gone."""
    stay = {(one.name, one.disk) for one in (*old, *members)}
    known = {(one.name, one.disk) for one in record.gone}
    listed = {(one.name, one.disk) for one in (*record.old, *record.members)}
    gone = tuple(Gone(*one, record.epoch + 1) for one in sorted(listed - stay - known))
    return {"old": old, "members": members, "lost": lost, "gone": (*record.gone, *gone)}


def _lost(record: RingRecord, listed: Iterable[Listed]) -> tuple[str, ...]:
    """The names in a list that are lost."""
    return tuple(one.name for one in listed if one.name in record.lost)


def _without(listed: Iterable[Listed], names: Collection[str]) -> tuple[Listed, ...]:
    return tuple(one for one in listed if one.name not in names)
