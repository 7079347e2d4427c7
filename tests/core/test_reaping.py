"""Tombstones are removed once all members agree, and records compared only under equal floors."""

from types import MappingProxyType

import pytest
from scripted_storages import START_US, Copy, Scene

from toystore.core.antientropy.reaping_round import Ask, Cause, Round
from toystore.core.protocol.messages.antientropy import (
    CompareRanges,
    CompareStretches,
    ListStretches,
    RaiseFloors,
    RaiseFloorsReply,
    ScrubLeaf,
    SetRange,
    SetRangeReply,
    StoreRecords,
    SumDead,
)
from toystore.core.protocol.messages.codes import RangeState
from toystore.core.ring.ranges import Range

EVERY_S = 10.0
"""The time between two rounds: a sixteenth of ``reap_after_s``."""


def scene_with_tombstones(settings=MappingProxyType({}), **fields):
    """The first range of which n1 is the first owner has tombstones; returns it, too."""
    scene = Scene(5, **settings)
    scene.run(60.0)
    scene.asked.clear()
    of = scene.first_owned()[0]
    scene.change(of, tombstones=3, **fields)
    return scene, of


def asked(scene):
    """Who was asked for sums, and whether to close, and who was told to raise a floor."""
    return [
        (name, message.close if isinstance(message, SumDead) else "raise")
        for name, message in scene.asked
        if isinstance(message, (SumDead, RaiseFloors))
    ]


# --- one round --------------------------------------------------------------------------


def test_the_owners_are_summed_only_after_each_member_has_closed():
    scene, of = scene_with_tombstones()
    scene.run(EVERY_S + 1.0)
    others = [name for name in scene.ranges.owners(of) if name != "n1"]
    found = [("n1", False)]
    closed = [*((name, True) for name in ("n2", "n3", "n4", "n5")), ("n1", True)]
    assert asked(scene) == [
        *found,
        *closed,
        *((name, False) for name in sorted(others)),
        ("n1", "raise"),
    ]


def test_what_is_agreed_on_is_raised_to_a_floor_that_is_reap_after_s_old():
    scene, of = scene_with_tombstones()
    scene.run(EVERY_S + 1.0)
    [raised] = scene.of_type(RaiseFloors)
    [(n, partition, floor, hashes)] = raised.floors
    assert (Range(n, partition), hashes, raised.epoch) == (of, Copy.hashes, 0)
    assert floor == pytest.approx(scene.now.wall_us - 160e6, abs=2e6)
    [logged] = scene.logged("tombstones.reaped")
    assert (logged["ranges"], logged["records"]) == (1, 3)
    assert logged["age_s"] == pytest.approx(160.0, abs=1.0)


def test_only_the_first_owner_reaps():
    scene = Scene(5)
    for of in scene.first_owned("n2"):
        scene.change(of, tombstones=3)
    scene.run(10 * EVERY_S)
    assert not asked(scene)


@pytest.mark.parametrize("state", [RangeState.BEHIND, RangeState.RETIRED])
def test_only_a_whole_range_is_reaped(state):
    scene, of = scene_with_tombstones()
    for name in ("n2", "n3", "n4", "n5"):
        scene.lose(name)
    scene.change(of, only=("n1",), state=state)
    scene.run(10 * EVERY_S)
    assert not asked(scene)


def test_nothing_is_asked_without_tombstones():
    scene = Scene(5)
    scene.run(60.0)
    scene.asked.clear()
    scene.run(1000 * EVERY_S)
    assert not scene.asked


def test_no_other_member_is_asked_while_no_tombstone_is_old():
    scene, _of = scene_with_tombstones()
    scene.answer = lambda name, message: _without_tombstones(scene, name, message)
    scene.run(10.5 * EVERY_S)
    assert asked(scene) == 10 * [("n1", False)]


def _without_tombstones(scene, name, message):
    reply = Scene.answer(scene, name, message)
    if isinstance(message, SumDead):
        return reply._replace(sums=tuple((floor, 0, 0, False) for floor, *_ in reply.sums))
    return reply


