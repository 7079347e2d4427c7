"""The page of `toystore detect --html`, in a real browser without a network."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from urllib.parse import unquote

import pytest

from toystore.logs.page import page
from toystore.logs.report import investigate

from .scene import RECORDED, disturbs, line, restores, sees, started, told

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
PATIENCE_S = 60
DRIVE = """<script type="module">
const all = selector => document.querySelectorAll(selector).length;
const press = key => document.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true}));
const ticks = () => [...document.querySelectorAll("text.tick")].map(each => each.textContent);
const outcome = {
  lanes: all("rect.lane"), failures: all("rect.failure"), out: all(".hint.out"),
  home: all(".hint.home"), suspect: all("rect.suspect"), dead: all("rect.dead"),
  framed: all("rect.false"), links: all("rect.link"),
  head: document.getElementById("head").textContent,
  title: document.title, whole: ticks(), dark: matchMedia("(prefers-color-scheme: dark)").matches,
  ground: getComputedStyle(document.body).backgroundColor,
};
press("n");
outcome.told = document.getElementById("told").textContent;
outcome.chosen = all("rect.failure.chosen");
outcome.near = ticks();
press("+"); press("ArrowRight");
outcome.nearer = ticks();
press("0");
outcome.back = ticks();
const failure = document.querySelector("rect.failure, rect.false, rect.link");
failure.dispatchEvent(new PointerEvent("pointermove", {bubbles: true, clientX: 300, clientY: 200}));
outcome.tip = document.getElementById("tip").textContent;
failure.focus();
failure.dispatchEvent(new KeyboardEvent("keydown", {key: "Enter"}));
outcome.entered = document.getElementById("told").textContent;
const wheel = new WheelEvent("wheel", {deltaY: -100, clientX: 500, cancelable: true});
document.getElementById("timeline").dispatchEvent(wheel);
outcome.wheeled = ticks();
const made = document.createElement("template");
made.id = "outcome"; made.dataset.outcome = encodeURIComponent(JSON.stringify(outcome));
document.body.append(made);
</script></body>"""

needs_browser = pytest.mark.skipif(not BROWSER, reason="there is no chromium")


def browse(path: Path, *options: str) -> tuple[str, list[str]]:
    """Open a page: what the browser prints, and what the page said on its console."""
    command = [
        *(BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"),
        *(f"--user-data-dir={path.parent / 'profile'}", "--virtual-time-budget=2000"),
        *("--window-size=1200,900", *options, path.as_uri()),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE_S)
    return done.stdout, re.findall(r"CONSOLE.*", done.stderr)


def driven(folder: Path, report, *options: str) -> dict:
    """What a page shows and how it answers to keys, pointer and wheel."""
    path = folder / "page.html"
    path.write_text("".join(page(report)).replace("</body>", DRIVE))
    printed, console = browse(path, "--dump-dom", *options)
    assert console == []
    (outcome,) = re.findall(r'data-outcome="(.*?)"', printed)
    return json.loads(unquote(outcome))


@needs_browser
def test_the_page_shows_a_lane_for_each_member_and_answers_to_keys_and_pointer(tmp_path):
    outcome = driven(tmp_path, investigate([str(RECORDED / "demo")]))

    assert (outcome["lanes"], outcome["failures"], outcome["framed"]) == (5, 3, 0)
    assert (outcome["out"], outcome["home"]) == (12, 12)
    assert min(outcome["suspect"], outcome["dead"]) >= 8
    assert outcome["title"] == "demo: toystore detect"
    assert "3 failures, all noticed by all" in outcome["head"]
    assert outcome["told"].startswith("#1  n4  CRASHED 21:08:35.927")
    assert outcome["chosen"] == 1
    assert outcome["whole"] == outcome["back"]
    assert len({tuple(outcome[at]) for at in ("whole", "near", "nearer", "wheeled")}) == 4
    assert re.match(r"n\d: \w+ at 21:08:\d\d\.\d{3}, away \d", outcome["tip"])
    assert outcome["entered"].startswith("#")


@needs_browser
def test_the_page_is_light_or_dark_as_the_reader_has_it(tmp_path):
    report = investigate([str(RECORDED / "split")])

    light = driven(tmp_path, report, "--blink-settings=preferredColorScheme=1")
    dark = driven(tmp_path, report, "--blink-settings=preferredColorScheme=0")

    assert (light["dark"], dark["dark"]) == (False, True)
    assert light["ground"] == "rgb(255, 255, 255)" != dark["ground"]


@needs_browser
def test_the_page_shows_what_was_without_cause_and_takes_odd_names_for_words(tmp_path):
    name = "<img src=x onerror=alert(1)>"

    outcome = driven(
        tmp_path,
        told(
            tmp_path,
            sees(1, "n1", name, "suspect", "</script><b>"),
            line(1.5, name, "member.refuted", incarnation=1, cause="suspect, told by n1"),
            sees(2, "n1", name, "alive", "refuted", 1),
        ),
    )

    assert (outcome["failures"], outcome["framed"], outcome["lanes"]) == (0, 1, 2)


@needs_browser
def test_the_page_has_a_lane_for_what_was_done_to_links(tmp_path):
    outcome = driven(
        tmp_path,
        told(
            tmp_path,
            started(0, "n1"),
            started(0, "n2"),
            disturbs(5, "delay", "n1 > n2", delay_s=0.3),
            restores(7, "delay", "n1 > n2"),
        ),
    )

    assert (outcome["lanes"], outcome["links"], outcome["failures"]) == (3, 1, 0)


@needs_browser
def test_a_picture_can_be_taken_of_the_page(tmp_path):
    path = tmp_path / "page.html"
    path.write_text("".join(page(investigate([str(RECORDED / "demo")]))))

    _, console = browse(path, f"--screenshot={tmp_path / 'page.png'}")

    assert console == []
    picture = (tmp_path / "page.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) > 20_000


def test_the_page_asks_nothing_of_a_network():
    text = "".join(page(investigate([str(RECORDED / "demo")])))

    assert (
        re.findall(r"(?:src|href)=|@import|url\((?!#)|https?://(?!www\.w3\.org/2000/svg)", text)
        == []
    )
    assert "default-src 'none'" in text
