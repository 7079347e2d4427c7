"""The examples of docs/CLIENT.md, run as they stand against a fake coordinator."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOC = Path(__file__).parents[2] / "docs" / "CLIENT.md"
EXAMPLES = re.findall(r"^```python\n(.*?)^```", DOC.read_text(), re.DOTALL | re.MULTILINE)
SHOWN = re.compile(r"print\(.*\) +# (.*)$")


def test_there_are_examples():
    assert len(EXAMPLES) >= 6


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_an_example_prints_what_it_says(example, make_fake, capsys):
    endpoints = [make_fake().endpoint for _ in range(3)]
    ports = dict(zip(("7400", "7410", "7420"), endpoints, strict=True))
    runnable = re.sub(r"tcp://127.0.0.1:(\d+)", lambda found: ports[found[1]], example)

    exec(compile(runnable, str(DOC), "exec"), {"__name__": "example"})

    printed = capsys.readouterr().out
    for line in example.splitlines():
        shown = SHOWN.search(line)
        if shown and shown[1] not in OF_A_REAL_CLUSTER:
            assert shown[1].removesuffix("...") in printed


OF_A_REAL_CLUSTER = ("as this node sees it: members, hints, ...", "('n3', 'n1', 'n2')")
