"""Decides when a connection is replaced; no I/O.

While no process listens on the port, libzmq reconnects by itself, within a fifth of a second.
After other failures it does not, and its events do not show the difference.  So every
connection that is down is replaced from time to time, in any state of libzmq's:

              CONNECTED            READY
    connecting ------> handshaking ------> up
        ^                   |               |
        +--- replaced ------+<- - ENDED - - +

    up            nothing is due
    connecting    replaced after `REPLACE_S`, then after twice that, up to `REPLACE_S_MAX`
                  at once, if the peer shows by another way that it is there
    handshaking   replaced after `HANDSHAKE_S` without a handshake
    itself        a connection to itself is replaced at once: it uses the port that the
                  peer needs to start again

An *outage* lasts from the first trouble until the connection has been up for `STEADY_S`.
Two things are reported, once in an outage: a peer that is not a node, and a connection that
worked again only because it was replaced.  A port on which no process listens is not
reported: that is normal while a peer is down.
"""

from __future__ import annotations

from enum import Enum

REPLACE_S = 0.3
"""libzmq's own attempts are 0.1 s after a loss, and 0.2 s after that."""
REPLACE_S_MAX = 3.0
HURRY_S = 0.05
"""While a peer shows that it is there, its connection is replaced no sooner than after this."""
HANDSHAKE_S = 2.0
STEADY_S = 5.0
_REVIVED_S = 0.1
_NO_PEER = "who answers there does not speak as a node does"


class Sign(Enum):
    """An event of a connection."""

    CONNECTED = "connected"
    """TCP is connected; the file descriptor identifies the connection."""
    REACHED_ITSELF = "reached itself"
    """TCP is connected, but to itself: both ends have the same address and port."""
    READY = "ready"
    """The handshake succeeded."""
    FAILED = "failed"
    """The handshake failed."""
    ENDED = "ended"
    """The connection with this file descriptor has ended."""


class _State(Enum):
    CONNECTING = "connecting"
    HANDSHAKING = "handshaking"
    UP = "up"


class Watch:
    """Watches one connection.  ``now`` is monotonic seconds, in all methods."""

    def __init__(self, now: float) -> None:
        """There is no connection yet: the first `replace` is for making it."""
        self.due: float | None = now
        """When `replace` is to be called; None while the connection is up."""
        self.reason: str | None = None
        """Why the process that answers there is not a peer, or None."""
        self._state = _State.CONNECTING
        self._since = now
        self._descriptor = -1
        self._delay_s = REPLACE_S
        self._troubled = False
        self._replaced = 0
        """The number of replacements since the last trouble."""
        self._replaced_at = now
        self._has_reported = False
        self._news: str | None = None

    @property
    def up(self) -> bool:
        """Whether the handshake succeeded and the connection has not ended since."""
        return self._state is _State.UP

    def hear(self, sign: Sign, descriptor: int, now: float) -> None:
        """Receive a sign.  Signs of a connection that was replaced before are ignored."""
        handshaking = self._state is _State.HANDSHAKING
        if sign is Sign.CONNECTED:
            self._descriptor = descriptor
            self._enter(_State.HANDSHAKING, now)
        elif sign is Sign.REACHED_ITSELF:
            self._trouble(None, now)
            self._report("it had reached itself, on the port of a peer that is down")
            self.due = now
        elif sign is Sign.READY and handshaking:
            self._ready(now)
        elif sign is Sign.FAILED and handshaking:
            self._trouble(_NO_PEER, now)
        elif sign is Sign.ENDED and descriptor == self._descriptor:
            if handshaking:
                self._trouble(_NO_PEER, now)
            elif self.up:
                self._lose(now)

    def hurry(self, now: float) -> None:
        """The peer is there: replace a connection that still connects at once.

        The first attempts after a loss are libzmq's, so that a dead session can be recognised.
        """
        connecting = self._state is _State.CONNECTING and self._replaced > 0
        if connecting and now - self._replaced_at >= HURRY_S:
            self.due = now

    def replace(self, now: float) -> bool:
        """Whether the caller must replace the connection now; if so, this counts as done."""
        if self.due is None or now < self.due:
            return False
        if self._state is _State.HANDSHAKING:
            if now < self._since + HANDSHAKE_S:
                self.due = self._since + HANDSHAKE_S
                return False
            self._trouble(f"who answers there says nothing for {HANDSHAKE_S:g} s", now)
        elif self._replaced:  # nothing has answered since the last replacement
            self.reason = None
        self._enter(_State.CONNECTING, now)
        self._descriptor = -1
        self._replaced += 1
        self._replaced_at = now
        self.due = now + self._delay_s
        self._delay_s = min(2 * self._delay_s, REPLACE_S_MAX)
        return True

    def news(self) -> str | None:
        """A report for the log, or None; at most one in an outage."""
        news, self._news = self._news, None
        return news

    def _ready(self, now: float) -> None:
        """It is up.  If that was soon after its first replacement, its session had been dead."""
        if self._troubled and self._replaced == 1 and now - self._replaced_at < _REVIVED_S:
            self._report("it had ended for good")
        self._enter(_State.UP, now)
        self._troubled = False
        self.due = self.reason = None

    def _lose(self, now: float) -> None:
        if now - self._since >= STEADY_S:  # this is a new outage
            self._delay_s, self._has_reported = REPLACE_S, False
        self._trouble(None, now)
        self.due = now + self._delay_s

    def _trouble(self, reason: str | None, now: float) -> None:
        """Record a failure, and report it if it is the second in a row with a reason.

        Once may be chance: a node may end in the middle of a handshake.
        """
        self._enter(_State.CONNECTING, now)
        self._replaced = 0
        self._troubled = True
        if reason is not None and self.reason is not None:
            self._report(reason)
        self.reason = reason

    def _enter(self, state: _State, now: float) -> None:
        self._state, self._since = state, now

    def _report(self, what: str) -> None:
        if not self._has_reported:
            self._has_reported, self._news = True, what