def test_a_ring_that_moves_is_not_reaped_and_a_round_ends_when_the_ring_changes():
    scene, _of = scene_with_tombstones()
    newer = scene.records[0].next(b"", members=scene.records[0].members, old=(), lost=())
    scene.answer = lambda name, message: _ring_changes(scene, newer, name, message)
    scene.run(EVERY_S + 1.0)
    assert ("n5", True) in asked(scene)
    assert ("n1", "raise") not in asked(scene)
    scene.run(EVERY_S + 1.0)
    assert [one.epoch for one in scene.of_type(RaiseFloors)] == [1]


def _ring_changes(scene, newer, name, message):
    """The ring changes while the last member is asked."""
    if name == "n5" and isinstance(message, SumDead) and len(scene.records) == 1:
        scene.decide(newer)
    return Scene.answer(scene, name, message)


@pytest.mark.parametrize("late", [False, True])
def test_an_answer_to_another_question_ends_the_round_and_agrees_to_nothing(late):
    scene, of = scene_with_tombstones()
    if late:  # a round has raised a floor before
        scene.run(EVERY_S + 1.0)
        scene.asked.clear()
        scene.change(of, tombstones=3)

    def answer(name, message):
        if name == "n4" and isinstance(message, SumDead):
            return RaiseFloorsReply(message.request, (2**62,), 3)
        return Scene.answer(scene, name, message)

    scene.answer = answer
    scene.run(2 * EVERY_S + 1.0)
    assert ("n4", True) in asked(scene)
    assert ("n5", True) not in asked(scene)
    assert ("n1", "raise") not in asked(scene)
    assert len(scene.logged("tombstones.reaped")) == late


QUESTIONS = (CompareRanges, CompareStretches, ListStretches, RaiseFloors, ScrubLeaf, SumDead)


@pytest.mark.parametrize("kind", QUESTIONS, ids=lambda kind: kind.__name__)
def test_a_storage_that_answers_another_question_does_no_harm_and_is_asked_again(kind):
    scene, of = scene_with_tombstones({"scrub_s": 20 * EVERY_S})
    scene.change(of, only=("n1",), values=1)
    wrong = []

    def answer(name, message):
        if type(message) is kind and not wrong:
            wrong.append(name)
            return SetRangeReply(message.request, 0, 0)
        return Scene.answer(scene, name, message)

    scene.answer = answer
    scene.run(scene.settings.scrub_s)
    assert wrong
    assert scene.logged("tombstones.reaped")


def test_nothing_is_asked_while_ranges_move():
    scene, _of = scene_with_tombstones()
    members = scene.records[0].members
    scene.decide(scene.records[0].next(b"", members=members, old=members[1:], lost=()))
    scene.asked.clear()
    scene.run(10 * EVERY_S)
    assert not asked(scene)


def test_a_member_that_cannot_be_reached_is_waited_for_and_named():
    scene, _of = scene_with_tombstones()
    scene.lose("n4")
    scene.run(EVERY_S + 1.0)
    assert asked(scene) == [("n1", False)]
    assert scene.machine._status()["reaping_waits"] == ["n4 cannot be reached"]
    assert not scene.logged("reaping.waits")
    scene.run(5 * EVERY_S)
    assert scene.logged("reaping.waits") == [{"members": ["n4"], "cause": "n4 cannot be reached"}]
    scene.find("n4")
    scene.run(EVERY_S + 1.0)
    assert scene.logged("tombstones.reaped")
    assert scene.machine._status()["reaping_waits"] == []


@pytest.mark.parametrize(
    ("field", "member", "cause"),
    [
        ("keeps", "n4", "keeps hints or records of other owners"),
        ("refuses", "n3", "is not ready"),
    ],
)
def test_one_member_holds_a_range_up_and_no_other_range(field, member, cause):
    scene = Scene(5)
    held, free = scene.first_owned()[:2]
    scene.storages[member].copies.setdefault(held, Copy())
    scene.change(held, only=(member,), **{field: True})
    scene.change(held, tombstones=3)
    scene.change(free, tombstones=3)
    scene.run(3 * EVERY_S)
    assert {floor[:2] for one in scene.of_type(RaiseFloors) for floor in one.floors} == {free}
    assert scene.machine._status()["reaping_waits"] == [f"{member} {cause}"]
    assert scene.logged("reaping.waits") == [{"members": [member], "cause": f"{member} {cause}"}]


def test_a_floor_that_another_member_finds_too_late_does_not_close_the_own_storage():
    scene, of = scene_with_tombstones(refuses=True)
    scene.change(of, only=("n1",), refuses=False)
    scene.storages["n2"].copies[of] = Copy(refuses=True)
    scene.run(EVERY_S + 1.0)
    assert ("n1", True) not in asked(scene)


