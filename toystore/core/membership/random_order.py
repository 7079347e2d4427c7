"""Items in random order, drawn one by one: to take a few of many costs little."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


def in_random_order(items: Sequence[T], chance: random.Random) -> Iterator[T]:
    """Each item once; every order is equally likely.

    This is the shuffle of Fisher and Yates, which makes each exchange of two items only when
    it is needed.  ``items`` is not changed; what has been exchanged is kept in a dictionary.
    """
    moved: dict[int, int] = {}
    for last in range(len(items) - 1, -1, -1):
        at = chance.randrange(last + 1)
        yield items[moved.get(at, at)]
        moved[at] = moved.get(last, last)
        moved.pop(last, None)
