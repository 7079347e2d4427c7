"""What holds for both clients, over real sockets, against scripted coordinators."""

from __future__ import annotations

import pickle
import socket
import threading
import time

import pytest

from tests.harness.waiting import wait_until
from toystore import (
    AsyncClient,
    BadRequest,
    Client,
    Conflict,
    Internal,
    ManyFailed,
    Overloaded,
    Timeout,
    ToystoreError,
    Unavailable,
    Written,
)
from toystore.core.data.context import pack_context, unpack_context
from toystore.core.data.stamp import STAMP_BYTES, unpack_stamp
from toystore.core.protocol.messages.client import (
    Delete,
    ErrorReply,
    Get,
    GetReply,
    Put,
    WriteReply,
)
from toystore.core.protocol.messages.codes import Code
from toystore.wire import encode

from .fake import HOLD, SkewedClock

SILENT = staticmethod(lambda message: None)


def once(fake, first):
    """A script that answers the first message so, and the rest as usual."""
    answers = [first]
    return lambda message: answers.pop()(message) if answers else fake.usual(message)


def error(code, definite=True):
    return lambda message: ErrorReply(message.request, code, "no", definite)


# --- what is asked and answered ---------------------------------------------------------


def test_what_was_put_is_found(connect, fake):
    store = connect(fake)

    written = store.put("cart:7", b"milk")
    found = store.get("cart:7")

    assert (written.owners, written.fallbacks) == (2, 1)
    assert written.context == pack_context(written.stamp)
    assert (found.value, found.values) == (b"milk", (b"milk",))
    assert (found.context, found.owners, found.fallbacks) == (written.context, 2, 0)


def test_what_is_not_there_is_none(connect, fake):
    assert connect(fake).get("nothing") is None


def test_what_was_deleted_is_none_and_deleting_nothing_succeeds(connect, fake):
    store = connect(fake)
    store.put("key", "value")

    assert isinstance(store.delete("key"), Written)
    assert isinstance(store.delete("never there"), Written)

    assert store.get("key") is None


def test_a_str_is_its_utf8(connect, fake):
    store = connect(fake)

    store.put("ключ", "значение")

    assert store.get("ключ".encode()).value == "значение".encode()


def test_an_empty_value_is_a_value(connect, fake):
    store = connect(fake)
    store.put("key", b"")
    assert store.get("key").value == b""


def test_the_terms_of_a_request_reach_the_coordinator(connect, fake):
    store = connect(fake, bucket="mine", timeout=5)

    store.get("key")
    store.get("key", bucket="other", r=3, timeout=1)
    store.put("key", "value", w=4)
    store.delete("key", w=1)

    usual, special, put, delete = fake.seen
    assert (usual.bucket, usual.r) == ("mine", None)
    assert 1000 < usual.timeout_ms <= 5000
    assert (special.bucket, special.r) == ("other", 3)
    assert 0 < special.timeout_ms <= 1000
    assert (put.w, put.forwarded) == (4, False)
    assert (delete.w, delete.forwarded) == (1, False)


def test_the_cluster_is_shown(connect, make_fake):
    first, second = make_fake(), make_fake()
    store = connect(first, second)

    assert store.status()["node"] == first.endpoint
    assert store.status(second.endpoint)["node"] == second.endpoint
    assert store.owners("key") == (7, ("n1", "n2"), ("n3",))
    assert store.ring() == (64, (("n1", 64, 32), ("n2", 64, 32)))
    assert store.ring().load[0].first == 32
    with pytest.raises(BadRequest, match="no endpoint of this client"):
        store.status("tcp://127.0.0.1:1")


def test_the_status_of_one_node_is_asked_of_no_other(connect, fake, dead_endpoint):
    store = connect(fake, dead_endpoint)
    with pytest.raises(Unavailable, match="connection refused"):
        store.status(dead_endpoint, timeout=60)
    assert fake.seen == []


def test_a_repair_is_asked_of_one_node(connect, make_fake):
    first, second = make_fake(), make_fake()
    store = connect(first, second)

    everything = store.repair(7, second.endpoint)
    store.repair(8, second.endpoint, bucket="other", partition=3)

    assert everything == {"job": 7, "finished": False}
    assert first.seen == []
    asked = [(repair.job, repair.bucket, repair.partition) for repair in second.seen]
    assert asked == [(7, None, None), (8, "other", 3)]


