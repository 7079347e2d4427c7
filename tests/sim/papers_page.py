"""The commands that docs/PAPERS.md shows, and what they print.

`--rewrite` runs those of its last section, "Short runs", and writes their output to the page; a
test compares them.  With `--all` it runs every command, which takes long, and draws the pictures.
"""

import re
import shlex
import sys
from pathlib import Path

from click.testing import CliRunner

from toystore.cli.commands import commands

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "PAPERS.md"
SHORT = "## Short runs"
BLOCK = re.compile(r"^```\n\$ (toystore .*)\n((?:.*\n)*?)```", re.MULTILINE)


def printed(command: str) -> str:
    """What a command prints."""
    done = CliRunner().invoke(commands, shlex.split(command)[1:])
    assert done.exit_code == 0, done.output
    return done.output


def short_runs(page: str) -> list[tuple[str, str]]:
    """The commands of the last section, each with the output that the page shows."""
    return BLOCK.findall(page[page.index(SHORT) :])


def rewrite(command: str) -> None:
    """Write to the page what a command prints."""
    output = printed(command)

    def block(shown: re.Match[str]) -> str:
        return f"```\n$ {shown[1]}\n{output if shown[1] == command else shown[2]}```"

    PAGE.write_text(BLOCK.sub(block, PAGE.read_text()))


if __name__ == "__main__":
    if "--rewrite" not in sys.argv:
        raise SystemExit("--rewrite [--all]")
    page = PAGE.read_text()
    blocks = BLOCK.findall(page) if "--all" in sys.argv else short_runs(page)
    for each, _ in blocks:
        print(each, flush=True)
        rewrite(each)
