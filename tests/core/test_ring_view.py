"""The slots of a range: who has its replicas while they move."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toystore.core.ring.record import Listed, founding
from toystore.core.ring.ring import Member
from toystore.core.ring.view import RingView, Slot, fixed_ring

Q, N = 32, 3


def listed(name: str, seat: str = "") -> Listed:
    return Listed(name, seat or name, "", 1, "", "", ())


def named(*numbers: int) -> tuple[Listed, ...]:
    return tuple(listed(f"n{number}") for number in numbers)


def view(old: tuple[Listed, ...], members: tuple[Listed, ...], lost: tuple[str, ...] = ()):
    founded = founding("toys", Q, old or members)
    record = founded.next(founded.digest, old=old, members=members, lost=lost)
    return RingView(record, N)


numbers = st.sets(st.integers(1, 9), min_size=3, max_size=7)


def test_while_nothing_moves_each_owner_has_a_slot_of_its_own():
    ring = fixed_ring(map(Member, ("n1", "n2", "n3", "n4")), Q, N)
    for partition in range(Q):
        owners = ring.order(partition)[:N]
        assert ring.slots(partition, N) == tuple(Slot(name, name) for name in owners)
        assert ring.nodes(partition, N) == ring.owners(partition, N) == owners
        assert ring.fallbacks(partition, N) == ring.order(partition)[N:]
        assert not ring.changes(partition, N)


@given(numbers, numbers, st.integers(1, N))
def test_a_moving_range_has_n_slots_and_each_owner_is_in_one(old, new, n):
    ring = view(named(*old), named(*new))
    for partition in range(Q):
        before, after = ring.before.order(partition)[:n], ring.ring.order(partition)[:n]
        slots = ring.slots(partition, n)
        assert len(slots) == n
        assert [slot.new for slot in slots] == list(after)
        assert sorted(slot.old for slot in slots) == sorted(before)
        for slot in slots:
            stays = slot.new in before
            assert slot.moves != stays
            assert slot.nodes == ((slot.new,) if stays else (slot.new, slot.old))
        assert set(ring.nodes(partition, n)) == {*before, *after}
        assert not set(ring.fallbacks(partition, n)) & {*before, *after}
        assert ring.changes(partition, n) == (set(before) != set(after))


@given(numbers, numbers, st.sets(st.integers(1, 9)), st.integers(1, N))
def test_the_ranges_of_a_node_are_those_in_which_it_has_a_slot(old, new, lost, n):
    ring = view(named(*old), named(*new), tuple(f"n{number}" for number in lost))
    for node in (f"n{number}" for number in range(1, 10)):
        has_slot = [at for at in range(Q) if node in ring.nodes(at, n)]
        assert ring.owned_by(node, n) == has_slot


@given(numbers, numbers, st.integers(1, 9))
def test_a_lost_member_is_in_no_slot_and_no_fallback(old, new, lost):
    ring = view(named(*old), named(*new), (f"n{lost}",))
    for partition in range(Q):
        slots = ring.slots(partition, N)
        assert len(slots) == N
        assert f"n{lost}" not in {
            *ring.nodes(partition, N),
            *ring.owners(partition, N),
            *ring.fallbacks(partition, N),
        }
    assert f"n{lost}" not in ring.members


def test_the_replicas_of_a_lost_member_are_made_again():
    ring = view(named(1, 2, 3, 4), named(2, 3, 4), ("n1",))
    lacking = [p for p in range(Q) if "n1" in ring.before.order(p)[:N]]
    for partition in lacking:
        [made] = [slot for slot in ring.slots(partition, N) if slot.moves]
        assert made.old is None
        assert made.nodes == (made.new,)


def test_a_range_gets_more_owners_if_there_are_more_members():
    ring = view(named(1, 2), named(1, 2, 3))
    for partition in range(Q):
        assert Slot(None, "n3") in ring.slots(partition, N)
        assert len(ring.slots(partition, N)) == N


def test_a_member_in_the_seat_of_another_gets_exactly_its_ranges():
    after = (*named(1, 2), listed("n9", seat="n3"), listed("n4"))
    ring = view(named(1, 2, 3, 4), after)
    for partition in range(Q):
        moving = [slot for slot in ring.slots(partition, N) if slot.moves]
        assert moving == ([Slot("n3", "n9")] if "n3" in ring.before.order(partition)[:N] else [])


@pytest.mark.parametrize("count", [3, 5])
def test_all_nodes_of_a_cluster_have_the_same_ring_at_the_cost_of_one(count):
    members = named(*range(count))
    assert view((), members).ring is view((), members[::-1]).ring