def test_owners_with_other_tombstones_are_not_raised():
    scene, of = scene_with_tombstones()
    other = scene.ranges.owners(of)[1]
    scene.change(of, only=(other,), hashes=8)
    scene.run(EVERY_S + 1.0)
    assert ("n1", "raise") not in asked(scene)
    assert scene.machine._status()["reaping_waits"] == [f"{other} has other tombstones"]
    scene.change(of, only=(other,), hashes=Copy.hashes)
    scene.run(2 * EVERY_S)
    assert scene.logged("tombstones.reaped")


def test_a_member_is_asked_again_for_what_it_has_left_out():
    scene = Scene(5)
    for of in scene.first_owned():
        scene.change(of, tombstones=1)
    assert len(scene.first_owned()) > 1
    scene.storages["n3"].rows_max = 1
    scene.run(EVERY_S + 5.0)
    closing = [one for one in scene.of_type(SumDead, "n3") if one.close]
    assert [len(one.ranges) for one in closing] == list(range(len(scene.first_owned()), 0, -1))
    assert scene.logged("tombstones.reaped")[0]["ranges"] == len(scene.first_owned())


def test_more_tombstones_than_are_removed_at_once_are_removed_in_rounds_without_a_pause():
    scene, _of = scene_with_tombstones(lowered=START_US)
    scene.run(EVERY_S + 1.0)
    assert len(scene.logged("tombstones.reaped")) == 1
    first = scene.of_type(RaiseFloors)[0].floors[0][2]
    assert first == START_US
    assert scene.of_type(SumDead, "n1")[-1].ranges[0][2] > first


def test_a_storage_that_fails_ends_the_round_and_is_asked_in_the_next():
    scene, _of = scene_with_tombstones()
    scene.answer = lambda name, message: (
        None
        if name == "n3" and isinstance(message, SumDead)
        else Scene.answer(scene, name, message)
    )
    scene.run(EVERY_S + scene.settings.reply_timeout_s + 1.0)
    assert scene.machine._status()["reaping_waits"] == ["n3 does not answer"]
    del scene.answer
    scene.run(2 * EVERY_S)
    assert scene.logged("tombstones.reaped")


def test_what_has_changed_since_the_members_agreed_is_not_reaped():
    scene, of = scene_with_tombstones()
    scene.change(of, only=("n1",), rises=False)
    scene.run(EVERY_S + 1.0)
    assert asked(scene)[-1] == ("n1", "raise")
    assert not scene.logged("tombstones.reaped")


def test_an_answer_without_sums_ends_a_round():
    scene = Scene(3)
    [of, *_] = scene.first_owned()
    only = Round(scene.ranges, [of], 5)
    assert only.step is not None
    assert only.step.ask is Ask.FIND
    only.answer(())
    assert (only.step, only.agreed, only.waits) == (None, {}, {"n1": Cause.SILENT})


# --- floors of other owners -------------------------------------------------------------


def behind_scene():
    """A range of n1 is behind; both other owners are whole."""
    scene = Scene(3)
    scene.run(60.0)
    of = scene.first_owned()[0]
    scene.asked.clear()
    return scene, of


def test_a_whole_range_is_raised_to_the_floor_of_another_owner_before_records_are_compared():
    scene, _ = behind_scene()
    of = scene.first_owned("n3")[0]
    scene.change(of, only=("n2",), floor=5, values=1)
    scene.change(of, only=("n1",), tombstones=3, values=2)
    scene.run(60.0)
    compares = (CompareRanges, CompareStretches)
    asked = [
        one
        for name, one in scene.asked
        if isinstance(one, RaiseFloors) or (name == "n2" and isinstance(one, compares))
    ]
    before, raised, after = asked[:2], asked[1], asked[2]
    assert [type(one) for one in before] == [CompareRanges, RaiseFloors]
    assert raised.floors == ((*of, 5, None),)
    assert isinstance(after, CompareRanges)
    assert 5 in after.floors