@pytest.mark.parametrize(
    "wrong", [{"job": -1}, {"job": "7"}, {"job": 2**63}, {"partition": -1}, {"bucket": b"b"}]
)
def test_a_repair_of_what_cannot_be_is_refused_at_once(connect, fake, wrong):
    store = connect(fake)

    with pytest.raises(BadRequest, match=next(iter(wrong))):
        store.repair(**({"job": 7, "endpoint": fake.endpoint} | wrong))

    assert fake.seen == []


def test_a_command_of_the_cluster_is_asked_of_the_named_node_or_of_any(connect, make_fake):
    first, second = make_fake(), make_fake()
    store = connect(first, second)

    planned = store.cluster("plan", {"changes": [["join", "n4"]]}, second.endpoint)
    store.cluster("status")

    assert planned == {"command": "plan", "changes": (("join", "n4"),)}
    assert [cluster.command for cluster in (*first.seen, *second.seen)] == ["status", "plan"]


@pytest.mark.parametrize(("command", "sent"), [("commit", 1), ("status", 4)])
def test_a_command_that_changes_something_is_sent_once(connect, fake, command, sent):
    store = connect(fake)
    fake.script = lambda message: None

    with pytest.raises(Timeout) as late:
        store.cluster(command, {}, timeout=0.4)

    assert late.value.definite == (sent > 1)
    assert 1 <= len(fake.seen) <= sent


def test_a_refused_command_says_whether_that_is_definite(connect, fake):
    store = connect(fake)
    fake.fail(Code.CONFLICT)

    with pytest.raises(Conflict) as refused:
        store.cluster("commit")

    assert refused.value.definite


@pytest.mark.parametrize(("command", "arguments"), [(7, {}), ("plan", [["join", "n4"]])])
def test_a_command_that_cannot_be_is_refused_at_once(connect, fake, command, arguments):
    with pytest.raises(BadRequest):
        connect(fake).cluster(command, arguments)

    assert fake.seen == []


# --- bad input --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda store: store.get(7), "int"),
        (lambda store: store.get(None), "NoneType"),
        (lambda store: store.get(bytearray(b"key")), "bytearray"),
        (lambda store: store.get(""), "empty"),
        (lambda store: store.delete(b""), "empty"),
        (lambda store: store.get("\ud800"), "UTF-8"),
        (lambda store: store.put("key", 3.5), "float"),
        (lambda store: store.put("key", "\udfff"), "UTF-8"),
        (lambda store: store.put("key", ["value"]), "list"),
        (lambda store: store.put("key", "value", ttl=60), "ttl"),
        (lambda store: store.put_many({}, ttl=60), "ttl"),
        (lambda store: store.put("key", "value", context=b"stranger"), "context"),
        (lambda store: store.put("key", "value", context="text"), "str"),
        (lambda store: store.delete("key", context=b"stranger"), "context"),
        (lambda store: store.get("key", bucket=7), "int"),
        (lambda store: store.get("key", bucket="\ud800"), "UTF-8"),
        (lambda store: store.get("key", r=0), "0"),
        (lambda store: store.get("key", r=True), "True"),
        (lambda store: store.get("key", r=2**64), "18446744073709551616"),
        (lambda store: store.put("key", "value", w="2"), "'2'"),
        (lambda store: store.get("key", n=3), "n is 3, and a request has none"),
        (lambda store: store.put("key", "value", n=0), "N of a bucket decides"),
        (lambda store: store.delete("key", n=3), "fixed in the configuration"),
        (lambda store: store.get_many(["key"], n=3), "give r= or w="),
        (lambda store: store.put_many({"key": "value"}, n=3), "give r= or w="),
        (lambda store: store.get("key", timeout=0), "timeout"),
        (lambda store: store.get("key", timeout=float("nan")), "timeout"),
        (lambda store: store.get("key", timeout=float("inf")), "timeout"),
        (lambda store: store.get("key", timeout="2"), "timeout"),
        (lambda store: store.get("key", timeout=True), "not True"),
        (lambda store: store.get("key", timeout=-1), "above 0"),
        (lambda store: store.get("key", timeout=1e9), "up to 1,000,000"),
        (lambda store: store.get("key", r=70_000), "from 1 to 65,535"),
        (lambda store: store.put("key", "value", w=2.0), "not 2.0"),
        (lambda store: store.get_many([("key", [])]), "tuple"),
        (lambda store: store.get_many(["key"], errors="ignore"), "'ignore'"),
        (lambda store: store.put_many({}, errors=None), "None"),
        (lambda store: store.get_many("key"), "str"),
        (lambda store: store.get_many(7), "int"),
        (lambda store: store.get_many([["key"]]), "list"),
        (lambda store: store.put_many([("key", "value")]), "list"),
    ],
)
def test_a_callers_mistake_is_told_and_not_sent(connect, fake, call, told):
    store = connect(fake)

    with pytest.raises(BadRequest, match=told) as raised:
        call(store)

    assert raised.value.definite
    assert fake.seen == []


