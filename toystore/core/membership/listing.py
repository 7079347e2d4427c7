"""Follows the ring record: which names are on the member list.

A member that is new on the list is not known yet: its row comes with its first message.  A member
that is not listed any more is dropped, with everything that is known of it or awaited from it.
So is a member that was removed and has joined again since: it is another process, on another
disk.  No row of an unlisted name or of a removed disk is learned.  So a removed member does not
circle in gossip, however late a row of it comes from a node that has not followed yet.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from toystore.core.membership.learning import Follow
from toystore.core.membership.members import Members
from toystore.core.membership.probing import FailureDetector
from toystore.core.protocol.machine import Now, Outbox
from toystore.core.protocol.messages.gossip import MemberState
from toystore.core.ring.record import RingRecord


class Part(Protocol):
    """A part of `Swim` that knows something of each member."""

    def forget(self, name: str) -> None:
        """The member was removed."""


class Listing:
    """See the module's docstring."""

    __slots__ = ("_detector", "_epoch", "_follow", "_members", "_node", "_outbox", "_parts")

    def __init__(
        self,
        *,
        node: str,
        record: RingRecord | None,
        members: Members,
        detector: FailureDetector,
        parts: Sequence[Part],
        outbox: Outbox,
        follow: Follow,
    ) -> None:
        """``record``: what the member list was made from; None if that was no record."""
        self._node = node
        self._members = members
        self._detector = detector
        self._parts = parts
        self._outbox = outbox
        self._follow = follow
        self._epoch = 0
        if record is not None:
            self._note(record)

    def follow(self, record: RingRecord, now: Now) -> tuple[str, ...]:
        """List the members of another record; returns the names of those that were dropped.

        This node itself stays on its list: it stops soon if it was removed.
        """
        names = dict.fromkeys((*record.all, self._node))
        again = {one.name for one in record.gone if one.epoch > self._epoch}
        known = self._members.names
        again.discard(self._node)
        dropped = tuple(name for name in known if name not in names or name in again)
        self._note(record)
        if dropped or len(names) != len(known):
            self._members.relist(names, set(dropped))
            for name in dropped:
                self._drop(name, record, now)
            for row in self._members.states():
                if not set(dropped).isdisjoint(row.accusers):
                    self._withdraw(row, dropped, now)
            self._detector.recount(now)
        return dropped

    def _note(self, record: RingRecord) -> None:
        self._epoch = record.epoch
        self._members.gone = frozenset((one.name, one.disk) for one in record.gone)

    def _drop(self, name: str, record: RingRecord, now: Now) -> None:
        self._detector.forget(name, now)
        for part in self._parts:
            part.forget(name)
        self._outbox.log("member.removed", member=name, epoch=record.epoch, cause=record.why)

    def _withdraw(self, suspect: MemberState, accusers: Collection[str], now: Now) -> None:
        """A member is suspected, but not by these any more."""
        left = tuple(accuser for accuser in suspect.accusers if accuser not in accusers)
        state = suspect._replace(accusers=left)
        self._members.put(state)
        self._follow(suspect, state, now)
