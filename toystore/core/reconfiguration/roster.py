"""What this node knows of the members from gossip: their status, their disks, since when dead."""

from __future__ import annotations

from toystore.core.protocol.machine import Now
from toystore.core.protocol.messages.codes import MemberStatus
from toystore.core.protocol.messages.local import MembersChanged


class Roster:
    """The members as gossip sees them."""

    def __init__(self, node: str) -> None:
        self.disks: dict[str, str] = {}
        """The disk of each member, as far as it is known."""
        self._statuses: dict[str, int] = {node: MemberStatus.ALIVE}
        self._dead_since: dict[str, float] = {}

    def learn(self, message: MembersChanged, now: Now) -> None:
        """Gossip has news."""
        for name in message.removed:
            self._statuses.pop(name, None)
            self._dead_since.pop(name, None)
            self.disks.pop(name, None)
        for member in message.members:
            self._statuses[member.name] = member.status
            self.learn_disk(member.name, member.disk)
            if member.status != MemberStatus.DEAD:
                self._dead_since.pop(member.name, None)
            else:
                self._dead_since.setdefault(member.name, now.monotonic)

    def learn_disk(self, name: str, disk: str) -> None:
        """A member has answered from this disk."""
        if disk:
            self.disks[name] = disk

    def status(self, name: str) -> str:
        """ "alive", "suspect", "dead", "left" or "unknown"."""
        status = self._statuses.get(name)
        return "unknown" if status is None else MemberStatus(status).name.lower()

    def is_alive(self, name: str) -> bool:
        """Whether it answers; a suspect may."""
        return self._statuses.get(name) in (MemberStatus.ALIVE, MemberStatus.SUSPECT)

    def dead_since(self, name: str) -> float | None:
        """Since when gossip has called it dead without a break, in monotonic seconds."""
        return self._dead_since.get(name)