@pytest.mark.parametrize(
    "endpoints",
    [
        [],
        None,
        7,
        "",
        [7],
        ["localhost"],
        ["tcp://localhost"],
        ["tcp://localhost:0"],
        ["tcp://localhost:65536"],
        ["tcp://*:7400"],
        ["udp://localhost:7400"],
        ["tcp://localhost:7400", "tcp://localhost:7400 "],
    ],
)
def test_endpoints_that_cannot_be_are_refused(endpoints):
    for client in (Client, AsyncClient):
        with pytest.raises(BadRequest):
            client(endpoints)


@pytest.mark.parametrize("bound", [0, -1, "5", 1.5, True, None])
def test_a_bound_of_requests_in_flight_is_checked_where_it_is_given(bound):
    with pytest.raises(BadRequest, match="max_in_flight is a number of requests from 1 up, not"):
        AsyncClient("tcp://127.0.0.1:7400", max_in_flight=bound)


@pytest.mark.parametrize("kind", [Client, AsyncClient])
@pytest.mark.parametrize(
    ("argument", "told"),
    [
        ({"timeout": None}, "not None"),
        ({"timeout": 1e9}, "up to 1,000,000, not 1000000000.0"),
        ({"attempt_timeout": 0}, "attempt_timeout"),
        ({"attempt_timeout": "1"}, "attempt_timeout"),
        ({"bucket": None}, "NoneType"),
        ({"clock": 7}, "a clock is an object with the methods mint and merge, not 7"),
        ({"clock": SkewedClock}, "a clock is an object"),
    ],
)
def test_a_client_is_told_at_once_what_is_wrong_with_it(kind, argument, told):
    with pytest.raises(BadRequest, match=told):
        kind("tcp://127.0.0.1:7400", **argument)


def test_one_endpoint_may_be_given_as_a_string(fake):
    with Client(fake.endpoint, timeout=60) as store:
        assert store.get("key") is None


def test_a_closed_client_says_so_and_may_be_closed_again(connect, fake):
    store = connect(fake)
    store.get("key")

    store.close()
    store.close()

    with pytest.raises(ToystoreError, match="closed"):
        store.get("key")
    with pytest.raises(ToystoreError, match="closed"):
        store.get_many(["key"])


# --- the coordinator's errors -----------------------------------------------------------


@pytest.mark.parametrize("definite", [True, False])
@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (Code.BAD_REQUEST, BadRequest),
        (Code.TIMEOUT, Timeout),
        (Code.CONFLICT, Conflict),
        (Code.INTERNAL, Internal),
        (99, Internal),
    ],
)
def test_an_error_is_raised_at_once_and_not_tried_elsewhere(
    connect, make_fake, code, kind, definite
):
    first, second = make_fake(), make_fake()
    first.script = error(code, definite)
    store = connect(first, second)

    with pytest.raises(kind, match="no") as of_put:
        store.put("key", "value")
    with pytest.raises(kind) as of_get:
        store.get("key")

    assert type(of_put.value) is kind
    assert of_put.value.definite is definite
    assert of_get.value.definite
    assert len(first.seen) == 2
    assert second.seen == []


@pytest.mark.parametrize(
    ("code", "kind"), [(Code.OVERLOADED, Overloaded), (Code.UNAVAILABLE, Unavailable)]
)
def test_a_node_that_is_full_or_cut_off_is_spared_for_one_other(connect, make_fake, code, kind):
    first, second, third = make_fake(), make_fake(), make_fake()
    first.script = second.script = error(code)
    store = connect(first, second, third, timeout=60, attempt_timeout=20)

    with pytest.raises(kind):
        store.put("key", "value")

    assert first.seen[0].stamp == second.seen[0].stamp
    assert third.seen == []


