"""The client's machine, told the time and the replies by hand."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toystore.client.attempts import CONNECT_S, FRAME_BYTES_MAX, PAUSE_S
from toystore.client.call import Calls
from toystore.client.endpoints import SHUN_S
from toystore.client.errors import BadRequest, Timeout, ToystoreError, Unavailable
from toystore.client.machine import ClientMachine
from toystore.client.request import DONE, PAUSED, SENT, WAITING, GetRequest, PutRequest, Terms
from toystore.core.data.stamp import pack_stamp
from toystore.core.protocol.messages.client import (
    ErrorReply,
    Get,
    GetReply,
    Put,
    SupersededReply,
    WriteReply,
)
from toystore.core.protocol.messages.codes import Code
from toystore.wire import decode, encode

from .fake import SkewedClock

ENDPOINTS = ("tcp://a:1", "tcp://b:1", "tcp://c:1")
TERMS = Terms("default", None, 4.0, 1.0)
CLOCK = SkewedClock(0)


def a_machine(endpoints: int = 3, in_flight_max: int = 100) -> ClientMachine:
    return ClientMachine(ENDPOINTS[:endpoints], CLOCK, in_flight_max)


def a_get(now: float = 0.0, terms: Terms = TERMS) -> GetRequest:
    return GetRequest(terms, now, b"key")


def a_put(now: float = 0.0) -> PutRequest:
    return PutRequest(TERMS, now, b"key", b"value", context=b"", clock=CLOCK)


def sent(machine: ClientMachine, endpoint: int, now: float) -> list:
    """What leaves for an endpoint, if it is connected."""
    frames: list[bytes] = []
    machine.flush(endpoint, lambda frame: frames.append(frame) or True, now)
    return [message for frame in frames for message in decode(frame).messages]


def found(request) -> bytes:
    return encode([GetReply(request.id, (b"value",), b"", 2, 0)])


def refused(request, code: Code, definite: bool = True) -> bytes:
    return encode([ErrorReply(request.id, code, "no", definite)])


def test_an_endpoint_without_a_connection_is_left_soon_while_there_are_others():
    machine, request = a_machine(), a_get()
    machine.begin(request, 0.0)

    visited = []
    for _ in range(4):
        visited.append((request.endpoint, machine.next_deadline()))
        machine.on_deadline(machine.next_deadline())

    at = [pytest.approx(step * CONNECT_S) for step in (1, 2, 3)]
    assert visited[:3] == [(0, at[0]), (1, at[1]), (2, at[2])]
    assert visited[3][0] == 0
    assert visited[3][1] == pytest.approx(3 * CONNECT_S + TERMS.attempt_s), "they may be far away"


def test_an_endpoint_that_is_alone_has_the_whole_time_to_connect():
    machine, request = a_machine(endpoints=1), a_get()
    machine.begin(request, 0.0)
    assert machine.next_deadline() == TERMS.timeout_s


def test_an_attempt_lasts_from_its_sending():
    machine, request = a_machine(), a_get()
    machine.begin(request, 0.0)

    sent(machine, 0, 0.1)

    assert request.due == 0.1 + TERMS.attempt_s


def test_the_patience_told_to_a_coordinator_is_what_is_left():
    machine, request = a_machine(endpoints=1), a_get()
    machine.begin(request, 0.0)

    (first,) = sent(machine, 0, 0.5)
    machine.on_deadline(1.5)
    (second,) = sent(machine, 0, 1.75)

    assert (first.timeout_ms, second.timeout_ms) == (3500, 2250)
    assert first.request == second.request


def test_no_attempt_outlasts_the_request():
    machine, request = a_machine(), a_put()
    machine.begin(request, 0.0)
    while request.stage != DONE:
        sent(machine, request.endpoint, machine.next_deadline() - 0.01)
        machine.on_deadline(machine.next_deadline())
    assert request.due == TERMS.timeout_s
    assert isinstance(request.outcome, Timeout)


def test_new_requests_follow_to_the_endpoint_that_answers():
    machine, request = a_machine(), a_get()
    machine.begin(request, 0.0)
    machine.on_deadline(CONNECT_S)

    later = a_get(CONNECT_S)
    machine.begin(later, CONNECT_S)

    assert later.endpoint == request.endpoint == 1


def test_an_endpoint_that_failed_is_passed_over_for_a_while():
    machine, request = a_machine(), a_get()
    machine.begin(request, 0.0)
    machine.on_deadline(CONNECT_S)

    turns = []
    for _ in range(4):
        machine.rotate(CONNECT_S)
        turns.append(machine.preferred)
    machine.rotate(CONNECT_S + SHUN_S)
    machine.rotate(CONNECT_S + SHUN_S)

    assert turns == [2, 1, 2, 1]
    assert machine.preferred == 0


def test_an_endpoint_that_is_heard_from_is_used_again():
    machine, request = a_machine(), a_get()
    machine.begin(request, 0.0)
    sent(machine, 0, 0.0)
    machine.on_deadline(TERMS.attempt_s)

    machine.receive(found(request), 0, TERMS.attempt_s)
    machine.rotate(TERMS.attempt_s)
    machine.rotate(TERMS.attempt_s)

    assert machine.preferred == 0


def test_a_late_reply_is_as_good_as_a_prompt_one():
    machine, request = a_machine(), a_get()
    machine.begin(request, 0.0)
    sent(machine, 0, 0.0)
    machine.on_deadline(TERMS.attempt_s)

    machine.receive(found(request), 0, 1.2)

    assert request.outcome.value == b"value"
    assert sent(machine, 1, 1.2) == [], "nothing more to ask"


def test_a_late_error_of_an_earlier_attempt_does_not_end_the_present_one():
    machine, request = a_machine(), a_get()
    machine.begin(request, 0.0)
    sent(machine, 0, 0.0)
    machine.on_deadline(TERMS.attempt_s)
    sent(machine, 1, 1.1)

    machine.receive(refused(request, Code.TIMEOUT), 0, 1.2)

    assert request.stage == SENT
    machine.receive(found(request), 1, 1.3)
    assert request.outcome.value == b"value"


def test_a_reply_of_the_stamp_before_does_not_acknowledge_the_write_put_anew():
    machine, request = a_machine(), a_put()
    machine.begin(request, 0.0)
    (first,) = sent(machine, 0, 0.0)
    machine.on_deadline(TERMS.attempt_s)
    sent(machine, 1, 1.0)
    newer = pack_stamp(2**62, 0, b"stranger")
    machine.receive(encode([SupersededReply(request.id, newer)]), 1, 1.1)

    machine.receive(encode([WriteReply(first.request, first.stamp, 2, 0)]), 0, 1.2)

    assert request.stage == WAITING
    (anew,) = sent(machine, 1, 1.2)
    assert anew.stamp > newer
    assert anew.request != first.request


def a_put_anew():
    """A machine and its put, which was superseded and has been sent again."""
    machine, request = a_machine(), a_put()
    machine.begin(request, 0.0)
    sent(machine, 0, 0.0)
    machine.receive(encode([SupersededReply(request.id, request.stamp)]), 0, 0.1)
    sent(machine, 0, 0.1)
    return machine, request


def test_a_superseded_write_may_have_been_seen():
    machine, request = a_put_anew()

    for endpoint in (0, 1):
        machine.receive(refused(request, Code.UNAVAILABLE), endpoint, 0.2)
        sent(machine, 1, 0.2)

    assert isinstance(request.outcome, Unavailable)
    assert not request.outcome.definite


def test_a_write_that_may_still_happen_under_its_stamp_is_not_put_without_one():
    """Found by simulation: refused for its stamp by the second node that it was put to, it was
    acknowledged under a lower one, and rose again when the first node came to it."""
    machine, request = a_machine(), a_put()
    machine.begin(request, 0.0)
    (first,) = sent(machine, 0, 0.0)
    machine.on_deadline(TERMS.attempt_s)
    sent(machine, 1, 1.1)

    machine.receive(refused(request, Code.CLOCK_AHEAD), 1, 1.2)

    (third,) = sent(machine, 2, 1.2)
    assert third.stamp == first.stamp
    for endpoint in (2, 0):
        machine.receive(refused(request, Code.CLOCK_AHEAD), endpoint, 1.3)
        sent(machine, 0, 1.3)
    assert request.stage == PAUSED
    machine.on_deadline(100.0)
    assert isinstance(request.outcome, Unavailable)
    assert not request.outcome.definite


def test_a_stamp_that_nobody_else_can_have_is_given_up_when_it_is_refused():
    machine, request = a_put_anew()

    machine.receive(refused(request, Code.CLOCK_AHEAD), 0, 0.2)

    (anew,) = sent(machine, 0, 0.2)
    assert anew.stamp is None


def test_when_all_refuse_there_is_a_pause_before_the_next_round():
    machine, request = a_machine(), a_get()
    machine.begin(request, 0.0)

    for endpoint in range(3):
        assert len(sent(machine, endpoint, 0.0)) == 1
        machine.receive(refused(request, Code.NOT_SERVING), endpoint, 0.0)

    assert request.stage == PAUSED
    assert request.due == PAUSE_S
    machine.on_deadline(PAUSE_S)
    assert (request.stage, request.endpoint) == (WAITING, 0)


def test_when_nobody_serves_in_time_it_is_unavailable_and_nothing_was_done():
    machine, request = a_machine(), a_put()
    machine.begin(request, 0.0)
    for endpoint in range(3):
        sent(machine, endpoint, 0.0)
        machine.receive(refused(request, Code.NOT_SERVING), endpoint, 0.0)

    machine.on_deadline(100.0)

    assert isinstance(request.outcome, Unavailable)
    assert "no endpoint would take it: no" in str(request.outcome)
    assert request.outcome.definite


def test_an_old_stamp_that_may_still_happen_is_kept_until_the_time_is_over():
    machine, request = a_machine(), a_put()
    machine.begin(request, 0.0)
    (first,) = sent(machine, 0, 0.0)
    machine.on_deadline(TERMS.attempt_s)

    for endpoint in (1, 2, 0):
        (again,) = sent(machine, endpoint, 1.1)
        assert again.stamp == first.stamp
        machine.receive(refused(request, Code.CLOCK_BEHIND), endpoint, 1.2)
    assert request.stage == PAUSED
    machine.on_deadline(100.0)
    assert isinstance(request.outcome, Unavailable)
    assert not request.outcome.definite


def test_overload_may_have_happened_if_it_says_so():
    machine, request = a_machine(), a_put()
    machine.begin(request, 0.0)
    sent(machine, 0, 0.0)
    machine.receive(refused(request, Code.OVERLOADED, definite=False), 0, 0.1)
    sent(machine, 1, 0.1)

    machine.receive(refused(request, Code.UNAVAILABLE), 1, 0.2)

    assert not request.outcome.definite


def test_beyond_its_bound_requests_wait_for_room_in_order():
    machine = a_machine(in_flight_max=2)
    requests = [a_get() for _ in range(4)]
    for request in requests:
        machine.begin(request, 0.0)

    assert [m.request for m in sent(machine, 0, 0.0)] == [requests[0].id, requests[1].id]
    machine.receive(found(requests[1]), 0, 0.1)
    assert [m.request for m in sent(machine, 0, 0.1)] == [requests[2].id]
    machine.abandon(requests[0], 0.2)
    assert [m.request for m in sent(machine, 0, 0.2)] == [requests[3].id]


def test_a_request_that_never_had_room_times_out_definitely():
    machine = a_machine(endpoints=1, in_flight_max=1)
    first, second = a_put(), a_put()
    machine.begin(first, 0.0)
    machine.begin(second, 0.0)
    sent(machine, 0, 0.0)

    machine.on_deadline(TERMS.timeout_s)

    assert (first.outcome.definite, second.outcome.definite) == (False, True)
    assert machine.next_deadline() is None or not machine.busy


@pytest.mark.parametrize(("endpoints", "cuts"), [(1, 2), (2, 2), (3, 3)])
def test_a_large_write_that_every_endpoint_cuts_off_is_too_large(endpoints, cuts):
    machine = a_machine(endpoints)
    value = bytes(FRAME_BYTES_MAX)
    request = PutRequest(TERMS, 0.0, b"key", value, context=b"", clock=CLOCK)
    machine.begin(request, 0.0)

    for cut in range(1, cuts + 1):
        assert request.stage == WAITING
        at = request.endpoint
        machine.on_connected(at)
        assert len(sent(machine, at, 0.0)) == 1
        machine.on_disconnected(at, "the connection was lost", 0.0, certain=False)
        assert request.stage == (DONE if cut == cuts else WAITING)

    assert isinstance(request.outcome, BadRequest)
    assert not request.outcome.definite


def test_what_is_abandoned_is_not_sent():
    machine, request = a_machine(), a_get()
    machine.begin(request, 0.0)
    machine.abandon(request, 0.0)
    assert sent(machine, 0, 0.0) == []
    assert not machine.busy


def test_closing_ends_every_request_and_says_which_may_have_happened():
    machine = a_machine(in_flight_max=2)
    requests = [a_put(), a_get(), a_put()]
    for request in requests:
        machine.begin(request, 0.0)
    sent(machine, 0, 0.0)

    machine.end("the client was closed", 0.1)

    assert machine.finished == requests
    assert [request.outcome.definite for request in requests] == [False, True, True]


def test_what_could_not_be_sent_waits_to_be_offered_again():
    machine, request = a_machine(), a_get()
    machine.begin(request, 0.0)

    machine.flush(0, lambda frame: False, 0.0)

    assert request.stage == WAITING
    assert [type(message) for message in sent(machine, 0, 0.0)] == [Get]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), endpoints=st.integers(1, 3), room=st.integers(1, 8))
def test_whatever_happens_every_request_ends_once_and_in_time(seed, endpoints, room):
    chance = random.Random(seed)
    machine = a_machine(endpoints, in_flight_max=room)
    calls = Calls(ENDPOINTS[:endpoints], 2.0, None, "default", CLOCK)
    begun, done, now = [], [], 0.0
    mailbox: list[tuple[int, object]] = []
    while now < 8.0:
        now += chance.expovariate(20)
        if now < 3.0 and chance.random() < 0.5:
            terms = calls.terms(None, None, None, chance.choice([0.2, 2.0, None]))
            request = a_get(now, terms) if chance.random() < 0.5 else a_put(now)
            begun.append(request)
            machine.begin(request, now)
        if chance.random() < 0.1 and begun:
            gone = chance.choice(begun)
            if gone.stage != DONE:
                begun.remove(gone)
                machine.abandon(gone, now)
        endpoint = chance.randrange(endpoints)
        if chance.random() < 0.7:
            messages = sent(machine, endpoint, now)
            mailbox += [(endpoint, m) for m in messages if chance.random() < 0.7]
        if mailbox and chance.random() < 0.8:
            at, message = mailbox.pop(chance.randrange(len(mailbox)))
            machine.receive(encode([some_reply(message, chance)]), at, now)
        due = machine.next_deadline()
        if due is not None and due <= now:
            machine.on_deadline(now)
        done += machine.finished
        late = [request for request in machine.finished if now > request.deadline + 1.0]
        assert not late
        machine.finished.clear()
        for at, waiting in machine.waiting.items():
            assert all((r.stage, r.endpoint) == (WAITING, at) for r in waiting.values())
    machine.on_deadline(now)
    done += machine.finished
    assert sorted(map(id, done)) == sorted(map(id, begun))
    assert all(request.outcome.definite for request in done if erred_reading(request))
    assert not machine.busy


def erred_reading(request) -> bool:
    return not request.writes and isinstance(request.outcome, ToystoreError)


def some_reply(message, chance: random.Random):
    """Any reply that a coordinator may give."""
    if chance.random() < 0.5:
        return ErrorReply(message.request, chance.randint(1, 8), "no", chance.random() < 0.5)
    if isinstance(message, Put):
        stamp = message.stamp or pack_stamp(1, 0, b"fakefake")
        kind = chance.choice([SupersededReply, WriteReply])
        return kind(message.request, stamp, *((2, 0) if kind is WriteReply else ()))
    return GetReply(message.request, (), b"", 2, 0)
