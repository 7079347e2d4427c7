"""`toystore detect` at a shell's prompt."""

import gzip
import json
import re
import shlex
import subprocess
import sys
import time

import pytest

from toystore.cli.detect import Moment
from toystore.localcluster.node import ROOT
from toystore.logs.failure import CRASH, PAUSE, SPLIT, STOP, UNKNOWN

from .scene import GOLDEN, RECORDED, sees, signal, write

DEMO = RECORDED / "demo"
FAILURE = {
    *("member", "kind", "at", "known_from", "how", "first_sign", "first", "suspected_by"),
    "all_suspected_after_s",
    *("first_dead", "dead_at", "observers", "own_evidence", "never_knew", "all_knew_after_s"),
    *("killed_again_after_s", "back_at", "away_s", "refuted_after_s", "restart", "hints"),
    *("sides", "in_turn", "seen"),
}
ACCUSATION = {"by", "member", "at", "cause", "refuted_after_s", "dead_after_s", "reason", "note"}


def detect(*arguments, **options):
    command = [sys.executable, "-m", "toystore", "detect", *map(str, arguments)]
    usual = {"cwd": ROOT, "capture_output": True, "text": True}
    return subprocess.run(command, check=False, **usual | options)


def test_the_story_of_a_folder_is_printed():
    done = detect(DEMO)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (GOLDEN / "demo.txt").read_text()


def test_json_is_one_object_of_the_shape_that_is_documented():
    done = detect(DEMO, "--json")

    (line,) = done.stdout.splitlines()
    report = json.loads(line)
    assert report == json.loads((GOLDEN / "demo.json").read_text())
    assert [(each["member"], each["kind"]) for each in report["failures"]] == [
        ("n4", "crash"),
        ("n5", "stop"),
        ("n2", "pause"),
    ]
    for failure in report["failures"]:
        assert failure.keys() == FAILURE
        assert failure["kind"] in (CRASH, STOP, PAUSE, SPLIT, UNKNOWN)
        assert failure["first"].keys() == {"node", "cause", "after_s"}
        assert failure["hints"].keys() == {"kept", "delivered", "home_after_s", "by"}
        assert failure["hints"]["kept"] == failure["hints"]["delivered"] > 0
    assert report["false_accusations"] == []


def test_the_documentation_names_every_key_of_the_json(tmp_path):
    write(tmp_path, [sees(1, "n1", "n2", "suspect"), sees(2, "n1", "n2", "alive", "refuted", 1)])
    page = (ROOT / "docs" / "OPERATIONS.md").read_text()
    documented = set(re.findall(r"`(\w+)`", page))

    false = json.loads(detect(tmp_path, "--json").stdout)
    true = json.loads(detect(DEMO, "--json").stdout)

    assert [each.keys() for each in false["false_accusations"]] == [ACCUSATION]
    assert keys_in(false) | keys_in(true) <= documented


def keys_in(value):
    if isinstance(value, dict):
        return {*value, *(key for each in value.values() for key in keys_in(each))}
    return {key for each in value for key in keys_in(each)} if isinstance(value, list) else set()


def test_standard_input_may_be_any_mixture_of_logs_also_a_compressed_one():
    logs = " ".join(shlex.quote(str(path)) for path in DEMO.rglob("*.jsonl"))
    command = f"{shlex.quote(sys.executable)} -m toystore detect"

    plain, packed = (
        subprocess.run(
            ["bash", "-c", f"cat {logs} | {way} {command} -"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for way in ("", "gzip |")
    )

    assert plain == packed == (GOLDEN / "demo.txt").read_text()


def test_only_what_concerns_one_node_is_told_if_it_is_named():
    told = detect(DEMO, "--node", "n2").stdout

    assert "; only of n2" in told
    assert re.findall(r"^#\d+  (\w+)", told, re.MULTILINE) == ["n2"]
    assert told.splitlines()[1].startswith("1 failure, all noticed by all; ")


@pytest.mark.parametrize(
    ("since", "members"),
    [
        ("2026-11-27T21:08:50", ["n2"]),
        ("2026-11-27 21:08:50Z", ["n2"]),
        ("2026-11-27T22:08:50+01:00", ["n2"]),
        ("2026-11-27", ["n4", "n5", "n2"]),
        ("2222-01-01", []),
        ("100000d", ["n4", "n5", "n2"]),
    ],
)
def test_only_what_was_not_over_by_a_time_is_told_if_that_is_asked(since, members):
    told = json.loads(detect(DEMO, "--since", since, "--json").stdout)

    assert [each["member"] for each in told["failures"]] == members


@pytest.mark.parametrize(
    ("text", "ago_s"), [("90s", 90), ("10min", 600), ("1.5h", 5400), ("2 d", 172800)]
)
def test_a_duration_is_so_long_ago(text, ago_s):
    assert time.time() - Moment().convert(text, None, None) == pytest.approx(ago_s, abs=5)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "Missing argument 'DIR...'"),
        (("no/such/folder",), "no/such/folder: No such file or directory"),
        (("docs",), "no logs (*.jsonl) in docs"),
        ((".", "--since", "yesterday"), "'yesterday' is no time"),
        ((str(DEMO), "--html", "no/such/folder/page.html"), "no/such/folder/page.html"),
    ],
)
def test_bad_use_is_told_in_a_line(arguments, words):
    done = detect(*arguments)

    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_lines_that_are_none_and_files_that_cannot_be_read_are_told_in_the_head(tmp_path):
    write(tmp_path, [signal(1, "n1", "SIGKILL"), "{}\n".replace("{}", '{"node":"n9"}')])
    (tmp_path / "n1.jsonl.gz").write_bytes(gzip.compress(b"{}\n" * 999)[:-9])

    told = detect(".", cwd=tmp_path).stdout

    head = " ".join(line.strip() for line in told.splitlines()[:8])
    assert "foreign lines skipped" in head
    assert "./n1.jsonl.gz: cut short" in head


def test_a_page_may_go_to_standard_output():
    done = detect(DEMO, "--html", "-")

    assert done.stdout.startswith("<!doctype html>")
    assert done.stdout.rstrip().endswith("</html>")


def test_many_lines_take_little_memory(tmp_path):
    """Ten times as many lines take hardly more; the whole is read from a pipe."""
    program = (
        "import resource, sys; from toystore.cli import main\n"
        "try: main()\n"
        "finally: print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)"
    )
    lines = [each for log in (RECORDED / "split").rglob("*.jsonl") for each in log.open()]

    def peak_kib(times):
        command = [sys.executable, "-c", program, "detect", "--json", "-"]
        text = "".join(repeated(lines, times))
        options = {"cwd": ROOT, "capture_output": True, "text": True}
        done = subprocess.run(command, input=text, check=True, **options)
        assert len(json.loads(done.stdout)["failures"]) == 2 * times
        return int(done.stderr.split()[-1])

    small, large = peak_kib(20), peak_kib(200)

    assert large < small + 40_000


def repeated(lines, times):
    """The same again and again, an hour later each time."""
    for number in range(times):
        day, hour = divmod(number, 24)
        for each in lines:
            yield re.sub(
                r"2026-\d\d-\d\dT\d\d",
                f"2026-{day // 28 + 1:02}-{day % 28 + 1:02}T{hour:02}",
                each,
                count=1,
            )