def test_overload_with_nobody_else_to_ask_is_raised(connect, fake):
    fake.script = error(Code.OVERLOADED)
    with pytest.raises(Overloaded):
        connect(fake).get("key")
    assert len(fake.seen) == 1


def test_a_call_about_many_keys_slows_down_until_there_is_room(connect, fake):
    refusals = []

    def crowded(message):
        if len(refusals) < 100:
            refusals.append(message)
            return ErrorReply(message.request, Code.OVERLOADED, "too many", True)
        return fake.usual(message)

    fake.script = crowded
    keys = [f"k{number}" for number in range(200)]

    written = connect(fake, timeout=60).put_many(dict.fromkeys(keys, "value"))

    assert list(written) == keys
    assert len({message.stamp for message in fake.of(Put)}) == len(keys)


def test_a_call_about_many_keys_ends_as_overloaded_if_there_is_never_room(connect, fake):
    fake.script = error(Code.OVERLOADED)

    with pytest.raises(ManyFailed) as raised:
        connect(fake, timeout=0.4).get_many(["a", "b"])

    assert {type(each) for each in raised.value.errors.values()} == {Overloaded}


def test_a_node_that_does_not_serve_is_passed_over_at_once(connect, make_fake):
    first, second = make_fake(), make_fake()
    first.script = error(Code.NOT_SERVING)
    store = connect(first, second, timeout=60)

    assert store.put("key", "value")

    assert [len(first.seen), len(second.seen)] == [1, 1]
    assert first.seen[0].stamp == second.seen[0].stamp


def test_when_nobody_serves_the_round_is_repeated_until_somebody_does(connect, make_fake):
    first, second = make_fake(), make_fake()
    refusals = []

    def refuse_thrice(message):
        refusals.append(message)
        if len(refusals) <= 3:
            return ErrorReply(message.request, Code.NOT_SERVING, "starting", True)
        return first.usual(message)

    first.script, second.script = refuse_thrice, error(Code.NOT_SERVING)
    store = connect(first, second, timeout=60)

    assert store.put("key", "value")

    assert len(refusals) == 4
    assert len({message.stamp for message in first.seen + second.seen}) == 1


# --- silence ----------------------------------------------------------------------------


def test_silence_is_a_timeout(connect, fake):
    fake.script = SILENT
    store = connect(fake, timeout=0.4)
    began = time.monotonic()

    with pytest.raises(Timeout) as of_get:
        store.get("key")
    with pytest.raises(Timeout) as of_put:
        store.put("key", "value")
    with pytest.raises(Timeout) as of_delete:
        store.delete("key")

    assert time.monotonic() - began < 20
    assert of_get.value.definite
    assert not of_put.value.definite
    assert not of_delete.value.definite


def test_a_port_that_accepts_and_never_speaks_is_a_timeout(connect):
    with socket.create_server(("127.0.0.1", 0)) as mute:
        endpoint = f"tcp://127.0.0.1:{mute.getsockname()[1]}"

        with pytest.raises(Timeout, match="connection") as raised:
            connect(endpoint, timeout=0.4).put("key", "value")

    assert raised.value.definite, "nothing was ever sent"


def test_a_silent_endpoint_is_left_for_the_next_with_the_same_write(connect, make_fake):
    silent, second = make_fake(), make_fake()
    silent.script = SILENT
    store = connect(silent, second, attempt_timeout=0.1, timeout=60)

    assert store.put("key", "value")

    tried, answered = silent.of(Put)[0], second.of(Put)[0]
    assert (tried.request, tried.stamp) == (answered.request, answered.stamp)
    assert answered.timeout_ms < tried.timeout_ms


def test_a_dead_endpoint_is_left_for_the_next(connect, fake, dead_endpoint):
    store = connect(dead_endpoint, fake, timeout=60)
    for _ in range(3):
        assert store.put("key", "value")
    assert len(fake.seen) == 3


def test_a_silent_endpoint_that_is_alone_is_asked_again(connect, fake):
    fake.script = once(fake, SILENT)

    assert connect(fake, attempt_timeout=0.1, timeout=60).put("key", "value")

    first, second = fake.of(Put)[:2]
    assert (first.request, first.stamp) == (second.request, second.stamp)


def test_a_coordinator_that_dies_mid_request_costs_its_client_nothing(connect, make_fake):
    first, second = make_fake(), make_fake()
    first.script = SILENT
    killer = threading.Thread(target=lambda: (wait_until(lambda: first.seen), first.die()))
    killer.start()

    assert connect(first, second, timeout=60, attempt_timeout=0.3).put("key", "value")

    killer.join()
    assert second.of(Put)


