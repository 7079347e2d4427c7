"""This node's own row of the member table.

Only the node itself raises its incarnation.  So it contradicts (*refutes*) what others say
of it, and rises above the incarnation that it had in an earlier run (SWIM section 4.2).
"""

from __future__ import annotations

from toystore.core.membership.disks import Disks
from toystore.core.membership.local_health import LocalHealth
from toystore.core.membership.members import Members
from toystore.core.membership.peers import Peers
from toystore.core.protocol.machine import Outbox
from toystore.core.protocol.messages.codes import MemberStatus
from toystore.core.protocol.messages.gossip import MemberState
from toystore.core.protocol.settings import SwimSettings


class OwnState:
    """Puts this node's row into the table, and keeps it true."""

    __slots__ = ("_disks", "_health", "_members", "_node", "_outbox", "_peers", "_settings")

    def __init__(
        self,
        *,
        node: str,
        members: Members,
        disks: Disks,
        peers: Peers,
        health: LocalHealth,
        settings: SwimSettings,
        outbox: Outbox,
    ) -> None:
        self._node = node
        self._members = members
        self._disks = disks
        self._peers = peers
        self._health = health
        self._settings = settings
        self._outbox = outbox

    def appear(self, disk: str) -> None:
        """This node is alive, and runs on ``disk``."""
        own = MemberState(self._node, MemberStatus.ALIVE, 0, disk)
        if self._members.get(self._node) != own:
            self._members.put(own)

    def leave(self) -> None:
        """This node has left: log it, and announce it to many members at once."""
        own = self._row()._replace(status=MemberStatus.LEFT)
        self._members.put(own)
        self._outbox.log(
            "member.left",
            member=own.name,
            incarnation=own.incarnation,
            cause="leave",
            took_s=None,
        )
        self._peers.announce_leave()

    def learn(self, received: MemberState, sender: str) -> None:
        """Refute what is wrong in a received row of this node.

        A suspicion of a lower incarnation was refuted before.  A member that still repeats
        it has not received the refutation, so that is spread again.
        """
        own = self._row()
        other_disk = received.disk not in ("", own.disk)
        if other_disk:
            self._disks.replace(own.disk, received.disk)
        if own.status == MemberStatus.LEFT:
            return
        wrong = received.status != MemberStatus.ALIVE or other_disk
        if wrong and received.incarnation >= own.incarnation:
            if received.status == MemberStatus.DEAD:
                # This node was cut off: that it did not reach the others is no evidence.
                self._members.discard_verdicts()
            if received.status == MemberStatus.SUSPECT:
                self._health.worsen(1, f"suspected, told by {sender}")
            status = MemberStatus(received.status).name.lower()
            cause = f"{'another disk' if other_disk else status}, told by {sender}"
            self._refute(own._replace(incarnation=received.incarnation + 1), cause, sender)
        elif wrong:
            self._members.spread(self._node)
        elif received.incarnation > own.incarnation:
            self._members.put(own._replace(incarnation=received.incarnation))

    def _refute(self, own: MemberState, cause: str, sender: str) -> None:
        """Send at once, to the sender first, that this node is alive."""
        self._members.put(own)
        self._outbox.log("member.refuted", incarnation=own.incarnation, cause=cause)
        others = self._peers.some(self._settings.indirect_probes, but=sender)
        self._peers.send_updates(sender, *others)

    def _row(self) -> MemberState:
        own = self._members.get(self._node)
        assert own is not None
        return own
