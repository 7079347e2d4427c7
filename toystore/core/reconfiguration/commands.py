"""The commands of operators, and of nodes that want to join: each is answered once.

plan, show, commit, abort   change the ring                                 (plan_commands.py)
join                        a newcomer announces itself                      (join_command.py)
status                      how far the members are                                (status.py)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from toystore.core.protocol.address import Address
from toystore.core.protocol.machine import Now, Outbox
from toystore.core.protocol.messages.codes import Code
from toystore.core.protocol.messages.ring import DescribeMovesReply, RingCommand
from toystore.core.reconfiguration.caller import Caller
from toystore.core.reconfiguration.census import take_census
from toystore.core.reconfiguration.following import Following
from toystore.core.reconfiguration.join_command import JoinCommand
from toystore.core.reconfiguration.newcomers import Newcomers
from toystore.core.reconfiguration.plan_commands import PlanCommands
from toystore.core.reconfiguration.plans import Plan
from toystore.core.reconfiguration.proposer import SEE_STATUS
from toystore.core.reconfiguration.questions import Questions
from toystore.core.reconfiguration.roster import Roster
from toystore.core.reconfiguration.status import describe_ring
from toystore.core.ring.record import RingRecord
from toystore.core.ring.view import ring_view

OPEN_MAX = 256
"""Open commands; another one is refused."""


class Commands:
    """Carries out commands."""

    def __init__(
        self,
        *,
        n: int,
        copies: frozenset[int],
        plans: PlanCommands,
        joins: JoinCommand,
        following: Following,
        roster: Roster,
        newcomers: Newcomers,
        questions: Questions,
        outbox: Outbox,
    ) -> None:
        """``n``: N of the default bucket; ``copies``: every N that a bucket has."""
        self._n = n
        self._copies = copies
        self._plans = plans
        self._following = following
        self._roster = roster
        self._newcomers = newcomers
        self._questions = questions
        self._out = outbox
        self._open: list[Caller] = []
        self._commands: dict[str, Callable[[Caller, Now], None]] = {
            "plan": plans.plan,
            "show": plans.show,
            "commit": plans.commit,
            "abort": plans.abort,
            "status": self._status,
            "join": joins.join,
        }

    def receive(self, command: RingCommand, sender: Address, now: Now) -> None:
        """Carry out a command."""
        caller = Caller(command, sender, self._out)
        self._open = [one for one in self._open if one.open]
        carry_out = self._commands.get(command.command)
        if carry_out is None:
            known = ", ".join(self._commands)
            caller.refuse(
                Code.BAD_REQUEST, f"no command is called {command.command!r:.80}; there are {known}"
            )
        elif len(self._open) >= OPEN_MAX:
            caller.refuse(Code.OVERLOADED, f"{OPEN_MAX} commands are open: try again later")
        else:
            self._open.append(caller)
            caller.attempt(lambda: carry_out(caller, now))

    def on_failure(self) -> None:
        """This machine ends: answer every open command."""
        for caller in self._open:
            text = f"the node failed over this; {SEE_STATUS}"
            caller.refuse(Code.INTERNAL, text, definite=caller.definite)

    def _status(self, caller: Caller, now: Now) -> None:
        record = self._following.record

        def show(plan: Plan | None, now: Now) -> None:
            def counted(reports: Mapping[str, DescribeMovesReply], now: Now) -> None:
                ring = describe_ring(
                    ring_view(record, self._n),
                    self._following.lineage,
                    self._copies,
                    self._roster,
                    reports,
                    self._newcomers.waiting(now).values(),
                )
                shown = plan.shown if plan is not None and _is_recent(plan, record) else None
                caller.answer({**ring, "plan": shown})

            take_census(self._questions, record.all, record.epoch, counted, now)

        self._plans.fetch_plan(caller, show, now)


def _is_recent(plan: Plan, record: RingRecord) -> bool:
    """Whether a plan can still be committed, or was committed last."""
    return plan.base_digest == record.digest or (plan.record.epoch, plan.record.why) == (
        record.epoch,
        record.why,
    )
