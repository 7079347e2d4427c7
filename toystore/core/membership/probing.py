"""SWIM's failure detector: who answers, and who must be suspected or given up.

After sections 3.1, 4.2 and 4.3 of the paper (see `swim.py`).  One member is pinged in each
probe period, round-robin over a shuffled list.  With no ack after ``probe_timeout_s``, K
others are asked to ping it (they *relay* the ack); with none by the end of the period it
is suspected, and what is suspect for too long is dead:

    tick          probe_timeout_s         probe_period_s
     | ping ------> | ping-req to K -------> | suspect --suspicion_s--> dead
     '--- an ack ends the probe -------------'    '- a refutation ends it -'

A lost link starts such a probe at once, and a quicker one.  A ping that could not even be
sent is not waited for: others are asked at once.

A member that has just come (back) has links that are still to be made, in both directions:
what cannot leave for want of one is sent when it comes up, and for `LINKING_S` the member
is not suspected.  If its link is lost again it is treated like any other.

The detector only accuses: what comes of that, and what others say, is the membership's
business (`Swim`), which lets it `follow` every change.

Lifeguard's local health would stretch the times in `_probe` and `_ask_others`, and its
nacks would be answered to where `_relay` fails.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from toystore.core.membership.members import LIVING, Members, suspicion_s
from toystore.core.membership.peers import Peers
from toystore.core.protocol.machine import Now
from toystore.core.protocol.messages.codes import MemberStatus
from toystore.core.protocol.messages.gossip import Ack, MemberState, Ping, PingReq
from toystore.core.protocol.messages.local import SendFailed
from toystore.core.protocol.settings import SwimSettings

LINKING_S = 1.0
"""How long it may take, at most, until all can reach a member that has just come (back)."""


class Accuse(Protocol):
    """Holds a member for suspect or dead, for ``cause``, which took ``took_s`` to find."""

    def __call__(
        self, name: str, status: MemberStatus, cause: str, now: Now, took_s: float | None = None
    ) -> None:
        """Merge ``status`` into the member table."""


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


class _OwedAck(NamedTuple):
    """An ack that another node waits for: that ``target``, or this node, is there."""

    to: str
    sequence: int
    target: str
    expires: float


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
        accuse: Accuse,
    ) -> None:
        self._node = node
        self._members = members
        self._peers = peers
        self._settings = settings
        self._chance = chance
        self._accuse = accuse

        self._sequence = 0
        self._next_tick: float | None = None
        self._round: list[str] = []
        self._probes: dict[str, _Probe] = {}
        self._relays: dict[int, _OwedAck] = {}
        """By the number of the ping that was sent for another node."""
        self._unsent: list[_OwedAck] = []
        """Those that could not leave."""
        self._suspicions: dict[str, float] = {}
        self._linking: dict[str, float] = {}
        """Who came (back) a moment ago, and until when it is not suspected."""

    # --- time ---------------------------------------------------------------------------

    def start(self, now: Now) -> None:
        """Begin to probe.  The first tick is drawn: nodes that start together do not tick so."""
        self._next_tick = now.monotonic + self._chance.uniform(0, self._settings.probe_period_s)

    def deadlines(self) -> Iterator[float]:
        """Every moment that is waited for, in monotonic seconds."""
        if self._next_tick is not None:
            yield self._next_tick
        yield from self._suspicions.values()
        for probe in self._probes.values():
            yield probe.due

    def on_deadline(self, now: Now) -> None:
        """Press overdue probes, give up overdue suspects, and begin a probe period."""
        for probe in [p for p in self._probes.values() if p.due <= now.monotonic]:
            self._press(probe, now)
        for name in [n for n, due in self._suspicions.items() if due <= now.monotonic]:
            self._accuse(name, MemberStatus.DEAD, "suspicion timed out", now)
        if self._next_tick is not None and self._next_tick <= now.monotonic:
            self._tick(now)

    def forgive(self, late_s: float) -> None:
        """This node stood still for ``late_s``: what it did not hear proves nothing.

        Suspects get one probe period on top, in which what waits in the sockets is read.
        """
        self._probes.clear()
        more_s = late_s + self._settings.probe_period_s
        for name in self._suspicions:
            self._suspicions[name] += more_s

    # --- probing ------------------------------------------------------------------------

    def _tick(self, now: Now) -> None:
        """A probe period begins: ping the next member of the round."""
        self._next_tick = self._period_end(now)
        self._relays = {s: r for s, r in self._relays.items() if r.expires > now.monotonic}
        self._unsent = [ack for ack in self._unsent if ack.expires > now.monotonic]
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
        probe = _Probe(
            target,
            self._next_sequence(),
            cause,
            started=now.monotonic,
            due=now.monotonic + self._settings.probe_timeout_s,
            ends=max(ends, self._linking.get(target, 0.0)),
        )
        self._probes[target] = probe
        self._ping(target, probe.sequence)

    def _ping(self, target: str, sequence: int) -> None:
        self._peers.send(target, Ping(sequence, self._peers.updates_for(target)))

    def _press(self, probe: _Probe, now: Now) -> None:
        """An ack is overdue: ask others or, if they have been asked, suspect."""
        if not probe.asked:
            self._ask_others(probe, now)
            return
        del self._probes[probe.target]
        took_s = now.monotonic - probe.started
        self._accuse(probe.target, MemberStatus.SUSPECT, probe.cause, now, took_s)
        self._peers.tell(probe.target)

    def _ask_others(self, probe: _Probe, now: Now) -> None:
        """Have K others ping the target; they are always given ``probe_timeout_s``."""
        probe.asked = True
        probe.due = max(probe.ends, now.monotonic + self._settings.probe_timeout_s)
        for name in self._peers.some(self._settings.indirect_probes, but=probe.target):
            updates = self._peers.updates_for(name)
            self._peers.send(name, PingReq(probe.sequence, probe.target, updates))

    # --- what is heard ------------------------------------------------------------------

    def hear(self, message: Ping | PingReq | Ack, peer: str, now: Now) -> None:
        """A member pings this node, asks it to ping another, or acks."""
        match message:
            case Ping(sequence):
                self._ack(peer, sequence, self._node)
            case PingReq(sequence, target):
                self._relay(_OwedAck(peer, sequence, target, self._patience_end(now)))
            case Ack(sequence, target):
                self._on_ack(sequence, target)

    def _ack(self, to: str, sequence: int, target: str) -> None:
        """Answer a ping or a ping-req: ``target`` is there."""
        self._peers.send(to, Ack(sequence, target, self._peers.updates_for(to)))

    def _relay(self, owed: _OwedAck) -> None:
        """Ping a member for another node."""
        if self._members.listed(owed.target) and owed.target != self._node:
            sequence = self._next_sequence()
            self._relays[sequence] = owed
            self._ping(owed.target, sequence)

    def _on_ack(self, sequence: int, target: str) -> None:
        """The target is there: end the probe, or tell whoever asked."""
        probe = self._probes.get(target)
        if probe is not None and probe.sequence == sequence:
            del self._probes[target]
        owed = self._relays.get(sequence)
        if owed is not None and owed.target == target:
            del self._relays[sequence]
            self._ack(owed.to, owed.sequence, target)

    # --- links --------------------------------------------------------------------------

    def on_link_lost(self, name: str, now: Now) -> None:
        """Probe at once, unless that is being done."""
        if self._linking.pop(name, 0.0) > now.monotonic:
            self._probes.pop(name, None)  # It would be given time in which to be linked.
        if self._members.is_alive(name) and name not in self._probes:
            self._probe(name, "lost link", now, now.monotonic)

    def on_link_up(self, name: str, now: Now) -> None:
        """Say what could not be said to a member before, if it is still waited for."""
        pings = [s for s, owed in self._relays.items() if owed.target == name]
        if name in self._probes:
            pings.append(self._probes[name].sequence)
        for sequence in pings:
            self._ping(name, sequence)
        for ack in self._unsent:
            if ack.to == name and ack.expires > now.monotonic:
                self._ack(name, ack.sequence, ack.target)
        self._unsent = [ack for ack in self._unsent if ack.to != name]

    def on_send_failed(self, failed: SendFailed, now: Now) -> None:
        """A ping that could not leave is not waited for: the others are asked at once."""
        if failed.overloaded:
            return
        match failed.message:
            case Ping(sequence):
                probe = self._probes.get(failed.node)
                if probe is not None and probe.sequence == sequence and not probe.asked:
                    self._ask_others(probe, now)
            case Ack(sequence, target):
                ack = _OwedAck(failed.node, sequence, target, self._patience_end(now))
                self._unsent.append(ack)

    def follow(self, held: MemberState | None, state: MemberState, now: Now) -> None:
        """A member's state was ``held`` and now is ``state``; time the suspect, probe the new.

        A newcomer takes a random place in the round that is under way (SWIM section 4.3).
        """
        name = state.name
        if state.status == MemberStatus.ALIVE and (held is None or held.status != state.status):
            self._linking[name] = now.monotonic + LINKING_S
            self._probes.pop(name, None)  # It was of the life, or the silence, that is over.
        if state.status != MemberStatus.SUSPECT:
            self._suspicions.pop(name, None)
        elif held is None or (held.status, held.incarnation) != (state.status, state.incarnation):
            self._suspicions[name] = now.monotonic + self._suspicion_s()
        came = state.status in LIVING and (held is None or held.status not in LIVING)
        if came and name not in self._round:
            self._round.insert(self._chance.randrange(len(self._round) + 1), name)

    # --- leaves -------------------------------------------------------------------------

    def _suspicion_s(self) -> float:
        settings = self._settings
        living = len(self._members.living())
        return suspicion_s(settings.suspicion_mult, living, settings.probe_period_s)

    def _period_end(self, now: Now) -> float:
        return now.monotonic + self._settings.probe_period_s

    def _patience_end(self, now: Now) -> float:
        """Until when whoever asks now may wait for an ack."""
        return now.monotonic + max(self._settings.probe_period_s, LINKING_S)

    def _next_sequence(self) -> int:
        self._sequence += 1
        return self._sequence
