"""The digest of all that decides the ring; nodes with another digest refuse each other."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable

from toystore.core.ring.ring import Member

DIGEST_BYTES = 16


def members_digest(members: Iterable[Member], partitions: int, n: int) -> bytes:
    """16 bytes over the members, the number of partitions and the number of copies.

    The order in which the members are listed decides nothing.
    """
    decisive = [partitions, n, sorted(members)]
    return hashlib.blake2b(json.dumps(decisive).encode(), digest_size=DIGEST_BYTES).digest()
