"""The states that this node's ranges are to have: storage sets them one after another, durably.

Storage refuses a state if it has adopted a newer ring record than this machine, or if the range has
a state from which no step leads there.  Then it is tried again, until storage tells of another
state or the ring changes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from toystore.core.antientropy.replicas import Replicas
from toystore.core.protocol.address import Peer
from toystore.core.protocol.machine import Now
from toystore.core.protocol.messages.antientropy import SetRange, SetRangeReply
from toystore.core.protocol.messages.codes import RangeState
from toystore.core.protocol.questions import Questions
from toystore.core.ring.ranges import Range

AGAIN_S = 1.0
"""How soon storage is asked again to set a state, if that has failed."""

STEPS: Final = {
    (RangeState.BEHIND, RangeState.WHOLE),
    (RangeState.WHOLE, RangeState.RETIRED),
    (RangeState.RETIRED, RangeState.RELEASED),
    (RangeState.BEHIND, RangeState.RETIRED),
    (RangeState.STRAY, RangeState.RELEASED),
}
"""From which state to which."""


class States:
    """Has the own storage set states."""

    def __init__(
        self,
        own: Peer,
        replicas: Replicas,
        questions: Questions,
        done: Callable[[Range, RangeState, int, Now], None],
    ) -> None:
        """``done``: called with a range, its new state, and how many ranges are behind still."""
        self._own = own
        self._replicas = replicas
        self._questions = questions
        self._done = done
        self._wanted: dict[Range, RangeState] = {}
        self._asked: Range | None = None
        self._ask_at = 0.0

    def __contains__(self, of: Range) -> bool:
        """Whether a range is to have another state."""
        return of in self._wanted

    def set(self, of: Range, state: RangeState) -> None:
        """Have storage set the state of a range."""
        self._wanted[of] = state

    def forget(self, of: Range) -> None:
        """Leave a range as it is."""
        self._wanted.pop(of, None)

    def go_on(self, now: Now) -> None:
        """Ask for the next."""
        if self._asked is not None or self._ask_at > now.monotonic:
            return
        while self._wanted:
            of, state = next(iter(self._wanted.items()))
            if (self._replicas.states.get(of), state) in STEPS:
                break
            del self._wanted[of]
        else:
            return
        self._asked, epoch = of, self._replicas.epoch
        floor = self._replicas.floors.get(of, 0)
        self._questions.ask(
            self._own, lambda number: SetRange(number, *of, epoch, state, floor), self, now
        )

    def next_deadline(self) -> float:
        """When storage can be asked, in monotonic seconds; infinity if it is not to be."""
        return self._ask_at if self._wanted and self._asked is None else float("inf")

    def on_reply(self, reply: SetRangeReply, now: Now) -> None:
        """The range has this state, on the disk."""
        of, self._asked = self._asked, None
        assert of is not None
        state = RangeState(reply.state)
        if self._wanted.get(of) is not state:
            self._try_again(of, now)
            return
        del self._wanted[of]
        self._replicas.set_state(of, state)
        self._done(of, state, reply.behind, now)

    def on_failed(self, _cause: str, now: Now) -> None:
        """Storage has not set it."""
        of, self._asked = self._asked, None
        assert of is not None
        self._try_again(of, now)

    def _try_again(self, of: Range, now: Now) -> None:
        """Set the state of a range after those of the others."""
        if of in self._wanted:
            self._wanted[of] = self._wanted.pop(of)
        self._ask_at = now.monotonic + AGAIN_S
