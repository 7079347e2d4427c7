"""What a client knows about its endpoints: which it can use, and why not the others.

An endpoint is not used, while there is a better one, in two cases:

- it has no connection.  It is used again as soon as the shell has connected it.
- it did not answer, or refused a request.  Then it is *shunned* for `SHUN_S`; if it fails
  again, for twice as long.  Any message from it ends that.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

SHUN_S = 1.0
"""How long an endpoint is not used after it failed a request, while there are others."""
SHUN_S_MAX = 16.0
"""The longest such time, after repeated failures."""

_NEVER = float("-inf")
_FIT = (False, False)
"""The drawback of an endpoint that can be used."""


class _Endpoint:
    """What is known about one endpoint."""

    __slots__ = ("connected", "failed_at", "name", "shun_s", "shunned_until", "why")

    def __init__(self, name: str) -> None:
        self.name = name
        self.connected: bool | None = None
        """None: not known."""
        self.why = ""
        """Why there is no connection; "" if that is not known."""
        self.failed_at = _NEVER
        """When it was last certain that it is unreachable."""
        self.shun_s = 0.0
        self.shunned_until = _NEVER

    def drawback(self, now: float) -> tuple[bool, bool]:
        """How unfit it is to be asked: not connected, shunned.  The lowest is the best."""
        return self.connected is False, self.shunned_until > now


class Endpoints:
    """All endpoints of one client.  ``now`` is monotonic seconds."""

    def __init__(self, names: Sequence[str]) -> None:
        self.preferred = 0
        """The endpoint for new requests: the last one that did not fail a request."""
        self.failed_at = _NEVER
        """When it was last certain that one of them is unreachable."""
        self._all = [_Endpoint(name) for name in names]

    def __len__(self) -> int:
        return len(self._all)

    def name(self, at: int) -> str:
        """The endpoint as the caller wrote it."""
        return self._all[at].name

    def after(self, at: int, now: float) -> int:
        """The endpoint to ask after ``at``: if possible one that is connected and not shunned."""
        following = (at + 1) % len(self._all)
        if self._all[following].drawback(now) == _FIT:
            return following
        order = ((at + step) % len(self._all) for step in range(1, len(self._all) + 1))
        return min(order, key=lambda each: self._all[each].drawback(now))

    def prefer_another_than(self, at: int, now: float) -> None:
        """Send new requests to another endpoint, because this one failed."""
        if self.preferred == at:
            self.preferred = self.after(at, now)

    def rotate(self, now: float) -> None:
        """Send new requests to the next endpoint that can be used."""
        self.preferred = self.after(self.preferred, now)

    def shun(self, at: int, now: float) -> None:
        """Do not use it for a time, because it failed a request."""
        each = self._all[at]
        if each.shunned_until <= now:  # Many requests may report the same failure.
            each.shun_s = min(2 * each.shun_s or SHUN_S, SHUN_S_MAX)
            each.shunned_until = now + each.shun_s
        self.prefer_another_than(at, now)

    def heard_from(self, at: int) -> None:
        """A message came from it."""
        each = self._all[at]
        each.shun_s, each.shunned_until = 0.0, _NEVER
        if each.connected is False:
            self.connected(at)

    def connected(self, at: int) -> None:
        """There is a connection."""
        each = self._all[at]
        each.connected, each.why = True, ""
        each.failed_at = each.shunned_until = _NEVER

    def disconnected(self, at: int, why: str, failed_at: float | None) -> None:
        """It has no connection.  ``failed_at``: when it became certain that it is unreachable."""
        each = self._all[at]
        each.connected, each.why = False, why
        if failed_at is not None:
            self.failed_at = each.failed_at = failed_at

    def forget(self, at: int) -> None:
        """Its connection is not watched any more."""
        self._all[at].connected, self._all[at].why = None, ""

    def explain(self, at: int, why: str) -> None:
        """Record why there is no connection yet."""
        self._all[at].why = why

    def failed_since(self, began: float, at: Iterable[int]) -> bool:
        """Whether all of these have become unreachable since ``began``."""
        return all(self._all[each].failed_at >= began for each in at)

    def reasons(self, at: Iterable[int]) -> str:
        """The names of these, each with the reason why it is unreachable."""
        known = ((self._all[each].name, self._all[each].why) for each in at)
        return ", ".join(f"{name} ({why})" if why else name for name, why in known)
