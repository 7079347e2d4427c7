"""The wire: what is sent arrives, and what is not a frame raises `FrameError` and nothing else."""

import tracemalloc
import types
from typing import Any, get_args, get_origin, get_type_hints

import msgpack
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from toystore.core.protocol.address import Peer
from toystore.core.protocol.messages.client import (
    Get,
    GetReply,
    OwnersReply,
    Put,
    RingLoadReply,
    Status,
    StatusReply,
)
from toystore.core.protocol.messages.gossip import Exchange, MemberState
from toystore.core.protocol.messages.hints import CountHints, DeliverHints
from toystore.core.protocol.messages.local import MembersChanged
from toystore.core.protocol.messages.replica import WriteReplica
from toystore.core.protocol.routes import WIRE
from toystore.core.protocol.settings import ARRAY_ITEMS_CAP
from toystore.core.ring.cluster_id import ClusterId
from toystore.wire import (
    ARRAYS_MAX,
    VERSION,
    Frame,
    FrameError,
    Header,
    VersionError,
    decode,
    encode,
    encode_bounded,
    request_numbers,
)

PLAIN = {
    int: st.integers(-(2**63), 2**64 - 1),
    str: st.text(max_size=8),
    bytes: st.binary(max_size=8),
    bool: st.booleans(),
    types.NoneType: st.none(),
}
# Whatever msgpack can say.  Arrays arrive as tuples.
ANYTHING = st.recursive(
    st.one_of(*PLAIN.values(), st.floats(allow_nan=False)),
    lambda inner: (
        st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)


def values(annotation: Any) -> st.SearchStrategy[Any]:
    """Values that fit ``annotation``."""
    if annotation in PLAIN:
        return PLAIN[annotation]
    if isinstance(annotation, types.UnionType):
        return st.one_of(*map(values, get_args(annotation)))
    if get_origin(annotation) is dict:
        return st.dictionaries(PLAIN[str], ANYTHING, max_size=3)
    if get_origin(annotation) is tuple:
        inner = get_args(annotation)
        if inner[-1] is Ellipsis:
            return st.lists(values(inner[0]), max_size=3).map(tuple)
        return st.tuples(*map(values, inner))
    fields = get_type_hints(annotation).items()
    return st.builds(annotation, **{name: values(hint) for name, hint in fields})


MESSAGES = st.one_of([values(route.type) for route in WIRE])
HEADERS = st.none() | values(Header)
HEADER = Header(
    Peer("n1", "storage"),
    ClusterId("ten_nodes", b"lineage of 16 b.", 0, b"digest of 16 b..", b"nameN"),
)
GET = Get(7, "default", b"cart:7", 2, 2000)


def frame(*message: Any) -> bytes:
    """A frame with one message, which may be anything."""
    tag, *fields = message
    return msgpack.packb([VERSION, [[tag, fields]]])


# --- what is sent arrives ---------------------------------------------------------------


@pytest.mark.parametrize("route", WIRE, ids=lambda route: route.type.__name__)
def test_every_message_arrives_as_it_was_sent(route):
    @settings(max_examples=15)
    @given(values(route.type))
    def arrives(message):
        arrived = decode(encode([message])).messages

        assert arrived == [message]
        # Tuples are equal whatever their class: the names must be those sent as well.
        assert repr(arrived) == repr([message])

    arrives()


@given(st.lists(MESSAGES, max_size=5), HEADERS)
def test_messages_keep_their_order_and_their_header(messages, header):
    assert decode(encode(messages, header)) == Frame(messages, header)


@given(st.lists(MESSAGES, max_size=5), st.integers(0, 2**64 - 1))
def test_a_frame_for_a_client_names_the_epoch(messages, epoch):
    assert decode(encode(messages, None, epoch)) == Frame(messages, None, epoch)
    assert [frame for frame, _ in encode_bounded(messages, None, 2**30, epoch)] == [
        encode(messages, None, epoch)
    ]


@given(st.lists(MESSAGES, min_size=1, max_size=8), HEADERS, st.integers(0, 400))
def test_frames_are_cut_at_the_bound_but_for_lone_messages(messages, header, bytes_max):
    frames = list(encode_bounded(messages, header, bytes_max))

    assert all(len(data) <= bytes_max or len(carried) == 1 for data, carried in frames)
    assert all(decode(data) == Frame(carried, header) for data, carried in frames)
    assert [message for _, carried in frames for message in carried] == messages


def test_no_frame_has_more_messages_than_one_may():
    count = ARRAY_ITEMS_CAP + 1

    frames = list(encode_bounded([Status(1)] * count, None, 2**30))

    assert sum(len(decode(data).messages) for data, _ in frames) == count
    assert len(frames) == 2


@pytest.mark.parametrize(
    "body",
    [
        b"\x92\x02\xdd" + (2**20).to_bytes(4, "big") + bytes(2**20),
        b"\x92\x02\xdc\xff\xff" + (b"\xdc\xff\xff" + b"\x80" * 65535) * 20,
        b"\x92\x02\xdf" + (2**20).to_bytes(4, "big") + bytes(2**21),
    ],
    ids=["a long array", "many maps", "a large map"],
)
def test_what_would_take_up_many_times_its_size_in_memory_is_no_frame(body):
    tracemalloc.start()
    try:
        with pytest.raises(FrameError, match="not msgpack"):
            decode(body)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert most < 100 * ARRAYS_MAX
    assert request_numbers(body) is None


@pytest.mark.parametrize("count", [ARRAYS_MAX // 17, ARRAYS_MAX // 17 + 10])
def test_of_a_large_frame_the_arrays_are_counted(count):
    """Fifteen hints to a message, each an array; the array of them; and the message itself."""
    hints = ((bytes(16), b""),) * 15
    data = encode([DeliverHints(1, hints)] * count)

    if count * 17 < ARRAYS_MAX:
        assert len(decode(data).messages) == count
    else:
        with pytest.raises(FrameError):
            decode(data)


def test_what_fits_leaves_in_one_frame():
    messages = [GET] * 100
    whole = encode(messages, HEADER)

    assert list(encode_bounded(messages, HEADER, len(whole))) == [(whole, messages)]
    assert len(list(encode_bounded(messages, HEADER, len(whole) - 1))) == 2


def test_nothing_to_say_is_cut_no_further():
    assert [carried for _, carried in encode_bounded([], HEADER, 0)] == [[]]


def run_lengths(data: bytes) -> list[int]:
    return [len(run) - 1 for run in msgpack.unpackb(data)[1]]


def test_consecutive_messages_of_one_type_share_a_run():
    messages = [GET, GET._replace(request=8), Status(1), GET, GET, GET]
    data = encode(messages, HEADER)

    assert run_lengths(data) == [2, 1, 3]
    assert decode(data).messages == messages


def test_a_frame_has_no_more_messages_in_several_runs_than_in_one():
    half = ARRAY_ITEMS_CAP // 2
    runs = [[TAG_OF[CountHints], *[[]] * half]] * 2

    assert len(decode(msgpack.packb([VERSION, runs])).messages) == 2 * half
    with pytest.raises(FrameError, match=f"more than {ARRAY_ITEMS_CAP} messages"):
        decode(msgpack.packb([VERSION, [*runs, [TAG_OF[Status], [1]]]]))


# --- what is not a frame ----------------------------------------------------------------


@given(st.binary(max_size=200))
def test_random_bytes_are_refused(data):
    with pytest.raises(FrameError):
        decode(data)


@given(ANYTHING | st.lists(ANYTHING, max_size=4))
def test_random_msgpack_is_refused(content):
    # A version and no messages are a frame.
    assume(msgpack.packb(content) != msgpack.packb([VERSION, []]))
    for one in (content, [VERSION, [content]], [VERSION, [[TAG_OF[Put], content]]]):
        with pytest.raises(FrameError):
            decode(msgpack.packb(one))


@settings(max_examples=300)
@given(st.lists(MESSAGES, min_size=1, max_size=2), HEADERS, st.data())
def test_a_mutated_frame_is_refused_or_is_another_sound_one(messages, header, data):
    mutated = bytearray(encode(messages, header))
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(mutated)))
        end = data.draw(st.integers(start, min(start + 3, len(mutated))))
        mutated[start:end] = data.draw(st.binary(max_size=3))

    try:
        accepted = decode(bytes(mutated))
    except FrameError:
        return
    # What is let in fits the annotations, so it can be sent on.
    assert repr(decode(encode(*accepted))) == repr(accepted)


def test_a_frame_cut_short_or_run_on_is_refused():
    data = encode([GET, MembersChanged(True, (MemberState("n1", 0, 1, ""),))], HEADER)

    for length in range(len(data)):
        with pytest.raises(FrameError):
            decode(data[:length])
    with pytest.raises(FrameError):
        decode(data + b"\x00")


@pytest.mark.parametrize("version", [VERSION + 1, 0, -1, 2**64 - 1])
@pytest.mark.parametrize("rest", [[[]], ["anything", {}], [[[1, "another", "shape"]]]])
def test_a_frame_of_another_version_is_told_apart_from_garbage(version, rest):
    with pytest.raises(VersionError, match=rf"protocol version {version}; this node speaks"):
        decode(msgpack.packb([version, *rest]))


@pytest.mark.parametrize(
    ("rest", "sender"),
    [
        ([[]], None),
        ([[], "n3"], "n3"),
        ([[[1, 2]], "n3", "gossip", "ten_nodes", bytes(16)], "n3"),
        ([[], None, "gossip"], None),
        ([[], ["n3"]], None),
    ],
)
def test_of_a_frame_of_another_version_the_node_that_sent_it_is_known(rest, sender):
    with pytest.raises(VersionError) as refusal:
        decode(msgpack.packb([1, *rest]))
    assert refusal.value.sender == sender


@pytest.mark.parametrize(
    "content",
    [None, 1, {}, [], [VERSION], [True, []], ["1", []], [[VERSION], []], [VERSION, None]],
    ids=repr,
)
def test_what_is_not_an_array_of_a_version_and_messages_is_refused(content):
    with pytest.raises(FrameError) as refusal:
        decode(msgpack.packb(content))
    assert type(refusal.value) is FrameError


@pytest.mark.parametrize(
    "header",
    [
        ["n1"],
        ["n1", "storage", "ten_nodes"],
        ["n1", "storage", "ten_nodes", b"digest"],
        ["n1", "storage", "ten_nodes", b"lineage", 0, b"digest", "a text"],
        ["n1", "storage", "ten_nodes", b"lineage", True, b"digest", b""],
        ["n1", None, "ten_nodes", b"lineage", 0, b"digest", b""],
        ["n1", "storage", "ten_nodes", b"lineage", 0, b"digest", b"", "more"],
    ],
    ids=repr,
)
def test_a_header_that_is_not_one_is_refused(header):
    with pytest.raises(FrameError, match="a header is node, actor, cluster, lineage, epoch"):
        decode(msgpack.packb([VERSION, [], *header]))


@pytest.mark.parametrize("raw", [None, 1, "Get", [], [8], {}, {"tag": 1}], ids=repr)
def test_what_is_not_a_run_is_refused(raw):
    with pytest.raises(FrameError, match="a run is an array of a tag and messages"):
        decode(msgpack.packb([VERSION, [raw]]))


@pytest.mark.parametrize("raw", [None, 1, "Get", b"fields", {}, {"tag": 1}], ids=repr)
@pytest.mark.parametrize("before", [0, 1, 9])
def test_what_is_not_a_message_is_refused(raw, before):
    with pytest.raises(FrameError, match="the fields of Status are not an array"):
        decode(msgpack.packb([VERSION, [[8, *[[1]] * before, raw]]]))


@pytest.mark.parametrize("tag", [0, 999, -1, True, None, "1", 1.0, [1], {"1": 1}], ids=repr)
def test_an_unknown_tag_is_refused(tag):
    with pytest.raises(FrameError, match="unknown message tag"):
        decode(frame(tag, *GET))


@pytest.mark.parametrize("route", WIRE, ids=lambda route: route.type.__name__)
def test_a_message_with_a_wrong_field_is_refused(route):
    @settings(max_examples=5)
    @given(values(route.type))
    def refused(message):
        fields = tuple(message)
        wrong = [
            (*fields, 1),
            *((*fields[:at], 0.5, *fields[at + 1 :]) for at in range(len(fields))),
        ]
        if fields:
            wrong.append(fields[:-1])
        for raw in wrong:
            for run in ([raw], [fields, raw], [raw, fields], [raw, raw], [*[fields] * 8, raw]):
                with pytest.raises(
                    FrameError, match=f"the fields of {route.type.__name__} cannot be"
                ):
                    decode(msgpack.packb([VERSION, [[route.tag, *run]]]))

    refused()


TAG_OF = {route.type: route.tag for route in WIRE}
SOUND = {
    GetReply: GetReply(1, (), b"", 1, 0),
    OwnersReply: OwnersReply(1, 7, (), ()),
    RingLoadReply: RingLoadReply(1, 8, ()),
    Exchange: Exchange(1, (), "run"),
    StatusReply: StatusReply(1, {}),
}
"""Messages with nothing inside."""


@pytest.mark.parametrize(
    ("message_type", "fields"),
    [
        (GetReply, (1, [b"value", "a text"], b"", 1, 0)),
        (OwnersReply, (1, 7, ["n1", b"n2"], [])),
        (RingLoadReply, (1, 8, [["n1", 3]])),
        (RingLoadReply, (1, 8, [["n1", 3, None]])),
        (RingLoadReply, (1, 8, ["n1"])),
        (Exchange, (1, [["n1", 0, 1]], "run")),
        (Exchange, (1, [["n1", 0, True, "disk", []]], "run")),
        (Exchange, (1, [["n1", 0, 1, "disk", "n2"]], "run")),
        (Exchange, (1, [["n1", 0, 1, "disk", ["n2", 3]]], "run")),
        (Exchange, (1, [["n1", 0, 1, "disk", [["n2"]]]], "run")),
        (Exchange, (1, [None], "run")),
        (StatusReply, (1, {b"not a text": 1})),
    ],
)
def test_a_message_that_is_wrong_inside_a_field_is_refused(message_type, fields):
    tag, sound = TAG_OF[message_type], SOUND[message_type]
    decode(msgpack.packb([VERSION, [[tag, sound, sound]]]))
    for run in ([fields], [sound, fields], [fields, sound]):
        with pytest.raises(FrameError):
            decode(msgpack.packb([VERSION, [[tag, *run]]]))


# --- hostile frames ---------------------------------------------------------------------

HEAD = {
    "the frame": b"",
    "the version": b"\x92",
    "the runs": b"\x92\x02",
    "a run": b"\x92\x02\x91",
    "a tag": b"\x92\x02\x91\x92",
    "a message": b"\x92\x02\x91\x92\x01",
    "a message of several": b"\x92\x02\x91\x93\x08\x91\x01",
    "a field": b"\x92\x02\x91\x92\x08\x91",
    "an item of a field": b"\x92\x02\x91\x92\x37\x92\x01\x91",
    "the header": b"\x93\x02\x90",
}


@pytest.mark.parametrize("place", HEAD)
@pytest.mark.parametrize("open_one", [b"\x91", b"\x81\xa1k"], ids=["arrays", "maps"])
def test_deep_nesting_is_refused_wherever_it_stands(place, open_one):
    # msgpack itself gives up past some 1,000 levels, which is just past where Python does.
    for depth in (2, 100, *range(800, 1050, 3), 100_000):
        with pytest.raises(FrameError):
            decode(HEAD[place] + open_one * depth + b"\xc0")


@pytest.mark.parametrize(
    "data",
    [
        b"\xdd\xff\xff\xff\xff",
        b"\x92\x02\xdd\xff\xff\xff\xff\x01",
        b"\xdf\xff\xff\xff\xff",
        b"\x92\x02\x91\x92\x01\x91\xc6\xff\xff\xff\xff",
        b"\x92\x02\x91\x92\x01\x91\xdb\xff\xff\xff\xffabc",
        b"\xc9\xff\xff\xff\xff\x01",
    ],
)
def test_a_frame_that_claims_to_be_huge_is_refused(data):
    with pytest.raises(FrameError):
        decode(data)


@pytest.mark.parametrize(
    "data",
    [
        b"\x92\x02\x91\x81\x90\x01",  # a map whose key is an array
        b"\x92\x02\x91\x92\x01\x91\xa1\xff",  # a text that is not UTF-8
        b"\x92\x02\x91\x92\x01\x91\xa3\xed\xa0\x80",  # a lone surrogate
        b"\x92\x02\x91\xd6\xff\x00\x00\x00\x00",  # a timestamp
        b"\x92\x02\x91\xd7\xff\xff\xff\xff\xff\xff\xff\xff\xff",  # one that cannot be
        b"\x92\x02\x91\xd4\x05\x00",  # an extension
        b"\x92\x02\x91\xc1",  # the one byte that msgpack never uses
    ],
)
def test_the_odd_corners_of_msgpack_are_refused(data):
    with pytest.raises(FrameError):
        decode(data)


def test_a_large_frame_of_garbage_is_refused():
    for content in (b"\x92\x02\xdd\x00\x10\x00\x00" + b"\xc0" * 2**20, b"\xc0" * 2**20):
        with pytest.raises(FrameError):
            decode(content)


def test_a_large_value_arrives():
    message = WriteReplica(1, bytes(16), bytes(2**20), None)

    assert decode(encode([message], HEADER)) == Frame([message], HEADER)


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=5))
def test_requests_are_known_by_their_numbers_alone(numbers):
    gets = [Get(number, "default", b"key", None, 1) for number in numbers]
    put = Put(7, "default", b"key", b"", None, b"", None, 1, False)

    assert request_numbers(encode(gets)) == numbers
    assert request_numbers(encode([*gets, put, *gets])) == [*numbers, 7, *numbers]
    assert request_numbers(encode([*gets, Status(1)])) is None
    assert request_numbers(encode(gets, HEADER)) is None


@given(st.binary(max_size=50) | st.recursive(PLAIN[int] | st.none(), st.lists).map(msgpack.packb))
def test_whatever_is_asked_for_its_numbers_has_some_or_none(data):
    assert all(type(number) is int for number in request_numbers(data) or ())
