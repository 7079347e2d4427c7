"""What is to be simulated: the size of the group, its network, and what happens to it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from toystore.core.protocol.settings import SwimSettings

MEMBERS_MAX = 50_000


class PlanError(ValueError):
    """A plan cannot be run; the text says which value is wrong, and what would be right."""


@dataclass(frozen=True, slots=True)
class Slowness:
    """How slow members behave (Lifeguard section V-C): their messages wait, their timers do not.

    For ``delayed_s`` all that a slow member sends or receives waits; then it works normally for
    ``normal_s``; and so on.  All slow members are delayed at the same times.
    """

    delayed_s: float = 5.0
    normal_s: float = 1.0

    def until(self, elapsed_s: float) -> float:
        """When a message of this time passes, in seconds since the beginning."""
        cycle_s = self.delayed_s + self.normal_s
        into_s = elapsed_s % cycle_s
        return elapsed_s if into_s >= self.delayed_s else elapsed_s - into_s + self.delayed_s


@dataclass(frozen=True, slots=True)
class Plan:
    """One run.  Raises `PlanError` if a value is out of range."""

    members: int
    seconds: float
    seed: int = 1
    settings: SwimSettings = field(default_factory=SwimSettings)
    loss: float = 0.0
    """The probability that a datagram is lost, each by itself."""
    latency_s: float = 0.001
    """The mean time that a message takes; each takes between half and one and a half of it."""
    crashes_at: tuple[float, ...] = ()
    """When a random member crashes, in seconds since the beginning; one for each time."""
    slow: int = 0
    """How many members are slow from the beginning on."""
    slowness: Slowness = Slowness()
    links: bool = False
    """Whether a crash breaks links, and the port then refuses new ones, as after kill -9."""

    def __post_init__(self) -> None:
        _check(2 <= self.members <= MEMBERS_MAX, f"members: 2 to {MEMBERS_MAX:,}", self.members)
        _check(self.seconds > 0, "seconds: more than 0", self.seconds)
        _check(0 <= self.loss < 1, "loss: a probability, at least 0 and below 1", self.loss)
        _check(self.latency_s >= 0, "latency: at least 0", self.latency_s)
        _check(
            0 <= self.slow <= self.members, "slow: at most as many as there are members", self.slow
        )
        _check(
            self.slowness.delayed_s >= 0 and self.slowness.normal_s > 0,
            "slow members: delayed for at least 0 s, then normal for more than 0 s",
            f"{self.slowness.delayed_s} s and {self.slowness.normal_s} s",
        )
        _check(
            len(self.crashes_at) <= self.members - 2,
            "crashes: two members have to remain",
            f"{len(self.crashes_at)} of {self.members}",
        )
        for at in self.crashes_at:
            _check(0 <= at <= self.seconds, f"crash: within the {self.seconds} s of the run", at)


def without_lifeguard(settings: SwimSettings) -> SwimSettings:
    """SWIM as in its own paper: suspicions of a fixed time, and no score of one's own health."""
    return replace(settings, local_health_max=0, suspicion_max_mult=1.0)


def _check(right: bool, rule: str, given: object) -> None:
    if not right:
        raise PlanError(f"{rule}; not {given}")
