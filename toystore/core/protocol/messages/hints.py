"""What hand-off asks of its own storage and of an owner's, and their replies."""

from __future__ import annotations

from typing import NamedTuple


class TakeHints(NamedTuple):
    """Read out the oldest hints kept for ``owner``, up to about ``bytes_max``.

    ``after``: only those behind the one with this digest; b"" for all.
    """

    owner: str
    bytes_max: int
    after: bytes = b""


class TakeHintsReply(NamedTuple):
    """``hints``: (digest, record) each, oldest first; empty if there is none."""

    owner: str
    hints: tuple[tuple[bytes, bytes], ...]


class DeliverHints(NamedTuple):
    """To the owner: these are yours, (digest, record) each."""

    request: int
    hints: tuple[tuple[bytes, bytes], ...]
    hint_owner: str = ""
    """Not "": this node leaves the ring, so keep them as hints for that owner."""


class DeliverHintsReply(NamedTuple):
    """One `ReplicaStatus` for each, in order; `OK` and `SUPERSEDED` both mean it is safe.

    `MOVED`: the owner's range is no longer there.
    """

    request: int
    statuses: tuple[int, ...]


class DropHints(NamedTuple):
    """Forget these hints for ``owner``, (digest, stamp) each, where the stamp still is that."""

    owner: str
    delivered: tuple[tuple[bytes, bytes], ...]


class DropHintsReply(NamedTuple):
    """``dropped`` of them were still the ones delivered; ``left`` hints remain for ``owner``."""

    owner: str
    dropped: int
    left: int


class CountHints(NamedTuple):
    """How many hints are kept, and for whom?"""


class CountHintsReply(NamedTuple):
    """For each owner: name, hints, bytes, wall_us at which its oldest was stored."""

    counts: tuple[tuple[str, int, int, int], ...]