def test_a_coordinator_that_comes_back_is_found_again(connect, make_fake, free_port):
    first = make_fake(port=free_port)
    store = connect(first, timeout=60, attempt_timeout=0.2)
    store.put("key", "value")
    first.die()

    make_fake(port=free_port, store=first.store)

    assert store.get("key").value == b"value"


def test_after_silence_no_error_of_a_write_is_definite(connect, make_fake):
    silent, second = make_fake(), make_fake()
    silent.script, second.script = SILENT, error(Code.UNAVAILABLE, definite=True)
    store = connect(silent, second, attempt_timeout=0.1, timeout=60)

    with pytest.raises(Unavailable) as raised:
        store.put("key", "value")

    assert not raised.value.definite


# --- foreign, late and impossible replies -----------------------------------------------


@pytest.mark.parametrize(
    "garbage",
    [
        lambda message: b"garbage",
        lambda message: b"",
        lambda message: encode([GetReply(message.request + 1, (b"another's",), b"", 2, 0)]),
        lambda message: encode([WriteReply(message.request, bytes(STAMP_BYTES), 2, 0)]),
        lambda message: encode([message]),
    ],
)
def test_what_is_no_reply_to_the_request_is_ignored(connect, fake, garbage):
    fake.store[b"key"] = (bytes(STAMP_BYTES), b"value")
    fake.script = once(fake, garbage)

    found = connect(fake, attempt_timeout=0.1, timeout=60).get("key")

    assert found.value == b"value"


def test_a_reply_with_an_impossible_stamp_is_ignored(connect, fake):
    fake.script = once(fake, lambda message: WriteReply(message.request, b"short", 2, 0))

    assert connect(fake, attempt_timeout=0.1, timeout=60).put("key", "value")

    assert len(fake.seen) >= 2


def test_a_late_reply_answers_no_other_request(connect, fake):
    store = connect(fake, timeout=60)
    store.put("a", "of a")
    store.put("b", "of b")
    fake.script = lambda message: HOLD
    with pytest.raises(Timeout):
        store.get("a", timeout=0.1)

    fake.script = fake.usual
    fake.release()

    assert store.get("b").value == b"of b"
    assert store.get("a").value == b"of a"


# --- clocks -----------------------------------------------------------------------------


def test_a_refused_clock_leaves_the_stamp_to_the_coordinator(connect, fake):
    fake.script = lambda message: (
        ErrorReply(message.request, Code.CLOCK_AHEAD, "an hour ahead", True)
        if message.stamp
        else fake.usual(message)
    )

    written = connect(fake, clock=SkewedClock(3600)).put("key", "value")

    refused, accepted = fake.of(Put)
    assert accepted.stamp is None
    assert refused.request != accepted.request
    assert refused._replace(request=0, stamp=None, timeout_ms=0) == accepted._replace(
        request=0, timeout_ms=0
    )
    assert fake.store[b"key"] == (written.stamp, b"value")


def behind(message):
    return ErrorReply(message.request, Code.CLOCK_BEHIND, "3600.0 s behind the clock of n1", True)


def test_a_clock_that_most_nodes_find_far_behind_fails_the_write_definitely(connect, make_fake):
    first, second, third = make_fake(), make_fake(), make_fake()
    first.script = second.script = third.script = behind
    store = connect(first, second, third, timeout=60, clock=SkewedClock(-3600))

    with pytest.raises(BadRequest, match=r"behind the clock of n1.*set the clock") as raised:
        store.put("key", "value")

    assert raised.value.definite
    assert [len(each.seen) for each in (first, second, third)] == [2, 1, 0]


def test_one_node_whose_clock_is_ahead_is_passed_over(connect, make_fake):
    first, second, third = make_fake(), make_fake(), make_fake()
    first.script = behind
    store = connect(first, second, third, timeout=60)

    written = store.put("key", "value")

    assert first.seen[1].stamp == second.seen[0].stamp == written.stamp
    assert first.seen[0].stamp < written.stamp


def test_a_write_that_has_waited_too_long_is_stamped_again(connect, fake):
    fake.script = lambda message: behind(message) if len(fake.seen) == 1 else fake.usual(message)

    connect(fake).put("key", "value")

    old, new = fake.of(Put)
    assert old.stamp < new.stamp
    assert old.request != new.request


