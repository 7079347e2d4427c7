"""A scenario: a cluster, a load, and all that will happen to them.

It is plain data, and can be written down and read again: so a fault can be taken out of one,
to see whether the rest still does harm (minimise.py).  swarm.py draws one from a seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

from pydantic import Field, TypeAdapter

Durability = Literal["sync", "async"]


class Fault(NamedTuple):
    """Something that happens to some nodes or clients, and for how long."""

    kind: str
    at_s: float
    """After the run's beginning."""
    for_s: float
    on: tuple[str, ...]
    """Whom it strikes."""
    amount: float = 0.0
    how: str = ""

    def __str__(self) -> str:
        more = f" {self.how}" * bool(self.how) + f" {self.amount:.3g}" * bool(self.amount)
        return f"{self.at_s:6.2f} s  {self.kind} {' '.join(self.on)}{more} for {self.for_s:.2f} s"


class Rates(NamedTuple):
    """How often the usual mishaps occur, from 0 to 1 each."""

    delay: float = 0.0
    """That a frame or datagram takes up to ``delay_s`` instead of a millisecond."""
    delay_s: float = 0.1
    loss: float = 0.0
    """That a datagram is lost."""
    double: float = 0.0
    """That a datagram comes twice."""
    wild: float = 0.0
    """That a frame between nodes is lost, comes twice or is overtaken."""
    sluggish: float = 0.0
    """That an actor comes to its turn only up to 0.1 s late."""
    partial: float = 0.0
    """That a turn takes in only a part of what waits."""
    slow_commit: float = 0.0
    """That a commit takes up to 0.1 s."""
    map_full: float = 0.0
    """That a batch finds no map to grow into."""

    def occurring(self) -> dict[str, float]:
        """Those mishaps that do occur, with their rates."""
        rates = self._asdict()
        del rates["delay_s"]
        return {name: rate for name, rate in rates.items() if rate}


CALM = Rates()
"""Nothing of all that."""


Count = Annotated[int, Field(ge=1)]
Hosts = Annotated[int, Field(ge=1, le=100)]
"""How many of them: each takes memory."""
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


@dataclass(frozen=True)
class Scenario:
    """What a run is made of."""

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
    """After so many probe periods a node exchanges everything with another."""
    hint_bytes_max: Count
    requests_max: Count
    frame_bytes_max: Count
    batch_bytes: Count
    retry_s: Seconds
    """How often hints are counted."""
    clients: Hosts
    keys: Count
    """With few there are races; with many the last write of most is long before the end, and
    no later one hides that it was lost."""
    own_quorums: float
    """How often a client names R or W itself."""
    think_s: Seconds
    """Each client's pause between two operations, on the average."""
    beat_s: float
    """Clients begin what they do at a multiple of this, all at once; 0: whenever they like."""
    value_bytes: int
    duration_s: Seconds
    """How long the load and the faults last."""
    rates: Rates
    faults: tuple[Fault, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The nodes'."""
        return tuple(f"n{number}" for number in range(1, self.nodes + 1))

    @property
    def client_names(self) -> tuple[str, ...]:
        """The clients'."""
        return tuple(f"c{number}" for number in range(1, self.clients + 1))

    def to_json(self) -> str:
        """As text that `read_scenario` reads (swarm.py)."""
        return TypeAdapter(Scenario).dump_json(self).decode()
