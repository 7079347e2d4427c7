"""What a node's folder tells of its last life, however that ended."""

from __future__ import annotations

import os
from contextlib import suppress

import pytest
from shell_scene import config

from actors import __main__ as program
from actors.folder import Folder
from actors.life import CLEAN, Life
from actors.node import NodeFailedError, StartupError


@pytest.fixture
def path(tmp_path):
    return tmp_path / "life"


def test_the_first_life_has_none_before_it(path):
    Life(path).prepare()

    assert Life(path).begin() == "first start"


@pytest.mark.parametrize("how", [CLEAN, "failed: storage: no more"])
def test_a_life_that_ended_by_itself_says_how(path, how):
    life = Life(path)
    life.begin()
    life.beat()
    life.end(how)

    life.prepare()
    assert Life(path).begin() == how


def test_a_life_that_was_cut_off_was_last_seen_at_its_last_beat(path):
    Life(path).begin()
    os.utime(path, (0, 1_700_000_000))

    assert Life(path).begin() == "killed or crashed, last seen at 2023-11-14T22:13:20Z"


def test_a_long_reason_is_cut_and_stays_one_line(path):
    Life(path).end("failed: " + "\nwhy\ud800" * 1000)

    told = Life(path).begin()

    assert told.startswith("failed:  why")
    assert "\n" not in told
    assert len(path.read_bytes()) == 512


@pytest.mark.parametrize("damage", [b"", b"\xff" * 2000, b"clean", b"\0" * 512])
def test_a_damaged_file_says_nothing_and_is_mended(path, damage):
    path.write_bytes(damage)

    assert Life(path).begin() == "not known: life is damaged"
    assert Life(path).begin().startswith("killed or crashed")


@pytest.mark.parametrize("instead", [os.mkdir, os.mkfifo, lambda path: None])
def test_whatever_stands_in_its_place_keeps_nobody_from_running(path, instead):
    instead(path)

    life = Life(path)
    assert life.begin().startswith("not known: life")
    life.beat()
    life.end(CLEAN)


def test_what_cannot_be_said_is_not_left_to_be_untrue(path, monkeypatch):
    """No room: the file does not go on saying that the node had stopped cleanly."""
    Life(path).end(CLEAN)

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        assert Life(path).begin() == CLEAN

    assert Life(path).begin() == "not known: life: No such file or directory"


@pytest.mark.parametrize(
    ("ends", "told"),
    [
        (None, "clean stop"),
        (NodeFailedError("gossip: no"), "failed: gossip: no"),
        (StartupError("a port is in use"), "killed or crashed, last seen at "),
    ],
)
def test_a_run_leaves_word_of_its_end_but_a_start_in_vain_does_not(
    tmp_path, monkeypatch, ends, told
):
    with Folder(tmp_path / "n1") as folder:
        folder.life.begin()  # an earlier one, which was killed

    class Stage:
        def __init__(self, *_):
            pass

        def run(self, *_):
            if not isinstance(ends, StartupError):
                folder.life.begin()
            if ends is not None:
                raise ends

    monkeypatch.setattr(program, "Node", Stage)
    monkeypatch.setattr(program, "open_log", lambda *_: None)
    with Folder(tmp_path / "n1") as folder:
        with suppress(StartupError):
            program.run(config("n1"), config("n1").member("n1"), folder, [])

        assert folder.life.begin().startswith(told)


def test_a_start_in_vain_leaves_the_first_start_to_the_next(tmp_path):
    with Folder(tmp_path / "n1") as folder:
        folder.claim()
        folder.data.mkdir()
    with Folder(tmp_path / "n1") as folder:
        folder.claim()

        assert folder.life.begin() == "first start"
