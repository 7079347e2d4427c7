"""Converts the data of toystore 0.1.0 before the actors start.

What is converted, and how, is in toystore/core/storage/conversion.py.
Each step is a transaction.  The progress is logged, and printed for people.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable

from actors import log
from actors.surroundings import now
from actors.transaction import Result, transaction
from toystore.config import ClusterConfig
from toystore.core.protocol.machine import Outbox
from toystore.core.ring.digest import members_digest_of_layout_1
from toystore.core.ring.ranges import Ranges
from toystore.core.ring.view import fixed_ring
from toystore.core.storage.conversion import Conversion, has_old_layout
from toystore.engines import Engine, StoreFullError

PROGRESS_S = 5.0
"""The time between two reports of the progress."""


class Converting:
    """The conversion of one node's data, in transactions of ``engine``."""

    def __init__(
        self, config: ClusterConfig, name: str, engine: Engine, tell: Callable[[str], None]
    ) -> None:
        """``tell``: prints a line."""
        self._config = config
        self._name = name
        self._engine = engine
        self._tell = tell
        self._out = Outbox()
        self._total = 0
        self._moved = 0

    @functools.cached_property
    def _work(self) -> Conversion:
        """What is done.  It needs the ring, which most starts need not make for this."""
        config, copies = self._config, self._config.copies()
        ring = fixed_ring(config.ring_members(), config.partitions, copies["default"])
        ranges = Ranges(ring, self._name, copies.values())
        return Conversion(self._engine, copies, ranges, self._out)

    def is_needed(self) -> bool:
        """Whether the engine has data of 0.1.0; nothing is changed.

        Raises:
            ForeignDataError: it has, and they are another node's or of a bucket not listed.
        """
        self._engine.begin()
        try:
            if not has_old_layout(self._engine):
                return False
            self._tell(f"{self._name}: checking the data of toystore 0.1.0")
            config, members = self._config, self._config.ring_members()
            n = config.buckets["default"].n
            placed_by = members_digest_of_layout_1(members, config.partitions, n)
            self._total = self._work.survey(
                cluster=config.cluster, node=self._name, members_digest=placed_by
            )
        finally:
            self._engine.abort()
        return True

    def run(self) -> None:
        """Convert all.  If this is interrupted, the next start goes on.

        Raises:
            ForeignDataError: another N of a bucket was noted before.
            StoreFullError: the disk has no room; nothing is lost.
        """
        began = reported = time.monotonic()
        try:
            self._transaction(self._work.prepare)
            self._report()
            while moved := self._transaction(self._work.step):
                self._moved += moved
                if time.monotonic() - reported > PROGRESS_S:
                    reported = time.monotonic()
                    self._report()
            while self._transaction(self._work.tidy):
                pass
            self._engine.sync()
            self._transaction(lambda: self._work.finish(self._config.members_digest()))
        except StoreFullError as error:
            raise StoreFullError(
                f"the data of toystore 0.1.0 are being converted, and there is no room ({error}). "
                "Nothing is lost: make room, and start this node again"
            ) from error
        took_s = time.monotonic() - began
        log.event("node", "layout.converted", records=self._moved, took_s=round(took_s, 3))
        self._tell(f"{self._name}: converted {self._moved:,} records in {took_s:.1f} s")

    def _transaction(self, change: Callable[[], Result]) -> Result:
        """Commit a change; its events are logged then."""

        def attempt() -> Result:
            self._out.clear()
            return change()

        result = transaction(self._engine, attempt)
        log.write(self._out.events, "node", now())
        return result

    def _report(self) -> None:
        log.event("node", "layout.converting", records=self._moved, of=self._total)
        self._tell(
            f"{self._name}: converting the data of toystore 0.1.0: "
            f"{self._moved:,} of {self._total:,} records"
        )
