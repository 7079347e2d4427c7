"""The vote of one disk on the ring record of the next epoch, as the store keeps it.

There is one vote, on the epoch after the newest record; adopting a record ends it.  A vote that has
rotted is not a vote that was never given, so it has a checksum.
"""

from __future__ import annotations

import hashlib
import json
from typing import NamedTuple

from toystore.core.storage.layout import VOTE
from toystore.core.storage.store import Store

_CHECKSUM_BYTES = 8


class RottenVoteError(ValueError):
    """The checksum of the stored vote is wrong: what was promised is not known."""


class Ballot(NamedTuple):
    """Ballots are in an order; two proposers never have the same one."""

    counter: int
    proposer: str


class Vote(NamedTuple):
    """What this disk has promised and accepted."""

    epoch: int
    promised: Ballot = Ballot(0, "")
    """It accepts nothing below this."""
    accepted: Ballot = Ballot(0, "")
    """The ballot of ``record``."""
    record: bytes = b""
    """What it has accepted last; b"" if nothing."""


def read_vote(store: Store) -> Vote:
    """The vote in ``store``; of epoch 0 if there is none.  Raises `RottenVoteError`."""
    stored = store.get(VOTE)
    if stored is None:
        return Vote(0)
    checksum, packed = stored[:_CHECKSUM_BYTES], stored[_CHECKSUM_BYTES:]
    if checksum != _checksum(packed):
        raise RottenVoteError("the stored vote has rotted")
    epoch, promised, accepted, record = json.loads(packed)
    return Vote(epoch, Ballot(*promised), Ballot(*accepted), record.encode())


def write_vote(store: Store, vote: Vote) -> None:
    """Keep ``vote`` in the place of the one before."""
    fields = (vote.epoch, vote.promised, vote.accepted, vote.record.decode())
    packed = json.dumps(fields).encode()
    store.put(VOTE, _checksum(packed) + packed)


def _checksum(packed: bytes) -> bytes:
    return hashlib.blake2b(packed, digest_size=_CHECKSUM_BYTES).digest()
