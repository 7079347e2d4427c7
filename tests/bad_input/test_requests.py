"""Requests that cannot be run: each is refused with what would be right."""

from __future__ import annotations

import random
import time

import pytest
import zmq

from toystore import BadRequest
from toystore.core.data.context import pack_context
from toystore.core.data.stamp import pack_stamp
from toystore.core.protocol.messages import Message
from toystore.core.protocol.messages.client import (
    ErrorReply,
    GetReply,
    Owners,
    OwnersReply,
)
from toystore.core.protocol.messages.codes import Code
from toystore.wire import decode, encode

from .target import A_STAMP, KEY_MAX, SEED, VALUE_MAX, a_delete, a_get, a_put, ask

pytestmark = pytest.mark.cluster

NOW_US = time.time_ns() // 1000
FAR_AHEAD = pack_stamp(NOW_US + 3600 * 1_000_000, 0, b"minter__")


BAD_REQUESTS = {
    "empty key, get": (a_get(key=b""), "a key of 0 bytes; 1 to 65535"),
    "empty key, put": (a_put(key=b""), "a key of 0 bytes; 1 to 64"),
    "empty key, delete": (a_delete(key=b""), "a key of 0 bytes; 1 to 65535"),
    "empty key, owners": (Owners(7, "default", b""), "a key of 0 bytes; 1 to 65535"),
    "long key": (a_put(key=bytes(KEY_MAX + 1)), "a key of 65 bytes; 1 to 64"),
    "large value": (a_put(value=bytes(VALUE_MAX + 1)), "a value of 65537 bytes; at most 65536"),
    "no such bucket, get": (a_get(bucket="nope"), "no bucket 'nope'; there are default, pair"),
    "no such bucket, owners": (Owners(7, "", b"k"), "no bucket ''"),
    "long bucket": (a_put(bucket="b" * 1000), "no bucket 'bbb"),
    "r above n": (a_get(r=4), "r is 4; with n=3 it can be 1 to 3"),
    "w above n": (a_put(w=4), "w is 4; with n=3 it can be 1 to 3"),
    "w above n, delete": (a_delete(w=4), "w is 4; with n=3"),
    "w above the bucket's n": (a_put(bucket="pair", w=3), "w is 3; with n=2"),
    "r above the bucket's n": (a_get(bucket="pair", r=3), "r is 3; with n=2"),
    "r of 0": (a_get(r=0), "r is 0"),
    "w beyond all numbers": (a_put(w=2**64 - 1), "w is 18446744073709551615"),
    "w below all numbers": (a_put(w=-(2**63)), "w is -9223372036854775808"),
    "no time": (a_get(timeout_ms=0), "timeout_ms is 0; it must be above 0"),
    "less than no time": (a_put(timeout_ms=-1), "timeout_ms is -1"),
    "a context that is a guess": (a_put(context=b"guess"), "not one that a get returned"),
    "a context of the right size": (a_delete(context=bytes(25)), "not one that a get returned"),
    "a context cut off": (a_put(context=pack_context(A_STAMP)[:-1]), "not one that a get returned"),
    "a context as large as a value": (a_put(context=bytes(VALUE_MAX)), "not one that a get"),
    "a short stamp": (a_put(stamp=A_STAMP[:-1]), "a stamp of 19 bytes; one has 20"),
    "a long stamp": (a_delete(stamp=A_STAMP + b"!"), "a stamp of 21 bytes; one has 20"),
    "an empty stamp": (a_put(stamp=b""), "a stamp of 0 bytes"),
}


@pytest.mark.parametrize(("request_", "text"), BAD_REQUESTS.values(), ids=BAD_REQUESTS.keys())
def test_a_request_that_cannot_be_run_is_refused_with_what_would_be_right(cluster, request_, text):
    with cluster.socket(zmq.DEALER) as port:
        [reply] = ask(port, request_)

    assert isinstance(reply, ErrorReply)
    assert (reply.request, reply.code, reply.definite) == (7, Code.BAD_REQUEST, True)
    assert text in reply.text
    assert len(reply.text) < 300


@pytest.mark.parametrize("stamp", [FAR_AHEAD, b"\xff" * 20], ids=["an hour", "for ever"])
def test_a_stamp_far_ahead_is_refused_so_that_it_cannot_win_for_ever(cluster, stamp):
    with cluster.socket(zmq.DEALER) as port:
        [put] = ask(port, a_put(stamp=stamp))
        [delete] = ask(port, a_delete(stamp=stamp))

    assert [put.code, delete.code] == [Code.CLOCK_AHEAD] * 2
    assert put.definite
    assert delete.definite
    assert "ahead of the clock of n1" in put.text


def test_a_context_made_up_of_the_last_stamp_there_is_harms_nobody(cluster):
    """Its checksum is right, so it may come from a get; above it there is nothing to mint."""
    context = pack_context(b"\xff" * 20)
    with cluster.socket(zmq.DEALER) as port:
        replies = [ask(port, a_put(key=b"doomed", context=context))[0] for _ in range(3)]

    assert {type(reply) for reply in replies} == {ErrorReply}
    assert {reply.code for reply in replies} == {Code.BAD_REQUEST}


def test_one_bad_request_does_not_spoil_the_others_in_its_frame(cluster):
    good, bad = a_get(request=1), a_get(request=2, key=b"")
    replies: dict[int, Message] = {}
    with cluster.socket(zmq.DEALER) as port:
        port.send(encode([bad, good, Owners(3, "default", b"k"), GetReply(4, (), b"", 0, 0)]))
        while len(replies) < 4:
            replies |= {reply.request: reply for reply in decode(port.recv()).messages}

    assert type(replies[1]) is GetReply
    assert type(replies[2]) is ErrorReply
    assert type(replies[3]) is OwnersReply
    assert replies[0] == ErrorReply(0, Code.BAD_REQUEST, "GetReply is not a request", True)


@pytest.mark.parametrize("key", [b"\xff\xfe\x00", bytes(KEY_MAX), b"\0", b"\n"])
def test_any_bytes_up_to_the_limit_are_a_key(cluster, key):
    with cluster.client("n1", "n2") as store:
        store.put(key, key * 3)
        assert store.get(key).value == key * 3
        store.delete(key)
        assert store.get(key) is None


def test_the_largest_value_is_taken_and_given_back(cluster):
    value = random.Random(SEED).randbytes(VALUE_MAX)
    with cluster.client("n1") as store:
        store.put(b"k" * KEY_MAX, value)
        assert store.get(b"k" * KEY_MAX).value == value


def test_applications_get_a_bad_request_and_one_bad_key_does_not_spoil_the_rest(cluster):
    with cluster.client("n1") as store:
        with pytest.raises(BadRequest, match="no bucket"):
            store.get("k", bucket="nope")
        with pytest.raises(BadRequest, match="value of 65537 bytes") as caught:
            store.put("k", bytes(VALUE_MAX + 1))
        items = {"good": b"1", "x" * (KEY_MAX + 1): b"2", "fine": b"3"}
        answers = store.put_many(items, errors="return")

    assert caught.value.definite
    kinds = [isinstance(answer, BadRequest) for answer in answers.values()]
    assert kinds == [False, True, False]