def test_a_range_that_is_behind_visits_all_its_owners_again_after_its_floor_has_risen():
    scene, of = behind_scene()
    scene.change(of, only=("n3",), floor=5)
    scene.change(of, only=("n1",), state=RangeState.BEHIND)
    scene.run(60.0)
    fetches = [
        (name, dict(zip(message.roots, message.floors or (0,), strict=True)))
        for name, message in scene.asked
        if isinstance(message, CompareRanges) and message.rebuilding
    ]
    floors = [(name, next(iter(asked.values()))) for name, asked in fetches]
    assert {name for name, floor in floors if floor == 5} == {"n2", "n3"}
    assert [one.floor for one in scene.of_type(SetRange)] == [5]
    assert scene.storages["n1"].copies[of].state is RangeState.WHOLE


def test_visits_begin_again_if_storage_tells_another_floor_than_when_they_were_planned():
    scene, of = behind_scene()
    scene.lose("n3")
    scene.change(of, only=("n1",), state=RangeState.BEHIND)
    scene.run(10.0)
    assert scene.machine._rebuild.visits.owners() == {"n3"}
    scene.change(of, only=("n1", "n2"), floor=5)
    scene.run(10.0)
    assert 5 in scene.of_type(CompareRanges, "n2")[-1].floors
    assert scene.machine._rebuild.visits.owners() == {"n3"}


def test_a_comparison_that_was_under_way_as_the_floor_rose_does_not_count():
    scene, of = behind_scene()
    scene.change(of, only=("n2",), values=1)
    late = []
    scene.answer = lambda name, message: _delayed(scene, late, name, message)
    scene.change(of, only=("n1",), state=RangeState.BEHIND)
    scene.run(1.0)
    [(to, message)] = late
    scene.change(of, only=("n3",), floor=5)
    rebuild = scene.machine._rebuild
    assert not scene.machine._floors.counts(of, 5)
    scene.machine._floors.learn(of, 5)
    scene.run(1.0)
    assert scene.machine._floors.counts(of, 5)
    del scene.answer
    reply = scene.answer(to, message)
    scene.tell(reply)
    assert of in rebuild.visits
    scene.run(60.0)
    assert scene.storages["n1"].copies[of].state is RangeState.WHOLE


def _delayed(scene, late, name, message):
    """The first comparison of rows is answered later."""
    if isinstance(message, CompareStretches) and not late:
        late.append((name, message))
        return None
    return Scene.answer(scene, name, message)


@pytest.mark.parametrize("state", [RangeState.RETIRED, RangeState.RELEASED, RangeState.STRAY])
def test_a_member_that_is_no_owner_teaches_no_floor(state):
    scene, of = behind_scene()
    scene.change(of, only=("n2",), state=state, floor=5)
    scene.change(of, only=("n1",), state=RangeState.BEHIND)
    scene.run(60.0)
    assert not scene.of_type(RaiseFloors)
    assert scene.storages["n1"].copies[of].state is RangeState.WHOLE


def test_an_owner_that_is_behind_and_has_a_lower_floor_is_compared_with_anyway():
    scene, of = behind_scene()
    scene.change(of, only=("n2",), state=RangeState.BEHIND)
    scene.change(of, only=("n1", "n3"), floor=5)
    scene.change(of, only=("n1",), state=RangeState.BEHIND)
    scene.run(60.0)
    assert not scene.of_type(RaiseFloors)
    assert scene.storages["n1"].copies[of].state is RangeState.WHOLE


def test_the_records_that_are_stored_come_with_the_floors_under_which_they_were_read():
    scene, of = behind_scene()
    scene.change(of, floor=5)
    scene.change(of, only=("n2",), values=1, records=(b"one",))
    scene.change(of, only=("n1",), state=RangeState.BEHIND)
    scene.run(10.0)
    assert scene.of_type(StoreRecords, "n1")[0].floors == ((of.partition, 5),)


def test_nothing_is_stored_of_a_range_whose_floor_has_risen_since_the_comparison_began():
    scene, of = behind_scene()
    scene.change(of, only=("n2",), values=1, records=(b"one",))
    scene.answer = lambda name, message: _risen(scene, of, name, message)
    scene.change(of, only=("n1",), state=RangeState.BEHIND)
    scene.run(60.0)
    stored = scene.of_type(StoreRecords, "n1")
    assert stored
    assert all(one.floors == ((of.partition, 5),) for one in stored)
    assert scene.of_type(RaiseFloors)[0].floors == ((*of, 5, None),)
    assert not scene.logged("comparison.failed")


