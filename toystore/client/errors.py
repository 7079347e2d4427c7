"""What can go wrong, as exceptions.

    ToystoreError            base of all; raised itself by a client that is closed
    ├── BadRequest           the caller's mistake: wrong type, size, bucket, quorum, context
    ├── Unavailable          too few replicas can be reached, or no node is serving
    ├── Overloaded           the store has no room for this request now
    ├── Timeout              no answer in time
    ├── Conflict             the request contradicts what is stored
    ├── Internal             the store failed over this request; trying again will not help
    └── ManyFailed           some keys of a get_many or put_many; holds every key's answer

Each knows whether it is ``definite``: True says that the request did not happen and
will not; False says that a write may have happened, or may still happen.  Errors of
reads are always definite.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from toystore.core.protocol.messages.codes import Code

_SHOWN = 3


class ToystoreError(Exception):
    """Base of all errors of this library."""

    def __init__(self, text: str, *, definite: bool = True) -> None:
        super().__init__(text)
        self.definite = definite
        """The request did not happen and will not."""


# The names are what callers write in `except`, and are fixed (hence N818).
class BadRequest(ToystoreError):  # noqa: N818
    """The caller's mistake; the text says what was given and what would be right."""


class Unavailable(ToystoreError):  # noqa: N818
    """Too few replicas can be reached, or no node is serving."""


class Overloaded(ToystoreError):  # noqa: N818
    """The store has no room for this request now: slow down, then try again."""


class Timeout(ToystoreError):  # noqa: N818
    """No answer in time."""


class Conflict(ToystoreError):  # noqa: N818
    """The request contradicts what is stored."""


class Internal(ToystoreError):  # noqa: N818
    """The store failed over this request; its log says more."""


class ManyFailed(ToystoreError):  # noqa: N818
    """Some keys of a `get_many` or `put_many` failed; every key was tried.

    It is definite if the errors of all keys are.
    """

    answers: Mapping[Any, Any] = {}
    """What became of each key: what `get` or `put` would have returned, or its error."""

    @classmethod
    def of(cls, answers: Mapping[Any, Any]) -> Self:
        """The error over these answers."""
        errors = _errors_in(answers)
        told = [f"{key!r:.80}: {type(each).__name__}: {each}" for key, each in errors.items()]
        more = ["..."] if len(told) > _SHOWN else []
        text = f"{len(errors):,} of {len(answers):,} keys failed: "
        error = cls(
            text + "; ".join(told[:_SHOWN] + more),
            definite=all(each.definite for each in errors.values()),
        )
        error.answers = answers
        return error

    @property
    def errors(self) -> dict[Any, ToystoreError]:
        """The keys that failed, and why."""
        return _errors_in(self.answers)


def _errors_in(answers: Mapping[Any, Any]) -> dict[Any, ToystoreError]:
    return {key: each for key, each in answers.items() if isinstance(each, ToystoreError)}


ERROR_OF: dict[int, type[ToystoreError]] = {
    Code.BAD_REQUEST: BadRequest,
    Code.UNAVAILABLE: Unavailable,
    Code.OVERLOADED: Overloaded,
    Code.TIMEOUT: Timeout,
    Code.CONFLICT: Conflict,
    Code.INTERNAL: Internal,
}
"""The error that each code of an `ErrorReply` becomes."""
