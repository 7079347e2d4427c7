"""Where lines come from: plain, rotated and compressed files, pipes, many hosts, damaged ones."""

import gzip
import json
import os
import threading

import pytest

from toystore.logs.document import document
from toystore.logs.report import investigate
from toystore.logs.sources import LINE_BYTES_MAX, Lines, SourceError, Tally, find, read

from .scene import RECORDED, line, sees, stamp, write

NO_LOG_LINES = (
    b'"a text"',
    b"7",
    b'["a", "list"]',
    b"{}",
    b'{"event":"member.dead","node":"n2","timestamp":5}',
    b'{"event":"member.dead","node":"n2","timestamp":"2024-05-01T12:00:00"}',
    b'{"event":"member.dead","node":"n2","timestamp":"9999999-05-01T12:00:00Z"}',
    b'{"event":"member.dead","node":["n2"],"timestamp":"2024-05-01T12:00:00Z"}',
    b'{"event":null,"node":"n2","timestamp":"2024-05-01T12:00:00Z"}',
    b'{"level":"error"}',
    b"\xff\xfe",
    b"[" * 5000,
)
ODD_VALUES = (
    {"member": 5, "incarnation": "one", "cause": None},
    {"member": ["n3"], "incarnation": 2**70, "cause": {"a": 1}},
    {"member": "n3", "incarnation": True, "cause": "\ud800 lone"},
    {"owner": {}, "hints": -3, "late_s": "long", "for_s": []},
)


def entries(path, tally=None):
    return list(read(str(path), tally or Tally()))


def test_what_is_no_line_of_a_log_is_skipped_and_counted(tmp_path):
    good = sees(5, "n1", "n3", "suspect").encode()
    (tmp_path / "log.jsonl").write_bytes(b"\n".join(NO_LOG_LINES) + b"\n" + good + b"\n \r\n")

    tally = Tally()
    found = entries(tmp_path / "log.jsonl", tally)

    assert [entry.event for entry in found] == ["member.suspect"]
    assert (tally.lines, tally.foreign, tally.torn) == (1, len(NO_LOG_LINES), 0)


@pytest.mark.parametrize("fields", ODD_VALUES)
@pytest.mark.parametrize(
    "event", ["member.suspect", "member.dead", "hint.stored", "actor.stalled", "scenario.step"]
)
def test_fields_of_types_that_nobody_logs_do_no_harm(tmp_path, event, fields):
    lines = [line(at, node, event, **fields) for at, node in enumerate(("n1", "n2", "n1"))]

    report = investigate([str(write(tmp_path, lines))])

    assert "".join(document(report))
    assert report.tally.lines == 3


def test_an_event_of_a_later_version_is_a_line_like_any_other(tmp_path):
    write(tmp_path, [line(1, "n1", "member.wobbles", member="n2"), sees(2, "n1", "n2", "shaky")])

    report = investigate([str(tmp_path)])

    assert (report.tally.lines, report.tally.foreign) == (2, 0)
    assert report.members == ["n1"]


def test_a_torn_last_line_is_counted_and_what_was_written_behind_one_is_read(tmp_path):
    whole = sees(5, "n1", "n3", "suspect")
    torn = whole[:40]
    (tmp_path / "log.jsonl").write_text(torn + sees(6, "n1", "n3", "dead") + whole[:70])

    tally = Tally()
    found = entries(tmp_path / "log.jsonl", tally)

    assert [entry.event for entry in found] == ["member.dead"]
    assert (tally.lines, tally.foreign, tally.torn) == (1, 0, 2)


def test_a_last_line_without_an_end_is_read_if_it_is_whole(tmp_path):
    (tmp_path / "log.jsonl").write_text(sees(5, "n1", "n3", "suspect").rstrip("\n"))

    assert len(entries(tmp_path / "log.jsonl")) == 1


def test_the_zeros_that_a_power_cut_leaves_hide_nothing(tmp_path):
    whole = sees(5, "n1", "n3", "suspect").encode()
    (tmp_path / "log.jsonl").write_bytes(whole + b"\0" * 4096 + whole + b"\0" * 100)

    assert len(entries(tmp_path / "log.jsonl")) == 2


def test_rotated_and_compressed_logs_are_one_log(tmp_path):
    lines = [sees(at, "n1", "n3", "suspect", was=at) for at in range(6)]
    (tmp_path / "log.jsonl").write_text(lines[5])
    (tmp_path / "log.jsonl.1").write_text(lines[3] + lines[4])
    (tmp_path / "log.jsonl.2.gz").write_bytes(gzip.compress((lines[1] + lines[2]).encode()))
    (tmp_path / "log.jsonl-20260130.gz").write_bytes(gzip.compress(lines[0].encode()))
    (tmp_path / "life").write_text("running")

    tally = Tally()
    found = [entry for path in find([str(tmp_path)]) for entry in read(path, tally)]

    assert sorted(entry.fields["incarnation"] for entry in found) == list(range(6))
    assert tally.lines == 6


