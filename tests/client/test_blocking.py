"""What is the blocking client's own: REQ, threads, forks, interruptions."""

from __future__ import annotations

import multiprocessing
import signal
import threading
import time

import pytest

from tests.harness.waiting import wait_until
from toystore import Client, Timeout
from toystore.core.data.stamp import unpack_stamp
from toystore.core.protocol.messages.client import Get, Put

from .fake import HOLD

FORK = multiprocessing.get_context("fork")


def in_a_fork(work) -> object:
    """What ``work`` returns in a forked child."""
    ours, theirs = FORK.Pipe()
    child = FORK.Process(target=lambda: theirs.send(work()))
    child.start()
    try:
        assert ours.poll(20), "the child does not answer"
        return ours.recv()
    finally:
        child.terminate()
        child.join()


def test_a_single_request_comes_from_a_correlated_req(fake):
    with Client(fake.endpoint, timeout=60) as store:
        store.get("key")
        store.get("key")
    identity, _, empty = fake.envelopes[0]
    assert empty == b""
    assert fake.envelopes[1][0] == identity, "the same socket goes on while it is answered"
    assert fake.envelopes[1][1] != fake.envelopes[0][1]


def test_a_retry_comes_from_a_fresh_socket(fake):
    answers = [lambda message: HOLD]
    fake.script = lambda m: answers.pop()(m) if answers else fake.usual(m)
    with Client(fake.endpoint, timeout=60, attempt_timeout=0.1) as store:
        store.put("key", "value")
    identities = {envelope[0] for envelope in fake.envelopes}
    assert len(identities) == len(fake.envelopes) > 1


def test_the_endpoint_that_answered_is_asked_first_next_time(make_fake):
    silent, second = make_fake(), make_fake()
    silent.script = lambda message: None
    with Client([silent.endpoint, second.endpoint], timeout=60, attempt_timeout=0.5) as store:
        for _ in range(5):
            store.get("key")
    assert (len(silent.seen), len(second.seen)) == (1, 5)


def test_nothing_is_connected_before_it_is_asked_for(dead_endpoint):
    Client(dead_endpoint).close()


def test_a_forked_child_talks_through_sockets_of_its_own(fake):
    with Client(fake.endpoint, timeout=60) as store:
        ours = store.put("key", "of the parent").stamp

        theirs = in_a_fork(lambda: (store.get("key").value, store.put("key", "of the child").stamp))

        assert theirs[0] == b"of the parent"
        assert store.get("key").value == b"of the child"
        again = store.put("key", "of the parent again").stamp
    parents, childs = fake.envelopes[0][0], fake.envelopes[1][0]
    assert parents != childs
    assert fake.envelopes[-1][0] == parents, "the parent's socket was not touched"
    assert ours < theirs[1] < again
    assert unpack_stamp(ours).minter == unpack_stamp(again).minter
    assert unpack_stamp(theirs[1]).minter != unpack_stamp(ours).minter


def test_a_fork_while_another_thread_waits_for_its_answer_does_not_hang(fake):
    fake.script = lambda message: HOLD if message.key == b"held" else fake.usual(message)
    with Client(fake.endpoint, timeout=60) as store:
        held = threading.Thread(target=lambda: store.get("held"))
        held.start()
        wait_until(lambda: fake.seen)

        assert in_a_fork(lambda: (store.get("key"), store.get_many(["key"]))) == (
            None,
            {"key": None},
        )

        fake.release()
        held.join(20)
        assert not held.is_alive()


def test_a_forked_child_may_close_what_it_inherited(fake):
    with Client(fake.endpoint, timeout=60) as store:
        store.get("key")
        store.get_many(["key"])
        in_a_fork(store.close)
        assert store.get("key") is None
        assert store.get_many(["key"]) == {"key": None}


def test_threads_that_share_a_client_take_turns(fake):
    found: dict[str, bytes] = {}

    def work(store: Client, name: str) -> None:
        for number in range(20):
            store.put(f"{name}/{number}", name)
            found[f"{name}/{number}"] = store.get(f"{name}/{number}").value

    with Client(fake.endpoint, timeout=60) as store:
        threads = [threading.Thread(target=work, args=(store, f"t{n}")) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)

    assert len(found) == 80
    assert all(key.startswith(value.decode()) for key, value in found.items())
    stamps = [message.stamp for message in fake.of(Put)]
    assert len(set(stamps)) == 80


def test_a_thread_waits_for_its_turn_no_longer_than_its_timeout(fake):
    fake.script = lambda message: HOLD
    with Client(fake.endpoint, timeout=60) as store:
        other = threading.Thread(target=lambda: store.get("held"))
        other.start()
        wait_until(lambda: fake.seen)

        with pytest.raises(Timeout, match="busy") as raised:
            store.put("key", "value", timeout=0.2)

        assert raised.value.definite
        fake.release()
        other.join(20)


class InterruptedCallError(Exception):
    pass


def test_an_interrupted_request_leaves_the_client_usable(fake):
    interrupted = threading.Event()

    def interrupt(*_: object) -> None:
        if not interrupted.is_set():
            interrupted.set()
            raise InterruptedCallError

    def hold_and_interrupt(message: object) -> object:
        interrupted.clear()
        # A signal that comes just before the client's poll ends no poll: the next one does.
        while not interrupted.wait(0.01):
            signal.pthread_kill(threading.main_thread().ident, signal.SIGALRM)
        return HOLD

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with Client(fake.endpoint, timeout=60) as store:
            store.put("other", "value")
            fake.script = hold_and_interrupt
            for call in (lambda: store.get("key"), lambda: store.get_many(["key"])):
                with pytest.raises(InterruptedCallError):
                    call()
            fake.script = fake.usual
            fake.release()

            assert store.get("other").value == b"value"
            assert store.get_many(["other"])["other"].value == b"value"
        asked = [message.key for message in fake.of(Get)]
        assert asked == [b"key", b"key", b"other", b"other"], "what was interrupted is forgotten"
    finally:
        signal.signal(signal.SIGALRM, before)


def test_a_request_takes_little_of_the_processor_while_it_waits(fake):
    fake.script = lambda message: None
    with Client(fake.endpoint, timeout=1.0) as store:
        store_time = time.thread_time()
        with pytest.raises(Timeout):
            store.get("key")
        assert time.thread_time() - store_time < 0.5, "it waits, it does not spin"


def test_many_are_answered_over_one_socket_that_is_kept(fake):
    with Client(fake.endpoint, timeout=60) as store:
        store.get_many(["a", "b"])
        store.get_many(["a", "b"])
    assert fake.envelopes[0] == fake.envelopes[1]
    assert len(fake.of(Get)) == 4
