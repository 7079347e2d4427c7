"""The command join: a node that waits to be a member announces itself (newcomers.py).

It is answered whether it is a member, with the ring records that it lacks.  The answer to a node
that waits is delayed for as long as it has asked for, or until the ring changes: so a newcomer
starts as soon as a record lists it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

from toystore.core.protocol.machine import Now
from toystore.core.protocol.messages.codes import Code
from toystore.core.protocol.messages.ring import FetchRings, FetchRingsReply
from toystore.core.reconfiguration.caller import DISK_FAILED, Caller, RefusedError
from toystore.core.reconfiguration.following import Following
from toystore.core.reconfiguration.newcomers import Newcomers, read_newcomer
from toystore.core.reconfiguration.questions import NEVER, Questions, Then
from toystore.core.ring.record import PORTS, Listed, RingRecord, unpack_ring

DELAYED_MAX = 64
"""How many answers are delayed; others are sent at once."""
DELAY_S = 2.0
"""For how long an answer is delayed at most."""


class _Delayed(NamedTuple):
    """An answer that waits for a change of the ring."""

    caller: Caller
    who: Listed
    until: float
    """Monotonic seconds."""


class JoinCommand:
    """See the module's docstring."""

    def __init__(
        self,
        *,
        disk: str,
        described: Mapping[str, Any],
        following: Following,
        newcomers: Newcomers,
        questions: Questions,
    ) -> None:
        """``disk``: the id of this node's; ``described``: the configuration without members."""
        self._disk = disk
        self._described = described
        self._following = following
        self._newcomers = newcomers
        self._questions = questions
        self._delayed: list[_Delayed] = []

    def join(self, caller: Caller, now: Now) -> None:
        """Note that a node waits, and answer it at once or later."""
        who = read_newcomer(caller.arguments)
        wait_s = caller.arguments.get("wait_s", 0.0)
        after = caller.arguments.get("after", -1)
        if type(after) is not int or type(wait_s) not in (int, float):
            raise RefusedError(
                Code.BAD_REQUEST, f"after and wait_s are numbers; {caller.arguments!r:.200} given"
            )
        if bool(who.ports) != self._following.record.addressed:
            raise RefusedError(
                Code.BAD_REQUEST, f"{who.name} has no ports, or this cluster has none"
            )
        state, _ = self._newcomers.announce(who, self._following.record, now)
        if state == "waiting" and wait_s > 0 and len(self._delayed) < DELAYED_MAX:
            self._delayed.append(_Delayed(caller, who, now.monotonic + min(wait_s, DELAY_S)))
        else:
            self._answer(caller, who, now)

    def on_changed(self, now: Now) -> None:
        """The ring has changed: send the delayed answers."""
        delayed, self._delayed = self._delayed, []
        for one in delayed:
            self._answer(one.caller, one.who, now)

    def go_on(self, now: Now) -> None:
        """Send the answers that were delayed for long enough."""
        due = [one for one in self._delayed if one.until <= now.monotonic]
        self._delayed = [one for one in self._delayed if one.until > now.monotonic]
        for one in due:
            self._answer(one.caller, one.who, now)

    def next_deadline(self) -> float:
        """When an answer is due."""
        return min((one.until for one in self._delayed), default=NEVER)

    def _answer(self, caller: Caller, who: Listed, now: Now) -> None:
        """Answer with what the newest record says, and the records that storage has."""
        newest = self._following.record
        state, text = self._newcomers.announce(who, newest, now)
        after = caller.arguments.get("after", -1)

        def fetched(reply: FetchRingsReply | None, now: Now) -> None:
            """The founding, if it is kept, and the first records."""
            if reply is None:
                caller.refuse(Code.UNAVAILABLE, DISK_FAILED)
                return
            founding = unpack_ring(reply.records[0]) if reply.records else newest
            self._fetch(max(0, after), partial(send, founding), now)

        def send(founding: RingRecord, reply: FetchRingsReply | None, _now: Now) -> None:
            if reply is None:
                caller.refuse(Code.UNAVAILABLE, DISK_FAILED)
                return
            caller.answer(
                {
                    "state": state,
                    "text": text,
                    "member": self._questions.node,
                    "disk": self._disk,
                    "epoch": newest.epoch,
                    "digest": newest.digest,
                    "voters": len(newest.voters),
                    "settings": dict(self._described),
                    "records": list(reply.records),
                    "members": [_row(one) for one in founding.members],
                }
            )

        self._fetch(-1, fetched, now)

    def _fetch(self, after: int, then: Then, now: Now) -> None:
        """Fetch the records after an epoch from the own storage."""
        own = self._questions.node
        self._questions.ask_storage(own, lambda number: FetchRings(number, after), then, now)


def _row(one: Listed) -> dict[str, Any]:
    """A member as the configuration has it."""
    ports = dict(zip(PORTS, one.ports, strict=False))
    return {"name": one.name, "host": one.host, **ports, "weight": one.weight, "zone": one.zone}
