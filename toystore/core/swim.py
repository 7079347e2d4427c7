"""SWIM: who is a member, who is alive, and which disk each runs on.

After Das, Gupta and Motivala, *SWIM: Scalable Weakly-consistent Infection-style Process
Group Membership Protocol* (DSN 2002).  The life of a node, as this machine sees it:

    loading --LoadDisksReply--> joining --ExchangeReply--> joined --Leave--> left

*Joining* asks one seed after the other for all it knows (push-pull).  A seed whose
fellow seeds are all silent joins alone: somebody must be the first.

*Joined*, it pings one member in each probe period, round-robin over a shuffled list.
With no ack after ``probe_timeout_s`` it asks K others to ping; with none by the end of
the period it suspects the member, and what is suspect for too long is dead:

    tick          probe_timeout_s         probe_period_s
     | ping ------> | ping-req to K -------> | suspect --suspicion_s--> dead

A lost link starts such a probe at once, and a quicker one.  The accused is told, and
refutes by raising its incarnation.  News travels on the messages that are sent anyway
(see `members.py`).  All is exchanged now and then with some member, be it dead, and at
once with a doubted one whose link comes up: that heals splits.

Beyond the paper, so that at 10% loss no refutation comes too late: a suspect is sent its
suspicion and answers its accuser directly, each message to a doubted member begins with
the doubt, and whoever hears an accusation that was refuted spreads the refutation anew.

A node that was held up itself (a deadline served very late) accuses nobody.

Lifeguard's local health would stretch the times in `_probe` and `_ask_others`, and its
nacks would be answered to where `_relay` fails.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from toystore.core.machine import (
    COORDINATOR,
    GOSSIP,
    HANDOFF,
    STORAGE,
    Address,
    Now,
    Outbox,
    Peer,
)
from toystore.core.members import Members, merge, sends_max, suspicion_s
from toystore.core.messages import (
    Ack,
    Exchange,
    ExchangeReply,
    Gossip,
    Leave,
    LinkLost,
    LinkUp,
    LoadDisks,
    LoadDisksReply,
    MembersChanged,
    MemberState,
    MemberStatus,
    Message,
    Ping,
    PingReq,
    Refused,
    SaveDisk,
    SendFailed,
    SettleDisk,
)
from toystore.core.settings import SwimSettings

_EVENT_OF = {
    MemberStatus.ALIVE: "member.alive",
    MemberStatus.SUSPECT: "member.suspect",
    MemberStatus.DEAD: "member.dead",
    MemberStatus.LEFT: "member.left",
}


@dataclass(slots=True)
class _Probe:
    """A member that was pinged and has not been heard of since."""

    target: str
    sequence: int
    cause: str
    """What it will be suspected for."""
    started: float
    due: float
    """When others are asked or, once they were, when it is suspected."""
    ends: float
    """Before this moment it is not suspected, however early others were asked."""
    asked: bool = False


class _Relay(NamedTuple):
    """A ping sent for another node, whose ack goes on to it."""

    origin: str
    sequence: int
    target: str
    expires: float


class Swim:
    """The gossip actor's machine; see the module's docstring."""

    def __init__(
        self,
        *,
        node: str,
        members: Sequence[str],
        seeds: Sequence[str],
        settings: SwimSettings,
        outbox: Outbox,
        chance: random.Random,
    ) -> None:
        """``members``: every listed name, this node's included; nobody else is accepted.

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
        self._changed = False
        self._started: float | None = None
        self._joined = False
        self._left = False
        self._seeds_asked = 0
        self._links: set[str] = set()
        self._refusals: dict[str, str] = {}

        self._disks: dict[str, str] = {}
        self._settled = False
        self._disk_before = ""

        self._sequence = 0
        self._probes: dict[str, _Probe] = {}
        self._relays: dict[int, _Relay] = {}
        self._pass: list[str] = []
        self._suspicions: dict[str, float] = {}
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
                self._on_link_up(node)
            case LinkLost(node):
                self._on_link_lost(node, now)
            case SendFailed():
                self._on_send_failed(message, now)
            case Leave():
                self._leave()
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
            self._rearm(late_s)
        for probe in [p for p in self._probes.values() if p.due <= now.monotonic]:
            self._press(probe, now)
        for name in [n for n, due in self._suspicions.items() if due <= now.monotonic]:
            self._accuse(name, MemberStatus.DEAD, "suspicion timed out", now)
        for step in [step for step, due in self._timers.items() if due <= now.monotonic]:
            step(now)
        self._flush()

    def next_deadline(self) -> float | None:
        """The earliest of everything that is waited for; None once this node has left."""
        if self._left:
            return None
        return min(
            (
                *self._timers.values(),
                *self._suspicions.values(),
                *(probe.due for probe in self._probes.values()),
            ),
            default=None,
        )

    def on_failure(self, now: Now) -> None:
        """Nobody waits for an answer: a lost ack is what SWIM is made for."""

    def announce(self) -> None:
        """Tell this node's coordinator and hand-off what is known, changed or not."""
        news = MembersChanged(self._joined, self._members.states())
        for actor in (COORDINATOR, HANDOFF):
            self._outbox.send(Peer(self._node, actor), news)

    def _flush(self) -> None:
        """Announce what this turn has changed."""
        if self._changed:
            self._changed = False
            self.announce()

    def _rearm(self, late_s: float) -> None:
        """This node stood still for ``late_s``: what it did not hear proves nothing.

        Suspects get one probe period on top, in which what waits in the sockets is read.
        """
        self._outbox.log("actor.stalled", late_s=round(late_s, 3))
        self._probes.clear()
        more_s = late_s + self._settings.probe_period_s
        for name in self._suspicions:
            self._suspicions[name] += more_s

    # --- joining and leaving ------------------------------------------------------------

    def _load_disks(self, now: Now) -> None:
        """Ask storage for the disks, until it answers."""
        self._outbox.send(Peer(self._node, STORAGE), LoadDisks())
        self._timers[self._load_disks] = now.monotonic + self._settings.join_retry_s

    def _begin(self, reply: LoadDisksReply, now: Now) -> None:
        """This node's disk is known: it exists, and begins to join."""
        if self._timers.pop(self._load_disks, None) is None:
            return
        self._disks = dict(reply.known)
        self._settled = reply.settled
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
        """This node is one of them now, through ``cause``; probing begins.

        The first ticks are drawn, so that nodes that start together do not all probe
        in the same moment.
        """
        assert self._started is not None
        self._joined = self._changed = True
        self._outbox.log(
            "member.joined",
            members=len(self._members.states()),
            took_s=round(now.monotonic - self._started, 3),
            cause=cause,
        )
        if not (self._settled or self._disk_before):
            self._settle_disk(votes=True)
        if cause != self._node:
            self._timers.pop(self._ask_seed, None)
        for timer, period_s in (
            (self._tick, self._settings.probe_period_s),
            (self._exchange, self._settings.exchange_period_s),
        ):
            self._timers[timer] = now.monotonic + self._chance.uniform(0, period_s)
        for name in sorted(self._links):
            self._on_link_up(name)

    def _leave(self) -> None:
        """Say goodbye to many at once, for there will be no later message to ride on."""
        own = self._members.get(self._node)
        if self._left or own is None:
            self._left = True
            return
        self._left = self._changed = True
        own = own._replace(status=MemberStatus.LEFT)
        self._members.put(own)
        self._log_status(own, "leave", None)
        to = self._some(2 * self._settings.indirect_probes + self._sends_max())
        for name in to:
            self._send(name, Gossip((own,)))

    # --- what peers send ----------------------------------------------------------------

    def _hear(self, message: Message, peer: str, now: Now) -> None:
        """A listed member speaks.  Until its disk is known, this node is not there."""
        if isinstance(message, Refused):
            self._on_refused(message, peer)
            return
        if self._members.get(self._node) is None:
            return
        match message:
            case Ping(sequence, updates):
                self._learn_all(updates, peer, now)
                self._send(peer, Ack(sequence, self._node, self._updates_for(peer)))
            case PingReq(sequence, target, updates):
                self._learn_all(updates, peer, now)
                self._relay(_Relay(peer, sequence, target, self._period_end(now)))
            case Ack(sequence, target, updates):
                self._learn_all(updates, peer, now)
                self._on_ack(sequence, target)
            case Gossip(updates):
                self._learn_all(updates, peer, now)
            case Exchange(request, members):
                self._answer_exchange(request, members, peer, now)
            case ExchangeReply(_, members):
                self._learn_exchanged(members, peer, now)
                if not (self._joined or self._left):
                    self._join(peer, now)
            case _:
                pass

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
        about_it = self._knowledge_of(name)
        self._send(name, Exchange(self._next_sequence(), self._all_but(name) + about_it))

    def _answer_exchange(
        self, request: int, members: tuple[MemberState, ...], peer: str, now: Now
    ) -> None:
        """Learn, then tell; but of the peer tell what was known before it spoke.

        So it learns what it has to refute, and which disk it was known with.  That row
        comes last: when it refutes, the peer has already heard who is alive.
        """
        about_it = self._knowledge_of(peer)
        self._learn_exchanged(members, peer, now)
        self._send(peer, ExchangeReply(request, self._all_but(peer) + about_it))

    def _learn_exchanged(self, members: tuple[MemberState, ...], peer: str, now: Now) -> None:
        """Learn a whole table.  Who is dead there is suspect here, and so may refute."""
        self._learn_all(
            (
                s._replace(status=MemberStatus.SUSPECT) if s.status == MemberStatus.DEAD else s
                for s in members
            ),
            peer,
            now,
        )

    def _all_but(self, name: str) -> tuple[MemberState, ...]:
        """The table without one member."""
        return tuple(state for state in self._members.states() if state.name != name)

    def _knowledge_of(self, name: str) -> tuple[MemberState, ...]:
        """What is known of one member, if only the disk it had in an earlier life."""
        state = self._members.get(name)
        if state is not None:
            return (state,)
        if name in self._disks:
            return (MemberState(name, MemberStatus.DEAD, 0, self._disks[name]),)
        return ()

    # --- probing (SWIM sections 3.1 and 4.3) --------------------------------------------

    def _tick(self, now: Now) -> None:
        """A probe period begins: ping the next member of the round."""
        self._timers[self._tick] = self._period_end(now)
        self._relays = {s: r for s, r in self._relays.items() if r.expires > now.monotonic}
        target = self._next_target()
        if target is not None and target not in self._probes:
            self._probe(target, "missed ping", now, self._period_end(now))

    def _next_target(self) -> str | None:
        """Round-robin over a shuffled list: none is left out longer than 2N-1 periods."""
        while self._pass:
            target = self._pass.pop()
            if self._members.is_living(target):
                return target
        self._pass = self._members.living(self._node)
        self._chance.shuffle(self._pass)
        return self._pass.pop() if self._pass else None

    def _probe(self, target: str, cause: str, now: Now, ends: float) -> None:
        """Ping ``target``, which is suspected for ``cause`` unless an ack comes."""
        probe = _Probe(
            target,
            self._next_sequence(),
            cause,
            started=now.monotonic,
            due=now.monotonic + self._settings.probe_timeout_s,
            ends=ends,
        )
        self._probes[target] = probe
        self._send(target, Ping(probe.sequence, self._updates_for(target)))

    def _press(self, probe: _Probe, now: Now) -> None:
        """An ack is overdue: ask others or, if they have been asked, suspect."""
        if not probe.asked:
            self._ask_others(probe, now)
            return
        del self._probes[probe.target]
        took_s = now.monotonic - probe.started
        self._accuse(probe.target, MemberStatus.SUSPECT, probe.cause, now, took_s)
        self._send(probe.target, Gossip(self._updates_for(probe.target)))

    def _ask_others(self, probe: _Probe, now: Now) -> None:
        """Have K others ping the target; they are always given ``probe_timeout_s``."""
        probe.asked = True
        probe.due = max(probe.ends, now.monotonic + self._settings.probe_timeout_s)
        for name in self._some(self._settings.indirect_probes, but=probe.target):
            self._send(name, PingReq(probe.sequence, probe.target, self._updates_for(name)))

    def _relay(self, relay: _Relay) -> None:
        """Ping a member for another node."""
        if self._members.listed(relay.target) and relay.target != self._node:
            sequence = self._next_sequence()
            self._relays[sequence] = relay
            self._send(relay.target, Ping(sequence, self._updates_for(relay.target)))

    def _on_ack(self, sequence: int, target: str) -> None:
        """The target is there: end the probe, or tell whoever asked."""
        probe = self._probes.get(target)
        if probe is not None and probe.sequence == sequence:
            del self._probes[target]
        relay = self._relays.get(sequence)
        if relay is not None and relay.target == target:
            del self._relays[sequence]
            updates = self._updates_for(relay.origin)
            self._send(relay.origin, Ack(relay.sequence, target, updates))

    def _on_link_up(self, node: str) -> None:
        """Exchange with who is doubted or unknown: it was away, or this node was."""
        if not self._members.listed(node) or node == self._node:
            return
        self._links.add(node)
        if self._members.get(self._node) is None or self._left:
            return
        if not self._members.is_alive(node) if self._joined else node in self._seeds:
            self._exchange_with(node)

    def _on_link_lost(self, node: str, now: Now) -> None:
        """Probe at once, unless that is being done."""
        self._links.discard(node)
        if not self._joined or self._left or node == self._node:
            return
        if self._members.is_alive(node) and node not in self._probes:
            self._probe(node, "lost link", now, now.monotonic)

    def _on_send_failed(self, failed: SendFailed, now: Now) -> None:
        """A ping that could not leave is not waited for; the others are asked at once."""
        probe = self._probes.get(failed.node)
        if probe is None or probe.asked or failed.overloaded:
            return
        if isinstance(failed.message, Ping) and failed.message.sequence == probe.sequence:
            self._ask_others(probe, now)

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
        name = heard.name
        held = self._members.get(name)
        state = heard if held is None else merge(held, heard)
        if state == held:
            if heard.status != MemberStatus.ALIVE and heard.incarnation < held.incarnation:
                self._members.spread(name)  # The refutation has not reached everyone.
            return
        was_living = self._members.is_living(name)
        self._members.put(state)
        self._changed = True
        if state.disk and self._disks.get(name) != state.disk:
            self._disks[name] = state.disk
            self._outbox.send(Peer(self._node, STORAGE), SaveDisk(name, state.disk))
        if state.status != MemberStatus.SUSPECT:
            self._suspicions.pop(name, None)
        elif held is None or (held.status, held.incarnation) != (state.status, state.incarnation):
            self._suspicions[name] = now.monotonic + self._suspicion_s()
        if held is None or held.status != state.status:
            self._note(state, cause, now, took_s)
        if not was_living and self._members.is_living(name) and name not in self._pass:
            self._pass.insert(self._chance.randrange(len(self._pass) + 1), name)

    def _note(self, state: MemberState, cause: str, now: Now, took_s: float | None) -> None:
        """Log a change of status, with how long the member was doubted before it."""
        doubted_at = self._doubted_at.get(state.name)
        if took_s is None and doubted_at is not None:
            took_s = now.monotonic - doubted_at
        if state.status in (MemberStatus.SUSPECT, MemberStatus.DEAD):
            self._doubted_at.setdefault(state.name, now.monotonic)
        else:
            self._doubted_at.pop(state.name, None)
        self._log_status(state, cause, took_s)

    def _log_status(self, state: MemberState, cause: str, took_s: float | None) -> None:
        """Write the event of a status."""
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
            self._notice_disk(own.disk, heard.disk)
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
        for name in (teller, *self._some(self._settings.indirect_probes, but=teller)):
            self._send(name, Gossip(self._updates_for(name)))

    def _notice_disk(self, own: str, before: str) -> None:
        """The cluster knew this node with another disk: what that held is not here.

        A disk settled in an earlier life is not doubted again; one settled in this life may
        be, because a seed that joined alone had nobody to tell it.
        """
        if self._settled or self._disk_before:
            return
        self._disk_before = before
        self._outbox.log("disk.replaced", disk=own, before=before)
        self._settle_disk(votes=False)

    def _settle_disk(self, *, votes: bool) -> None:
        """Tell storage whether its disk may vote "not found"."""
        self._outbox.send(Peer(self._node, STORAGE), SettleDisk(votes))

    # --- leaves -------------------------------------------------------------------------

    def _updates_for(self, name: str) -> tuple[MemberState, ...]:
        """What rides on a message: to the doubted, that they are; then what is new."""
        held = self._members.get(self._node if self._left else name)
        lead = () if held is None or held.status == MemberStatus.ALIVE else (held,)
        if self._left:
            return lead
        updates_max = self._settings.updates_per_message_max - len(lead)
        return lead + self._members.updates(updates_max, self._sends_max())

    def _some(self, count: int, but: str = "") -> list[str]:
        """At most ``count`` random members that are alive."""
        others = self._members.alive(self._node, but)
        return self._chance.sample(others, min(count, len(others)))

    def _sends_max(self) -> int:
        return sends_max(self._settings.retransmit_mult, len(self._members.living()))

    def _suspicion_s(self) -> float:
        settings = self._settings
        living = len(self._members.living())
        return suspicion_s(settings.suspicion_mult, living, settings.probe_period_s)

    def _period_end(self, now: Now) -> float:
        return now.monotonic + self._settings.probe_period_s

    def _next_sequence(self) -> int:
        self._sequence += 1
        return self._sequence

    def _send(self, name: str, message: Message) -> None:
        self._outbox.send(Peer(name, GOSSIP), message)
