"""What a client knows about its endpoints: which it can use, and why not the others.

It uses the endpoints that the caller has given, for ever, and those of the members that it has
learned of (learning.py).  Each has a number, which no other endpoint gets.

An endpoint is not used, while there is a better one, in four cases; the first is the worst:

- it has no connection.  It is used again as soon as the shell has connected it.
- it has probably *left*: it was given, and no member is listed with it.
- it did not answer, or refused a request.  Then it is *shunned* for `SHUN_S`; if it fails
  again, for twice as long.  Any message from it ends that.
- it is *unproven*: it was learned, has no connection and has never sent a message.

A member may be listed with an address that this client cannot reach, behind NAT for example, or at
which it reaches another service.  So an endpoint without a connection that has never sent a message
is asked only if no other one serves, and one that was learned, has never sent a message and is
shunned counts as one that has no connection.  A given endpoint has left only if the list works for
this client: if any endpoint of the list has sent it a message.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

SHUN_S = 1.0
"""How long an endpoint is not used after it failed a request, while there are others."""
SHUN_S_MAX = 16.0
"""The longest such time, after repeated failures."""

_NEVER = float("-inf")
_FIT = (False, False, False, False)
"""The drawback of an endpoint that can be used."""


class _Endpoint:
    """What is known about one endpoint."""

    __slots__ = (
        "connected",
        "failed_at",
        "given",
        "listed",
        "name",
        "proven",
        "shun_s",
        "shunned_until",
        "why",
    )

    def __init__(self, name: str, *, given: bool) -> None:
        self.name = name
        self.given = given
        """Whether the caller has given it."""
        self.listed = False
        """Whether a member is listed with it."""
        self.proven = False
        """Whether a message has come from it."""
        self.connected: bool | None = None
        """None: not known."""
        self.why = ""
        """Why there is no connection; "" if that is not known."""
        self.failed_at = _NEVER
        """When it was last certain that it is unreachable."""
        self.shun_s = 0.0
        self.shunned_until = _NEVER

    @property
    def likely(self) -> bool:
        """Whether it was given, or a message has come from it."""
        return self.given or self.proven


class Endpoints:
    """All endpoints of one client.  ``now`` is monotonic seconds."""

    def __init__(self, names: Sequence[str]) -> None:
        """``names``: those that the caller has given; they have the numbers from 0 on."""
        self.preferred = 0
        """The endpoint for new requests: the last one that did not fail a request."""
        self.failed_at = _NEVER
        """When it was last certain that one of them is unreachable."""
        self._all = {at: _Endpoint(name, given=True) for at, name in enumerate(names)}
        self._next = len(names)
        self._list_works = False
        """Whether a message has come from the endpoint of any listed member."""
        self.in_use = tuple(self._all)
        """The endpoints that requests may use."""

    def name(self, at: int) -> str:
        """The endpoint as the caller wrote it, or as its member is listed."""
        return self._all[at].name

    # --- members ------------------------------------------------------------------------

    def follow(self, names: Iterable[str], now: float) -> None:
        """From now on the members are at ``names``."""
        numbers = {each.name: at for at, each in self._all.items()}
        for each in self._all.values():
            each.listed = False
        for name in names:
            if name not in numbers:
                numbers[name] = self._next
                self._all[self._next] = _Endpoint(name, given=False)
                self._next += 1
            self._all[numbers[name]].listed = True
        self.in_use = tuple(at for at, each in self._all.items() if each.given or each.listed)
        self._list_works = any(each.listed and each.proven for each in self._all.values())
        if self.preferred not in self.in_use or self._has_left(self._all[self.preferred]):
            self.preferred = self.after(self.preferred, now)

    def left(self) -> list[int]:
        """The learned endpoints whose member is listed no more."""
        if len(self.in_use) == len(self._all):
            return []
        return [at for at in self._all if at not in self.in_use]

    def remove(self, at: int) -> None:
        """Forget an endpoint that has left."""
        del self._all[at]

    def _has_left(self, each: _Endpoint) -> bool:
        """Whether a given endpoint is probably of a node that is no member any more."""
        return self._list_works and not each.listed

    # --- the choice ---------------------------------------------------------------------

    def after(self, at: int, now: float) -> int:
        """The endpoint to ask after ``at``: if possible one that is connected and not shunned."""
        order = self._order_after(at)
        following = order[0]
        if self._drawback(following, now) == _FIT:
            return following
        return min(order, key=lambda each: self._drawback(each, now))

    def _order_after(self, at: int) -> tuple[int, ...]:
        """The endpoints in the order of asking; ``at`` is the last, if it is still in use."""
        step = self.in_use.index(at) + 1 if at in self.in_use else 0
        return self.in_use[step:] + self.in_use[:step]

    def _drawback(self, at: int, now: float) -> tuple[bool, bool, bool, bool]:
        """How unfit it is to be asked; the lowest is the best."""
        each = self._all[at]
        shunned = each.shunned_until > now
        unconnected = each.connected is False or (shunned and not each.likely)
        unproven = not (each.likely or each.connected)
        return unconnected, self._has_left(each), shunned, unproven

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

    # --- what happens to them -----------------------------------------------------------

    def heard_from(self, at: int) -> None:
        """A message came from it."""
        each = self._all[at]
        each.shun_s, each.shunned_until = 0.0, _NEVER
        if not each.proven:
            each.proven = True
            self._list_works = self._list_works or each.listed
        if not each.connected:
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
        if at in self._all:
            self._all[at].connected, self._all[at].why = None, ""

    def explain(self, at: int, why: str) -> None:
        """Record why there is no connection yet."""
        self._all[at].why = why

    def failed_since(self, began: float, at: Iterable[int], now: float) -> bool:
        """Whether all of these have become unreachable since ``began``.

        One that was learned, has never sent a message and is shunned has, too: no request waits
        long for it.
        """
        return all(
            each.failed_at >= began or (each.shunned_until > now and not each.likely)
            for each in map(self._all.__getitem__, at)
        )

    def reasons(self, at: Iterable[int]) -> str:
        """The names of these, each with the reason why it is unreachable."""
        known = ((self._all[each].name, self._all[each].why) for each in at)
        return ", ".join(f"{name} ({why})" if why else name for name, why in known)
