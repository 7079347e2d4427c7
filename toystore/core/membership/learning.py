"""Merges what this node learns of the members into the member table (SWIM section 4.2).

It learns rows from the messages of other members, and statuses from its own failure detector.
What changes is spread, logged and followed by the failure detector; the row of this node itself
is for `OwnState`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from toystore.core.membership.disks import Disks
from toystore.core.membership.exchanges import Exchanges
from toystore.core.membership.identities import Identities
from toystore.core.membership.member_log import MemberLog
from toystore.core.membership.members import Members, merge
from toystore.core.membership.own_state import OwnState
from toystore.core.protocol.machine import Now, Outbox
from toystore.core.protocol.messages.codes import MemberStatus
from toystore.core.protocol.messages.gossip import MemberState

Follow = Callable[[MemberState | None, MemberState, Now], None]


class Learning:
    """See the module's docstring."""

    __slots__ = (
        "_disks",
        "_exchanges",
        "_follow",
        "_identities",
        "_log",
        "_members",
        "_node",
        "_own",
    )

    def __init__(
        self,
        *,
        node: str,
        members: Members,
        own: OwnState,
        disks: Disks,
        exchanges: Exchanges,
        identities: Identities,
        outbox: Outbox,
        follow: Follow,
    ) -> None:
        """``follow``: called with a member's row before and after each change."""
        self._node = node
        self._members = members
        self._own = own
        self._disks = disks
        self._exchanges = exchanges
        self._identities = identities
        self._log = MemberLog(outbox)
        self._follow = follow

    def updates(self, updates: tuple[MemberState, ...], sender: str, now: Now) -> None:
        """Learn the updates on a message, from a dead member as if they were its whole table.

        It is alive and was cut off; so a member that it declared dead may be alive, too.
        """
        if self._members.is_dead(sender):
            self.table(updates, sender, now)
        else:
            self._rows(updates, sender, now)

    def table(self, members: tuple[MemberState, ...], sender: str, now: Now) -> None:
        """Learn the whole table of ``sender``."""
        self._rows(map(self._exchanges.reprieved, members), sender, now)

    def set_status(
        self, name: str, status: MemberStatus, cause: str, now: Now, took_s: float | None = None
    ) -> None:
        """Suspect a member or declare it dead, in its known incarnation."""
        known = self._members.get(name)
        if known is not None:
            accusers = (self._node,) if status == MemberStatus.SUSPECT else ()
            self._row(known._replace(status=status, accusers=accusers), cause, now, took_s)

    def forget(self, name: str) -> None:
        """A member was removed."""
        self._log.forget(name)

    def _rows(self, updates: Iterable[MemberState], sender: str, now: Now) -> None:
        """Learn rows that ``sender`` has sent."""
        for state in self._members.news(updates):
            if state.name == self._node:
                self._own.learn(state, sender)
            elif state.name != sender or self._identities.believes_disk(state):
                self._row(state, self._log.cause(state, sender), now)

    def _row(
        self, received: MemberState, cause: str, now: Now, took_s: float | None = None
    ) -> None:
        """Merge the state of another member into the table; spread and log what has changed."""
        known = self._members.get(received.name)
        state = received if known is None else merge(known, received)
        if state == known:
            if received.status != MemberStatus.ALIVE and received.incarnation < known.incarnation:
                self._members.spread(known.name)  # The sender does not know the refutation.
            return
        self._members.put(state)
        if known is None or known.disk != state.disk:
            self._disks.learn(state)
        self._follow(known, state, now)
        self._log.record(known, state, cause, now, took_s)
