"""What the members of a group say of each other: detections, true ones and false ones.

Everything is read from the events that the machines log.  The *subject* is the member that an
event is about, the *observer* the member whose machine has logged it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from toystore.core.protocol.machine import Event
from toystore.core.protocol.messages import Message
from toystore.core.protocol.messages.gossip import Ping
from toystore.sim.membership.group import Group, Host, Observer

_HEARSAY = "told by "
"""How the cause begins of what an observer has learned from another member."""


class FalseKind(NamedTuple):
    """A kind of false positive: what was said, of which members, by which."""

    verdict: str
    """"raised": suspected by own evidence; "suspected": that too, or learned; "dead"."""
    slow_subject: bool
    slow_observer: bool


class Detection:
    """A crash, and when each observer knew; times are in seconds since the crash."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.crashed_at: float | None = None
        """In seconds since the beginning."""
        self.pinged_s: float | None = None
        """When the crashed member was first picked as the target of a probe."""
        self.suspected_s: dict[str, float] = {}
        """When each observer first suspected it, or learned that it is dead."""
        self.dead_s: dict[str, float] = {}
        """When each observer declared it dead, or learned that."""

    def learn(self, observer: str, verdict: str, at: float) -> None:
        """An observer's view of the member has changed; before the crash, its last view counts."""
        since_s = max(0.0, at - self.crashed_at) if self.crashed_at is not None else 0.0
        if verdict == "member.alive":
            self.suspected_s.pop(observer, None)
            self.dead_s.pop(observer, None)
            return
        self.suspected_s.setdefault(observer, since_s)
        if verdict == "member.dead":
            self.dead_s.setdefault(observer, since_s)


class Verdicts(Observer):
    """Collects the detections of the crashes, and counts the false positives."""

    def __init__(self, group: Group) -> None:
        self._hosts = group.hosts
        self.detections = {host.name: Detection(host.name) for host in group.victims}
        self.false: Counter[FalseKind] = Counter()
        self.raised_per_second: Counter[int] = Counter()
        """False suspicions by own evidence, by the second."""
        self.dead_per_second: Counter[int] = Counter()
        """Verdicts that a healthy member is dead, by the second."""

    def crashed(self, at: float, host: Host) -> None:
        """A detection begins."""
        self.detections[host.name].crashed_at = at

    def sent(self, at: float, host: Host, to: str, frame: Sequence[Message]) -> None:  # noqa: ARG002
        """Note the first ping to each crashed member."""
        detection = self.detections.get(to)
        if detection is None or detection.crashed_at is None or detection.pinged_s is not None:
            return
        if isinstance(frame[0], Ping):
            detection.pinged_s = at - detection.crashed_at

    def logged(self, at: float, host: Host, event: Event) -> None:
        """Sort a verdict: a true one, or a false one."""
        name, fields = event
        if name not in ("member.suspect", "member.dead", "member.alive"):
            return
        subject = self._hosts[fields["member"]]
        detection = self.detections.get(subject.name)
        if detection is not None:
            detection.learn(host.name, name, at)
        if not subject.runs or name == "member.alive":
            return
        if name == "member.dead":
            self._count("dead", subject, host)
            if not subject.slow:
                self.dead_per_second[int(at)] += 1
            return
        self._count("suspected", subject, host)
        if not fields["cause"].startswith(_HEARSAY):
            self._count("raised", subject, host)
            self.raised_per_second[int(at)] += 1

    def count(
        self, verdict: str, *, slow_subject: bool | None = None, slow_observer: bool | None = None
    ) -> int:
        """How many false positives there were of a kind; None: of either."""
        return sum(
            count
            for kind, count in self.false.items()
            if kind.verdict == verdict
            and slow_subject in (None, kind.slow_subject)
            and slow_observer in (None, kind.slow_observer)
        )

    def _count(self, verdict: str, subject: Host, observer: Host) -> None:
        self.false[FalseKind(verdict, subject.slow, observer.slow)] += 1
