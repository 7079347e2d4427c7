"""Finds the sides of a network split from the accusations.

During a split each side accuses the other, by own evidence or by hearsay from its own side.  When
the split heals, each side hears what the other believes, and its members are accused by their own
side for a moment.  So only accusations before this first contact are used.  Two members are on
the same side if they did not accuse each other, directly or through other members.  It was a
split if a side accused at least half of its accusers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import inf

from toystore.logs.casebook import Casebook
from toystore.logs.episode import Accusation, teller_in
from toystore.logs.links import Split, find_sides, make_split


def find_split(member: str, accusations: list[Accusation], book: Casebook) -> Split | None:
    """The split that is the cause of these accusations of a member; None if there was none."""
    if not accusations:
        return None
    meanwhile = list(_meanwhile(accusations, book))
    first_at: dict[tuple[str, str], float] = {}
    for each in meanwhile:
        pair = each.by, each.member
        first_at[pair] = min(each.at, first_at.get(pair, inf))
    contact_at = min((_contact_at(each, first_at) for each in meanwhile), default=inf)
    said = {(each.by, each.member) for each in meanwhile if each.at < contact_at}
    split = make_split(
        find_sides(
            {member, *book.members},
            lambda one, other: (one, other) not in said and (other, one) not in said,
        )
    )
    own = {*split.side_of(member)}
    accusers = {each.by for each in accusations} - own
    answered = {of for by, of in said if by in own} & accusers
    return split if answered and 2 * len(answered) >= len(accusers) else None


def _meanwhile(accusations: Iterable[Accusation], book: Casebook) -> Iterator[Accusation]:
    """All accusations that overlap with these in time."""
    began = min(each.at for each in accusations)
    ended = max(_ends(each) for each in accusations)
    for name in book.members:
        for each in book.nodes[name].accused:
            if each.at <= ended and began <= _ends(each):
                yield each


def _contact_at(accusation: Accusation, first_at: dict[tuple[str, str], float]) -> float:
    """The time of the first contact between the sides that this accusation shows.

    It is its end, or its beginning if an accused member told it.  ``first_at``: the time of the
    first accusation for each pair of accuser and accused.
    """
    teller = teller_in(accusation.cause)
    if teller and first_at.get((accusation.by, teller), inf) < accusation.at:
        return accusation.at
    return _ends(accusation)


def _ends(accusation: Accusation) -> float:
    return inf if accusation.cleared_at is None else accusation.cleared_at
