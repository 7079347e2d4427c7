"""docs/FAILURE_DETECTION.md shows the recorded stories, of every scenario."""

from tests.logs.failure_page import PAGE, STORY, filled


def test_the_page_shows_the_stories_as_they_are_told():
    assert filled(PAGE.read_text()) == PAGE.read_text(), "run: python -m tests.logs"


def test_the_page_shows_every_scenario():
    scenarios = PAGE.parent.parent / "configs" / "scenarios"
    shown = {found[2] for found in STORY.finditer(PAGE.read_text())}
    assert shown == {path.stem for path in scenarios.glob("*.yaml")}
