"""SWIM: who is a member, who is alive, and which disk each runs on.

After Das, Gupta and Motivala, *SWIM: Scalable Weakly-consistent Infection-style Process
Group Membership Protocol* (DSN 2002).  The life of a node, as this machine sees it:

    loading --LoadDisksReply--> joining --ExchangeReply--> joined --Leave--> left

*Joining* asks one seed after the other for all it knows (push-pull).  A seed whose
fellow seeds are all silent joins alone: somebody must be the first.

*Joined*, it hears who is alive, and tells: from the failure detector, which probes the
members and accuses whoever is silent, and from the others, by the updates on their
messages.  All is exchanged now and then with some member, be it dead, and at once with a
doubted one whose link comes up: that heals splits.  The accused is told, and refutes by
raising its incarnation.  A node that was held up itself (a deadline served very late)
accuses nobody.

    Swim                 joins, exchanges, learns, refutes, leaves
     |- FailureDetector  pings, suspects, gives up            (probing.py)
     |- Members          who beats whom, and what is news     (members.py)
     |- Peers            speaks; the news rides along         (peers.py)
     |- Disks            which disk a member had, for good    (disks.py)
     '- Agreement        whether all are configured alike     (agreement.py)

Beyond the paper, so that at 10% loss no refutation comes too late: a suspect is sent its
suspicion and answers its accuser directly, each message to a doubted member begins with
the doubt, and whoever hears an accusation that was refuted spreads the refutation anew.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence

from toystore.core.membership.agreement import Agreement, Setting
from toystore.core.membership.disks import Disks
from toystore.core.membership.members import Members, beats, merge
from toystore.core.membership.peers import Peers
from toystore.core.membership.probing import FailureDetector
from toystore.core.protocol.address import Address, Peer
from toystore.core.protocol.machine import Now, Outbox
from toystore.core.protocol.messages import Message
from toystore.core.protocol.messages.codes import MemberStatus
from toystore.core.protocol.messages.disk import LoadDisksReply
from toystore.core.protocol.messages.gossip import (
    Ack,
    CompareSettings,
    Exchange,
    ExchangeReply,
    Gossip,
    MemberState,
    Ping,
    PingReq,
    Refused,
)
from toystore.core.protocol.messages.local import (
    Leave,
    LinkLost,
    LinkUp,
    MembersChanged,
    SendFailed,
)
from toystore.core.protocol.roles import TOLD_OF_MEMBERS
from toystore.core.protocol.settings import SwimSettings

_EVENT_OF = {
    MemberStatus.ALIVE: "member.alive",
    MemberStatus.SUSPECT: "member.suspect",
    MemberStatus.DEAD: "member.dead",
    MemberStatus.LEFT: "member.left",
}


class Swim:
    """The gossip actor's machine; see the module's docstring."""

    def __init__(
        self,
        *,
        node: str,
        members: Sequence[str],
        seeds: Sequence[str],
        settings: SwimSettings,
        shared: Mapping[str, Setting],
        outbox: Outbox,
        chance: random.Random,
    ) -> None:
        """``members``: every listed name, this node's included; nobody else is accepted.

        ``shared``: what all nodes should have set alike, by its name.

        Raises ValueError if ``node`` is not among them.
        """
        if node not in members:
            raise ValueError(f"node {node!r} is not on the member list: {', '.join(members)}")
        self.refused: str | None = None
        """Why the others would not have this node; it never joined, and should stop."""
        self._node = node
        self._seeds = [seed for seed in seeds if seed != node]
        self._may_be_first = node in seeds or not self._seeds
        self._settings = settings
        self._outbox = outbox
        self._chance = chance

        self._members = Members(members)
        self._disks = Disks(node, outbox)
        self._agreement = Agreement(shared, outbox)
        self._peers = Peers(node, self._members, settings, outbox, chance)
        self._detector = FailureDetector(
            node=node,
            members=self._members,
            peers=self._peers,
            settings=settings,
            chance=chance,
            set_status=self._accuse,
        )
        self._started: float | None = None
        self._joined = False
        self._left = False
        self._changed = False
        self._seeds_asked = 0
        self._exchanges = 0
        self._links: set[str] = set()
        self._refusals: dict[str, str] = {}
        self._doubted_at: dict[str, float] = {}
        self._timers: dict[Callable[[Now], None], float] = {self._load_disks: 0.0}

    # --- the machine --------------------------------------------------------------------

    def receive(self, message: Message, sender: Address, now: Now) -> None:
        """Take in a datagram, an exchange, or news from this node's shell and storage."""
        peer = sender.node if isinstance(sender, Peer) else ""
        match message:
            case LoadDisksReply():
                self._begin(message, now)
            case LinkUp(node):
                self._on_link_up(node, now)
            case LinkLost(node):
                self._on_link_lost(node, now)
            case SendFailed():
                self._detector.on_send_failed(message, now)
            case Leave():
                self._leave(now)
            case _ if self._members.listed(peer):
                self._hear(message, peer, now)
        self._flush()

    def on_deadline(self, now: Now) -> None:
        """Probe, suspect, give up, ask and exchange, each as its time has come."""
        due = self.next_deadline()
        if due is None or due > now.monotonic:
            return
        late_s = now.monotonic - due
        if self._started is None:
            self._started = now.monotonic
        elif late_s > self._settings.stall_s:
            self._outbox.log("actor.stalled", late_s=round(late_s, 3))
            self._detector.forgive(late_s)
        self._detector.on_deadline(now)
        for step in [step for step, due in self._timers.items() if due <= now.monotonic]:
            step(now)
        self._flush()

    def next_deadline(self) -> float | None:
        """The earliest of everything that is waited for; None once this node has left."""
        if self._left:
            return None
        return min((*self._timers.values(), *self._detector.deadlines()), default=None)

    def on_failure(self, now: Now) -> None:
        """Nobody waits for an answer: a lost ack is what SWIM is made for."""

    def announce(self) -> None:
        """Tell the other actors of this node what is known, changed or not."""
        news = MembersChanged(self._joined, self._members.states())
        for actor in TOLD_OF_MEMBERS:
            self._outbox.send(Peer(self._node, actor), news)

    def _flush(self) -> None:
        """Announce what this turn has changed."""
        if self._changed:
            self._changed = False
            self.announce()

    # --- joining and leaving ------------------------------------------------------------

    def _load_disks(self, now: Now) -> None:
        """Ask storage for the disks, until it answers."""
        self._disks.ask()
        self._timers[self._load_disks] = now.monotonic + self._settings.join_retry_s

    def _check_disks(self, now: Now) -> None:
        """See to it, again and again, that storage keeps what it is told of disks."""
        self._disks.check()
        self._timers[self._check_disks] = now.monotonic + self._settings.join_retry_s

    def _begin(self, reply: LoadDisksReply, now: Now) -> None:
        """This node's disk is known: it exists, and begins to join."""
        if self._timers.pop(self._load_disks, None) is None:
            self._disks.confirm(reply)
            return
        self._disks.load(reply)
        if self._started is None:  # that was the answer to a machine that failed
            self._started = now.monotonic
        self._members.put(MemberState(self._node, MemberStatus.ALIVE, 0, reply.own))
        self._changed = True
        self._ask_seed(now)

    def _ask_seed(self, now: Now) -> None:
        """Exchange with the next seed that has not answered, one each ``join_retry_s``."""
        silent = [s for s in self._seeds if not (self._joined and self._members.is_alive(s))]
        if not self._joined and self._may_be_first and self._seeds_asked >= len(silent):
            self._join(self._node, now)
        if not silent:
            self._timers.pop(self._ask_seed, None)
            return
        self._exchange_with(silent[self._seeds_asked % len(silent)])
        self._seeds_asked += 1
        self._timers[self._ask_seed] = now.monotonic + self._settings.join_retry_s

    def _join(self, cause: str, now: Now) -> None:
        """This node is one of them now, through ``cause``; probing begins."""
        assert self._started is not None
        self._joined = self._changed = True
        self._outbox.log(
            "member.joined",
            members=len(self._members.states()),
            took_s=round(now.monotonic - self._started, 3),
            cause=cause,
        )
        self._disks.accept()
        if cause != self._node:
            self._timers.pop(self._ask_seed, None)
        self._detector.start(now)
        first_s = self._chance.uniform(0, self._settings.exchange_period_s)
        self._timers[self._exchange] = now.monotonic + first_s
        self._check_disks(now)
        for name in sorted(self._links):
            self._on_link_up(name, now)

    def _leave(self, now: Now) -> None:
        """Say goodbye; a node that does not know its disk yet was never there."""
        own = self._members.get(self._node)
        if own is not None and not self._left:
            own = own._replace(status=MemberStatus.LEFT)
            self._members.put(own)
            self._changed = True
            self._note(own, "leave", now)
            self._peers.announce_leave()
        self._left = True
        self._timers.clear()  # Storage's answer, if it is still awaited, comes too late.

    # --- what peers send ----------------------------------------------------------------

    def _hear(self, message: Message, peer: str, now: Now) -> None:
        """A listed member speaks.  Until its disk is known, this node is not there."""
        if isinstance(message, Refused):
            self._on_refused(message, peer)
            return
        if isinstance(message, CompareSettings):
            self._agreement.compare(peer, message.settings)
            return
        if self._members.get(self._node) is None:
            return
        match message:
            case Gossip(updates):
                self._learn_all(updates, peer, now)
            case Ping() | PingReq() | Ack():
                self._learn_all(message.updates, peer, now)
                self._detector.receive(message, peer, now)
            case Exchange(request, members):
                self._answer_exchange(request, members, peer, now)
            case ExchangeReply(_, members):
                self._learn_exchanged(members, peer, now)
                if not (self._joined or self._left):
                    self._join(peer, now)

    def _on_refused(self, message: Refused, peer: str) -> None:
        """A member says that this node does not belong there; noted once."""
        if self._refusals.get(peer) != message.text:
            self._refusals[peer] = message.text
            self._outbox.log("member.refused", member=peer, reason=message.text)
        if not self._joined:
            self.refused = message.text

    # --- exchanges ----------------------------------------------------------------------

    def _exchange(self, now: Now) -> None:
        """Compare everything with some member, be it dead or never heard of."""
        others = self._members.not_left(self._node)
        if others:
            self._exchange_with(self._chance.choice(others))
        self._timers[self._exchange] = now.monotonic + self._settings.exchange_period_s

    def _exchange_with(self, name: str) -> None:
        """Send all this node knows."""
        self._exchanges += 1
        about_it = self._knowledge_of(name)
        self._peers.send(name, Exchange(self._exchanges, self._members.states(but=name) + about_it))

    def _answer_exchange(
        self, request: int, members: tuple[MemberState, ...], peer: str, now: Now
    ) -> None:
        """Learn, then tell; but of the peer tell what was known before it spoke.

        So it learns what it has to refute, and which disk it was known with.  That row
        comes last: when it refutes, the peer has already heard who is alive.
        """
        about_it = self._knowledge_of(peer)
        self._learn_exchanged(members, peer, now)
        self._peers.send(peer, ExchangeReply(request, self._members.states(but=peer) + about_it))

    def _learn_exchanged(self, members: tuple[MemberState, ...], peer: str, now: Now) -> None:
        """Learn a whole table.  Who is dead there is suspect here, and so may refute."""
        self._learn_all(map(self._reprieved, members), peer, now)

    def _reprieved(self, state: MemberState) -> MemberState:
        """A suspect for a dead member; this node knows of itself what to think of it."""
        if state.status == MemberStatus.DEAD and state.name != self._node:
            return state._replace(status=MemberStatus.SUSPECT)
        return state

    def _knowledge_of(self, name: str) -> tuple[MemberState, ...]:
        """What is known of one member, if only the disk it had in an earlier life.

        That is no accusation: if it is the disk that it has now, there is nothing to refute.
        """
        state = self._members.get(name)
        if state is not None:
            return (state,)
        disk = self._disks.known(name)
        return (MemberState(name, MemberStatus.ALIVE, 0, disk),) if disk else ()

    # --- links --------------------------------------------------------------------------

    def _on_link_up(self, node: str, now: Now) -> None:
        """Compare settings; exchange with who is doubted or unknown: it or this node was away."""
        if not self._members.listed(node) or node == self._node:
            return
        if node not in self._links:
            self._peers.send(node, self._agreement.told())
        self._links.add(node)
        if self._members.get(self._node) is None or self._left:
            return
        if not self._members.is_alive(node) if self._joined else node in self._seeds:
            self._exchange_with(node)
        self._detector.on_link_up(node, now)

    def _on_link_lost(self, node: str, now: Now) -> None:
        """A member may have gone: have it probed at once."""
        self._links.discard(node)
        if self._joined and not self._left and node != self._node:
            self._detector.on_link_lost(node, now)

    # --- learning (SWIM section 4.2) ----------------------------------------------------

    def _learn_all(self, updates: Iterable[MemberState], teller: str, now: Now) -> None:
        """Take in what ``teller`` says of the members."""
        for state in updates:
            if not self._members.accepts(state):
                continue
            if state.name == self._node:
                self._learn_of_self(state, teller)
            else:
                self._learn(state, self._cause(state, teller), now)

    def _cause(self, state: MemberState, teller: str) -> str:
        """How this node came to know: from the member itself, or by hearsay."""
        if state.name != teller or state.status != MemberStatus.ALIVE:
            return f"told by {teller}"
        return "refuted" if teller in self._doubted_at else "joined"

    def _accuse(
        self, name: str, status: MemberStatus, cause: str, now: Now, took_s: float | None = None
    ) -> None:
        """Hold a member for suspect or dead, in the incarnation that it is known in."""
        held = self._members.get(name)
        if held is not None:
            self._learn(held._replace(status=status), cause, now, took_s)

    def _learn(self, heard: MemberState, cause: str, now: Now, took_s: float | None = None) -> None:
        """Merge a state of another member into the table; spread and note what it changed."""
        held = self._members.get(heard.name)
        state = heard if held is None else merge(held, heard)
        if state == held:
            if heard.status != MemberStatus.ALIVE and heard.incarnation < held.incarnation:
                self._members.spread(heard.name)  # The refutation has not reached everyone.
            return
        self._members.put(state)
        self._changed = True
        self._disks.learn(state)
        self._detector.follow(held, state, now)
        doubted = state.status != MemberStatus.ALIVE
        if held is None or held.status != state.status or (doubted and beats(state, held)):
            self._note(state, cause, now, took_s)

    def _note(self, state: MemberState, cause: str, now: Now, took_s: float | None = None) -> None:
        """Log a change of status, with how long the member was doubted before it.

        What is said against a new incarnation is logged too, though the status is the same:
        no node tells anybody what is not in its own log.
        """
        doubted_at = self._doubted_at.get(state.name)
        if took_s is None and doubted_at is not None:
            took_s = now.monotonic - doubted_at
        if state.status in (MemberStatus.SUSPECT, MemberStatus.DEAD):
            self._doubted_at.setdefault(state.name, now.monotonic)
        else:
            self._doubted_at.pop(state.name, None)
        self._outbox.log(
            _EVENT_OF[MemberStatus(state.status)],
            member=state.name,
            incarnation=state.incarnation,
            cause=cause,
            took_s=None if took_s is None else round(took_s, 3),
        )

    # --- what others say of this node ---------------------------------------------------

    def _learn_of_self(self, heard: MemberState, teller: str) -> None:
        """Contradict what is wrong (refute), and never fall behind one's own earlier life.

        An accusation of a lower incarnation has been refuted already; whoever still
        repeats it has not heard, so the refutation is spread again.
        """
        own = self._members.get(self._node)
        assert own is not None
        other_disk = heard.disk not in ("", own.disk)
        if other_disk:
            self._disks.replace(own.disk, heard.disk)
        if self._left:
            return
        wrong = heard.status != MemberStatus.ALIVE or other_disk
        if wrong and heard.incarnation >= own.incarnation:
            status = MemberStatus(heard.status).name.lower()
            cause = f"{'another disk' if other_disk else status}, told by {teller}"
            self._refute(own._replace(incarnation=heard.incarnation + 1), cause, teller)
        elif wrong:
            self._members.spread(self._node)
        elif heard.incarnation > own.incarnation:
            self._members.put(own._replace(incarnation=heard.incarnation))
            self._changed = True

    def _refute(self, own: MemberState, cause: str, teller: str) -> None:
        """Say at once, to the teller first, above what was said: this node is alive."""
        self._members.put(own)
        self._changed = True
        self._outbox.log("member.refuted", incarnation=own.incarnation, cause=cause)
        some = self._peers.some(self._settings.indirect_probes, but=teller)
        self._peers.send_updates(teller, *some)
