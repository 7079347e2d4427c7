"""Host names to numbers, without making anybody wait who must not.

``getaddrinfo`` can block for half a minute while a name server is silent.  So each lookup
has a thread of its own, at most one to a name; who asks gets what is known at that moment:

    nothing yet     no addresses and no fault: ask again a little later
    an answer       asked for again, in the background, once it is older than `FRESH_S`
    no answer       the fault, and also the old addresses if there are any: a name server
                    that is silent does not unsay what it said.  Lookups go on, with back-off

Nobody is asked about an address.  Lookups happen only when somebody asks, so that names
whose connections are up cost nothing.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from toystore.net.endpoint import is_numeric

FRESH_S = 5.0
LOOKUP_S = 2.0
"""A lookup that takes longer counts as a fault; it is still waited for, in its thread."""
ABANDONED_S = 60.0
"""After so long a lookup that has not ended gets another one beside it."""
RETRY_S = 0.5
RETRY_S_MAX = 5.0

_UNKNOWN = (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))


class Found(NamedTuple):
    """What is known of a name."""

    addresses: tuple[str, ...] = ()
    """Its numbers, IPv4 or IPv6, in the order in which to try them."""
    fault: str | None = None
    """Why the last lookup failed, if it did."""
    certain: bool = False
    """Whether the fault is a name server's word that there is no such name."""


@dataclass
class _Name:
    """A name that somebody asked for."""

    addresses: tuple[str, ...] = ()
    fault: str | None = None
    certain: bool = False
    asked_at: float | None = None
    """When the lookup under way began."""
    again_at: float = 0.0
    """Before that, no other is begun."""
    failures: int = 0
    told: bool = False


class Resolver:
    """Finds names.  All threads of one process may share one; a forked child needs its own."""

    def __init__(self, on_fault: Callable[[str, str], None] | None = None) -> None:
        """``on_fault``: told of a name that cannot be found, and why; once until it is found.

        It is called in whichever thread notices.
        """
        self._on_fault = on_fault
        self._names: dict[str, _Name] = {}
        self._changed = threading.Condition()

    def find(self, host: str) -> Found:
        """What is known of ``host`` now.  Never blocks."""
        if is_numeric(host):
            return Found((host,))
        with self._changed:
            name = self._names.setdefault(host, _Name())
            self._ask(host, name, time.monotonic())
            found = Found(name.addresses, name.fault, name.certain)
            is_news = found.fault is not None and not name.told
            name.told = found.fault is not None
        if found.fault is not None and is_news and self._on_fault is not None:
            self._on_fault(host, found.fault)
        return found

    def wait(self, host: str, timeout_s: float) -> Found:
        """Wait until ``host`` has addresses or certainly has none; at most ``timeout_s``."""
        end = time.monotonic() + timeout_s
        while True:
            found = self.find(host)
            left = end - time.monotonic()
            if found.addresses or found.certain or left <= 0:
                return found
            with self._changed:
                self._changed.wait(min(left, RETRY_S / 5))

    def _ask(self, host: str, name: _Name, now: float) -> None:
        """Begin a lookup if one is due; find fault with one that takes too long."""
        if name.asked_at is not None:
            if now - name.asked_at >= LOOKUP_S:
                name.fault, name.certain = f"no answer in {LOOKUP_S:g} s", False
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
        """The thread: one lookup."""
        addresses: tuple[str, ...] = ()
        fault, certain = None, False
        try:
            answers = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
            addresses = tuple(dict.fromkeys(str(answer[4][0]) for answer in answers))
        except socket.gaierror as error:
            fault, certain = error.strerror or str(error), error.errno in _UNKNOWN
        except UnicodeError as error:
            fault, certain = f"no host name: {error}", True
        except OSError as error:
            fault = error.strerror or str(error)
        with self._changed:
            if name.asked_at == began or addresses:
                self._note(name, began, addresses, fault, certain)

    def _note(
        self,
        name: _Name,
        began: float,
        addresses: tuple[str, ...],
        fault: str | None,
        certain: bool = False,
    ) -> None:
        """Take in how a lookup ended."""
        name.asked_at = None
        name.addresses = addresses or name.addresses
        name.fault, name.certain = fault, certain
        if fault is None:
            name.again_at, name.failures = began + FRESH_S, 0
        else:
            name.again_at = time.monotonic() + min(RETRY_S * 2**name.failures, RETRY_S_MAX)
            name.failures = min(name.failures + 1, 16)
        self._changed.notify_all()
