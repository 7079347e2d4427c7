"""The log: lines that parse, fields that keep their types, and no way to be stopped by it."""

from __future__ import annotations

import errno
import json
import os
import re
import resource
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from actors import log
from toystore.core.protocol.machine import Event, Now, Outbox

AT = Now(100.0, 1_700_000_000_000_123)
STARTED = Event("handoff.started", {"owner": "n2", "hints": 3, "bytes": 300})
LINK_UP = Event("link.up", {"member": "n2"})
LINK_LOST = Event("link.lost", {"member": "n2"})

Configure = Callable[..., Path]


@pytest.fixture
def configure(tmp_path: Path) -> Iterator[Configure]:
    def set_up(path: Path | None = tmp_path / "log.jsonl", **changed: Any) -> Path:
        settings: dict[str, Any] = {
            "node": "n1",
            "level": "info",
            "rotate_bytes": 1 << 20,
            "rotate_files": 2,
        }
        log.configure(path, **(settings | changed))
        return tmp_path / "log.jsonl"

    yield set_up
    log.close()


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_an_event_is_one_json_line_with_its_fields_in_order(configure: Configure) -> None:
    path = configure()
    outbox = Outbox()
    outbox.log("handoff.started", owner="n2", hints=3, bytes=300)
    log.write(outbox.events, "handoff", AT)
    [line] = lines(path)
    assert list(line) == ["timestamp", "level", "event", "node", "actor", "owner", "hints", "bytes"]
    assert line == {
        "timestamp": "2023-11-14T22:13:20.000123Z",  # when it was noted, not when it is written
        "level": "info",
        "event": "handoff.started",
        "node": "n1",
        "actor": "handoff",
        "owner": "n2",
        "hints": 3,
        "bytes": 300,
    }


def test_what_no_machine_noted_shows_when_it_was_logged(configure: Configure) -> None:
    path = configure()
    before = datetime.now(UTC)
    log.event("node", "node.stopping", reason="SIGTERM")
    [line] = lines(path)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", line["timestamp"])
    assert before <= datetime.fromisoformat(line["timestamp"]) <= datetime.now(UTC)


def test_fields_keep_their_types_and_bytes_are_hex(configure: Configure) -> None:
    path = configure()
    log.logger("node").info("node.started", a=1, b=0.5, c=True, d=None, e=b"\x00\xff", f=("x", 1))
    [line] = lines(path)
    assert [line[name] for name in "abcdef"] == [1, 0.5, True, None, "00ff", ["x", 1]]


@pytest.mark.parametrize(
    ("value", "logged"),
    [
        ("two\nlines", "two\nlines"),
        ("schön", "schön"),
        ("\ud800", "\ud800"),
        (2**70, 2**70),
        (ValueError("no"), "ValueError('no')"),
    ],
)
def test_no_field_can_break_a_line(configure: Configure, value: Any, logged: Any) -> None:
    path = configure()
    log.logger("node").info("node.failed", error=value)
    [line] = lines(path)
    assert line["error"] == logged


def test_events_are_logged_at_the_levels_of_the_vocabulary(configure: Configure) -> None:
    path = configure(level="debug")
    aged = Event("hint.aged", {"owner": "n2", "hints": 3, "bytes": 300, "age_s": 1.5})
    log.write([LINK_UP, STARTED, aged], "handoff", AT)
    assert [line["level"] for line in lines(path)] == ["debug", "info", "warning"]


def test_an_event_outside_the_vocabulary_is_logged_all_the_same(configure: Configure) -> None:
    path = configure()
    log.event("handoff", "no.such", x=1)
    assert [line["event"] for line in lines(path)] == ["no.such"]


def test_a_disabled_level_costs_no_rendering(configure: Configure) -> None:
    class Costly:
        def __repr__(self) -> str:
            raise AssertionError("rendered")

    path = configure(level="warning")
    log.write([Event("link.up", {"member": Costly()}), STARTED], "handoff", AT)
    assert lines(path) == []


def test_an_unknown_level_is_refused_by_name(configure: Configure) -> None:
    with pytest.raises(ValueError, match=r"'loud'.*debug, info, warning"):
        configure(level="loud")


