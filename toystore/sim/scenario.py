"""A scenario: a cluster, its load and its faults.

It is plain data, and can be written and read again.  So minimise.py can remove a fault and test
whether the rest still breaks a promise.  swarm.py draws a scenario from a seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

from pydantic import Field, TypeAdapter

from toystore.core.protocol.settings import AntientropySettings

Durability = Literal["sync", "async"]


class Fault(NamedTuple):
    """A fault of some nodes or clients, its time and its duration."""

    kind: str
    at_s: float
    """Seconds after the run's beginning."""
    for_s: float
    on: tuple[str, ...]
    """The nodes or clients that it strikes."""
    amount: float = 0.0
    how: str = ""

    def __str__(self) -> str:
        more = f" {self.how}" * bool(self.how) + f" {self.amount:.3g}" * bool(self.amount)
        return f"{self.at_s:6.2f} s  {self.kind} {' '.join(self.on)}{more} for {self.for_s:.2f} s"


class Rates(NamedTuple):
    """The rate of each kind of mishap, from 0 to 1."""

    delay: float = 0.0
    """A frame or datagram takes up to ``delay_s`` instead of a millisecond."""
    delay_s: float = 0.1
    loss: float = 0.0
    """A datagram is lost."""
    double: float = 0.0
    """A datagram arrives twice."""
    wild: float = 0.0
    """A frame between nodes is lost, arrives twice or is overtaken."""
    sluggish: float = 0.0
    """An actor takes its turn up to 0.1 s late."""
    partial: float = 0.0
    """A turn receives only a part of what waits."""
    slow_commit: float = 0.0
    """A commit takes up to 0.1 s."""
    map_full: float = 0.0
    """A batch has no map space."""

    def occurring(self) -> dict[str, float]:
        """The mishaps with a rate above 0, by name."""
        rates = self._asdict()
        del rates["delay_s"]
        return {name: rate for name, rate in rates.items() if rate}


CALM = Rates()
"""No mishaps."""


Count = Annotated[int, Field(ge=1)]
Hosts = Annotated[int, Field(ge=1, le=100)]
"""How many of them: each takes memory."""
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


REAPS_S_MAX = 60.0
"""With a longer `Comparing.reap_after_s` no run is long enough to remove a tombstone."""
DELETES = 0.1
"""Which fraction of the requests deletes a key, usually."""
PATIENT = 64
"""With this `requests_max` no node refuses a request of a few clients."""
RING_CHANGES = frozenset({"ring change", "ring abort"})
"""The faults that are none: all that an operator does."""
SPARES = 4
"""How many hosts may join."""


class Comparing(NamedTuple):
    """The times and sizes of anti-entropy, as in `AntientropySettings`.

    They are much shorter than those of a real cluster, so that a run has many comparisons.
    """

    compare_s: Seconds = 0.5
    rest_s: Seconds = 0.1
    rest_max_s: Seconds = 2.0
    visit_s: Seconds = 0.1
    young_s: Seconds = 0.5
    scrub_s: Seconds = 30.0
    batch_bytes: Count = 2000
    move_bytes_per_s: Annotated[int, Field(ge=0)] = 0
    reap_after_s: Seconds = AntientropySettings().reap_after_s


SHORT = Comparing()


@dataclass(frozen=True)
class Scenario:
    """The cluster, the load and the faults of a run."""

    seed: int
    nodes: Hosts
    n: Hosts
    r: Hosts
    w: Hosts
    durability: Durability
    partitions: Literal[8, 16, 32]
    seeds: Hosts
    """How many of the nodes are seeds."""
    probe_period_s: Seconds
    exchange_periods: Count
    """After how many probe periods a node does a full exchange with another."""
    hint_bytes_max: Count
    requests_max: Count
    frame_bytes_max: Count
    batch_bytes: Count
    retry_s: Seconds
    """How often hints are counted."""
    clients: Hosts
    keys: Count
    """Few keys cause races.  With many, most keys are last written long before the end, so that no
    later write hides a loss."""
    own_quorums: float
    """How often a client names R or W itself."""
    think_s: Seconds
    """The mean pause of a client between two operations."""
    beat_s: float
    """All clients begin operations at multiples of this time; 0: at any time."""
    value_bytes: int
    duration_s: Seconds
    """How long the load and the faults last."""
    rates: Rates
    faults: tuple[Fault, ...]
    comparing: Comparing = SHORT
    deletes: Annotated[float, Field(ge=0, le=1)] = DELETES
    """Which fraction of the requests deletes a key; the others are as many puts as gets."""

    @property
    def reaps(self) -> bool:
        """Whether tombstones are removed in the run."""
        return self.comparing.reap_after_s <= REAPS_S_MAX

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the nodes."""
        return tuple(f"n{number}" for number in range(1, self.nodes + 1))

    @property
    def spares(self) -> tuple[str, ...]:
        """The names of the hosts that are no members when the cluster begins."""
        first = self.nodes + 1
        return tuple(f"n{number}" for number in range(first, first + SPARES))

    @property
    def changes_ring(self) -> bool:
        """Whether hosts may join."""
        return any(fault.kind.startswith("ring ") for fault in self.faults)

    @property
    def only_ring_changes(self) -> bool:
        """Whether the ring may change, and nothing disturbs that."""
        kinds = {fault.kind for fault in self.faults}
        return kinds <= RING_CHANGES and self.rates == CALM and self.requests_max >= PATIENT

    @property
    def client_names(self) -> tuple[str, ...]:
        """The names of the clients."""
        return tuple(f"c{number}" for number in range(1, self.clients + 1))

    def to_json(self) -> str:
        """The scenario as text that `read_scenario` reads (swarm.py)."""
        return TypeAdapter(Scenario).dump_json(self).decode()