def test_a_write_without_a_stamp_is_not_sent_twice(connect, make_fake):
    first, second = make_fake(), make_fake()
    first.script = lambda message: (
        ErrorReply(message.request, Code.CLOCK_AHEAD, "ahead", True) if message.stamp else None
    )
    store = connect(first, second, timeout=1.5, attempt_timeout=0.5)

    with pytest.raises(Timeout) as raised:
        store.put("key", "value")

    assert not raised.value.definite
    assert len(first.seen) == 2
    assert second.seen == []


def test_a_lagging_clock_loses_no_write(connect, fake):
    written = connect(fake).put("key", "older")

    # The slow client has never seen the key, so only the store can tell it.
    assert connect(fake, clock=SkewedClock(-60)).put("key", "newer").stamp > written.stamp

    refused, accepted = fake.of(Put)[1:]
    assert refused.stamp < written.stamp < accepted.stamp
    assert refused.request != accepted.request
    assert connect(fake).get("key").value == b"newer"


def test_a_delete_is_put_anew_as_well(connect, fake):
    connect(fake).put("key", "older")

    connect(fake, clock=SkewedClock(-60)).delete("key")

    assert len(fake.of(Delete)) == 2
    assert connect(fake).get("key") is None


def test_what_a_client_has_read_its_writes_come_after(connect, fake):
    written = connect(fake).put("key", "older")
    slow = connect(fake, clock=SkewedClock(-60))

    slow.get("key")

    assert slow.put("key", "newer").stamp > written.stamp
    assert len(fake.of(Put)) == 2, "the first stamp was good"


class BrokenClock(SkewedClock):
    """A clock that fails in one of its methods, or mints no stamps."""

    def __init__(self, fails: str) -> None:
        super().__init__(0)
        self._fails = fails

    def mint(self) -> bytes:
        if self._fails == "mint":
            raise ZeroDivisionError("tick")
        return b"no stamp" if self._fails == "stamp" else super().mint()

    def merge(self, stamp: bytes) -> None:
        if self._fails == "merge":
            raise ValueError("tock")
        super().merge(stamp)


@pytest.mark.parametrize(
    ("fails", "told"),
    [("mint", "ZeroDivisionError: tick"), ("stamp", "20 bytes"), ("merge", "tock")],
)
def test_a_clock_that_fails_is_told_of_to_whoever_it_concerns(connect, fake, fails, told):
    store = connect(fake, clock=BrokenClock(fails))

    with pytest.raises(ToystoreError, match=told) as raised:
        store.put("key", "value")

    assert raised.value.definite is not bool(fake.seen)
    assert store.get("other") is None


def test_a_context_puts_the_write_above_what_it_has_seen(connect, fake):
    seen = connect(fake).put("other", "value").context

    connect(fake, clock=SkewedClock(-60)).put("key", "value", context=seen)

    put = fake.of(Put)[1]
    assert put.context == seen
    assert put.stamp > unpack_context(seen)


def test_all_clients_of_a_process_stamp_in_order(connect, fake):
    first, second = connect(fake), connect(fake)

    stamps = [store.put("key", "value").stamp for _ in range(20) for store in (first, second)]

    assert stamps == sorted(set(stamps))
    assert len({unpack_stamp(stamp).minter for stamp in stamps}) == 1


# --- many at once -----------------------------------------------------------------------


def test_many_are_answered_key_by_key(connect, fake):
    store = connect(fake)

    written = store.put_many({"a": "1", b"b": b"2", "bad": 3, "": "4", 5: "x"}, errors="return")
    found = store.get_many(["a", b"b", "missing", 7, "a", ""], errors="return")

    assert list(written) == ["a", b"b", "bad", "", 5]
    assert isinstance(written["a"], Written)
    assert isinstance(written[b"b"], Written)
    assert all(isinstance(written[key], BadRequest) for key in ("bad", "", 5))
    assert list(found) == ["a", b"b", "missing", 7, ""]
    assert (found["a"].value, found[b"b"].value) == (b"1", b"2")
    assert found["missing"] is None
    assert "int" in str(found[7])


def test_no_key_is_no_request(connect, fake):
    store = connect(fake)
    assert store.get_many([]) == {}
    assert store.put_many({}) == {}
    assert fake.seen == []


