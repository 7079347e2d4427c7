"""Clients on real nodes: blocking and asynchronous, in threads, in a forked child, in bulk."""

import asyncio
import os
import threading

import pytest

from tests.harness.waiting import PATIENCE_S
from toystore import AsyncClient, BadRequest, Client

pytestmark = pytest.mark.cluster

MANY = 500


@pytest.fixture
def store(three):
    with three.client() as client:
        yield client


def test_what_is_put_through_one_node_is_read_through_every_other(three, store):
    store.put("cart:7", b"apples")

    for name in three.names:
        with three.client(name) as other:
            assert other.get("cart:7").value == b"apples"


def test_a_deleted_key_is_gone_and_deleting_what_was_never_there_succeeds(store):
    store.put("short-lived", b"1")
    store.delete("short-lived")
    store.delete("never-lived")

    assert store.get("short-lived") is None
    assert store.get("never-lived") is None


def test_many_keys_are_answered_each_for_itself(store):
    items = {f"many:{number}": str(number) for number in range(MANY)}

    written = store.put_many({**items, "": "nobody's"}, errors="return")
    found = store.get_many([*items, "many:never"])

    assert isinstance(written.pop(""), BadRequest)
    assert not [answer for answer in written.values() if isinstance(answer, Exception)]
    assert found.pop("many:never") is None
    assert {key: answer.value.decode() for key, answer in found.items()} == items


def test_one_asynchronous_client_serves_many_tasks(three):
    async def main():
        async with AsyncClient(three.endpoints(), timeout=PATIENCE_S) as client:

            async def one(number):
                await client.put(f"task:{number}", str(number))
                return int((await client.get(f"task:{number}")).value)

            return await asyncio.gather(*map(one, range(MANY)))

    assert asyncio.run(main()) == list(range(MANY))


def test_threads_have_a_client_each_or_share_one(three, store):
    wrong = []

    def work(number, client):
        for turn in range(20):
            client.put(f"thread:{number}", str(turn))
            if client.get(f"thread:{number}").value != str(turn).encode():
                wrong.append((number, turn))

    own = [Client(three.endpoints(), timeout=PATIENCE_S) for _ in range(4)]
    threads = [
        threading.Thread(target=work, args=(number, client))
        for number, client in enumerate([*own, store, store])
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for client in own:
        client.close()

    assert not wrong
    assert {store.get(f"thread:{number}").value for number in range(6)} == {b"19"}


@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_a_client_goes_on_in_a_forked_child_and_in_its_parent(store):
    store.put("forked", b"before")

    child = os.fork()
    if child == 0:
        status = 1
        try:
            seen = store.get("forked")
            store.put("forked", b"by the child")
            status = 0 if seen is not None and seen.value == b"before" else 2
        finally:
            os._exit(status)
    _, ended = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(ended) == 0
    assert store.get("forked").value == b"by the child"
    store.put("forked", b"by the parent")
    assert store.get("forked").value == b"by the parent"
