"""Ring records: their bytes, their order, and who decides the next one."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toystore.core.ring.record import (
    Gone,
    Listed,
    RingRecordError,
    endpoint_of,
    founding,
    unpack_ring,
)

PORTS = (7400, 7401, 7402, 7403)


def listed(name: str, **fields) -> Listed:
    given = Listed(name, name, "ab" * 16, 1, "", f"{name}.example", PORTS)
    return given._replace(**fields)


FOUNDED = founding("toys", 64, map(listed, ("n2", "n1", "n3")))
LINEAGE = FOUNDED.digest
texts = st.text(max_size=5)
weights = st.integers(1, 9)


@st.composite
def lists(draw, min_size=0):
    """Members of which each has a name, a seat and an address of its own."""
    names = draw(
        st.lists(st.sampled_from(("n1", "n2", "a.b", "C_4")), min_size=min_size, unique=True)
    )
    return tuple(
        listed(name, seat=f"{name}@1", disk=draw(texts), weight=draw(weights), zone=draw(texts))
        for name in names
    )


def test_the_order_of_the_file_decides_nothing():
    assert founding("toys", 64, map(listed, ("n1", "n2", "n3"))).digest == LINEAGE


@pytest.mark.parametrize(
    "change",
    [{"host": "::1"}, {"ports": (1, 2, 3, 4)}, {"weight": 2}, {"zone": "a"}, {"seat": "n4"}],
)
def test_whatever_is_different_in_a_member_is_another_cluster(change):
    changed = founding("toys", 64, [*map(listed, ("n1", "n2")), listed("n3", **change)])
    assert changed.digest != LINEAGE


@given(lists(min_size=1), lists(), st.lists(st.just("n7")), texts, st.integers(0, 2**60))
def test_a_record_survives_its_bytes(members, old, lost, why, made_us):
    record = FOUNDED.next(
        LINEAGE,
        members=members,
        old=old,
        lost=tuple(lost),
        gone=(Gone("n9", "cd" * 16, 1),),
        made_by="n1",
        made_us=made_us,
        why=why,
    )
    again = unpack_ring(record.packed)
    assert again == record
    assert again.digest == record.digest


def test_an_operator_can_read_a_record():
    assert json.loads(FOUNDED.packed)["members"][0]["name"] == "n1"


@pytest.mark.parametrize(
    "packed",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        FOUNDED.packed + b" ",
        FOUNDED.packed.replace(b'"epoch":0', b'"epoch":0,"more":1'),
        FOUNDED.packed.replace(b'"seat":"n1",', b""),
        FOUNDED.packed.replace(b'"parent":""', b'"parent":"x"'),
    ],
)
def test_other_bytes_are_refused(packed):
    with pytest.raises(RingRecordError, match="not a ring record"):
        unpack_ring(packed)


BAD_MEMBERS = (
    *({"host": host} for host in ("0.0.0.0", "::", "*", "", "host..x", "h" * 300, "a b", "[::1]")),
    *({"ports": ports} for ports in ((1, 2, 3), (1, 2, 3, 3), (0, 1, 2, 3), (1, 2, 3, 65536))),
    *({"ports": ports} for ports in ((), (1, 2, 3, True), (1, 2, 3, "4"), (1, 2, 3, 4, 5))),
    *({"name": name} for name in ("", "../n3", "a b", "n" * 65, 3, None, "n1", "N1")),
    *({"weight": weight} for weight in (0, -1, 2**54, True, 1.5, "1", None)),
    *({field: 7} for field in ("zone", "seat", "disk", "host")),
    {"seat": "n1"},
    {"zone": "\ud800"},
    {"host": "N1.Example"},
)


def with_bad(**fields):
    """A record that lists a member which no configuration could have."""
    members = (*FOUNDED.members[:2], listed("n3")._replace(**fields))
    return FOUNDED.next(LINEAGE, members=members, why="readdress n3")


@pytest.mark.parametrize("fields", BAD_MEMBERS, ids=repr)
def test_a_record_that_no_node_could_follow_is_refused(fields):
    with pytest.raises(RingRecordError, match="not a ring record"):
        unpack_ring(with_bad(**fields).packed)


@pytest.mark.parametrize(
    "fields",
    [
        {"members": ()},
        {"lost": ("n1", "n2", "n3")},
        {"lost": (1,)},
        {"why": 5},
        {"made_us": 2**64},
        {"made_us": 1.0},
        {"gone": (Gone("n9", "", -1),)},
    ],
    ids=repr,
)
def test_a_record_with_a_field_that_nodes_cannot_use_is_refused(fields):
    with pytest.raises(RingRecordError, match="not a ring record"):
        unpack_ring(FOUNDED.next(LINEAGE, **fields).packed)


def test_bytes_that_are_nested_too_deeply_are_refused():
    with pytest.raises(RingRecordError, match="not a ring record"):
        unpack_ring(b"[" * 100_000)


def test_a_record_does_not_follow_one_with_addresses_without_them_or_with_other_partitions():
    bare = tuple(one._replace(ports=()) for one in FOUNDED.members)
    assert not FOUNDED.next(LINEAGE, members=bare).follows(FOUNDED, LINEAGE)
    assert not FOUNDED.next(LINEAGE, partitions=128).follows(FOUNDED, LINEAGE)


def test_records_follow_each_other_in_one_lineage():
    first = FOUNDED.next(LINEAGE, why="join n4")
    second = first.next(LINEAGE)
    other = FOUNDED.next(LINEAGE, why="leave n1")
    assert first.follows(FOUNDED, LINEAGE)
    assert second.follows(first, LINEAGE)
    assert not second.follows(other, LINEAGE)
    assert not second.follows(FOUNDED, LINEAGE)
    assert not first.follows(FOUNDED, bytes(16))


def test_the_first_record_follows_the_lineage_whatever_the_addresses_are_by_now():
    moved = founding("toys", 64, [*map(listed, ("n1", "n2")), listed("n3", host="10.0.0.3")])
    assert FOUNDED.next(LINEAGE).follows(moved, LINEAGE)


def test_the_old_members_decide_while_ranges_move_but_not_the_lost():
    n1, n2, n3 = FOUNDED.members
    moving = FOUNDED.next(LINEAGE, old=FOUNDED.members, members=(n2, n3, listed("n4")))
    assert moving.moving
    assert moving.voters == (n1, n2, n3)
    assert set(moving.all) == {"n1", "n2", "n3", "n4"}
    without = moving.next(LINEAGE, lost=("n1",))
    assert without.voters == (n2, n3)
    assert set(without.all) == {"n2", "n3", "n4"}
    stable = moving.next(LINEAGE, old=())
    assert not stable.moving
    assert [one.name for one in stable.voters] == ["n2", "n3", "n4"]


def test_a_member_that_moves_to_other_addresses_is_reached_there():
    there = listed("n3", host="10.0.0.3")
    record = FOUNDED.next(LINEAGE, members=(*FOUNDED.members[:2], there))
    assert record.all["n3"] == there


@pytest.mark.parametrize(
    ("host", "endpoint"), [("n1.example", "tcp://n1.example:7400"), ("::1", "tcp://[::1]:7400")]
)
def test_clients_reach_a_member_at_its_client_port(host, endpoint):
    assert endpoint_of(listed("n1", host=host)) == endpoint
