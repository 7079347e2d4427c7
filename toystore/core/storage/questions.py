"""What is wrong with a question of anti-entropy: it is answered with the text of the error."""

from __future__ import annotations


class BadQuestionError(ValueError):
    """A question that makes no sense here; the text says what was given and what would be right."""