def test_a_compressed_log_that_is_cut_short_is_read_as_far_as_it_goes(tmp_path):
    many = "".join(sees(at, "n1", f"n{at}", "suspect") for at in range(2000))
    whole = gzip.compress(many.encode())
    (tmp_path / "a.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "b.jsonl.gz").write_bytes(b"\x1f\x8b this is none")

    tally = Tally()
    found = entries(tmp_path / "a.jsonl.gz", tally) + entries(tmp_path / "b.jsonl.gz", tally)

    assert 500 < len(found) < 2000
    assert [each.partition(": ")[0] for each in tally.unreadable] == [
        str(tmp_path / "a.jsonl.gz"),
        str(tmp_path / "b.jsonl.gz"),
    ]


def test_logs_of_many_hosts_and_of_one_given_twice_are_read_once(tmp_path):
    for host in ("alpha", "beta"):
        write(tmp_path / host / "data", [sees(1, host, "n3", "suspect")])
    (tmp_path / "copy").mkdir()
    os.link(tmp_path / "alpha/data/alpha/log.jsonl", tmp_path / "copy/log.jsonl")

    report = investigate([str(tmp_path), str(tmp_path / "beta"), str(tmp_path / "beta/data")])

    assert report.tally.lines == 2
    assert report.members == ["alpha", "beta"]


def test_a_log_that_was_collected_twice_tells_one_story(tmp_path):
    for name in ("one", "other"):
        for log in (RECORDED / "split").rglob("*.jsonl"):
            path = tmp_path / name / log.relative_to(RECORDED)
            path.parent.mkdir(parents=True)
            path.write_bytes(log.read_bytes())

    twice, once = investigate([str(tmp_path)]), investigate([str(RECORDED / "split")])

    assert list(twice.failures) == list(once.failures)
    assert twice.tally.lines == 2 * once.tally.lines


def test_a_pipe_is_read_to_its_end_whatever_the_order_of_its_lines(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    lines = [each for log in (RECORDED / "demo").rglob("*.jsonl") for each in log.open()]
    writer = threading.Thread(target=lambda: pipe.write_text("".join(reversed(lines))))
    writer.start()

    piped = investigate([str(pipe)])
    writer.join()

    # Lines of one moment are in the order in which they came.
    told, true = piped.failures, investigate([str(RECORDED / "demo")]).failures
    assert [(one.member, one.kind) for one in told] == [(one.member, one.kind) for one in true]


def test_a_line_that_never_ends_takes_no_room():
    lines = Lines()
    chunk = b"x" * (LINE_BYTES_MAX // 4)

    found = [len(each) for _ in range(40) for each in lines.feed(chunk)]
    found += [len(each) for each in lines.feed(b"end\nwhole\n")]

    assert len(found) == 2
    assert found[1] == len(b"whole")
    assert len(lines.rest) == 0


def test_lines_are_the_same_however_a_stream_is_cut():
    text = b"".join(sees(at, "n1", "n3", "suspect").encode() for at in range(5))

    for size in (1, 7, 64, 1000):
        lines = Lines()
        found = [
            each for at in range(0, len(text), size) for each in lines.feed(text[at : at + size])
        ]
        assert found == text.splitlines()


@pytest.mark.parametrize(
    ("path", "words"),
    [("missing", "missing: No such file or directory"), (".", "no logs (*.jsonl) in ")],
)
def test_where_there_is_no_log_that_is_told(tmp_path, path, words):
    with pytest.raises(SourceError) as caught:
        find([str(tmp_path / path)])

    assert words in str(caught.value)


def test_what_is_no_line_within_a_time_is_left_out(tmp_path):
    write(tmp_path, [sees(at, "n1", "n3", "suspect") for at in range(10)])
    begins_at = entries(tmp_path / "n1/log.jsonl")[4].at

    tally = Tally(begins_at)

    assert len(entries(tmp_path / "n1/log.jsonl", tally)) == tally.lines == 6


def test_names_and_causes_are_safe_to_print(tmp_path):
    odd = {"timestamp": stamp(1), "node": "n\x1b[31m1", "event": "member.suspect"}
    odd |= {"member": "n2", "cause": "\x07" + "x" * 5000}
    (tmp_path / "log.jsonl").write_text(json.dumps(odd) + "\n")

    (entry,) = entries(tmp_path / "log.jsonl")

    assert entry.node == "n?[31m1"
    assert entry.text("cause").isprintable()
    assert len(entry.text("cause")) < 500
