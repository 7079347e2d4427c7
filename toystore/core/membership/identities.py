"""Which process each member is.

The process that answers at a member's own address is that member.  So this node asks the
process at the address (`DescribeNode`) when the link comes up, and again when another process
says that it is this member:

    claimant ──Exchange(boot)────▶ this node ──DescribeNode────────▶ the member's address
    claimant ◀──ExchangeReply───── this node ◀──DescribeNodeReply─── it is the claimant: believed
    claimant ◀──ClaimReply──────── this node ◀──DescribeNodeReply─── it is another: refused
                                   all others ◀─────NameTaken──────── the member

Until the answer comes, the exchange is set aside.  It is not if the member cannot be in two
places: no process is known at its address, it is dead or unknown or its link is down, and
the claimant has the disk that the member is known with.  So a node joins, restarts and moves
to another address without waiting.  A process with another disk always waits: this member's
vote would be lost to a process that has only its name.

A process is refused only if the same other process answered before its exchange arrived and
after it.  The exchange of a run that has ended may still wait to be read, and refuses no run.
"""

from __future__ import annotations

from collections.abc import Set
from typing import NamedTuple

from toystore.core.membership.disks import Disks
from toystore.core.membership.members import Members
from toystore.core.membership.peers import Peers
from toystore.core.protocol.machine import Now, Outbox
from toystore.core.protocol.messages.gossip import (
    ClaimReply,
    DescribeNode,
    DescribeNodeReply,
    Exchange,
    MemberState,
    NameTaken,
)

BOOT_CHARS_MAX = 128
"""The longest id of a run; a longer one is not believed."""
WAITS_S = 1.0
"""A process that asks again this long after its first question is logged as one that waits."""
REFUSED_MAX = 64
"""How many refused processes are remembered; of more, the oldest are forgotten."""


class _Process(NamedTuple):
    """The process at a member's address."""

    boot: str
    disk: str
    """"" if it did not know its disk yet."""


class _Claim(NamedTuple):
    """An exchange that was set aside."""

    exchange: Exchange
    before: str
    """The run that was known at the member's address when the exchange arrived; or ""."""
    since: float
    """When the first exchange of this run was set aside, in monotonic seconds."""


