"""``toystore sim swim`` and ``toystore sim papers``: large groups of `Swim` machines, measured."""

import json
import os
import re
import subprocess
import sys
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

from toystore.cli.commands import commands
from toystore.sim.membership.charts import Chart, Line, picture
from toystore.sim.membership.papers.loss import _largest_clique
from toystore.sim.membership.plan import Plan, PlanError, Slowness
from toystore.sim.membership.swim_run import Run, summary

from . import papers_page


def sim(*arguments: object):
    return CliRunner().invoke(commands, ["sim", *map(str, arguments)])


def measured(*arguments: object):
    told = sim(*arguments, "--json")
    assert told.exit_code == 0, told.output
    return json.loads(told.output)


# --- a group ----------------------------------------------------------------------------


def test_a_seed_prints_and_draws_the_same_bytes_in_any_process(tmp_path):
    def printed(number):
        file = tmp_path / f"{number}.svg"
        options = "--members 20 --seconds 15 --loss 0.1 --kill 2 --slow 2 --seed 7 --svg"
        done = subprocess.run(
            [sys.executable, "-m", "toystore", "sim", "swim", *options.split(), str(file)],
            env=os.environ | {"PYTHONHASHSEED": str(number)},
            capture_output=True,
            check=True,
        )
        return done.stdout, file.read_bytes()

    assert printed(1) == printed(2)
    assert printed(1) != sim("swim", "--members", 20, "--seconds", 15, "--loss", 0.1).output


def test_a_crash_is_detected_and_each_member_learns_it():
    run = summary(Run(Plan(members=30, seconds=25, crashes_at=(2.0, 3.0))))

    assert [crash["at"] for crash in run["crashes"]] == [2.0, 3.0]
    for crash in run["crashes"]:
        assert crash["first_ping_s"] < crash["first_suspect_s"] < crash["first_dead_s"]
        assert crash["first_dead_s"] <= crash["all_dead_s"] < 20
        assert crash["know_dead"] == 28


def test_a_crash_that_breaks_links_is_suspected_sooner():
    plan = {"members": 20, "seconds": 10, "crashes_at": (2.0,)}

    (by_probe,) = summary(Run(Plan(**plan)))["crashes"]
    (by_link,) = summary(Run(Plan(**plan, links=True)))["crashes"]

    assert by_link["all_suspect_s"] < 0.05
    assert by_probe["first_suspect_s"] > 0.5


def test_without_loss_no_living_member_is_suspected_and_the_load_is_two_messages():
    run = summary(Run(Plan(members=40, seconds=20)))

    assert not any(count for kind in run["false_positives"].values() for count in kind.values())
    assert run["load"]["messages"] == pytest.approx(2.0, rel=0.02)


def test_bytes_are_those_of_the_frames_with_their_headers():
    load = summary(Run(Plan(members=10, seconds=20)))["load"]

    assert load["bytes"] > 40 * load["datagrams"]
    assert load["exchange_bytes"] > 10 * 40 * load["exchange_messages"]


def test_slow_members_cause_false_positives_and_are_told_apart():
    run = summary(Run(Plan(members=20, seconds=40, slow=3, slowness=Slowness(8, 1))))

    raised = run["false_positives"]["raised"]
    assert raised["about_healthy_at_slow"] > 0
    assert raised["about_slow_at_healthy"] > 0
    assert raised["about_healthy_at_healthy"] == 0


@pytest.mark.parametrize(
    ("elapsed_s", "passes_s"), [(0.0, 5.0), (4.0, 5.0), (5.5, 5.5), (6.0, 11.0), (11.0, 11.0)]
)
def test_a_slow_member_delays_messages_to_the_end_of_its_delay(elapsed_s, passes_s):
    assert Slowness(5.0, 1.0).until(elapsed_s) == passes_s


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ("--members 1", "members: 2 to 50,000; not 1"),
        ("--seconds 0", "seconds: more than 0"),
        ("--loss 1", "loss: a probability, at least 0 and below 1; not 1.0"),
        ("--loss nan", "loss"),
        ("--latency -1", "latency: at least 0"),
        ("--members 5 --kill 4", "crashes: two members have to remain; not 4 of 5"),
        ("--kill-at 99", "crash: within the 60.0 s of the run; not 99.0"),
        ("--members 5 --slow 6", "slow: at most as many as there are members; not 6"),
        ("--slow-gap 0", "slow members: delayed"),
        ("--profile moon", "moon"),
        ("--members many", "many"),
    ],
)
def test_bad_options_are_refused_with_what_would_be_right(options, text):
    told = sim("swim", *options.split())

    assert told.exit_code == 2
    assert text in told.output


