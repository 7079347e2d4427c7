"""SWIM's failure detector: probes the members, suspects them and declares them dead.

After sections 3.1, 4.2 and 4.3 of the paper (see `swim.py`), and after Dadgar, Phillips and
Currey, *Lifeguard: Local Health Awareness for More Accurate Failure Detection* (2017).  One
member is pinged in each probe period, round-robin over the list in random order.  With no ack
after ``probe_timeout_s``, it is pinged again, and K other members are asked to ping it (they
*relay* the ack, or send a *nack*); with no ack by the end of the period it is suspected, and a
member that is suspected for too long is dead:

    tick          probe_timeout_s         probe_period_s
     | ping ------> | ping-req to K -------> | suspect --suspicion_s--> dead
     '--- an ack ends the probe -------------'    '- a refutation ends it -'

A lost link starts such a probe at once.  The ping cannot be sent, so the other members are
asked at once; those whose own link to the member is lost send a nack at once.  When all have
sent one and the member's host refuses a new connection, no way to the member is left and no
process is there to make one: it is suspected without waiting.

    FailureDetector  which member is probed, and when
     |- Probe        the states of one probe                     (probe.py)
     |- LocalHealth  how far this node trusts its own evidence   (local_health.py)
     |- Suspicions   until when a suspected member can refute    (suspicion.py)
     '- Relay        acks and nacks that this node owes          (relaying.py)

A suspicion that no other member confirms lasts long, and each member probes each other only
once in N periods.  So a healthy member that learns of a suspicion may probe the suspect in its
next period, out of turn.  About 2K members do so, in a group of any size; each sends one ping
in a period, as ever.  (Lifeguard waits for its turn.)

The links of a member that has just come (back) are still to be made, in both directions:
what cannot be sent for want of one is sent when it comes up, and for `LINKING_S` the member
is not suspected.  If its link is lost again it is treated like any other.

The detector only sets the status of members.  `Swim` merges that into the member table,
as it does with what the other members send, and lets the detector `follow` every change.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Protocol

from toystore.core.membership.deadlines import Deadlines
from toystore.core.membership.local_health import LocalHealth
from toystore.core.membership.members import ACCUSERS_MAX, LIVING, Members
from toystore.core.membership.peers import LINKING_S, Peers
from toystore.core.membership.probe import Probe, ProbeInput, ProbeState
from toystore.core.membership.random_order import in_random_order
from toystore.core.membership.relaying import Relay
from toystore.core.membership.suspicion import CONFIRMATIONS, Suspicions
from toystore.core.protocol.machine import Now
from toystore.core.protocol.messages.codes import MemberStatus
from toystore.core.protocol.messages.gossip import Ack, MemberState, Nack, Ping, PingReq
from toystore.core.protocol.messages.local import SendFailed
from toystore.core.protocol.settings import SwimSettings


class SetStatus(Protocol):
    """Suspects a member or declares it dead, for ``cause``, which took ``took_s`` to find."""

    def __call__(
        self, name: str, status: MemberStatus, cause: str, now: Now, took_s: float | None = None
    ) -> None:
        """Merge ``status`` into the member table."""


class FailureDetector:
    """Probes the members, answers their probes; see the module's docstring."""

    def __init__(
        self,
        *,
        node: str,
        members: Members,
        peers: Peers,
        health: LocalHealth,
        settings: SwimSettings,
        chance: random.Random,
        set_status: SetStatus,
    ) -> None:
        self._node = node
        self._members = members
        self._peers = peers
        self._health = health
        self._settings = settings
        self._chance = chance
        self._set_status = set_status

        self._round: Iterator[str] = iter(())
        """The members that are still to be probed in this round."""
        self._to_confirm: dict[str, None] = {}
        """Members that others suspect, and that are probed before the next of the round."""
        self._next_tick: float | None = None
        """When the next probe period begins; None until this node has joined."""
        self._probes: dict[str, Probe] = {}
        self._due: Deadlines[str] = Deadlines()
        """When the present state of each probe times out."""
        self._refused: set[str] = set()
        """The members whose link is lost, and whose port refuses a new one."""
        self._suspicions = Suspicions(members, self._refused, settings)
        self._relay = Relay(node, members, peers, settings)
        self._linking: dict[str, float] = {}
        """Until when the links of a member that came (back) may still be missing."""

    # --- time ---------------------------------------------------------------------------

    def start(self, now: Now) -> None:
        """Begin to probe.

        The first tick is random, so that nodes which start together do not tick together.
        """
        self._next_tick = now.monotonic + self._chance.uniform(0, self._settings.probe_period_s)

    def next_deadline(self) -> float | None:
        """When something is due, in monotonic seconds; None if nothing is."""
        first = self._next_tick
        for at in (self._suspicions.first(), self._due.first(), self._relay.first()):
            if at is not None and (first is None or at < first):
                first = at
        return first

    def on_deadline(self, now: Now) -> None:
        """Serve overdue probes, then overdue suspicions and nacks, then begin a probe period."""
        for name in self._due.take_due(now.monotonic):
            self._on_timeout(self._probes[name], now)
        for name in self._suspicions.take_overdue(now.monotonic):
            self._set_status(name, MemberStatus.DEAD, "suspicion timed out", now)
        self._relay.on_deadline(now)
        if self._next_tick is not None and self._next_tick <= now.monotonic:
            self._tick(now)

    def forgive(self, late_s: float) -> None:
        """This process was stalled for ``late_s``: what it did not receive proves nothing.

        Suspected members get one probe period more, in which what waits in the sockets is read.
        """
        for name in list(self._probes):
            self._end(name, ProbeInput.VOID)
        self._suspicions.extend(late_s + self._settings.probe_period_s)

    # --- probing ------------------------------------------------------------------------

    def _tick(self, now: Now) -> None:
        """A probe period begins: ping the next member of the round."""
        self._next_tick = now.monotonic + self._health.scaled(self._settings.probe_period_s)
        self._relay.expire(now)
        self._linking = {n: until for n, until in self._linking.items() if until > now.monotonic}
        target = self._next_target()
        if target is None:
            self._health.forget()
        elif target not in self._probes:
            self._probe(target, "missed ping", now, self._next_tick)

    def _next_target(self) -> str | None:
        """Round-robin in random order, after the suspects that this node is to confirm.

        So no member is left out longer than 2N-1 periods, not counting those for suspects.
        """
        while self._to_confirm:
            name = next(iter(self._to_confirm))
            del self._to_confirm[name]
            if self._members.is_suspect(name) and self._is_unaccused(name):
                return name
        for _ in range(2):
            for name in self._round:
                if name != self._node and self._members.is_living(name):
                    return name
            self._round = in_random_order(self._members.names, self._chance)
        return None

    def _probe(self, target: str, cause: str, now: Now, ends: float) -> None:
        """Ping ``target``, which is suspected for ``cause`` unless an ack comes."""
        probe = Probe(
            target,
            self._peers.next_sequence(),
            cause,
            started=now.monotonic,
            ends=max(ends, self._linking.get(target, 0.0)),
            others=self._peers.others(but=target),
        )
        self._probes[target] = probe
        self._due.set(target, now.monotonic + self._timeout_s())
        self._peers.ping(target, probe.sequence)

    def _on_timeout(self, probe: Probe, now: Now) -> None:
        """An ack is overdue: ask other members or, if they have been asked, suspect.

        This node pings again, too: its ping or the ack may have been lost.  If no other member
        could be asked, this node's own network may have failed: that gets a whole period.
        """
        period_ends = probe.started + self._health.scaled(self._settings.probe_period_s)
        alone = probe.state is ProbeState.INDIRECT and not probe.asked
        if alone and probe.target not in self._refused and now.monotonic < period_ends:
            self._due.set(probe.target, period_ends)
            return
        probe.move(ProbeInput.TIMEOUT)
        if probe.state is ProbeState.INDIRECT:
            self._ask_others(probe, now)
            self._peers.ping(probe.target, probe.sequence)
            return
        missed = len(probe.silent) if probe.asked else 1
        self._health.worsen(missed, f"{probe.target} did not ack")
        self._suspect(probe, now)

    def _ask_others(self, probe: Probe, now: Now) -> None:
        """Have K others ping the target; they are always given ``probe_timeout_s``."""
        self._due.set(probe.target, max(probe.ends, now.monotonic + self._timeout_s()))
        for _ in range(self._settings.indirect_probes):
            self._ask_another(probe)

    def _ask_another(self, probe: Probe) -> None:
        """Have one more member ping the target, if there is one that was not asked."""
        name = next(probe.others, None)
        if name is not None:
            probe.asked.add(name)
            probe.silent.add(name)
            self._peers.ping_req(name, probe.sequence, probe.target)

    def _give_up_if_hopeless(self, probe: Probe, now: Now) -> None:
        """Suspect the target at once if no way to it is left, and no process to make one.

        A member whose links were all reset has no way left either, for a moment; but its host
        accepts connections.
        """
        refuses = probe.target in self._refused and not self._is_linking(probe.target, now)
        if refuses and probe.unsent and not probe.silent and probe.move(ProbeInput.HOPELESS):
            self._suspect(probe, now)

    def _suspect(self, probe: Probe, now: Now) -> None:
        """A probe has failed: suspect its target, and send that to it and to K others."""
        target = probe.target
        del self._probes[target]
        self._due.stop(target)
        took_s = now.monotonic - probe.started
        self._set_status(target, MemberStatus.SUSPECT, probe.cause, now, took_s)
        others = self._peers.some(self._settings.indirect_probes, but=target)
        self._peers.send_updates(target, *others)

    def _end(self, target: str, given: ProbeInput) -> None:
        """End the probe of a member, if there is one."""
        probe = self._probes.pop(target, None)
        if probe is not None:
            self._due.stop(target)
            probe.move(given)

    def _timeout_s(self) -> float:
        return self._health.scaled(self._settings.probe_timeout_s)

    # --- messages -----------------------------------------------------------------------

    def receive(self, message: Ping | PingReq | Ack | Nack, peer: str, now: Now) -> None:
        """A member pings this node, asks it to ping another, or answers."""
        match message:
            case Ping(sequence):
                self._relay.on_ping(sequence, peer)
            case PingReq(sequence, target):
                self._relay.on_ping_req(sequence, target, peer, now)
            case Ack(sequence, target):
                if self._awaited(target, sequence) is not None:
                    self._end(target, ProbeInput.ACK)
                    self._health.improve()
                self._relay.on_ack(sequence, target)
            case Nack(sequence, target):
                probe = self._awaited(target, sequence)
                if probe is not None:
                    probe.silent.discard(peer)
                    self._give_up_if_hopeless(probe, now)

    def _awaited(self, target: str, sequence: int) -> Probe | None:
        """The probe of ``target`` whose ping has this number; None if it has ended."""
        probe = self._probes.get(target)
        return probe if probe is not None and probe.sequence == sequence else None

    # --- links --------------------------------------------------------------------------

    def on_link_lost(self, name: str, now: Now) -> None:
        """Probe at once; if that is under way or another's ping is, ping again at once.

        A ping that was sent before may have been lost with the link; one that cannot be sent
        now need not be waited for.  Nor need a member that was asked to ping another.
        """
        if self._is_linking(name, now):
            self._end(name, ProbeInput.VOID)  # Its time includes that for making the link.
            del self._linking[name]
        if name in self._probes:
            self._probes[name].cause = "lost link"
            self._peers.ping(name, self._probes[name].sequence)
        elif self._is_unaccused(name):
            self._probe(name, "lost link", now, now.monotonic)
        self._relay.ping_again(name)
        for probe in [probe for probe in self._probes.values() if name in probe.silent]:
            self._replace(name, probe, now)

    def on_link_refused(self, name: str, now: Now) -> None:
        """No process listens at a member's port, though its host is there."""
        self._refused.add(name)
        if name in self._probes:
            self._give_up_if_hopeless(self._probes[name], now)

    def on_link_up(self, name: str, now: Now) -> None:
        """Send a member what could not be sent before, if it is still waited for."""
        self._refused.discard(name)
        self._relay.ping_again(name)
        if name in self._probes:
            self._probes[name].unsent = False
            self._peers.ping(name, self._probes[name].sequence)
        self._relay.ack_again(name, now)

    def on_send_failed(self, failed: SendFailed, now: Now) -> None:
        """A ping that cannot be sent is not waited for: other members are asked at once."""
        if failed.overloaded:
            return
        match failed.message:
            case Ping(sequence):
                probe = self._awaited(failed.node, sequence)
                if probe is not None:
                    self._on_unsent(probe, now)
                elif not self._is_linking(failed.node, now):
                    self._relay.on_ping_unsent(sequence)
            case PingReq(sequence, target):
                probe = self._awaited(target, sequence)
                if probe is not None:
                    self._replace(failed.node, probe, now)
            case Ack(sequence, target):
                self._relay.on_ack_unsent(sequence, target, failed.node, now)

    def _on_unsent(self, probe: Probe, now: Now) -> None:
        """This node has no link to the member that it probes."""
        probe.unsent = True
        if probe.move(ProbeInput.UNSENT):
            self._ask_others(probe, now)
        self._give_up_if_hopeless(probe, now)

    def _replace(self, name: str, probe: Probe, now: Now) -> None:
        """A member that was asked cannot be reached: ask another."""
        probe.asked.discard(name)
        probe.silent.discard(name)
        self._ask_another(probe)
        self._give_up_if_hopeless(probe, now)

    def _is_linking(self, name: str, now: Now) -> bool:
        """Whether the links of a member that has come (back) may still be missing."""
        return self._linking.get(name, 0.0) > now.monotonic

    def _is_unaccused(self, name: str) -> bool:
        """Whether this node has yet to suspect a living member by its own evidence."""
        state = self._members.get(name)
        return state is not None and state.status in LIVING and self._node not in state.accusers

    # --- the member table ---------------------------------------------------------------

    def follow(self, before: MemberState | None, state: MemberState, now: Now) -> None:
        """A member's row has changed: time its suspicion."""
        name = state.name
        same_status = before is not None and before.status == state.status
        if state.status == MemberStatus.ALIVE and not same_status:
            self._linking[name] = now.monotonic + LINKING_S
            self._end(name, ProbeInput.VOID)  # It began before the member came or refuted.
        if state.status != MemberStatus.SUSPECT:
            self._suspicions.stop(name)
        elif before is None or before[1:3] != state[1:3]:
            self._suspicions.start(state, now.monotonic)
            if self._confirms(state):
                self._to_confirm[name] = None
        elif before.accusers != state.accusers:
            self._suspicions.confirm(state, now.monotonic)

    def forget(self, name: str, now: Now) -> None:
        """A member was removed, and is not on the list any more."""
        self._end(name, ProbeInput.VOID)
        self._to_confirm.pop(name, None)
        self._refused.discard(name)
        self._linking.pop(name, None)
        self._suspicions.stop(name)
        self._relay.forget(name)
        for probe in [probe for probe in self._probes.values() if name in probe.silent]:
            self._replace(name, probe, now)

    def recount(self, now: Now) -> None:
        """There are more or fewer members: the time to refute depends on how many."""
        self._suspicions.recount(now.monotonic)

    def _confirms(self, suspect: MemberState) -> bool:
        """Whether this node is one of those that probe a suspect of others out of turn."""
        certain = len(suspect.accusers) == ACCUSERS_MAX
        if certain or self._health.score or self._node in suspect.accusers:
            return False
        others = self._members.living_count - 2
        return self._chance.random() * others < 2 * CONFIRMATIONS
