"""Shows what the machines tell differently from the stories, or writes it down.

python -m tests.transcripts              show the differences; fails if there are any
python -m tests.transcripts --rewrite    write the stories anew from their commands
"""

from __future__ import annotations

import argparse
import sys
from difflib import unified_diff

from .story import replay
from .test_transcripts import STORIES


def main() -> int:
    """Replay every story."""
    parser = argparse.ArgumentParser(description="Replay the golden transcripts.")
    parser.add_argument("--rewrite", action="store_true", help="write the files again")
    rewrite = parser.parse_args().rewrite
    changed = 0
    for path in STORIES:
        text = path.read_text()
        told = replay(text)
        changed += told != text
        if rewrite:
            path.write_text(told)
        before, after = text.splitlines(True), told.splitlines(True)
        sys.stdout.writelines(unified_diff(before, after, path.name, f"{path.name}, as told now"))
    return 1 if changed and not rewrite else 0


if __name__ == "__main__":
    sys.exit(main())
