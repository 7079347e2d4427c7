"""When a connection is given up and replaced, in signs, and a clock that the test turns."""

from __future__ import annotations

import pytest

from toystore.net.watch import HANDSHAKE_S, HURRY_S, REPLACE_S, REPLACE_S_MAX, STEADY_S, Sign, Watch


class Played:
    """A watch, the time, and what it told; as often as it asks, its connection is replaced."""

    def __init__(self) -> None:
        self.now = 100.0
        self.watch = Watch(self.now)
        self.replaced: list[float] = []
        self.told: list[str] = []
        self.descriptor = 10
        self.dial = lambda: None
        """What becomes of each connection that is made."""
        self.wait(0.0)

    def hear(self, *signs: Sign) -> None:
        for sign in signs:
            if sign in (Sign.CONNECTED, Sign.REACHED_ITSELF):
                self.descriptor += 1
            self.watch.hear(sign, self.descriptor, self.now)
            if (news := self.watch.news()) is not None:
                self.told.append(news)

    def wait(self, seconds: float) -> None:
        end = self.now + seconds
        while self.watch.due is not None and self.watch.due <= end:
            self.now = max(self.now, self.watch.due)
            if self.watch.replace(self.now):
                self.replaced.append(self.now)
                self.dial()
            self.hear()
            if (news := self.watch.news()) is not None:
                self.told.append(news)
        self.now = end


@pytest.fixture
def played():
    return Played()


def up(played, seconds=2 * STEADY_S):
    played.hear(Sign.CONNECTED, Sign.READY)
    played.wait(seconds)
    played.replaced.clear()


def test_what_is_up_is_left_alone(played):
    up(played, 3600.0)

    assert played.watch.up
    assert played.watch.due is None
    assert played.replaced == []


def test_what_libzmq_mends_by_itself_in_time_is_not_replaced(played):
    up(played)

    played.hear(Sign.ENDED)
    assert not played.watch.up
    played.wait(REPLACE_S / 2)
    played.hear(Sign.CONNECTED, Sign.READY)
    played.wait(60.0)

    assert played.watch.up
    assert played.replaced == []
    assert played.told == []


def test_what_ended_for_good_is_replaced_soon_and_that_is_told(played):
    up(played)
    played.dial = lambda: played.hear(Sign.CONNECTED, Sign.READY)

    played.hear(Sign.ENDED)
    played.wait(REPLACE_S)

    assert played.watch.up
    assert len(played.replaced) == 1
    assert played.told == ["it had ended for good"]


def test_a_peer_that_is_down_costs_a_replacement_now_and_then_and_is_not_told(played):
    up(played)

    played.hear(Sign.ENDED)
    played.wait(600.0)
    played.hear(Sign.CONNECTED, Sign.READY)

    gaps = [later - one for one, later in zip(played.replaced, played.replaced[1:], strict=False)]
    assert gaps == pytest.approx(sorted(gaps))
    assert gaps[-1] == pytest.approx(REPLACE_S_MAX)
    assert played.told == []


@pytest.mark.parametrize("signs", [[Sign.ENDED], [Sign.FAILED], [Sign.FAILED, Sign.ENDED]], ids=str)
def test_who_is_no_peer_is_tried_again_until_one_stands_there_and_told_once(played, signs):
    played.dial = lambda: played.hear(Sign.CONNECTED, *signs)
    up(played)
    played.hear(Sign.ENDED)
    played.wait(600.0)
    assert not played.watch.up
    assert played.watch.reason == "who answers there does not speak as a node does"

    played.dial = lambda: played.hear(Sign.CONNECTED, Sign.READY)
    played.wait(REPLACE_S_MAX)

    assert played.watch.up
    assert played.watch.reason is None
    assert played.told == ["who answers there does not speak as a node does"]


def test_one_handshake_that_ends_may_be_a_node_that_goes_down_and_is_not_told(played):
    up(played)
    played.hear(Sign.ENDED, Sign.CONNECTED, Sign.ENDED)
    played.wait(60.0)
    assert played.watch.reason is None

    played.hear(Sign.CONNECTED, Sign.READY)

    assert played.told == []