def test_one_keys_error_does_not_spoil_the_rest(connect, fake):
    fake.script = lambda message: (
        ErrorReply(message.request, Code.UNAVAILABLE, "no", True)
        if message.key == b"3"
        else fake.usual(message)
    )

    written = connect(fake).put_many({str(key): "value" for key in range(10)}, errors="return")

    assert isinstance(written.pop("3"), Unavailable)
    assert all(isinstance(answer, Written) for answer in written.values())


def test_many_share_frames_within_bounds(connect, fake):
    store = connect(fake, timeout=60, attempt_timeout=60)

    store.put_many({f"key{number}": "value" for number in range(3000)})
    small = list(fake.frames)
    store.put_many({f"key{number}": bytes(200_000) for number in range(9)})

    assert sum(small) == 3000
    assert max(small) == 256
    assert max(fake.frame_bytes) < 512 * 1024 + 1000
    assert len(store.get_many(f"key{number}" for number in range(3000))) == 3000


def test_many_may_be_answered_in_any_order(connect, fake):
    keys = [str(key) for key in range(20)]
    store = connect(fake, timeout=60)
    store.put_many({key: key for key in keys})
    fake.script = lambda message: HOLD if int(message.key) % 2 else fake.usual(message)
    helper = threading.Thread(
        target=lambda: (wait_until(lambda: len(fake.of(Get)) == 20), fake.release())
    )
    helper.start()

    found = store.get_many(keys)

    helper.join()
    assert {key: answer.value for key, answer in found.items()} == {k: k.encode() for k in keys}


def test_many_are_retried_each_with_its_own_stamp(connect, make_fake):
    silent, second = make_fake(), make_fake()
    silent.script = SILENT
    store = connect(silent, second, attempt_timeout=1, timeout=60)

    written = store.put_many({str(key): "value" for key in range(60)})

    assert all(isinstance(answer, Written) for answer in written.values())
    stamps = {message.key: message.stamp for message in silent.seen}
    assert len(set(stamps.values())) == 60
    assert {message.key: message.stamp for message in second.seen} == stamps


def test_a_timeout_of_many_is_each_keys_own(connect, fake):
    fake.script = lambda message: None if message.key == b"3" else fake.usual(message)

    found = connect(fake, timeout=0.4).get_many([str(key) for key in range(10)], errors="return")

    assert isinstance(found.pop("3"), Timeout)
    assert set(found.values()) == {None}


def test_a_dead_cluster_answers_many_too(connect, dead_endpoint):
    found = connect(dead_endpoint, timeout=60).get_many(["a", "b"], errors="return")
    assert [type(answer) for answer in found.values()] == [Unavailable, Unavailable]
    assert all(answer.definite for answer in found.values())


@pytest.mark.parametrize("call", ["get_many", "put_many"])
def test_every_key_is_tried_and_then_one_error_holds_all_answers(connect, fake, call):
    fake.script = lambda message: (
        ErrorReply(message.request, Code.UNAVAILABLE, "cut off", False)
        if message.key == b"3"
        else fake.usual(message)
    )
    items = {str(key): "value" for key in range(10)}

    with pytest.raises(
        ManyFailed, match="1 of 10 keys failed: '3': Unavailable: cut off"
    ) as raised:
        getattr(connect(fake), call)(items)

    assert raised.value.definite is (call == "get_many")
    assert list(raised.value.answers) == list(items)
    assert [type(error) for error in raised.value.errors.values()] == [Unavailable]
    assert len(fake.seen) == 10
    again = pickle.loads(pickle.dumps(raised.value))
    assert (str(again), again.answers.keys()) == (str(raised.value), items.keys())


def test_many_keys_that_stand_in_line_have_their_time_from_their_turn(connect, fake):
    def script(message):
        time.sleep(0.0003)
        return fake.usual(message)

    fake.script = script
    store = connect(fake, timeout=0.5)

    assert len(store.put_many({f"key{number}": "value" for number in range(2500)})) == 2500


def test_keys_that_stand_in_line_end_when_nothing_is_answered(connect, fake):
    fake.script = SILENT
    store = connect(fake, timeout=0.5)
    began = time.monotonic()

    with pytest.raises(ManyFailed) as raised:
        store.put_many({f"key{number}": "value" for number in range(5000)})

    assert time.monotonic() - began < 20
    errors = raised.value.errors.values()
    assert {type(error) for error in errors} == {Timeout}
    sent = {message.key for message in fake.seen}
    assert sum(error.definite for error in errors) == 5000 - len(sent), "what was never sent"
