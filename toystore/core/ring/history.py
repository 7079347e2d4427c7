"""Which ring records are of this node's cluster, as far as it knows them: by epoch and digest.

Two foundings of one configuration have the same name and lineage, so a data folder of the one looks
like one of the other.  Their records differ: each names the digest of the one before.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from toystore.core.ring.record import RingRecord


class History(NamedTuple):
    """See the module's docstring."""

    own: Mapping[int, bytes] = {}
    """The digests of this cluster's records, by epoch, without the founding; some may lack."""
    foreign: frozenset[bytes] = frozenset()
    """The digests of records that are not of this cluster."""

    def following(self, record: RingRecord) -> History:
        """The history with the next record, which names the one before."""
        own = {**self.own, record.epoch: record.digest}
        if record.epoch > 1:
            own[record.epoch - 1] = record.parent
        return self._replace(own=own)

    def disowning(self, digest: bytes) -> History:
        """The history once a record is known to be of another cluster."""
        return self._replace(foreign=self.foreign | {digest})

    def contradicts(self, epoch: int, digest: bytes) -> bool:
        """Whether a record of another node cannot be of this cluster.

        That of epoch 0 may be: the addresses of members may differ in it.
        """
        return epoch > 0 and (digest in self.foreign or self.own.get(epoch, digest) != digest)


NO_HISTORY = History()
"""Of a node that knows no record but the founding."""
