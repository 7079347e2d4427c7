"""A flood many times over what a node may hold, and what it leaves behind."""

import asyncio

import pytest

from tests.harness.waiting import PATIENCE_S
from toystore import AsyncClient, Overloaded, Written

pytestmark = pytest.mark.cluster

REQUESTS_MAX = 32
FLOOD = 4000
VALUE_BYTES = 64 * 1024
GROWTH_MAX = FLOOD * VALUE_BYTES // 2
"""Whoever held all of the flood would hold twice as much."""
DEFAULTS = {}
"""The product's own probe periods: whether a busy machine meets shorter ones is no question."""


def value_of(number):
    return number.to_bytes(4, "big") * (VALUE_BYTES // 4)


def test_a_flood_is_refused_and_what_was_acknowledged_is_there(make_cluster):
    cluster = make_cluster(3, limits={"requests_max": REQUESTS_MAX}, swim=DEFAULTS)
    before = resident_bytes(cluster)

    outcomes = asyncio.run(flood(cluster.endpoints("n1")))
    grown = resident_bytes(cluster)

    written = [number for number, got in enumerate(outcomes) if isinstance(got, Written)]
    refused = [number for number, got in enumerate(outcomes) if isinstance(got, Overloaded)]
    assert len(written) >= REQUESTS_MAX
    assert len(refused) > FLOOD // 2
    assert len(written) + len(refused) == FLOOD, set(map(repr, outcomes))
    assert all(outcomes[number].definite for number in refused)
    cluster.look()
    assert cluster.nodes["n1"].status["requests"]["failed"] == len(refused)
    assert cluster.events("n1", "coordinator.overloaded")
    assert all(after - before[name] < GROWTH_MAX for name, after in grown.items())
    for name in cluster.names:
        assert not cluster.events(name, "member.dead")
    with cluster.client() as store:
        for number in written:
            assert store.get(f"flood:{number}").value == value_of(number)
        for number in refused[:: len(refused) // 100]:
            assert store.get(f"flood:{number}") is None
        store.put("afterwards", b"as ever")
        assert store.get("afterwards").value == b"as ever"


async def flood(endpoints):
    """Put far more at once than may wait; what became of each."""
    async with AsyncClient(endpoints, timeout=PATIENCE_S, max_in_flight=FLOOD) as store:
        puts = (store.put(f"flood:{number}", value_of(number)) for number in range(FLOOD))
        return await asyncio.gather(*puts, return_exceptions=True)


def resident_bytes(cluster):
    """What each node's process has in memory."""
    return {name: cluster.resident_bytes(name) for name in cluster.names}
