"""Swarm testing (Groce et al., ISSTA 2012): one scenario from each seed.

Each seed turns most kinds of faults off and makes the others frequent, because a run with a few
faults of every kind rarely gets far into any one problem.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterable

from pydantic import TypeAdapter, ValidationError

from toystore.sim.faults import CLOCKS, KINDS, REAPING, REBUILDS, RINGS, RINGS_BESIDE
from toystore.sim.scenario import CALM, Comparing, Durability, Fault, Rates, Scenario

DURABILITIES: tuple[Durability, ...] = ("sync", "sync", "sync", "async")
"""The choices, by weight: most clusters wait for their disks."""


RING_FAULT_RATE = 0.25
"""How often each kind of fault that belongs to changes of the ring is in a seed with these."""
RING_KINDS_MANY = 3
"""With so many of these kinds there are changes enough."""
CALM_RATE = 0.2
"""How often nothing else happens in a seed in which the ring changes: then no request may fail."""
MOVES_S = (1.0, 3.0, 6.0)
"""How long the data of a node take to cross, if they are slowed down."""
OVERHEAD_BYTES = 60
"""Of a record, beside its value."""
REAPING_FAULT_RATE = 0.5
"""How often each kind of fault that aims at the removal of tombstones is in a seed with these."""


def draw(seed: int, *, rings: bool = False, reaping: bool = False) -> Scenario:
    """The scenario of a seed.

    ``rings``: the same one, in which the ring changes, too.  ``reaping``: a longer one, in which
    tombstones are removed.
    """
    chance = random.Random(f"scenario/{seed}")
    nodes = chance.choice((1, 2, 3, 3, 3, 3, 4, 5, 5, 5, 6, 7))
    n = chance.choice((1, 2, 3, 3, 3, 3, 3, 5))
    n = min(n, nodes)
    r, w = chance.choice(_quorums(n))
    empty = Scenario(
        seed=seed,
        nodes=nodes,
        n=n,
        r=r,
        w=w,
        durability=chance.choice(DURABILITIES),
        partitions=chance.choice((8, 16, 32)),
        seeds=chance.randint(1, min(3, nodes)),
        probe_period_s=chance.choice((0.3, 0.5, 1.0)),
        exchange_periods=chance.choice((3, 10, 30)),
        hint_bytes_max=chance.choice((400, 2**20, 2**20)),
        requests_max=chance.choice((2, 64, 1024)),
        frame_bytes_max=chance.choice((400, 2**20)),
        batch_bytes=chance.choice((200, 2000, 2**18)),
        retry_s=chance.choice((0.05, 0.5)),
        clients=chance.choice((1, 2, 3, 5, 10)),
        keys=chance.choice((1, 3, 10, 50, 200)),
        own_quorums=chance.choice((0.0, 0.1, 0.5)),
        think_s=chance.choice((0.02, 0.1, 0.3)),
        beat_s=chance.choice((0.0, 0.0, 0.3)),
        value_bytes=chance.choice((0, 100, 250)),
        duration_s=chance.uniform(8.0, 25.0),
        rates=_rates(chance),
        faults=(),
    )
    moving = random.Random(f"rings/{seed}")
    if rings:
        empty = _for_rings(empty, moving)
    deleting = random.Random(f"reaping/{seed}")
    if reaping:
        empty = _for_reaping(empty, deleting)
    others = REBUILDS + RINGS + REAPING + (CLOCKS if reaping else ())
    faults = _faults(empty, chance, [kind for kind in KINDS if kind not in others])
    own = random.Random(f"anti-entropy/{seed}")
    comparing = _comparing(own)._replace(reap_after_s=empty.comparing.reap_after_s)
    compared = dataclasses.replace(empty, comparing=comparing)
    faults += _faults(compared, own, REBUILDS)
    if reaping:
        faults += _reaping_faults(compared, deleting)
    if rings:
        compared = _slowed_down(compared, moving)
        if moving.random() < CALM_RATE:
            return _calm(compared, moving)
        faults += _ring_faults(compared, moving)
    faults.sort(key=lambda fault: fault.at_s)
    return dataclasses.replace(compared, faults=tuple(faults))


def _for_rings(scenario: Scenario, chance: random.Random) -> Scenario:
    """With quorums and keys that show a vote which should not count.

    With R=1 and W=N each read shows what one slot has.
    """
    n = scenario.n
    r, w = chance.choice([(1, n), (1, n), (n, 1), (n // 2 + 1, n // 2 + 1), *_quorums(n)])
    keys, think_s = chance.choice((10, 50, 200)), min(scenario.think_s, chance.choice((0.05, 0.1)))
    return dataclasses.replace(scenario, r=r, w=w, keys=keys, think_s=think_s)


def _for_reaping(scenario: Scenario, chance: random.Random) -> Scenario:
    """With many deletes, of which most are still the newest when they are old, in a longer run.

    Often with little room for hints: then few of those for a node that is away hold a floor up.
    """
    reap_after_s = chance.choice((10.0, 10.0, 15.0))
    return dataclasses.replace(
        scenario,
        nodes=max(2, scenario.nodes),
        hint_bytes_max=chance.choice((100, scenario.hint_bytes_max)),
        comparing=scenario.comparing._replace(reap_after_s=reap_after_s),
        deletes=chance.choice((0.3, 0.5)),
        clients=min(scenario.clients, 3),
        keys=chance.choice((100, 200)),
        think_s=chance.choice((0.1, 0.3)),
        duration_s=reap_after_s * chance.uniform(2.0, 3.0),
    )


def _reaping_faults(scenario: Scenario, chance: random.Random) -> list[Fault]:
    """What strikes while tombstones are removed."""
    kinds = [kind for kind in REAPING if chance.random() < REAPING_FAULT_RATE]
    return [
        fault
        for kind in kinds
        for _ in range(chance.randint(1, 2))
        for fault in KINDS[kind].draw(scenario, chance)
    ]


def _slowed_down(scenario: Scenario, chance: random.Random) -> Scenario:
    """Often so that ranges move for some time."""
    size = scenario.keys * (scenario.value_bytes + OVERHEAD_BYTES)
    bytes_per_s = round(size / chance.choice(MOVES_S))
    slow = scenario.comparing._replace(
        batch_bytes=chance.choice((200, 2000)), move_bytes_per_s=bytes_per_s
    )
    comparing = chance.choice((scenario.comparing, slow, slow, slow))
    return dataclasses.replace(scenario, comparing=comparing)


def _calm(scenario: Scenario, chance: random.Random) -> Scenario:
    """Only the ring changes, and no node refuses a request."""
    kind = chance.choice(("ring change", "ring change", "ring abort"))
    faults = sorted(KINDS[kind].draw(scenario, chance), key=lambda fault: fault.at_s)
    return dataclasses.replace(
        scenario, rates=CALM, requests_max=1024, hint_bytes_max=2**20, faults=tuple(faults)
    )


def _ring_faults(scenario: Scenario, chance: random.Random) -> list[Fault]:
    """Changes of the ring, and sometimes what strikes just then."""
    shared = [kind for kind in RINGS[1:] if kind not in RINGS_BESIDE]
    kinds = [kind for kind in shared if chance.random() < RING_FAULT_RATE]
    faults = [fault for kind in kinds for fault in KINDS[kind].draw(scenario, chance)]
    if len(kinds) < RING_KINDS_MANY:
        faults += KINDS["ring change"].draw(scenario, chance)
    own = random.Random(f"beside rings/{scenario.seed}")
    beside = [kind for kind in RINGS_BESIDE if own.random() < RING_FAULT_RATE]
    return faults + [fault for kind in beside for fault in KINDS[kind].draw(scenario, own)]


def _quorums(n: int) -> list[tuple[int, int]]:
    """The choices of R and W, by weight: mostly quorums that overlap, majorities most of all."""
    every = [(r, w) for r in range(1, n + 1) for w in range(1, n + 1)]
    overlapping = [pair for pair in every if sum(pair) > n]
    majority = (n // 2 + 1, n // 2 + 1)
    return [majority] * 6 + overlapping * 2 + every


def _rates(chance: random.Random) -> Rates:
    """Each kind of mishap is off in half of the seeds, and rare or frequent in the rest."""
    return Rates(
        *(
            chance.choice((0.05, 0.3, 1.0)) if name == "delay_s" else _rate(chance)
            for name in Rates._fields
        )
    )


def _rate(chance: random.Random) -> float:
    return chance.choice((0.0, 0.0, 0.01, 0.1)) * chance.uniform(0.5, 2.0)


def _comparing(chance: random.Random) -> Comparing:
    """Some clusters compare at once and scrub all the time, some hardly during the faults."""
    return Comparing(
        compare_s=chance.choice((0.1, 0.5, 2.0)),
        rest_s=chance.choice((0.02, 0.1, 0.5)),
        rest_max_s=chance.choice((0.5, 3.0)),
        visit_s=chance.choice((0.05, 0.3)),
        young_s=chance.choice((0.1, 0.5, 3.0)),
        scrub_s=chance.choice((10.0, 30.0, 30.0)),
        batch_bytes=chance.choice((200, 2000, 2**16)),
        move_bytes_per_s=chance.choice((0, 100_000, 2**23)),
    )


def _faults(scenario: Scenario, chance: random.Random, choice: Iterable[str]) -> list[Fault]:
    """Some faults of a few of the kinds or of many."""
    density = chance.choice((0.0, 0.1, 0.2, 0.4))
    kinds = [kind for kind in choice if chance.random() < density]
    return [
        fault
        for kind in kinds
        for _ in range(chance.randint(1, 4))
        for fault in KINDS[kind].draw(scenario, chance)
    ]


def read_scenario(text: str) -> Scenario:
    """The scenario that `Scenario.to_json` wrote.

    Raises:
        ValueError: the text is not a scenario.
    """
    try:
        scenario = TypeAdapter(Scenario).validate_json(text)
    except ValidationError as error:
        told = "; ".join(
            f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()
        )
        raise ValueError(f"not a scenario: {told}") from None
    if wrong := [fault for fault in scenario.faults if fault.kind not in KINDS]:
        kinds = ", ".join(KINDS)
        raise ValueError(f"there is no fault {wrong[0].kind!r}; there are {kinds}")
    hosts = {*scenario.names, *scenario.spares, *scenario.client_names}
    if strangers := {name for fault in scenario.faults for name in fault.on} - hosts:
        raise ValueError(f"{min(strangers)!r} is none of {', '.join(sorted(hosts))}")
    if not max(scenario.r, scenario.w) <= scenario.n <= scenario.nodes >= scenario.seeds:
        raise ValueError("R and W are at most N, and N and the seeds at most the nodes")
    return scenario
