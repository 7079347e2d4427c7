"""The table of messages is whole, and a machine that fails can still answer."""

import types
from typing import Any, get_args, get_origin, get_type_hints

import pytest

from toystore.core.protocol.address import COORDINATOR, GOSSIP, HANDOFF, STORAGE
from toystore.core.protocol.failures import internal_reply
from toystore.core.protocol.messages import Message
from toystore.core.protocol.messages.client import ErrorReply, Get, Put, WriteReply
from toystore.core.protocol.messages.codes import Code, ReplicaStatus
from toystore.core.protocol.messages.gossip import (
    CompareSettings,
    DescribeNode,
    Exchange,
    ExchangeReply,
    Ping,
)
from toystore.core.protocol.messages.hints import DeliverHints
from toystore.core.protocol.messages.local import Leave, LinkLost, LinkRefused, SendFailed
from toystore.core.protocol.roles import ACTORS
from toystore.core.protocol.routes import ANYONE, CLIENT, WIRE, Way, by_way, taken_by


def sample(annotation: Any) -> Any:
    """A value that fits ``annotation``; every number in it is 42."""
    if isinstance(annotation, type) and issubclass(annotation, tuple):
        return annotation(*map(sample, get_type_hints(annotation).values()))
    if isinstance(annotation, types.UnionType):
        return sample(get_args(annotation)[0])
    if get_origin(annotation) is tuple:
        return tuple(sample(inner) for inner in get_args(annotation) if inner is not Ellipsis)
    return 42 if annotation is int else (get_origin(annotation) or annotation)()


def asks(message_type: type[Any]) -> bool:
    """Whether somebody waits, under a request number, for the answer to such a message."""
    return "request" in message_type._fields and not message_type.__name__.endswith("Reply")


def test_no_tag_and_no_type_stands_twice_in_the_table():
    assert len({route.tag for route in WIRE}) == len(WIRE)
    assert len({route.type for route in WIRE}) == len(WIRE)


LOCAL = {SendFailed, LinkRefused, Leave}
"""What a shell makes for its own machine."""


def test_every_message_that_is_sent_has_a_row_in_the_table():
    assert {route.type for route in WIRE} == set(get_args(Message)) - LOCAL


def test_every_message_goes_to_an_actor_to_clients_or_to_anyone():
    assert {route.to for route in WIRE} <= {*ACTORS, CLIENT, ANYONE}


def test_an_actor_takes_what_is_routed_to_it_and_what_is_for_anyone():
    assert Get in taken_by(COORDINATOR)
    assert Get not in taken_by(STORAGE)
    assert all(LinkLost in taken_by(actor) for actor in ACTORS)


def test_a_coordinator_takes_the_replies_to_what_it_forwarded():
    assert WriteReply in taken_by(COORDINATOR)
    assert not any(WriteReply in taken_by(actor) for actor in (GOSSIP, STORAGE, HANDOFF))


def test_gossip_travels_by_datagram_but_exchanges_by_link_a_type_to_a_frame():
    pings = [Ping(1, ()), Ping(2, ())]
    exchange, settings, reply = (
        Exchange(3, (), "run"),
        CompareSettings({}),
        ExchangeReply(4, (), "run"),
    )

    parts = by_way([pings[0], exchange, settings, pings[1], reply])

    assert parts == [
        (Way.ASK, [exchange]),
        (Way.ASK, [settings]),
        (Way.ANSWER, [reply]),
        (Way.DATAGRAM, pings),
    ]


@pytest.mark.parametrize("route", WIRE, ids=lambda route: route.type.__name__)
def test_whoever_waits_for_an_answer_gets_one_when_the_machine_fails(route):
    reply = internal_reply(sample(route.type), "it broke")

    # Whoever joins tries the next seed: an exchange has no use for an error.  A member that is
    # asked which process it is, is asked again.
    if asks(route.type) and route.type not in (Exchange, DescribeNode):
        assert type(reply).__name__.endswith("Reply")
        assert reply.request == 42
    else:
        assert reply is None


def test_a_put_that_failed_inside_is_indefinite_and_a_get_definite():
    put, get = (internal_reply(sample(kind), "it broke") for kind in (Put, Get))

    assert put == ErrorReply(42, Code.INTERNAL, "it broke", definite=False)
    assert get == ErrorReply(42, Code.INTERNAL, "it broke", definite=True)


def test_every_hint_of_a_failed_delivery_is_answered():
    hints = ((b"digest", b"record"),) * 3

    reply = internal_reply(DeliverHints(42, hints), "it broke")

    assert reply.statuses == (ReplicaStatus.INTERNAL,) * 3