def test_a_file_that_cannot_be_opened_says_so(configure: Configure, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        configure(tmp_path / "nowhere" / "log.jsonl")


def test_the_file_is_rotated_and_old_ones_go(configure: Configure, tmp_path: Path) -> None:
    configure(rotate_bytes=1000, rotate_files=2)
    log.write([STARTED] * 100, "handoff", AT)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["log.jsonl", "log.jsonl.1", "log.jsonl.2"]
    assert all(path.stat().st_size <= 1000 for path in tmp_path.iterdir())
    assert len(lines(tmp_path / "log.jsonl.1")) > 1


def test_threads_do_not_cut_into_each_others_lines(configure: Configure, tmp_path: Path) -> None:
    configure(rotate_bytes=20_000, rotate_files=1000)

    def run(actor: str) -> None:
        for number in range(300):
            log.logger(actor).info("link.lost", number=number, padding=actor * 200)

    threads = [threading.Thread(target=run, args=(actor,)) for actor in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    written = [line for path in tmp_path.iterdir() for line in lines(path)]
    for actor in "ab":
        mine = [line for line in written if line["actor"] == actor]
        assert sorted(line["number"] for line in mine) == list(range(300))
        assert all(line["padding"] == actor * 200 for line in mine)


def test_errors_are_told_on_stderr_in_one_plain_line(
    configure: Configure, capsys: pytest.CaptureFixture[str]
) -> None:
    path = configure()
    log.write([STARTED], "handoff", AT)
    failed = {"error": "boom\nbang", "traceback": "a\nb\nc", "message": "Get", "restarts": 1}
    log.write([Event("actor.failed", failed)], "storage", AT)
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert told.endswith(
        "Z error n1 storage actor.failed error='boom\\nbang' message='Get' restarts=1\n"
    )
    assert lines(path)[1]["traceback"] == "a\nb\nc"


def test_without_a_path_only_errors_are_told(
    configure: Configure, capsys: pytest.CaptureFixture[str]
) -> None:
    path = configure(None)
    log.write([STARTED], "handoff", AT)
    log.event("node", "node.failed", error="no")
    assert not path.exists()
    assert "critical n1 node node.failed error='no'" in capsys.readouterr().err


def test_configuring_again_moves_the_log(configure: Configure, tmp_path: Path) -> None:
    configure()
    early = log.logger("handoff")
    configure(tmp_path / "other.jsonl", node="n9")
    early.info("link.lost", member="n2")
    assert lines(tmp_path / "log.jsonl") == []
    assert [line["node"] for line in lines(tmp_path / "other.jsonl")] == ["n9"]


@contextmanager
def no_file_longer_than(size_bytes: int) -> Iterator[None]:
    """As on a full disk, a write that goes beyond is cut short or refused."""
    usual, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (usual, most))


@pytest.mark.parametrize("left_bytes", [0, 10])
def test_writes_that_fail_are_swallowed_and_counted_in_the_log_when_there_is_room_again(
    configure: Configure, capsys: pytest.CaptureFixture[str], left_bytes: int
) -> None:
    path = configure()
    log.write([STARTED], "handoff", AT)

    with no_file_longer_than(path.stat().st_size + left_bytes):
        log.write([STARTED, STARTED], "handoff", AT)
    log.write([LINK_LOST, LINK_LOST], "coordinator", AT)

    _, first, told, last = lines(path)
    assert first["event"] == last["event"] == "link.lost"
    assert (told["event"], told["level"], told["lines"]) == ("log.lost", "warning", 2)
    assert capsys.readouterr().err == ""


def test_a_file_that_cannot_be_begun_for_want_of_room_is_begun_later(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(*_: object) -> None:
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    with monkeypatch.context() as full:
        full.setattr(os, "open", no_room)
        path = configure()
        log.write([STARTED], "handoff", AT)
    log.write([LINK_LOST], "coordinator", AT)

    assert [line["event"] for line in lines(path)] == ["link.lost", "log.lost"]


# --- a file that is moved ---------------------------------------------------------------


def move(path: Path) -> Path:
    return path.rename(path.with_name("moved"))


def remove_folder(path: Path) -> None:
    folder = path.parent.rename(path.parent.with_name("gone"))
    log.write([LINK_LOST], "coordinator", AT)  # nowhere to put that
    path.parent.mkdir()
    folder.joinpath(path.name).unlink()


@pytest.mark.parametrize("away", [move, Path.unlink, remove_folder])
def test_a_log_goes_on_where_it_belongs_when_its_file_is_taken_away(
    configure: Configure, tmp_path: Path, away: Callable[[Path], object]
) -> None:
    path = tmp_path / "n1" / "log.jsonl"
    path.parent.mkdir()
    configure(path)
    log.write([STARTED], "handoff", AT)

    away(path)
    log.write([LINK_LOST], "coordinator", AT)

    told, line = lines(path)
    assert (told["event"], told["cause"]) == ("log.reopened", "moved away")
    assert line["event"] == "link.lost"


def test_a_log_whose_file_was_moved_stays_with_it_while_no_other_can_be_begun(
    configure: Configure, tmp_path: Path
) -> None:
    path = configure()
    moved = move(path)
    path.mkdir()
    log.write([STARTED], "handoff", AT)
    path.rmdir()
    log.write([LINK_LOST], "coordinator", AT)

    assert [line["event"] for line in lines(moved)] == ["handoff.started"]
    assert [line["event"] for line in lines(path)] == ["log.reopened", "link.lost"]


def test_a_log_is_reopened_when_it_is_told_to(configure: Configure) -> None:
    path = configure()
    moved = move(path)
    log.reopen("SIGHUP")

    assert moved.read_text() == ""
    assert [(line["event"], line["cause"]) for line in lines(path)] == [("log.reopened", "SIGHUP")]


def test_a_file_that_was_emptied_is_gone_on_with(configure: Configure) -> None:
    path = configure()
    log.write([STARTED], "handoff", AT)
    path.write_text("")
    log.write([LINK_LOST], "coordinator", AT)

    assert [line["event"] for line in lines(path)] == ["link.lost"]


def test_a_log_that_cannot_be_set_aside_grows_on(configure: Configure, tmp_path: Path) -> None:
    path = configure(rotate_bytes=1000, rotate_files=1)
    (tmp_path / "log.jsonl.1" / "full").mkdir(parents=True)
    log.write([STARTED] * 100, "handoff", AT)

    assert len(lines(path)) == 100


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o277])
def test_a_log_is_its_owners_alone_and_stays_so_when_it_is_set_aside(
    configure: Configure, tmp_path: Path, mask: int
) -> None:
    (tmp_path / "log.jsonl").touch(0o644)
    before = os.umask(mask)
    try:
        configure(rotate_bytes=1000)
        log.write([STARTED] * 20, "handoff", AT)
    finally:
        os.umask(before)

    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's always full device")
def test_a_full_disk_stops_nobody(configure: Configure, capsys: pytest.CaptureFixture[str]) -> None:
    configure(Path("/dev/full"))
    for _ in range(200):
        log.write([STARTED], "handoff", AT)
    log.close()
    assert capsys.readouterr().err == ""
