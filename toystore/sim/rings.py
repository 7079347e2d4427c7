"""The ring records of a simulated cluster, as all nodes together have adopted them."""

from __future__ import annotations

from toystore.check.promises import Violation
from toystore.core.ring.record import RingRecord
from toystore.core.ring.view import RingView


class Rings:
    """Every record that a node has adopted: one for each epoch, each following the one before."""

    def __init__(self, founding: RingRecord, lineage: bytes, n: int) -> None:
        """``n``: N of the default bucket."""
        self.founding = founding
        self.lineage = lineage
        self.records = {0: founding}
        self.violations: list[Violation] = []
        self._n = n
        self._view = RingView(founding, n)

    @property
    def newest(self) -> RingRecord:
        """The newest record that any node has adopted."""
        return self.records[max(self.records)]

    @property
    def view(self) -> RingView:
        """What the newest record means."""
        if self._view.record is not self.newest:
            self._view = RingView(self.newest, self._n)
        return self._view

    def adopted(self, node: str, record: RingRecord) -> None:
        """A node has adopted a record; it must be the one of its epoch, and follow the last."""
        known = self.records.setdefault(record.epoch, record)
        if known.digest != record.digest:
            text = f"{node} has another record of epoch {record.epoch}: {record.why}, {known.why}"
            self.violations.append(Violation("one_ring", text))
        before = self.records.get(record.epoch - 1)
        if before is not None and not record.follows(before, self.lineage):
            text = f"{node} has a record of epoch {record.epoch} that does not follow the last"
            self.violations.append(Violation("one_ring", text))
