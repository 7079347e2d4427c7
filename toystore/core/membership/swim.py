"""SWIM: which nodes are members, which are alive, and which disk each runs on.

After Das, Gupta and Motivala, *SWIM: Scalable Weakly-consistent Infection-style Process
Group Membership Protocol* (DSN 2002).  `Swim` is the gossip actor's machine.  It passes
each message and timer to the part that it concerns:

    Swim                 messages, timers, links
     |- Lifecycle        starting, joining, joined, left           (lifecycle.py)
     |- Joining          fetches the known disks, asks the seeds   (joining.py)
     |- FailureDetector  probes, suspects, declares dead           (probing.py)
     |- Learning         merges what it learns into the table      (learning.py)
     |- Members          which state replaces which                (members.py)
     |- Listing          follows the ring: who is on the list      (listing.py)
     |- OwnState         this node's own row; refutes              (own_state.py)
     |- Exchanges        compares the whole table with a member    (exchanges.py)
     |- Identities       which process each member is              (identities.py)
     |- Admission        whether this process may run as its node  (admission.py)
     |- Peers            sends; updates are attached               (peers.py)
     |- Disks            which disk each member had                (disks.py)
     |- MemberLog        logs what becomes of each member          (member_log.py)
     '- Agreement        whether all are configured alike          (agreement.py)

It learns which members are alive from its failure detector, and from the updates on the
messages of the other members.  A member that is suspected or declared dead is sent that
state, and refutes by raising its incarnation.  A process that was stalled (a deadline was
served very late) suspects no member for it.

Beyond the paper, so that a refutation comes in time even if 10% of the messages are lost: a
member is sent its suspicion, and answers the sender directly; each message to a member that
is not alive begins with its state (Lifeguard's buddy system); and a node that receives a
suspicion which was refuted spreads the refutation again.  A member that was cut off has declared
the others dead.  When it is back, it does not spread these verdicts, and a member that has it as
dead treats them as suspicions.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence

from toystore.core.membership.admission import Admission
from toystore.core.membership.agreement import Agreement, Setting
from toystore.core.membership.disks import Disks
from toystore.core.membership.exchanges import Exchanges, exchange_period_s
from toystore.core.membership.identities import Identities
from toystore.core.membership.joining import Joining
from toystore.core.membership.learning import Learning
from toystore.core.membership.lifecycle import Input, Lifecycle, State
from toystore.core.membership.listing import Listing
from toystore.core.membership.local_health import LocalHealth
from toystore.core.membership.members import MemberList, Members
from toystore.core.membership.own_state import OwnState
from toystore.core.membership.peers import Peers
from toystore.core.membership.probing import FailureDetector
from toystore.core.membership.timers import Timer, Timers
from toystore.core.protocol.address import Address, Peer
from toystore.core.protocol.machine import Now, Outbox
from toystore.core.protocol.messages import Message
from toystore.core.protocol.messages.disk import LoadDisksReply
from toystore.core.protocol.messages.gossip import (
    Ack,
    ClaimReply,
    CompareSettings,
    DescribeNode,
    DescribeNodeReply,
    Exchange,
    ExchangeReply,
    Gossip,
    MemberState,
    Nack,
    NameTaken,
    Ping,
    PingReq,
    Refused,
)
from toystore.core.protocol.messages.local import (
    Leave,
    LinkLost,
    LinkRefused,
    LinkUp,
    MembersChanged,
    SendFailed,
)
from toystore.core.protocol.messages.ring import RingChanged
from toystore.core.protocol.roles import TOLD_OF_MEMBERS
from toystore.core.protocol.settings import SwimSettings
from toystore.core.ring.record import RingRecord, unpack_ring


class Swim:
    """The gossip actor's machine; see the module's docstring."""

    def __init__(
        self,
        *,
        node: str,
        boot: str,
        members: MemberList,
        seeds: Sequence[str],
        settings: SwimSettings,
        shared: Mapping[str, Setting],
        outbox: Outbox,
        chance: random.Random,
        known: Sequence[MemberState | None] = (),
        record: RingRecord | None = None,
    ) -> None:
        """``boot``: the id of this run of ``node``; no other process has it.

        ``members``: every listed name, this node's included; no other is accepted.

        ``known``: the rows that it starts with, in the order of ``members``.

        ``shared``: the settings that should be the same on all nodes, by name.

        ``record``: the ring record that lists the members.

        Raises ValueError if ``node`` is not among the members.
        """
        if node not in members:
            raise ValueError(f"node {node!r} is not on the member list: {', '.join(members)}")
        self._node = node
        self._boot = boot
        self._settings = settings
        self._outbox = outbox
        self._chance = chance

        self._lifecycle = Lifecycle()
        self._timers = Timers()
        self._members = table = Members(members, known)
        self._announced_joined = False
        """Whether this node's other actors were sent that it has joined."""
        self._removed: tuple[str, ...] = ()
        """The members whose removal the other actors were not sent yet."""
        self._disks = disks = Disks(node, outbox)
        self._agreement = Agreement(shared, outbox)
        self._peers = peers = Peers(node, table, settings, outbox, chance)
        self._health = health = LocalHealth(settings.local_health_max, outbox)
        self._own = OwnState(
            node=node,
            members=table,
            disks=disks,
            peers=peers,
            health=health,
            settings=settings,
            outbox=outbox,
        )
        self._exchanges = Exchanges(
            node=node, boot=boot, members=table, disks=disks, peers=peers, chance=chance
        )
        self._links = links = set[str]()
        self._identities = Identities(
            node=node,
            boot=boot,
            members=table,
            disks=disks,
            peers=peers,
            links=links,
            outbox=outbox,
        )
        self._joining = Joining(
            node=node,
            seeds=seeds,
            retry_s=settings.join_retry_s,
            lifecycle=self._lifecycle,
            timers=self._timers,
            members=table,
            disks=disks,
            exchanges=self._exchanges,
            joined=self._on_joined,
        )
        self._admission = Admission(
            node=node, boot=boot, lifecycle=self._lifecycle, joining=self._joining, outbox=outbox
        )
        self._learning = Learning(
            node=node,
            members=table,
            own=self._own,
            disks=disks,
            exchanges=self._exchanges,
            identities=self._identities,
            outbox=outbox,
            follow=self._follow,
        )
        self._detector = FailureDetector(
            node=node,
            members=table,
            peers=peers,
            health=health,
            settings=settings,
            chance=chance,
            set_status=self._learning.set_status,
        )
        self._listing = Listing(
            node=node,
            record=record,
            members=table,
            detector=self._detector,
            parts=(disks, self._agreement, self._identities, self._admission, self._learning),
            outbox=outbox,
            follow=self._follow,
        )
        self._steps: dict[Timer, Callable[[Now], None]] = {
            Timer.FETCH_DISKS: self._joining.fetch_disks,
            Timer.ASK_SEED: self._joining.ask_seed,
            Timer.EXCHANGE: self._exchange,
            Timer.SAVE_DISKS: self._save_disks,
        }

    # --- the machine --------------------------------------------------------------------

    def receive(self, message: Message, sender: Address, now: Now) -> None:
        """Take in a datagram, an exchange, or news from this node's shell and storage."""
        peer = sender.node if isinstance(sender, Peer) else ""
        match message:
            case LoadDisksReply():
                self._on_disks(message, now)
            case RingChanged(record):
                self._on_ring(unpack_ring(record), now)
            case LinkUp(node):
                self._on_link_up(node, now)
            case LinkLost(node):
                self._on_link_lost(node, peer, now)
            case LinkRefused(node) if self._members.listed(node):
                self._detector.on_link_refused(node, now)
            case SendFailed(node) if self._members.listed(node):
                self._detector.on_send_failed(message, now)
            case Leave():
                self._leave()
            case _ if self._members.listed(peer):
                self._on_message(message, peer, now)
        self._announce_changes()

    def on_deadline(self, now: Now) -> None:
        """Serve the failure detector, then the timers that are due."""
        due = self.next_deadline()
        if due is None or due > now.monotonic:
            return
        late_s = now.monotonic - due
        # The first deadline of a machine is 0.0, which is never late.
        if due and late_s > self._settings.stall_s:
            self._outbox.log("actor.stalled", late_s=round(late_s, 3))
            self._detector.forgive(late_s)
        self._detector.on_deadline(now)
        for timer in self._timers.due(now.monotonic):
            self._steps[timer](now)
        self._announce_changes()

    def next_deadline(self) -> float | None:
        """When something is due, in monotonic seconds; None once this node has left."""
        if self._lifecycle.state in (State.LEFT, State.STOPPED):
            return None
        first = self._detector.next_deadline()
        for at in self._timers.deadlines():
            if first is None or at < first:
                first = at
        return first

    @property
    def refused(self) -> str | None:
        """Why a member refused this process; then the node should stop."""
        return self._admission.refused

    @property
    def trusts_itself(self) -> bool:
        """Whether this node finds itself healthy (`LocalHealth`)."""
        return self._health.score == 0

    def on_failure(self, now: Now) -> None:
        """No caller waits for an answer: SWIM allows for lost messages."""

    def _follow(self, before: MemberState | None, state: MemberState, now: Now) -> None:
        """A member's row has changed: the failure detector has to know."""
        self._detector.follow(before, state, now)

    def _announce_changes(self) -> None:
        """Send the other actors of this node the rows that this turn has changed."""
        changed, joined = self._members.take_changes(), self._lifecycle.has_joined
        if changed or self._removed or joined != self._announced_joined:
            self._announced_joined = joined
            news = MembersChanged(joined, changed, self._removed)
            self._removed = ()
            for actor in TOLD_OF_MEMBERS:
                self._outbox.send(Peer(self._node, actor), news)

    # --- joining and leaving ------------------------------------------------------------

    def _on_disks(self, reply: LoadDisksReply, now: Now) -> None:
        """Storage has answered.  Once its disk is known, this node begins to join."""
        if not self._lifecycle.move(Input.DISKS_FETCHED):
            self._disks.send_unsaved(reply)
            return
        self._disks.start(reply, self._members.gone)
        self._own.appear(reply.own)
        self._joining.begin(now)

    def _on_joined(self, cause: str, now: Now) -> None:
        """This node is a member now, through the member ``cause``; probing begins."""
        self._outbox.log(
            "member.joined",
            members=self._members.known_count,
            took_s=round(self._joining.took_s(now), 3),
            cause=cause,
        )
        self._disks.accept()
        self._detector.start(now)
        first_s = self._chance.uniform(0, self._exchange_period_s())
        self._timers.set(Timer.EXCHANGE, now.monotonic + first_s)
        self._save_disks(now)
        for name in sorted(self._links):
            self._on_link_up(name, now)

    def _leave(self) -> None:
        """Announce that this node leaves, unless the others do not know of it yet."""
        if self._lifecycle.move(Input.LEAVE):
            self._timers.stop_all()
            if self._lifecycle.state is State.LEFT:
                self._own.leave()

    # --- timers -------------------------------------------------------------------------

    def _exchange(self, now: Now) -> None:
        """Exchange with a member; announce every row, as an actor may have failed over a change."""
        self._exchanges.start_with_any()
        self._members.touch_all()
        self._timers.set(Timer.EXCHANGE, now.monotonic + self._exchange_period_s())

    def _exchange_period_s(self) -> float:
        return exchange_period_s(self._settings.exchange_period_s, self._members.living_count)

    def _save_disks(self, now: Now) -> None:
        self._disks.fetch_if_unsaved()
        self._timers.set(Timer.SAVE_DISKS, now.monotonic + self._settings.join_retry_s)

    # --- messages of other members ------------------------------------------------------

    def _on_message(self, message: Message, peer: str, now: Now) -> None:
        """A listed member has sent ``message``."""
        match message:
            case Refused():
                self._admission.on_refused(message, peer)
            case ClaimReply():
                self._admission.on_claim(message, now)
            case CompareSettings(settings):
                self._agreement.compare(peer, settings)
            case DescribeNode() if self._lifecycle.state not in (State.LEFT, State.STOPPED):
                self._identities.describe(message, peer)
            case NameTaken():
                self._identities.on_taken(message, peer)
            case DescribeNodeReply():
                self._serve(self._identities.learn(message, peer, now), peer, now)
            case _ if self._lifecycle.state not in (State.STARTING, State.STOPPED):
                self._on_news(message, peer, now)

    def _on_news(self, message: Message, peer: str, now: Now) -> None:
        """A member says what it knows of the members; this node knows its own disk."""
        match message:
            case Gossip(updates):
                self._learning.updates(updates, peer, now)
            case Ping() | PingReq() | Ack() | Nack():
                self._learning.updates(message.updates, peer, now)
                self._detector.receive(message, peer, now)
            case Exchange():
                if self._identities.believes(message, peer, now):
                    self._serve(message, peer, now)
            case ExchangeReply(_, members, boot) if boot == self._boot:
                self._learning.table(members, peer, now)
                if self._lifecycle.move(Input.TABLE_RECEIVED):
                    self._timers.stop(Timer.ASK_SEED)
                    self._on_joined(peer, now)

    def _serve(self, exchange: Exchange | None, peer: str, now: Now) -> None:
        """Learn the table of a process that is believed to be the member ``peer``, and answer."""
        if exchange is not None:
            about_it = self._exchanges.knowledge_of(peer)
            self._learning.table(exchange.members, peer, now)
            self._exchanges.answer(exchange, peer, about_it)

    # --- links and the list -------------------------------------------------------------

    def _on_ring(self, record: RingRecord, now: Now) -> None:
        """The ring has changed; a member that has joined again may be linked already."""
        removed = self._listing.follow(record, now)
        self._removed += removed
        linked = self._links.intersection(removed)
        self._links -= linked
        for name in sorted(linked):
            self._on_link_up(name, now)

    def _on_link_up(self, node: str, now: Now) -> None:
        """Compare settings; exchange with a member that is unknown or not alive.

        That member or this node has been unreachable.
        """
        if not self._members.listed(node) or node == self._node:
            return
        if node not in self._links:
            self._peers.send(node, self._agreement.message())
            self._identities.on_link_up(node)
        self._links.add(node)
        match self._lifecycle.state:
            case State.JOINING:
                exchanges = self._joining.is_seed(node)
            case State.JOINED:
                exchanges = not self._members.is_alive(node)
            case _:
                return
        if exchanges:
            self._exchanges.start(node)
        self._detector.on_link_up(node, now)

    def _on_link_lost(self, node: str, sender: str, now: Now) -> None:
        """A member may be dead: have it probed at once.

        If this node's coordinator sends that, gossip's own link may still be up.
        """
        if sender != self._node:
            self._links.discard(node)
            self._serve(self._identities.on_link_lost(node), node, now)
        if self._lifecycle.state is State.JOINED and node != self._node:
            self._detector.on_link_lost(node, now)