def _risen(scene, of, name, message):
    """The floor rises between the comparison of the roots and that of the rows."""
    if isinstance(message, CompareStretches):
        scene.storages["n2"].copies[of].floor = 5
    return Scene.answer(scene, name, message)


def test_an_owner_that_has_other_floors_to_raise_first_is_asked_again_soon():
    scene, of = behind_scene()
    scene.change(of, only=("n1",), floor=5, values=1)
    scene.answer = lambda name, message: _rising(of, scene, name, message)
    scene.run(2 * scene.settings.compare_s)
    assert len(scene.of_type(CompareRanges, "n2")) > scene.settings.compare_s


def _rising(of, scene, name, message):
    """Of one range the others have not raised the floor yet."""
    reply = Scene.answer(scene, name, message)
    if isinstance(message, CompareRanges) and not message.rebuilding:
        floors = [0 if root[:2] == of else floor for root, floor in _floors(message)]
        reply = reply._replace(differing=(), unready=(tuple(of),), floors=tuple(floors))
    return reply


def _floors(message):
    return zip(message.roots, message.floors or (0,) * len(message.roots), strict=True)


def test_a_visit_does_not_count_while_the_floor_of_a_whole_owner_is_to_rise():
    """It may have the only copy of a record, which is not stored here: its floor is lower."""
    scene, of = behind_scene()
    scene.change(of, only=("n1",), floor=5)
    scene.answer = lambda name, message: _low(scene, name, message)
    scene.change(of, only=("n1",), state=RangeState.BEHIND)
    scene.run(60.0)
    assert not scene.of_type(SetRange)
    assert len(scene.of_type(CompareRanges)) > 10
    del scene.answer
    scene.run(10.0)
    assert scene.storages["n1"].copies[of].state is RangeState.WHOLE


def _low(scene, name, message):
    """The floors of the others do not rise."""
    reply = Scene.answer(scene, name, message)
    if isinstance(message, CompareRanges):
        reply = reply._replace(floors=(0,) * len(message.roots))
    return reply


YEAR_US = 365 * 24 * 3600 * 1_000_000


def test_a_floor_that_is_too_late_by_the_own_clock_is_not_followed_but_logged_and_told():
    scene, of = behind_scene()
    scene.change(of, only=("n2",), floor=scene.now.wall_us + YEAR_US, values=1)
    scene.change(of, only=("n1",), tombstones=3, values=2)
    scene.run(60.0)
    assert not scene.of_type(RaiseFloors)
    assert not scene.of_type(CompareStretches, "n2")
    assert scene.of_type(CompareStretches, "n3")
    assert [one["member"] for one in scene.logged("floor.refused")] == ["n2"]
    late = "n2 has floors that are too late by this clock"
    assert late in scene.machine._status()["reaping_waits"]
    assert len(scene.of_type(CompareRanges, "n2")) < 60.0

    scene.change(of, only=("n2",), floor=5)
    scene.run(60.0)
    assert scene.storages["n1"].copies[of].floor == 5
    assert late not in scene.machine._status()["reaping_waits"]


@pytest.mark.parametrize("state", [RangeState.BEHIND, RangeState.WHOLE])
def test_an_owner_whose_floor_is_too_late_counts_for_no_rebuild_and_takes_over_no_range(state):
    scene, of = behind_scene()
    scene.change(of, only=("n2",), floor=scene.now.wall_us + YEAR_US)
    scene.change(of, only=("n1",), state=state)
    if state is RangeState.WHOLE:
        others = [one for one in scene.records[0].members if one.name != "n1"]
        fields = {"members": tuple(others), "old": scene.records[0].members, "lost": ()}
        scene.decide(scene.records[0].next(b"", **fields))
    scene.run(60.0)
    assert not [one for one in scene.of_type(SetRange) if (one.n, one.partition) == of]
    assert len(scene.of_type(CompareRanges, "n2")) < 60.0 / scene.settings.visit_s + 30


def test_storage_is_asked_again_until_it_has_raised_a_floor():
    scene, of = behind_scene()
    scene.change(of, only=("n1",), rises=False, values=1)
    scene.change(of, only=("n2",), floor=5)
    scene.run(60.0)
    assert len(scene.of_type(RaiseFloors)) > 3
    assert of in scene.machine._floors
    scene.change(of, only=("n1",), rises=True)
    scene.run(5.0)
    assert of not in scene.machine._floors