class Identities:
    """Decides which process is believed to be a member; see the module's docstring."""

    __slots__ = (
        "_asked",
        "_boot",
        "_claims",
        "_disks",
        "_links",
        "_members",
        "_node",
        "_outbox",
        "_peers",
        "_processes",
        "_refused",
        "_request",
        "_waiting",
    )

    def __init__(
        self,
        *,
        node: str,
        boot: str,
        members: Members,
        disks: Disks,
        peers: Peers,
        links: Set[str],
        outbox: Outbox,
    ) -> None:
        """``boot``: the id of this run of ``node``.  ``links``: the members that are linked now."""
        self._node = node
        self._boot = boot
        self._members = members
        self._disks = disks
        self._peers = peers
        self._links = links
        self._outbox = outbox
        self._request = 0
        self._asked: dict[str, int] = {}
        """The number of the last question to a member's address that was not answered."""
        self._processes: dict[str, _Process] = {}
        """The process that has answered at each linked member's address."""
        self._claims: dict[str, _Claim] = {}
        """The last exchange of each member that was set aside."""
        self._waiting: dict[str, str] = {}
        """The run of each member of which was logged that it waits."""
        self._refused: dict[tuple[str, str], str] = {}
        """Why each process was refused, by the member's name and its run; the oldest first."""

    # --- links --------------------------------------------------------------------------

    def on_link_up(self, name: str) -> None:
        """Ask which process is at the member's address."""
        self._ask(name)

    def on_link_lost(self, name: str) -> Exchange | None:
        """The process at the address may have ended.  Returns the exchange that is now believed."""
        self._processes.pop(name, None)
        self._asked.pop(name, None)
        claim = self._claims.get(name)
        if claim is None or not self._has_known_disk(name, claim.exchange):
            return None
        del self._claims[name]
        return claim.exchange

    def forget(self, name: str) -> None:
        """A member was removed: a process that comes with its name later is another one."""
        for known in (self._asked, self._processes, self._claims, self._waiting):
            known.pop(name, None)
        for process in [process for process in self._refused if process[0] == name]:
            del self._refused[process]

    # --- other processes ----------------------------------------------------------------

    def believes(self, exchange: Exchange, name: str, now: Now) -> bool:
        """Whether the process that sent ``exchange`` is the member ``name``.

        If that is not known, the exchange is set aside, and the address is asked.
        """
        boot, process = exchange.boot, self._processes.get(name)
        if len(boot) > BOOT_CHARS_MAX:
            return False
        if process is not None and process.boot == boot:
            self._processes[name] = _Process(boot, _disk_in(exchange, name) or process.disk)
            return True
        if (name, boot) in self._refused:
            self._refuse(name, boot)
            return False
        here = name in self._links and self._members.is_alive(name)
        if process is None and not here and self._has_known_disk(name, exchange):
            return True
        self._set_aside(exchange, name, process, now)
        return False

    def believes_disk(self, state: MemberState) -> bool:
        """Whether a member's row, which came from that member itself, has its true disk.

        If that is not known, the address is asked.
        """
        known = self._disks.known(state.name)
        if not known or state.disk in ("", known):
            return True
        process = self._processes.get(state.name)
        if process is not None and process.disk == state.disk:
            return True
        if state.name not in self._asked:
            self._ask(state.name)
        return False

    def learn(self, reply: DescribeNodeReply, name: str, now: Now) -> Exchange | None:
        """The process at a member's address has answered.  Returns the exchange to be served."""
        listed_there = reply.name == name and len(reply.boot) <= BOOT_CHARS_MAX
        if not listed_there or self._asked.get(name) != reply.request:
            return None
        del self._asked[name]
        self._processes[name] = _Process(reply.boot, reply.disk)
        claim = self._claims.pop(name, None)
        if claim is None:
            return None
        exchange = claim.exchange
        if exchange.boot == reply.boot:
            return exchange if self.believes(exchange, name, now) else None
        if claim.before == reply.boot:
            self._refuse(name, exchange.boot, _disk_in(exchange, name))
        return None

    # --- this process -------------------------------------------------------------------

    def describe(self, question: DescribeNode, peer: str) -> None:
        """Answer a member that asks which process is at this address.

        If it refuses another process with this name, log that and send it to the others.
        """
        own = self._members.get(self._node)
        disk = "" if own is None else own.disk
        self._peers.send(peer, DescribeNodeReply(question.request, self._node, self._boot, disk))
        other = question.claimant[:BOOT_CHARS_MAX]
        if other in ("", self._boot) or (self._node, other) in self._refused:
            return
        self._remember(self._node, other, f"{peer} refuses it: {self._node} is {self._boot}")
        for name in sorted(self._links):
            if name != peer:
                self._peers.send(name, NameTaken(other, self._boot))

    def on_taken(self, message: NameTaken, name: str) -> None:
        """A member reports that another process has its name: refuse that from now on."""
        boot, process = (run[:BOOT_CHARS_MAX] for run in message)
        if (name, boot) not in self._refused:
            self._remember(name, boot, f"{name} is process {process}, as it reports itself")

    # --- parts --------------------------------------------------------------------------

    def _ask(self, name: str, claimant: str = "") -> None:
        self._request += 1
        self._asked[name] = self._request
        self._peers.send(name, DescribeNode(self._request, claimant))

    def _set_aside(self, exchange: Exchange, name: str, process: _Process | None, now: Now) -> None:
        """Ask the address, and log if the claimant has waited for long.

        It is sent that it waits, so that it does not join alone.
        """
        boot, earlier = exchange.boot, self._claims.get(name)
        since = now.monotonic
        if earlier is not None and earlier.exchange.boot == boot:
            since = earlier.since
        self._claims[name] = _Claim(exchange, "" if process is None else process.boot, since)
        state = "has not answered yet" if name in self._links else "cannot be reached"
        text = f"the address that {self._node} has for {name} {state}"
        if now.monotonic - since >= WAITS_S and self._waiting.get(name) != boot:
            self._waiting[name] = boot
            self._outbox.log("name.unconfirmed", member=name, process=boot, reason=text)
        self._peers.send(name, ClaimReply(boot, False, text))
        self._ask(name, "" if process is None else boot)

    def _refuse(self, name: str, boot: str, disk: str = "") -> None:
        """Another process is the member: log that once, and send it to the one that is not."""
        if (name, boot) not in self._refused:
            process = self._processes[name]
            same = "; both have the same disk id: one data folder is a copy of the other"
            self._remember(
                name,
                boot,
                f"{name} is process {process.boot}, which answers at the address that "
                f"{self._node} has for {name}{same if disk and disk == process.disk else ''}",
            )
        self._peers.send(name, ClaimReply(boot, True, self._refused[name, boot]))

    def _remember(self, name: str, boot: str, reason: str) -> None:
        self._outbox.log("name.taken", member=name, process=boot, reason=reason)
        self._refused[name, boot] = reason
        if len(self._refused) > REFUSED_MAX:
            del self._refused[next(iter(self._refused))]

    def _has_known_disk(self, name: str, exchange: Exchange) -> bool:
        known = self._disks.known(name)
        return not known or _disk_in(exchange, name) in ("", known)


def _disk_in(exchange: Exchange, name: str) -> str:
    """The disk of the sender's own row; "" if there is none."""
    return next((row.disk for row in exchange.members if row.name == name), "")
