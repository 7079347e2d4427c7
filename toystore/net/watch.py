"""When a connection is replaced: the decision, without I/O.

libzmq tries again by itself, within a fifth of a second, while nobody listens.  Other ends
it does not survive, and does not tell from those it does.  So every connection that is down
is replaced now and then, whatever libzmq makes of it:

              CONNECTED            READY
    connecting ------> handshaking ------> up
        ^                   |               |
        +--- replaced ------+<- - ENDED - - +

    up            nothing is due
    connecting    replaced after `REPLACE_S`, then after twice that, up to `REPLACE_S_MAX`
    handshaking   replaced once the peer has said nothing useful for `HANDSHAKE_S`
    itself        a connection whose two ends are one is replaced at once: it holds the
                  port that the peer needs in order to start again

An *outage* lasts from the first trouble until the connection has been up for `STEADY_S`.
What is worth telling, a peer that is no peer or a connection that only came back by being
replaced, is told once in an outage.  That nobody listens is not: it is what a peer that is
down looks like.
"""

from __future__ import annotations

from enum import Enum

REPLACE_S = 0.3
"""libzmq's own attempts come 0.1 s after a loss, and 0.2 s later again."""
REPLACE_S_MAX = 3.0
HANDSHAKE_S = 2.0
STEADY_S = 5.0
_REVIVED_S = 0.1
_NO_PEER = "who answers there does not speak as a node does"


class Sign(Enum):
    """What is heard of a connection."""

    CONNECTED = "connected"
    """TCP has a connection, known by its file descriptor."""
    REACHED_ITSELF = "reached itself"
    """As before, and its two ends are one: nobody else is there."""
    READY = "ready"
    """The handshake succeeded."""
    FAILED = "failed"
    """The handshake did not."""
    ENDED = "ended"
    """The connection with this file descriptor is gone."""


class _State(Enum):
    CONNECTING = "connecting"
    HANDSHAKING = "handshaking"
    UP = "up"


class Watch:
    """Watches over one connection.  ``now`` is monotonic seconds, everywhere."""

    def __init__(self, now: float) -> None:
        """The connection is yet to be made: the first `replace` is to make it."""
        self.due: float | None = now
        """When `replace` is to be asked; None while the connection is up."""
        self.fault: str | None = None
        """What is wrong with who answers there; None if nobody does, or nothing is."""
        self._state = _State.CONNECTING
        self._since = now
        self._descriptor = -1
        self._delay_s = REPLACE_S
        self._troubled = False
        self._replaced = 0
        """How often since the last trouble."""
        self._replaced_at = now
        self._has_told = False
        self._news: str | None = None

    @property
    def up(self) -> bool:
        """Whether the peer has shaken hands and was not lost since."""
        return self._state is _State.UP

    def hear(self, sign: Sign, descriptor: int, now: float) -> None:
        """Take in a sign.  Those of a connection that was replaced meanwhile are passed over."""
        handshaking = self._state is _State.HANDSHAKING
        if sign is Sign.CONNECTED:
            self._descriptor = descriptor
            self._enter(_State.HANDSHAKING, now)
        elif sign is Sign.REACHED_ITSELF:
            self._trouble(None, now)
            self._tell("it had reached itself, on the port of a peer that is down")
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

    def replace(self, now: float) -> bool:
        """Whether the connection is to be replaced now; if so, this counts as having done it."""
        if self.due is None or now < self.due:
            return False
        if self._state is _State.HANDSHAKING:
            if now < self._since + HANDSHAKE_S:
                self.due = self._since + HANDSHAKE_S
                return False
            self._trouble(f"who answers there says nothing for {HANDSHAKE_S:g} s", now)
        elif self._replaced:  # nobody has answered since
            self.fault = None
        self._enter(_State.CONNECTING, now)
        self._descriptor = -1
        self._replaced += 1
        self._replaced_at = now
        self.due = now + self._delay_s
        self._delay_s = min(2 * self._delay_s, REPLACE_S_MAX)
        return True

    def news(self) -> str | None:
        """What is worth telling, if anything is; once in an outage."""
        news, self._news = self._news, None
        return news

    def _ready(self, now: float) -> None:
        """Up.  What is up this soon after its first replacement had been dead until then."""
        if self._troubled and self._replaced == 1 and now - self._replaced_at < _REVIVED_S:
            self._tell("it had ended for good")
        self._enter(_State.UP, now)
        self._troubled = False
        self.due = self.fault = None

    def _lose(self, now: float) -> None:
        if now - self._since >= STEADY_S:  # what was before is another outage
            self._delay_s, self._has_told = REPLACE_S, False
        self._trouble(None, now)
        self.due = now + self._delay_s

    def _trouble(self, fault: str | None, now: float) -> None:
        """Something went wrong.  A fault is told when it is met again: once may be chance,
        as when a node goes down in the middle of a handshake.
        """
        self._enter(_State.CONNECTING, now)
        self._replaced = 0
        self._troubled = True
        if fault is not None and self.fault is not None:
            self._tell(fault)
        self.fault = fault

    def _enter(self, state: _State, now: float) -> None:
        self._state, self._since = state, now

    def _tell(self, what: str) -> None:
        if not self._has_told:
            self._has_told, self._news = True, what