def test_a_picture_that_cannot_be_written_is_an_error_before_the_run(tmp_path):
    told = sim("swim", "--members", 4, "--seconds", 1, "--svg", tmp_path / "none" / "a.svg")

    assert told.exit_code == 2
    assert "cannot write" in told.output


def test_a_plan_says_what_is_wrong_with_it():
    with pytest.raises(PlanError, match="loss"):
        Plan(members=5, seconds=1, loss=-0.1)


# --- the papers' experiments, small -----------------------------------------------------


def test_a_crash_is_first_pinged_after_about_1_58_periods():
    found = measured("papers", "first-detection", "--members", 30, "--trials", 100)

    mean, _, longest = (row["toystore"] for row in found["rows"])
    assert mean == pytest.approx(1.58, rel=0.15)
    assert longest <= 2 * 30 - 1


def test_the_load_does_not_grow_with_the_group():
    found = measured("papers", "load", "--members", 10, "--members", 80)

    assert [row["messages toystore"] for row in found["rows"]] == pytest.approx([2, 2], rel=0.05)


def test_a_suspicion_reaches_almost_all_within_2_ln_n_periods():
    found = measured("papers", "dissemination", "--members", 60, "--crashes", 3)

    (row,) = found["rows"]
    assert row["2 ln N ours"] < 1


def test_suspicion_keeps_a_lossy_group_together():
    found = measured("papers", "loss", "--seconds", 160, "--trials", 2)

    sizes = {row[""]: row["160 s"] for row in found["rows"]}
    assert sizes["basic SWIM"] < 6
    assert sizes["infection"] < 9
    assert sizes["infection, suspicion"] >= 12
    assert sizes["toystore"] == 17


def test_lifeguard_cuts_false_positives_of_slow_members():
    options = "--members 24 --seconds 36 --slow 4 --slow-for 16 --slow-gap 1"

    found = measured("papers", "false-positives", *options.split())

    rows = {row[""]: row for row in found["rows"]}
    assert rows["Lifeguard"]["at all toystore"] * 10 < rows["plain SWIM"]["at all toystore"]
    assert rows["Lifeguard"]["first dead toystore, s"] is not None


def test_the_page_of_the_papers_shows_what_its_short_runs_print():
    page = papers_page.PAGE.read_text()

    for command, shown in papers_page.short_runs(page):
        assert papers_page.printed(command) == shown, command

    assert len(papers_page.short_runs(page)) == 6


def test_the_pictures_of_the_page_are_drawn_by_its_commands():
    page = papers_page.PAGE.read_text()

    drawn = re.findall(r"--svg docs/(\S+)", page)

    assert re.findall(r"!\[.*\]\((.*)\)", page) == drawn
    for name in drawn:
        ElementTree.parse(papers_page.PAGE.parent / name)


# --- pieces -----------------------------------------------------------------------------


def test_the_largest_clique_is_found():
    triangle_and_tail = [(1, 2), (0, 2), (0, 1, 3), (2,)]

    assert _largest_clique(triangle_and_tail) == 3
    assert _largest_clique([(), ()]) == 1


def test_a_picture_is_well_formed_and_escapes_its_texts():
    lines = [Line("a<b", [(1.0, 0.0), (1000.0, 5.0)]), Line("empty", [])]

    drawn = picture([Chart("1 & 2", "x", "y", lines, log_x=True), Chart("none", "x", "y", [])])

    texts = [each.text for each in ElementTree.fromstring(drawn).iter() if each.text]
    assert "a<b" in texts
    assert "1 & 2" in texts
