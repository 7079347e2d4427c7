"""Which disk each member runs on, and whether this node's may vote "not found".

A node that lost its data comes back with another disk.  The others remember the one it
had, because storage keeps what gossip learns of it, and tell the node when it exchanges
all with them; a disk that is not the one they remember has to be rebuilt first and does
not vote.  It may vote if nobody remembers another by the time the node has joined.
"""

from __future__ import annotations

from toystore.core.protocol.address import STORAGE, Peer
from toystore.core.protocol.machine import Outbox
from toystore.core.protocol.messages.disk import LoadDisks, LoadDisksReply, SaveDisk, SettleDisk
from toystore.core.protocol.messages.gossip import MemberState


class Disks:
    """What storage remembers of disks, on gossip's behalf."""

    __slots__ = ("_kept", "_known", "_outbox", "_settled", "_storage", "_votes")

    def __init__(self, node: str, outbox: Outbox) -> None:
        self._storage = Peer(node, STORAGE)
        self._outbox = outbox
        self._known: dict[str, str] = {}
        self._settled = False
        self._votes: bool | None = None
        """What this node's disk was settled as in this life; None if it was not."""
        self._kept = True
        """Whether storage has all that it was told; its disk may have been full."""

    def ask(self) -> None:
        """Ask storage what it remembers."""
        self._outbox.send(self._storage, LoadDisks())

    def check(self) -> None:
        """Ask whether storage has kept what it was told, unless that is known."""
        if not self._kept:
            self.ask()

    def confirm(self, reply: LoadDisksReply) -> None:
        """Storage has answered: tell it again what it has not kept."""
        kept = dict(reply.known)
        self._kept = True
        for name, disk in self._known.items():
            if kept.get(name) != disk:
                self._tell(SaveDisk(name, disk))
        if self._votes is not None and (reply.settled, reply.votes) != (True, self._votes):
            self._tell(SettleDisk(self._votes))

    def _tell(self, fact: SaveDisk | SettleDisk) -> None:
        self._kept = False
        self._outbox.send(self._storage, fact)

    def load(self, reply: LoadDisksReply) -> None:
        """Storage has answered."""
        self._known = dict(reply.known)
        self._settled = reply.settled

    def known(self, name: str) -> str:
        """The disk that a member was last known with, be it in an earlier life; or ""."""
        return self._known.get(name, "")

    def learn(self, state: MemberState) -> None:
        """Remember durably which disk a member runs on."""
        if state.disk and self._known.get(state.name) != state.disk:
            self._known[state.name] = state.disk
            self._tell(SaveDisk(state.name, state.disk))

    def accept(self) -> None:
        """This node has joined and nobody knew it with another disk: its own may vote.

        That is not the last word, because a seed that joined alone had nobody to tell it.
        """
        if not self._settled:
            self._settle(votes=True)

    def replace(self, own: str, before: str) -> None:
        """The cluster knew this node with disk ``before``, and what that held is not here.

        A disk settled in an earlier life is not doubted again.
        """
        if not self._settled:
            self._settled = True
            self._outbox.log("disk.replaced", disk=own, before=before)
            self._settle(votes=False)

    def _settle(self, *, votes: bool) -> None:
        self._votes = votes
        self._tell(SettleDisk(votes))
