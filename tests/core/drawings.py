"""The state machines that docstrings draw, so that tests can compare them with their tables.

An arrow is drawn as ``BEFORE --input--> AFTER``, alone on its line or in a chain of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from typing import Any

ARROW = re.compile(r"(?=\b([A-Z]+) --(.+?)--> ([A-Z]+)\b)")


def drawn(text: str | None) -> list[tuple[str, ...]]:
    """The arrows in ``text``: the state before, the input, the state after."""
    assert text is not None
    return sorted(ARROW.findall(text))


def arrows(transitions: Mapping[tuple[Enum, Enum], Enum]) -> list[tuple[Any, ...]]:
    """Those of a table."""
    return sorted(
        (before.name, given.value, after.name) for (before, given), after in transitions.items()
    )
