"""What a client knows of its endpoints: which it can use, and why not the others.

An endpoint is passed over, while there is a better one, in two cases:

- it has no connection.  It is used again as soon as it has one; to make one is the shell's.
- it was silent, or refused a request: it is *shunned* for a while, and if it is silent
  again, for twice as long.  Anything that is heard from it ends that.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

SHUN_S = 1.0
"""How long an endpoint that failed a request is passed over, while there are others."""
SHUN_S_MAX = 16.0
"""How long at most, if it fails one after the other."""

_NEVER = float("-inf")
_FIT = (False, False)
"""Nothing speaks against asking an endpoint."""


class _Endpoint:
    """One endpoint, as far as it is known."""

    __slots__ = ("connected", "failed_at", "name", "shun_s", "shunned_until", "why")

    def __init__(self, name: str) -> None:
        self.name = name
        self.connected: bool | None = None
        """None: nobody has said."""
        self.why = ""
        """Why there is no connection, if that is known."""
        self.failed_at = _NEVER
        """When it last turned out for certain that it cannot be reached now."""
        self.shun_s = 0.0
        self.shunned_until = _NEVER

    def drawback(self, now: float) -> tuple[bool, bool]:
        """What speaks against asking it; the least is the best."""
        return self.connected is False, self.shunned_until > now


class Endpoints:
    """All endpoints of one client.  ``now`` is monotonic seconds."""

    def __init__(self, names: Sequence[str]) -> None:
        self.preferred = 0
        """The endpoint that new requests are put to: the last that did not fail one."""
        self.failed_at = _NEVER
        """When one of them last turned out for certain to be out of reach."""
        self._all = [_Endpoint(name) for name in names]

    def __len__(self) -> int:
        return len(self._all)

    def name(self, at: int) -> str:
        """What the caller calls it."""
        return self._all[at].name

    def after(self, at: int, now: float) -> int:
        """Whom to ask after it: who is not known to be cut off; of those, who is not shunned."""
        following = (at + 1) % len(self._all)
        if self._all[following].drawback(now) == _FIT:
            return following
        order = ((at + step) % len(self._all) for step in range(1, len(self._all) + 1))
        return min(order, key=lambda each: self._all[each].drawback(now))

    def prefer_another_than(self, at: int, now: float) -> None:
        """It failed: new requests go elsewhere."""
        if self.preferred == at:
            self.preferred = self.after(at, now)

    def rotate(self, now: float) -> None:
        """New requests go to the next one that is fit to be asked."""
        self.preferred = self.after(self.preferred, now)

    def shun(self, at: int, now: float) -> None:
        """It failed a request: pass it over for a while."""
        each = self._all[at]
        if each.shunned_until <= now:  # Many requests may notice one silence.
            each.shun_s = min(2 * each.shun_s or SHUN_S, SHUN_S_MAX)
            each.shunned_until = now + each.shun_s
        self.prefer_another_than(at, now)

    def heard_from(self, at: int) -> None:
        """It said something."""
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
        """There is none.  ``failed_at``: since when that is certain to remain so for now."""
        each = self._all[at]
        each.connected, each.why = False, why
        if failed_at is not None:
            self.failed_at = each.failed_at = failed_at

    def forget(self, at: int) -> None:
        """Nobody watches its connection any longer."""
        self._all[at].connected, self._all[at].why = None, ""

    def explain(self, at: int, why: str) -> None:
        """Why there is no connection yet, as far as that is known."""
        self._all[at].why = why

    def failed_since(self, began: float, at: Iterable[int]) -> bool:
        """Whether all of these turned out to be out of reach since ``began``."""
        return all(self._all[each].failed_at >= began for each in at)

    def reasons(self, at: Iterable[int]) -> str:
        """These, each with what is known of why it cannot be reached."""
        told = ((self._all[each].name, self._all[each].why) for each in at)
        return ", ".join(f"{name} ({why})" if why else name for name, why in told)
