"""Which disk each member runs on, and whether this node's may vote "not found".

A node that lost its data comes back with another disk.  The other members remember the
disk it had, because their storage saves what gossip learns of it, and send it to the node
in an exchange.  A disk that is not the one they remember has to be rebuilt first, and votes in
each range when that is rebuilt.  It may vote at once if no member remembers another by the time
the node has joined.
"""

from __future__ import annotations

from collections.abc import Collection

from toystore.core.protocol.address import STORAGE, Peer
from toystore.core.protocol.machine import Outbox
from toystore.core.protocol.messages.disk import LoadDisks, LoadDisksReply, SaveDisk, SettleDisk
from toystore.core.protocol.messages.gossip import MemberState


class Disks:
    """What storage knows of disks, for gossip."""

    __slots__ = ("_final", "_known", "_outbox", "_saved", "_storage", "_votes")

    def __init__(self, node: str, outbox: Outbox) -> None:
        self._storage = Peer(node, STORAGE)
        self._outbox = outbox
        self._known: dict[str, str] = {}
        self._final = False
        """Whether no exchange can change any more if this node's disk may vote."""
        self._votes: bool | None = None
        """What was confirmed in this run; None if nothing was."""
        self._saved = True
        """Whether storage has all that it was sent; its disk may have been full."""

    def fetch(self) -> None:
        """Ask storage what it knows."""
        self._outbox.send(self._storage, LoadDisks())

    def start(self, reply: LoadDisksReply, gone: Collection[tuple[str, str]]) -> None:
        """Storage has answered for the first time; it may know disks that are ``gone`` since."""
        self._known = dict([known for known in reply.known if known not in gone])
        self._final = reply.settled

    def forget(self, name: str) -> None:
        """A member was removed; storage keeps what it was sent of its disk."""
        self._known.pop(name, None)

    def fetch_if_unsaved(self) -> None:
        """Ask storage whether it has saved what it was sent, unless it is known to have."""
        if not self._saved:
            self.fetch()

    def send_unsaved(self, reply: LoadDisksReply) -> None:
        """Storage has answered again: send once more what it has not saved."""
        saved = dict(reply.known)
        self._saved = True
        for name, disk in self._known.items():
            if saved.get(name) != disk:
                self._save(SaveDisk(name, disk))
        if self._votes is not None and (reply.settled, reply.replaced) != (True, not self._votes):
            self._save(SettleDisk(self._votes))

    def known(self, name: str) -> str:
        """The last known disk of a member, even if it is of an earlier run; or ""."""
        return self._known.get(name, "")

    def learn(self, state: MemberState) -> None:
        """Remember durably which disk a member runs on."""
        if state.disk and self._known.get(state.name) != state.disk:
            self._known[state.name] = state.disk
            self._save(SaveDisk(state.name, state.disk))

    def accept(self) -> None:
        """This node has joined and no member knew it with another disk: its own may vote.

        `replace` may still follow, because a seed that joined alone had no member to ask.
        """
        if not self._final:
            self._confirm(votes=True)

    def replace(self, own: str, before: str) -> None:
        """The members knew this node with disk ``before``, and its data is not on this one.

        Nothing changes for a disk that was confirmed in an earlier run.
        """
        if not self._final:
            self._final = True
            self._outbox.log("disk.replaced", disk=own, before=before)
            self._confirm(votes=False)

    def _confirm(self, *, votes: bool) -> None:
        self._votes = votes
        self._save(SettleDisk(votes))

    def _save(self, fact: SaveDisk | SettleDisk) -> None:
        self._saved = False
        self._outbox.send(self._storage, fact)