def test_who_accepts_and_says_nothing_is_given_time_and_then_tried_again(played):
    played.dial = lambda: played.hear(Sign.CONNECTED)
    up(played)
    played.hear(Sign.ENDED)
    played.wait(60.0)

    gaps = [later - one for one, later in zip(played.replaced, played.replaced[1:], strict=False)]
    assert all(HANDSHAKE_S <= gap <= REPLACE_S_MAX + 0.001 for gap in gaps)
    assert len(gaps) > 10
    assert played.told == [f"who answers there says nothing for {HANDSHAKE_S:g} s"]


def test_a_handshake_under_way_is_not_cut_short(played):
    up(played)
    played.hear(Sign.ENDED)
    played.wait(REPLACE_S - 0.01)

    played.hear(Sign.CONNECTED)
    played.wait(HANDSHAKE_S - 0.01)
    played.hear(Sign.READY)

    assert played.watch.up
    assert played.replaced == []


def test_a_connection_to_itself_is_replaced_at_once_and_never_counts_as_up(played):
    up(played)
    played.hear(Sign.ENDED)
    played.wait(1.0)
    played.replaced.clear()

    played.hear(Sign.REACHED_ITSELF, Sign.READY)
    assert not played.watch.up
    played.wait(0.0)
    played.hear(Sign.READY)  # of the one that was replaced

    assert len(played.replaced) == 1
    assert not played.watch.up
    assert played.told == ["it had reached itself, on the port of a peer that is down"]


def test_the_end_of_a_connection_that_was_replaced_is_not_the_end_of_its_successor(played):
    played.hear(Sign.CONNECTED)
    played.wait(HANDSHAKE_S)
    played.hear(Sign.CONNECTED, Sign.READY)

    played.watch.hear(Sign.ENDED, played.descriptor - 1, played.now)

    assert played.watch.up


def test_one_that_is_cut_again_and_again_is_replaced_less_and_less_often_and_told_once(played):
    up(played)
    played.dial = lambda: played.hear(Sign.CONNECTED, Sign.READY)
    waits = []
    for _ in range(8):
        played.hear(Sign.ENDED)
        began, played.replaced = played.now, []
        played.wait(REPLACE_S_MAX)
        waits.append(played.replaced[0] - began)

    assert waits == sorted(waits)
    assert waits[-1] == pytest.approx(REPLACE_S_MAX)
    assert len(played.told) == 1


def test_a_second_outage_is_told_like_the_first_and_mended_as_soon(played):
    played.dial = lambda: played.hear(Sign.CONNECTED, Sign.READY)
    for _ in range(2):
        up(played)
        played.hear(Sign.ENDED)
        played.wait(REPLACE_S)
        assert played.watch.up

    assert played.told == ["it had ended for good"] * 2


# --- a peer that shows that it is there ----------------------------------------------------


def test_a_connection_that_waits_is_replaced_at_once_when_the_peer_is_there(played):
    up(played)
    played.hear(Sign.ENDED)
    played.wait(2 * REPLACE_S_MAX)
    played.replaced.clear()
    played.now += HURRY_S

    played.watch.hurry(played.now)
    played.wait(0.0)

    assert played.replaced == [played.now]
    played.hear(Sign.CONNECTED, Sign.READY)
    assert played.told == []


def test_a_peer_that_shows_itself_often_does_not_end_attempts_that_have_just_begun(played):
    for _ in range(10):
        played.watch.hurry(played.now)
        played.wait(HURRY_S / 10)

    assert len(played.replaced) <= 2


def test_just_after_a_loss_libzmq_connects_by_itself(played):
    up(played)

    played.hear(Sign.ENDED)
    played.watch.hurry(played.now)
    played.wait(REPLACE_S / 2)

    assert played.replaced == []


@pytest.mark.parametrize("signs", [(Sign.CONNECTED,), (Sign.CONNECTED, Sign.READY)])
def test_a_connection_that_is_made_or_up_is_left_alone_when_the_peer_shows_itself(played, signs):
    played.hear(*signs)
    played.replaced.clear()

    played.now += HURRY_S
    played.watch.hurry(played.now)
    played.wait(0.0)

    assert played.replaced == []
