"""What became of the load's requests."""

import asyncio
import random

from hypothesis import given
from hypothesis import strategies as st

from toystore import Found, Overloaded
from toystore.config import LoadConfig
from toystore.localcluster import load as load_module
from toystore.localcluster.load import Load, Tally


@given(st.lists(st.integers(1, 999), min_size=1), st.sampled_from([0.5, 0.9, 0.99, 1.0]))
def test_a_percentile_is_the_least_latency_that_the_share_did_not_exceed(latencies_ms, share):
    tally = Tally()
    for ms in latencies_ms:
        tally.add("get", ms / 1000)

    found = tally.percentile_ms(share)

    in_order = sorted(latencies_ms)
    oracle = next(ms for at, ms in enumerate(in_order, start=1) if at >= share * len(latencies_ms))
    assert found == oracle


def test_a_tally_without_requests_has_a_percentile_all_the_same():
    assert Tally().percentile_ms(0.99) == 0.0


# --- reading back -----------------------------------------------------------------------


class Reader:
    """A client that refuses some keys at first, and does not know others."""

    def __init__(self, load, refused, unknown):
        self.load, self.refused, self.unknown = load, set(refused), unknown
        self.batches = []

    async def get_many(self, keys, *, timeout, errors):
        self.batches.append(len(keys))
        refused, self.refused = self.refused, set()
        return {key: Overloaded("full") if key in refused else self.found(key) for key in keys}

    def found(self, key):
        if key in self.unknown:
            return None
        value = b"%b 7 " % self.load._mark
        return Found(value, (value,), b"", 3, 0)


def read_back(refused=(), unknown=()):
    settings = LoadConfig(clients=1, keys=600)
    load = Load(settings, ["tcp://127.0.0.1:1"], random.Random(1))
    load._acknowledged = dict.fromkeys((f"k{number}" for number in range(600)), 7)
    reader = Reader(load, refused, unknown)
    load._clients = [reader]
    return asyncio.run(load.read_back()), reader


def test_a_get_that_is_refused_in_the_read_back_is_no_lost_write(monkeypatch):
    monkeypatch.setattr(load_module, "AGAIN_S", 0.0)

    found, reader = read_back(refused=["k1", "k2"])

    assert str(found) == "read back 600 keys: no acknowledged write is missing"
    assert max(reader.batches) < 600


def test_a_key_that_is_not_there_is_lost():
    found, _ = read_back(unknown=["k3"])

    assert str(found) == "read back 600 keys: 1 LOST (k3)"
