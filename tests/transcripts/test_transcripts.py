"""Each story (``*.txt``) is replayed on the machines as they are, and compared byte for byte.

A core that behaves differently tells a different story.  If the new one is right, write it
down, and read the difference before you commit it:

    python -m tests.transcripts --rewrite

To add a story, write a new ``.txt`` with prose and commands (`story.COMMANDS`), and rewrite.
"""

import re
from pathlib import Path

import pytest

from .story import replay

STORIES = sorted(Path(__file__).parent.glob("*.txt"))


@pytest.mark.parametrize("path", STORIES, ids=lambda path: path.stem)
def test_the_machines_still_tell_the_story_as_it_is_written(path: Path):
    text = path.read_text()

    assert replay(text) == text, "see the docstring of this file for how to rewrite a story"


def test_a_command_that_there_is_not_is_told_with_those_that_there_are():
    with pytest.raises(ValueError, match="no command 'put cart:7 at n1'; there are put"):
        replay("> start 3 nodes\n\n> put cart:7 at n1")


def test_the_docs_quote_a_story_as_it_is_told():
    folder = Path(__file__).parent
    page = (folder / "../../docs/ANTI_ENTROPY.md").read_text()
    [quoted] = re.findall(r"^```\n(.*?)^```", page, re.M | re.S)
    assert quoted in (folder / "comparison.txt").read_text()
