"""SWIM's failure detector: probes the members, suspects them and declares them dead.

After sections 3.1, 4.2 and 4.3 of the paper (see `swim.py`).  One member is pinged in each
probe period, round-robin over a shuffled list.  With no ack after ``probe_timeout_s``, K
other members are asked to ping it (they *relay* the ack); with none by the end of the
period it is suspected, and a member that is suspected for too long is dead:

    tick          probe_timeout_s         probe_period_s
     | ping ------> | ping-req to K -------> | suspect --suspicion_s--> dead
     '--- an ack ends the probe -------------'    '- a refutation ends it -'

A lost link starts such a probe at once, and a quicker one.  If a ping cannot be sent, the
other members are asked at once.

    FailureDetector  which member is probed, and when
     |- Probe        the states of one probe                     (probe.py)
     |- Suspicions   until when a suspected member can refute    (suspicion.py)
     '- Relay        acks that this node owes to other members   (relaying.py)

The links of a member that has just come (back) are still to be made, in both directions:
what cannot be sent for want of one is sent when it comes up, and for `LINKING_S` the member
is not suspected.  If its link is lost again it is treated like any other.

The detector only sets the status of members.  `Swim` merges that into the member table,
as it does with what the other members send, and lets the detector `follow` every change.

Lifeguard's local health would lengthen the times in `_probe` and `_ask_others`.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Protocol

from toystore.core.membership.members import LIVING, Members
from toystore.core.membership.peers import LINKING_S, Peers
from toystore.core.membership.probe import Probe, ProbeInput, ProbeState
from toystore.core.membership.relaying import Relay
from toystore.core.membership.suspicion import Suspicions
from toystore.core.protocol.machine import Now
from toystore.core.protocol.messages.codes import MemberStatus
from toystore.core.protocol.messages.gossip import Ack, MemberState, Ping, PingReq
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
        settings: SwimSettings,
        chance: random.Random,
        set_status: SetStatus,
    ) -> None:
        self._node = node
        self._members = members
        self._peers = peers
        self._settings = settings
        self._chance = chance
        self._set_status = set_status

        self._relay = Relay(node, members, peers, settings)
        self._suspicions = Suspicions(members, settings)
        self._next_tick: float | None = None
        self._round: list[str] = []
        """The members that are still to be probed in this round, the next one last."""
        self._probes: dict[str, Probe] = {}
        """Those that have not ended, by target."""
        self._linking: dict[str, float] = {}
        """The members that have just come (back), and until when they are not suspected."""

    # --- time ---------------------------------------------------------------------------

    def start(self, now: Now) -> None:
        """Begin to probe.

        The first tick is random, so that nodes which start together do not tick together.
        """
        self._next_tick = now.monotonic + self._chance.uniform(0, self._settings.probe_period_s)

    def deadlines(self) -> Iterator[float]:
        """When something is due, in monotonic seconds."""
        if self._next_tick is not None:
            yield self._next_tick
        yield from self._suspicions.deadlines()
        for probe in self._probes.values():
            yield probe.due

    def on_deadline(self, now: Now) -> None:
        """Serve overdue probes, then overdue suspicions, then begin a probe period."""
        for probe in [p for p in self._probes.values() if p.due <= now.monotonic]:
            self._on_timeout(probe, now)
        for name in self._suspicions.overdue(now.monotonic):
            self._set_status(name, MemberStatus.DEAD, "suspicion timed out", now)
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
        self._next_tick = self._period_end(now)
        self._relay.expire(now)
        self._linking = {n: until for n, until in self._linking.items() if until > now.monotonic}
        target = self._next_target()
        if target is not None and target not in self._probes:
            self._probe(target, "missed ping", now, self._period_end(now))

    def _next_target(self) -> str | None:
        """Round-robin over a shuffled list: none is left out longer than 2N-1 periods."""
        while self._round:
            target = self._round.pop()
            if self._members.is_living(target):
                return target
        self._round = self._members.living(self._node)
        self._chance.shuffle(self._round)
        return self._round.pop() if self._round else None

    def _probe(self, target: str, cause: str, now: Now, ends: float) -> None:
        """Ping ``target``, which is suspected for ``cause`` unless an ack comes."""
        probe = Probe(
            target,
            self._peers.next_sequence(),
            cause,
            started=now.monotonic,
            due=now.monotonic + self._settings.probe_timeout_s,
            ends=max(ends, self._linking.get(target, 0.0)),
        )
        self._probes[target] = probe
        self._peers.ping(target, probe.sequence)

    def _on_timeout(self, probe: Probe, now: Now) -> None:
        """An ack is overdue: ask other members or, if they have been asked, suspect."""
        probe.move(ProbeInput.TIMEOUT)
        if probe.state is ProbeState.INDIRECT:
            self._ask_others(probe, now)
            return
        del self._probes[probe.target]
        took_s = now.monotonic - probe.started
        self._set_status(probe.target, MemberStatus.SUSPECT, probe.cause, now, took_s)
        self._peers.send_updates(probe.target)

    def _ask_others(self, probe: Probe, now: Now) -> None:
        """Have K others ping the target; they are always given ``probe_timeout_s``."""
        probe.due = max(probe.ends, now.monotonic + self._settings.probe_timeout_s)
        for name in self._peers.some(self._settings.indirect_probes, but=probe.target):
            self._peers.ping_req(name, probe.sequence, probe.target)

    def _end(self, target: str, given: ProbeInput) -> None:
        """End the probe of a member, if there is one."""
        probe = self._probes.pop(target, None)
        if probe is not None:
            probe.move(given)

    # --- messages -----------------------------------------------------------------------

    def receive(self, message: Ping | PingReq | Ack, peer: str, now: Now) -> None:
        """A member pings this node, asks it to ping another, or acks."""
        match message:
            case Ping(sequence):
                self._relay.on_ping(sequence, peer)
            case PingReq(sequence, target):
                self._relay.on_ping_req(sequence, target, peer, now)
            case Ack(sequence, target):
                if self._is_probed(target, sequence):
                    self._end(target, ProbeInput.ACK)
                self._relay.on_ack(sequence, target)

    def _is_probed(self, target: str, sequence: int) -> bool:
        """Whether the ping with this number is that of a probe that has not ended."""
        probe = self._probes.get(target)
        return probe is not None and probe.sequence == sequence

    # --- links --------------------------------------------------------------------------

    def on_link_lost(self, name: str, now: Now) -> None:
        """Probe at once, unless a probe has begun."""
        if self._linking.pop(name, 0.0) > now.monotonic:
            self._end(name, ProbeInput.VOID)  # Its time includes that for making the link.
        if self._members.is_alive(name) and name not in self._probes:
            self._probe(name, "lost link", now, now.monotonic)

    def on_link_up(self, name: str, now: Now) -> None:
        """Send a member what could not be sent before, if it is still waited for."""
        self._relay.ping_again(name)
        if name in self._probes:
            self._peers.ping(name, self._probes[name].sequence)
        self._relay.ack_again(name, now)

    def on_send_failed(self, failed: SendFailed, now: Now) -> None:
        """A ping that cannot be sent is not waited for: other members are asked at once."""
        if failed.overloaded:
            return
        match failed.message:
            case Ping(sequence):
                if self._is_probed(failed.node, sequence):
                    probe = self._probes[failed.node]
                    if probe.move(ProbeInput.UNSENT):
                        self._ask_others(probe, now)
            case Ack(sequence, target):
                self._relay.on_ack_unsent(sequence, target, failed.node, now)

    # --- the member table ---------------------------------------------------------------

    def follow(self, before: MemberState | None, state: MemberState, now: Now) -> None:
        """A member's row has changed: time its suspicion, probe it if it is new.

        A new member takes a random place in the present round (SWIM section 4.3).
        """
        name = state.name
        if state.status == MemberStatus.ALIVE and (before is None or before.status != state.status):
            self._linking[name] = now.monotonic + LINKING_S
            self._end(name, ProbeInput.VOID)  # It began before the member came or refuted.
        if state.status != MemberStatus.SUSPECT:
            self._suspicions.stop(name)
        elif before is None or before._replace(disk=state.disk) != state:
            self._suspicions.start(name, now.monotonic)
        came = state.status in LIVING and (before is None or before.status not in LIVING)
        if came and name not in self._round:
            self._round.insert(self._chance.randrange(len(self._round) + 1), name)

    def _period_end(self, now: Now) -> float:
        return now.monotonic + self._settings.probe_period_s
