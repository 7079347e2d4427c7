"""A node converts the data of toystore 0.1.0 before it serves, whatever happens in between."""

from __future__ import annotations

import signal

import pytest

from actors.converting import Converting
from tests.harness.configs import client_endpoint, write_config
from tests.harness.logs import logged
from tests.harness.old_data import old_record, put_facts, put_record
from tests.harness.programs import NODE, Program, last_words
from toystore import Client
from toystore.config import load
from toystore.core.storage.layout import RECORD
from toystore.engines import StoreFullError, open_engine

QUORUM = {"n": 1, "r": 1, "w": 1}
KEYS = 20_000


@pytest.fixture
def config_path(tmp_path):
    """One node, on ports of its own, with two buckets."""
    guard, path = write_config(
        tmp_path, 1, cluster="one", buckets={"default": QUORUM, "carts": QUORUM}
    )
    with guard:
        yield path


def fill(engine, config, keys, *buckets):
    """Data of 0.1.0: ``keys`` keys, in the buckets by turns."""
    engine.begin()
    put_facts(engine, config.cluster, "n1", config.ring_members(), config.partitions, 1)
    for at in range(keys):
        put_record(engine, old_record(buckets[at % len(buckets)], b"key %d" % at, b"value %d" % at))
    engine.commit()


def on_disk(config_path, tmp_path, keys, *buckets):
    """A node's folder with data of 0.1.0."""
    engine = open_engine("async", tmp_path / "data" / "n1" / "data")
    fill(engine, load(config_path), keys, *buckets)
    engine.close()
    return tmp_path / "data"


def node(config_path, data):
    return Program((*NODE, str(config_path), "n1", "--data-dir", str(data)))


@pytest.mark.cluster
def test_a_node_that_is_killed_while_it_converts_goes_on_and_has_every_key(config_path, tmp_path):
    data = on_disk(config_path, tmp_path, KEYS, "default", "carts")

    with node(config_path, data) as first:
        first.until(rf"n1: converting .* 0 of {KEYS:,} records")
        first.stop(signal.SIGKILL)
    with node(config_path, data) as second:
        second.until(r"n1 of one: clients at")
        with Client(client_endpoint(config_path), timeout=20) as store:
            found = {}
            for bucket in ("default", "carts"):
                names = [f"key {at}" for at in range(KEYS)][bucket == "carts" :: 2]
                found |= store.get_many(names, bucket=bucket)
        assert second.stop() == 0

    values = {name: one and one.value for name, one in found.items()}
    assert values == {f"key {at}": b"value %d" % at for at in range(KEYS)}
    events = [entry["event"] for entry in logged(data / "n1" / "log.jsonl")]
    assert events.index("layout.converting") < events.index("node.started")


@pytest.mark.cluster
def test_records_of_a_bucket_that_is_not_listed_stop_the_start(config_path, tmp_path):
    data = on_disk(config_path, tmp_path, 10, "default", "other")

    told = last_words(config_path, "n1", data, code=2)

    assert "does not list: 'other'. List each with the n that it had" in told
    assert not (data / "n1" / "log.jsonl").exists()


# --- engines ----------------------------------------------------------------------------


def converting(config_path, engine):
    return Converting(load(config_path), "n1", engine, lambda _: None)


def records(engine):
    engine.begin()
    try:
        return dict(engine.scan(RECORD))
    finally:
        engine.abort()


def test_the_map_grows_if_it_is_full(config_path, tmp_path):
    engine = open_engine("async", tmp_path / "data", map_bytes=32 * 4096)
    engine.begin()
    config = load(config_path)
    put_facts(engine, config.cluster, "n1", config.ring_members(), config.partitions, 1)
    for at in range(12):
        put_record(engine, old_record("carts", b"key %d" % at, bytes(5000)))
    engine.commit()
    conversion = converting(config_path, engine)
    size = (tmp_path / "data" / "data.mdb").stat().st_size

    assert conversion.is_needed()
    conversion.run()

    assert len(records(engine)) == 12
    assert (tmp_path / "data" / "data.mdb").stat().st_size > size
    engine.close()


def test_on_a_full_disk_nothing_is_lost_and_the_next_start_goes_on(config_path, monkeypatch):
    engine = open_engine("memory", None)
    fill(engine, load(config_path), 100, "default", "carts")
    conversion = converting(config_path, engine)
    assert conversion.is_needed()
    put = engine.put
    room = iter(range(50))

    def put_while_there_is_room(key, value):
        if next(room, None) is None:
            raise StoreFullError("no room to write")
        put(key, value)

    with monkeypatch.context() as patch:
        patch.setattr(engine, "put", put_while_there_is_room)
        with pytest.raises(StoreFullError, match=r"Nothing is lost: make room, and start"):
            conversion.run()

    again = converting(config_path, engine)
    assert again.is_needed()
    again.run()
    assert not converting(config_path, engine).is_needed()
    assert len(records(engine)) == 100
