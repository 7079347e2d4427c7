"""Plans: from changes to the next record, what moves, the load, warnings and errors."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toystore.core.reconfiguration.changes import FORMS, PlanError, read_changes
from toystore.core.reconfiguration.known import Known, Totals
from toystore.core.reconfiguration.plans import make_plan, unpack_plan
from toystore.core.reconfiguration.successors import aborted, without
from toystore.core.ring.record import Gone, Listed, founding
from toystore.core.ring.view import RingView

Q = 64
MEMBERS = ("n1", "n2", "n3", "n5", "n6")


def member(name, *, weight=1, zone="", disk=None):
    port = 7400 + 10 * (ord(name[-1]) - ord("1"))
    ports = (port, port + 1, port + 2, port + 3)
    return Listed(name, name, disk or name.encode().hex(), weight, zone, "127.0.0.1", ports)


def base_of(*names, **zones):
    return founding("demo", Q, [member(name, zone=zones.get(name, "")) for name in names])


BASE = base_of(*MEMBERS)
WAITING = {"n4": member("n4", weight=3, zone="z9"), "n7": member("n7")}


def known(base=BASE, *, copies=(3,), waiting=WAITING, down=(), keys=960):
    names = [one.name for one in base.members]
    return Known(
        lineage=b"L" * 16,
        n=copies[0],
        copies=frozenset(copies),
        waiting=waiting,
        totals={name: Totals(keys, 100 * keys) for name in names if name not in down},
        alive=frozenset(names) - set(down),
    )


def plan(*changes, base=BASE, **rest):
    rows = [change.split() for change in changes]
    for row in rows:
        if row[0] == "reweigh":
            row[2] = int(row[2])
    return make_plan(7, rows, base, known(base, **rest), made_by="n1", made_us=5)


def names_of(members):
    return [one.name for one in members]


def refusal(*changes, **rest):
    with pytest.raises(PlanError) as refused:
        plan(*changes, **rest)
    return str(refused.value)


# --- records ----------------------------------------------------------------------------


def test_a_join_moves_from_the_members_to_the_members_and_the_newcomer():
    record = plan("join n7").record

    assert record.old == BASE.members
    assert names_of(record.members) == ["n1", "n2", "n3", "n5", "n6", "n7"]
    assert record.follows(BASE, b"L" * 16)
    assert (record.why, record.made_by, record.made_us) == ("join n7", "n1", 5)
    assert record.lost == record.gone == ()


def test_several_changes_are_one_record():
    record = plan("join n4", "join n7", "leave n1", "reweigh n4 2", "rezone n2 z2").record

    assert names_of(record.members) == ["n2", "n3", "n4", "n5", "n6", "n7"]
    by_name = {one.name: one for one in record.members}
    assert (by_name["n4"].weight, by_name["n4"].zone) == (2, "z9")
    assert by_name["n2"].zone == "z2"
    assert record.why == "join n4, join n7, leave n1, reweigh n4 2, rezone n2 z2"


def test_a_newcomer_that_replaces_a_member_owns_exactly_what_that_owns():
    made = plan("replace n3 n4")

    n4 = next(one for one in made.record.members if one.name == "n4")
    assert (n4.seat, n4.weight, n4.zone, n4.disk) == ("n3", 1, "", WAITING["n4"].disk)
    assert [(move.source, move.target) for move in made.moves] == [("n3", "n4")]
    assert made.moves[0].partitions == RingView(BASE, 3).shares()["n3"][0]
    assert any("not with its own (weight 3, zone z9)" in warning for warning in made.warnings)


def test_a_name_whose_seat_is_taken_by_its_replacement_gets_another_seat():
    replaced = plan("replace n3 n4").record.next(b"L" * 16, old=())

    record = plan("join n3", base=replaced, waiting={"n3": member("n3", disk="ff")}).record

    seats = {one.name: one.seat for one in record.members}
    assert (seats["n4"], seats["n3"]) == ("n3", "n3@3")


def test_a_removed_member_is_lost_and_its_ranges_are_rebuilt_from_the_other_owners():
    made = plan("remove n3", down=["n3"])

    assert made.record.lost == ("n3",)
    assert names_of(made.record.members) == ["n1", "n2", "n5", "n6"]
    rebuilt = sum(move.partitions for move in made.moves if move.source is None)
    assert rebuilt == RingView(BASE, 3).shares()["n3"][0]
    assert made.warnings == ()


def test_an_address_changes_without_moving_anything():
    made = plan("readdress n3 [::1]:9000", "readdress n2 db2.example:7400")

    assert not made.record.moving
    by_name = {one.name: one for one in made.record.members}
    assert (by_name["n3"].host, by_name["n3"].ports) == ("::1", (9000, 9001, 9002, 9003))
    assert by_name["n2"].host == "db2.example"
    assert made.moves == ()


def test_a_member_that_dies_for_good_while_the_ring_moves_can_be_removed():
    moving = plan("join n7").record

    record = plan("remove n7", base=moving, down=["n7"]).record

    assert (record.members, record.old, record.lost) == (moving.members, moving.old, ("n7",))


def test_a_plan_survives_its_json():
    made = plan("remove n3", "join n4")

    assert unpack_plan(made.packed) == made


# --- moves and load ---------------------------------------------------------------------


def test_the_load_is_told_before_and_after():
    made = plan("join n7", "leave n1")

    load = {share.name: (share.before, share.after) for share in made.load}
    assert load["n7"][0] == load["n1"][1] == 0
    assert sum(before for before, _ in load.values()) == 3 * Q
    assert sum(after for _, after in load.values()) == 3 * Q


def test_after_an_abort_a_newcomer_that_is_removed_owns_nothing_before():
    moving = plan("join n7").record
    back = moving.next(b"L" * 16, **aborted(moving))

    load = {share.name: (share.before, share.after) for share in plan("remove n7", base=back).load}

    assert load["n7"] == (0, 0)
    assert sum(before for before, _ in load.values()) == 3 * Q


def test_a_newcomer_that_is_removed_while_it_joins_owns_nothing_afterwards():
    moving = plan("join n7").record

    load = {
        share.name: (share.before, share.after) for share in plan("remove n7", base=moving).load
    }

    assert load["n7"][0] > 0
    assert load["n7"][1] == 0
    assert sum(after for _, after in load.values()) == 3 * Q


def test_a_move_has_its_part_of_what_the_source_has_stored():
    made = plan("replace n3 n7")

    [move] = made.moves
    assert (move.keys, move.bytes) == (960, 96_000)
    assert made.shown["keys"] == 960


def test_the_size_of_a_move_from_a_silent_member_is_taken_from_the_others():
    made = plan("replace n3 n7", down=["n3"])

    assert 700 < made.moves[0].keys < 1300


def test_ranges_are_counted_for_each_n_that_buckets_have():
    one, two = plan("replace n3 n7"), plan("replace n3 n7", copies=(3, 5))

    assert two.moves[0].partitions == one.moves[0].partitions + Q
    assert two.moves[0].keys == 960


@given(st.permutations(["join n7", "leave n1", "reweigh n2 3", "rezone n5 z1"]))
def test_the_order_of_changes_alters_nothing_but_why(changes):
    made, usual = plan(*changes), plan(*sorted(changes))

    assert made.record.members == usual.record.members
    assert (made.moves, made.load, made.warnings) == (usual.moves, usual.load, usual.warnings)


def test_the_moves_are_the_slots_of_the_next_record():
    made = plan("join n7", "leave n1", "remove n2")

    view = RingView(made.record, 3)
    slots = Counter(
        slot for partition in range(Q) for slot in view.slots(partition, 3) if slot.moves
    )
    assert {(move.source, move.target): move.partitions for move in made.moves} == slots


# --- warnings ---------------------------------------------------------------------------


def test_a_plan_without_trouble_has_no_warnings():
    assert plan("join n7").warnings == ()


def test_a_down_member_is_named_with_the_moves_that_wait_for_it():
    [warning] = plan("join n7", down=["n2"]).warnings

    moves = sum(move.partitions for move in plan("join n7").moves if "n2" in move[:2])
    assert warning.startswith(f"n2 is down: {moves} moves wait until it is back")


def test_a_rebuild_waits_for_every_member_that_is_down():
    warnings = plan("remove n3", down=["n2", "n3"]).warnings

    assert any(warning.startswith("n2 is down: ") for warning in warnings)
    assert not any(warning.startswith("n3 is down: ") for warning in warnings)


def test_a_missing_majority_is_a_warning():
    warnings = plan("join n7", down=["n1", "n2", "n3"]).warnings

    assert warnings[0].startswith("a commit needs 3 of 5 members, and 2 answer")
    assert "n1, n2, n3" in warnings[0]
    assert "--unsafe-without" in warnings[0]


def test_to_remove_a_living_member_is_a_warning():
    [warning] = plan("remove n3").warnings

    assert "n3 answers" in warning
    assert "leave n3 moves them" in warning


def test_to_remove_all_owners_of_a_partition_is_a_warning():
    warnings = plan("remove n3", down=["n3"], copies=(1,)).warnings

    assert any("n3 are the only owners of" in warning for warning in warnings)


def test_too_few_zones_are_a_warning_if_there_are_zones():
    zones = {name: "z1" if name < "n3" else "z2" for name in MEMBERS}

    warnings = plan("join n7", base=base_of(*MEMBERS, **zones), waiting={"n7": member("n7")})

    assert any("too few zones" in warning for warning in plan("rezone n1 z1").warnings)
    assert not any("too few zones" in warning for warning in warnings.warnings)


def test_what_is_so_already_and_stays_so_is_no_warning():
    heavy = plan("reweigh n2 9").record

    stable = heavy.next(b"", old=())
    assert not plan("readdress n1 other:7500", base=stable).warnings
    assert plan("reweigh n2 20", base=stable).warnings


def test_weights_that_cannot_be_served_are_one_warning():
    [warning] = plan("reweigh n2 9").warnings
    assert warning.startswith("n2 has weight 9 of 13 in all, which would be 133 partitions; ")
    assert "it gets 64, because a member has at most one replica of a partition" in warning

    zones = dict.fromkeys(MEMBERS, "z1")
    made = plan("join n4", "reweigh n4 1", base=base_of(*MEMBERS, **zones))
    _, warning = made.warnings
    planned = next(share.after for share in made.load if share.name == "n1")
    assert f"partitions; it gets {planned}, because" in warning
    assert warning.endswith("(the same is true of n2, n3, n5, n6)")


# --- errors -----------------------------------------------------------------------------

GONE = founding("demo", Q, BASE.members).next(b"L" * 16, gone=(Gone("n9", "dd", 1),))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (["leave n9"], "no member is called 'n9'; the members are n1, n2, n3, n5, n6"),
        (["join n9"], "no node called 'n9' waits to join; these wait: n4, n7"),
        (["join n2"], "n2 is a member already"),
        (["replace n3 n2"], "n2 is a member already"),
        (["replace n3 n9"], "no node called 'n9' waits"),
        (["replace n9 n4"], "no member is called 'n9'"),
        (["leave n1", "remove n1"], "n1 is named twice"),
        (["join n4", "replace n3 n4"], "n4 is named twice"),
        (["leave n1", "join n1"], "n1 is named twice"),
        (["reweigh n1 2", "reweigh n1 3"], "reweigh n1 is named twice"),
        (["leave n1", "reweigh n1 2"], "n1 does not stay a member in this plan"),
        (["leave n1", "leave n2", "leave n3"], "2 members would remain (n5, n6)"),
        ([f"leave {name}" for name in MEMBERS], "none would remain, but a bucket has N = 3"),
        (["remove n1", "leave n2", "leave n3"], "2 members would remain (n5, n6)"),
        (["reweigh n1 0"], "a weight is a whole number from 1"),
        (["reweigh n1 1"], "nothing would change"),
        (["rezone n1 " + "z" * 99], "a zone is a text of up to"),
        (["readdress n1 here"], "an address is HOST:PORT"),
        (["readdress n1 h:65533"], "at most 65532"),
        (["readdress n1 127.0.0.1:7411"], "both have the address 127.0.0.1:7411"),
        (["readdress n1 0.0.0.0:28740"], "nobody can connect to it"),
        (["readdress n1 [::]:28740"], "nobody can connect to it"),
        (["readdress n1 *:28740"], "nobody can connect to it"),
        (["readdress n1 host..x:28740"], "is no host name and no address"),
        (["readdress n1 " + "h" * 300 + ":28740"], "is no host name and no address"),
        (["readdress n1 ::1:28740"], "an address is HOST:PORT"),
        (["readdress n1 h:7400", "join n7"], "is a plan of its own"),
    ],
)
def test_impossible_changes_are_refused_with_what_would_be_right(changes, said):
    assert said in refusal(*changes)


@pytest.mark.parametrize("fields", [{"host": "0.0.0.0"}, {"ports": (1, 2, 3, 3)}, {"name": "N1"}])
def test_a_newcomer_that_no_node_could_follow_is_not_planned(fields):
    one = member("n4")._replace(**fields)

    assert "no node could follow" in refusal(f"join {one.name}", waiting={one.name: one})


def test_if_no_node_waits_the_error_says_how_to_start_one():
    said = refusal("join n4", waiting={})

    assert "none waits" in said
    assert "toystore node --join ADDRESS --name n4" in said


def test_a_disk_of_a_former_or_present_member_is_not_taken():
    assert "since epoch 1" in refusal("join n7", base=GONE, waiting={"n7": member("n7", disk="dd")})
    copied = {"n7": member("n7", disk=b"n2".hex())}
    assert "a copy of that of the member n2" in refusal("join n7", waiting=copied)


def test_a_newcomer_needs_ports_that_no_member_has():
    taken = {"n7": WAITING["n7"]._replace(ports=(7413, 7414, 7415, 7416))}

    assert "n7 and n2 would both have the address" in refusal("join n7", waiting=taken)


def test_while_the_ring_moves_only_an_abort_or_a_removal_is_possible():
    moving = plan("join n7").record

    said = refusal("leave n1", base=moving)

    assert "the ring is moving (epoch 1: join n7)" in said
    assert "toystore cluster abort" in said
    assert "no member is called 'n9'" in refusal("remove n9", base=moving)


def test_too_few_members_in_a_moving_ring_are_refused_with_what_is_possible_then():
    base = base_of("n1", "n2", "n3")
    moving = plan("replace n3 n7", base=base).record

    assert "abort first (toystore cluster abort), then" in refusal("remove n7", base=moving)
    lost = plan("join n7", base=base).record
    lost = lost.next(b"L" * 16, **without(lost, ["n1"]))
    assert "start the member again" in refusal("remove n2", base=lost)


def test_too_few_members_may_become_more():
    small = base_of("n1", "n2")

    assert plan("join n7", base=small).record.moving


@pytest.mark.parametrize(
    "rows",
    [None, [], "join n4", [[]], ["join"], [["join"]], [["join", 4]], [["fly", "n1"]], [[["x"], 1]],
     [["replace", "n1", ["n2"]]], [["join", "n4", "n5"]], [["reweigh", "n1", True]],
     [["reweigh", "n1", "2"]], [["readdress", "n1", 7]], [["rezone", "n1", None]]],
)  # fmt: skip
def test_whatever_a_client_sends_is_a_plan_or_a_plan_error(rows):
    with pytest.raises(PlanError):
        make_plan(1, rows, BASE, known(), made_by="n1", made_us=0)


def test_every_form_can_be_read():
    for form in FORMS.values():
        [change] = read_changes([form.split()])
        assert str(change) == form
