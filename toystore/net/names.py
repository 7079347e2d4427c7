"""Looks up the IP addresses of host names, without blocking the caller.

``getaddrinfo`` can block for half a minute if a name server does not answer.  So each lookup
has its own thread, at most one for each name.  The caller gets what is known at once:

    nothing yet     no addresses and no reason: ask again a little later
    an answer       it is looked up again, in the background, once it is older than `FRESH_S`
    no answer       the reason, and the old addresses if there are any: they stay valid if a
                    name server does not answer.  Lookups are repeated with back-off

An IP address needs no lookup.  A lookup starts only on a call, so names whose connections are
up cost nothing.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from toystore.hosts import is_numeric

FRESH_S = 5.0
LOOKUP_S = 2.0
"""A lookup that takes longer is reported as a failure; its thread still waits for the answer."""
ABANDONED_S = 60.0
"""If a lookup takes longer, a second one is started beside it."""
RETRY_S = 0.5
RETRY_S_MAX = 5.0

_UNKNOWN = (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))


class Found(NamedTuple):
    """What is known about a name."""

    addresses: tuple[str, ...] = ()
    """Its IPv4 and IPv6 addresses, in the order in which to try them."""
    reason: str | None = None
    """Why the last lookup failed, or None."""
    certain: bool = False
    """Whether a name server answered that the name does not exist."""


@dataclass
class _Name:
    """A name that was looked up."""

    addresses: tuple[str, ...] = ()
    reason: str | None = None
    certain: bool = False
    asked_at: float | None = None
    """When the current lookup began."""
    again_at: float = 0.0
    """The earliest time of the next lookup."""
    failures: int = 0
    reported: bool = False


class Resolver:
    """Looks up names.  The threads of a process may share one; a forked child needs its own."""

    def __init__(self, on_failure: Callable[[str, str], None] | None = None) -> None:
        """``on_failure``: called with a name that cannot be found, and the reason.

        It is called once until the name is found, in the thread that detects it.
        """
        self._on_failure = on_failure
        self._names: dict[str, _Name] = {}
        self._changed = threading.Condition()

    def find(self, host: str) -> Found:
        """What is known about ``host`` now.  Never blocks."""
        if is_numeric(host):
            return Found((host,))
        with self._changed:
            name = self._names.setdefault(host, _Name())
            self._ask(host, name, time.monotonic())
            found = Found(name.addresses, name.reason, name.certain)
            is_news = found.reason is not None and not name.reported
            name.reported = found.reason is not None
        if found.reason is not None and is_news and self._on_failure is not None:
            self._on_failure(host, found.reason)
        return found

    def wait(self, host: str, timeout_s: float) -> Found:
        """Wait until ``host`` has addresses or does not exist; at most ``timeout_s``."""
        end = time.monotonic() + timeout_s
        while True:
            found = self.find(host)
            left = end - time.monotonic()
            if found.addresses or found.certain or left <= 0:
                return found
            with self._changed:
                self._changed.wait(min(left, RETRY_S / 5))

    def _ask(self, host: str, name: _Name, now: float) -> None:
        """Begin a lookup if one is due; record a reason if the current one takes too long."""
        if name.asked_at is not None:
            if now - name.asked_at >= LOOKUP_S:
                name.reason, name.certain = f"no answer in {LOOKUP_S:g} s", False
            if now - name.asked_at < ABANDONED_S:
                return
        elif now < name.again_at:
            return
        name.asked_at = now
        thread = threading.Thread(
            target=self._look_up, args=(host, name, now), name=f"lookup {host}", daemon=True
        )
        try:
            thread.start()
        except RuntimeError as error:  # the system has no room for a thread
            self._note(name, now, (), str(error))

    def _look_up(self, host: str, name: _Name, began: float) -> None:
        """One lookup, in its own thread."""
        addresses: tuple[str, ...] = ()
        reason, certain = None, False
        try:
            answers = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
            addresses = tuple(dict.fromkeys(str(answer[4][0]) for answer in answers))
        except socket.gaierror as error:
            reason, certain = error.strerror or str(error), error.errno in _UNKNOWN
        except UnicodeError as error:
            reason, certain = f"no host name: {error}", True
        except OSError as error:
            reason = error.strerror or str(error)
        with self._changed:
            if name.asked_at == began or addresses:
                self._note(name, began, addresses, reason, certain)

    def _note(
        self,
        name: _Name,
        began: float,
        addresses: tuple[str, ...],
        reason: str | None,
        certain: bool = False,
    ) -> None:
        """Record the result of a lookup."""
        name.asked_at = None
        name.addresses = addresses or name.addresses
        name.reason, name.certain = reason, certain
        if reason is None:
            name.again_at, name.failures = began + FRESH_S, 0
        else:
            name.again_at = time.monotonic() + min(RETRY_S * 2**name.failures, RETRY_S_MAX)
            name.failures = min(name.failures + 1, 16)
        self._changed.notify_all()
