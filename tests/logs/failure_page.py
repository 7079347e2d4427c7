"""The stories on docs/FAILURE_DETECTION.md: filled in from the golden ones."""

import re

from tests.logs.scene import GOLDEN

PAGE = GOLDEN.parents[2] / "docs" / "FAILURE_DETECTION.md"
STORY = re.compile(r"(<!-- story: (\w+)(, the first failure)? -->\n```\n)(.*?)(?=```)", re.DOTALL)


def filled(text: str) -> str:
    """The page with the stories as they are told now."""
    return STORY.sub(lambda found: found[1] + shown(found[2], only_first=bool(found[3])), text)


def shown(name: str, *, only_first: bool) -> str:
    """A story, or its head and its first failure."""
    story = (GOLDEN / f"{name}.txt").read_text()
    return story.partition("\n#2")[0] + "\n...\n" if only_first else story
