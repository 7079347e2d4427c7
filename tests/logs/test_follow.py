"""Following logs: steps as they happen, files that are rotated, a clean end."""

import json
import os
import re
import signal
import subprocess

from tests.harness.programs import TOYSTORE, Program
from toystore.localcluster.node import ROOT
from toystore.logs.entry import Entry
from toystore.logs.sources import Tally
from toystore.logs.tail import FileTail, Tails

from .scene import RECORDED, joined, line, loses_link, sees, started, write
from .scene import signal as signalled


def numbers(entries: list[Entry]) -> list[int]:
    return [entry.fields["incarnation"] for entry in entries]


def numbered(*which: int) -> str:
    return "".join(sees(number, "n1", "n3", "suspect", was=number) for number in which)


def test_a_file_is_read_on_where_it_ended(tmp_path):
    log = tmp_path / "log.jsonl"
    tail = FileTail(str(log), Tally())
    assert numbers(tail.read()) == []  # it is not there yet

    log.write_text(numbered(0, 1))
    assert numbers(tail.read()) == [0, 1]
    whole = numbered(2)
    with log.open("a") as file:
        file.write(whole[:20])
        file.flush()
        assert numbers(tail.read()) == []
        file.write(whole[20:] + numbered(3))
    assert numbers(tail.read()) == [2, 3]
    tail.close()


def test_nothing_is_lost_when_files_are_rotated_once_or_twice_meanwhile(tmp_path):
    log, first, second = (tmp_path / name for name in ("log.jsonl", "log.jsonl.1", "log.jsonl.2"))
    log.write_text(numbered(0))
    tail = FileTail(str(log), Tally())
    assert numbers(tail.read()) == [0]

    with log.open("a") as file:
        file.write(numbered(1))
    log.rename(first)
    log.write_text(numbered(2))
    assert numbers(tail.read()) == [1, 2]

    first.rename(second)
    log.rename(first)
    log.write_text(numbered(3))
    first.rename(tmp_path / "log.jsonl.3")
    second.rename(tmp_path / "log.jsonl.4")
    (tmp_path / "log.jsonl.3").rename(second)
    log.rename(first)
    log.write_text(numbered(4))
    assert numbers(tail.read()) == [3, 4]
    tail.close()


def test_a_file_that_was_emptied_is_read_from_its_beginning(tmp_path):
    log = tmp_path / "log.jsonl"
    log.write_text(numbered(0, 1, 2))
    tail = FileTail(str(log), Tally())
    assert numbers(tail.read()) == [0, 1, 2]

    log.write_text(numbered(7))
    assert numbers(tail.read()) == [7]
    tail.close()


def test_logs_that_are_begun_later_are_taken_up_and_those_that_were_set_aside_read_once(tmp_path):
    write(tmp_path, [sees(0, "n1", "n3", "suspect", was=0)])
    (tmp_path / "n1/log.jsonl.1").write_text(numbered(9))
    tails = Tails([str(tmp_path)], Tally())
    assert sorted(numbers(tails.read())) == [0, 9]

    write(tmp_path, [sees(1, "n2", "n3", "suspect", was=1)])
    (tmp_path / "n1/log.jsonl").rename(tmp_path / "n1/log.jsonl.2")
    assert numbers(tails.read()) == []
    tails.look_for_more()
    assert numbers(tails.read()) == [1]
    assert not tails.ended
    tails.close()


def test_each_step_is_told_as_it_is_logged_and_the_failure_once_it_is_over(tmp_path):
    runner = line(-1, "run_cluster", "run.started", config="three.yaml", nodes=3)
    write(tmp_path, [runner, started(0, "n1"), started(0, "n2"), started(0, "n3")])
    command = (*TOYSTORE, "detect", "--follow", tmp_path)
    with Program(command, env=os.environ | {"PYTHONUNBUFFERED": "1"}) as program:
        program.until(r"^clocks: ")

        write(tmp_path, [signalled(5, "n3", "SIGKILL"), loses_link(5.01, "n1", "n3")])
        program.until(r"^12:00:05\.000  n3   \+0 ms +run_cluster sends it SIGKILL$")
        program.until(r"^12:00:05\.010  n3   \+10 ms +n1 lost its link to it$")

        (tmp_path / "n1/log.jsonl").rename(tmp_path / "n1/log.jsonl.1")
        write(tmp_path, [sees(5.2, "n1", "n3", "suspect", "lost link")])
        program.until(r"n1 suspects it: lost link$")
        write(tmp_path, [sees(6.7, "n1", "n3", "dead", "suspicion timed out")])
        program.until(r"n1 gives it up as dead: suspicion timed out$")
        write(tmp_path, [sees(6.8, "n2", "n3", "dead", "told by n1")])
        program.until(r"\+1\.80 s +all 2 know, the last n2$")

        write(tmp_path, [started(9, "n3", "killed or crashed"), joined(9.1, "n3")])
        program.until(r"n3 +\+4\.10 s +has joined through n1$")
        back = [sees(9.2, name, "n3", "alive", "refuted", 1) for name in ("n1", "n2")]
        write(tmp_path, back)
        program.until(r"everybody sees it alive$")
        program.until(r"^#1  n3  CRASHED 12:00:05\.000 +back after 4\.10 s")

        assert program.stop(signal.SIGINT) == 0
    assert "Traceback" not in "\n".join(program.lines)


def test_what_is_not_over_is_told_at_the_end(tmp_path):
    write(tmp_path, [started(0, "n1"), started(0, "n3"), signalled(5, "n3", "SIGSTOP")])
    with Program((*TOYSTORE, "detect", "--follow", tmp_path)) as program:
        program.until(r"^clocks: ")

        assert program.stop(signal.SIGINT) == 0
    assert any(re.match(r"#1  n3  FROZE 12:00:05\.000", each) for each in program.lines)


def test_a_pipe_is_followed_to_its_end():
    lines = "".join(each for log in (RECORDED / "demo").rglob("*.jsonl") for each in log.open())

    done = subprocess.run(
        [*TOYSTORE, "detect", "--follow", "--json", "-"],
        input=lines,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )

    told = [json.loads(each) for each in done.stdout.splitlines()]
    assert [each["failure"]["member"] for each in told if "failure" in each] == ["n4", "n5", "n2"]
