"""What is wrong with a question of anti-entropy: it is answered with the text of the error."""

from __future__ import annotations

from collections.abc import Collection

from toystore.core.ring.ranges import Range


class BadQuestionError(ValueError):
    """A question that makes no sense here; the text says what was given and what would be right."""


def check_known(of: Range, known: Collection[Range]) -> None:
    """Raise `BadQuestionError` unless the node owns a range, or has anything of it."""
    if of not in known:
        raise BadQuestionError(f"this node does not own partition {of.partition} of n={of.n}")
