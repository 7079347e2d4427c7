"""The commands of operators, and of nodes that want to join: each is answered once.

plan, show      make a plan from what the members report; storage keeps the last one   (plans.py)
commit, abort   have the next record decided                                         (proposer.py)
status          how far the members are                                                (status.py)
join            a newcomer announces itself                                         (newcomers.py)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from toystore.core.protocol.address import Address
from toystore.core.protocol.machine import Now, Outbox
from toystore.core.protocol.messages.codes import Code
from toystore.core.protocol.messages.ring import (
    DescribeMovesReply,
    FetchPlan,
    FetchPlanReply,
    FetchRings,
    FetchRingsReply,
    KeepPlan,
    KeepPlanReply,
    RingCommand,
    RingCommandReply,
)
from toystore.core.reconfiguration.census import take_census
from toystore.core.reconfiguration.changes import PlanError
from toystore.core.reconfiguration.following import Following
from toystore.core.reconfiguration.known import Known, Totals
from toystore.core.reconfiguration.newcomers import Newcomers, read_newcomer
from toystore.core.reconfiguration.plans import Plan, make_plan, unpack_plan
from toystore.core.reconfiguration.proposal import Result
from toystore.core.reconfiguration.proposer import SEE_STATUS, Proposer
from toystore.core.reconfiguration.questions import Questions
from toystore.core.reconfiguration.roster import Roster
from toystore.core.reconfiguration.status import describe_ring, state_of
from toystore.core.reconfiguration.successors import aborted
from toystore.core.ring.record import PORTS, Listed, RingRecord, unpack_ring
from toystore.core.ring.view import RingView

OPEN_MAX = 256
"""Open commands; another one is refused."""

_DISK_FAILED = "the storage of this node did not answer; its disk may be full"


class _RefusedError(Exception):
    """A command that is not carried out: nothing has happened, and nothing will."""

    def __init__(self, code: Code, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True)
class Cluster:
    """What is the same for all commands of one node."""

    n: int
    """N of the default bucket."""
    copies: frozenset[int]
    """Every N that a bucket has."""
    described: Mapping[str, Any]
    """The configuration without members, which a newcomer gets."""
    disk: str
    """The id of this node's disk."""


class _Caller:
    """A command that is open, and who is answered; the answer is sent once."""

    def __init__(self, command: RingCommand, sender: Address, outbox: Outbox) -> None:
        self.arguments = command.arguments
        self.open = True
        self.definite = True
        """Whether nothing has happened if this fails now."""
        self._request = command.request
        self._sender = sender
        self._out = outbox

    def answer(self, result: dict[str, Any]) -> None:
        self._send(RingCommandReply(self._request, result, 0, "", True))

    def refuse(self, code: Code, text: str, *, definite: bool = True) -> None:
        self._send(RingCommandReply(self._request, {}, code, text, definite))

    def _send(self, reply: RingCommandReply) -> None:
        if self.open:
            self.open = False
            self._out.send(self._sender, reply)


class Commands:
    """Carries out commands."""

    def __init__(
        self,
        *,
        cluster: Cluster,
        following: Following,
        proposer: Proposer,
        roster: Roster,
        newcomers: Newcomers,
        questions: Questions,
        outbox: Outbox,
    ) -> None:
        self._cluster = cluster
        self._following = following
        self._proposer = proposer
        self._roster = roster
        self._newcomers = newcomers
        self._questions = questions
        self._out = outbox
        self._open: list[_Caller] = []
        self._deciding: _Caller | None = None
        """The command whose proposal is under way."""
        self._commands: dict[str, Callable[[_Caller, Now], None]] = {
            "plan": self._plan,
            "show": self._show,
            "commit": self._commit,
            "abort": self._abort,
            "status": self._status,
            "join": self._join,
        }

    def receive(self, command: RingCommand, sender: Address, now: Now) -> None:
        """Carry out a command."""
        caller = _Caller(command, sender, self._out)
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
            self._try(caller, lambda: carry_out(caller, now))

    def on_failure(self) -> None:
        """This machine ends: answer every open command."""
        for caller in self._open:
            text = f"the node failed over this; {SEE_STATUS}"
            caller.refuse(Code.INTERNAL, text, definite=caller.definite)

    @staticmethod
    def _try(caller: _Caller, step: Callable[[], None]) -> None:
        """One step of a command, which may refuse it."""
        try:
            step()
        except _RefusedError as refused:
            caller.refuse(refused.code, str(refused))
        except PlanError as error:
            caller.refuse(Code.BAD_REQUEST, str(error))

    # --- plans --------------------------------------------------------------------------

    def _plan(self, caller: _Caller, now: Now) -> None:
        """Ask for the last plan, which has the number before, and all members; keep the plan."""
        record = self._following.record

        def make(last: Plan | None, now: Now) -> None:
            def counted(reports: Mapping[str, DescribeMovesReply], now: Now) -> None:
                self._try(caller, lambda: self._keep(caller, last, reports, now))

            take_census(self._questions, record.all, record.epoch, counted, now)

        self._fetch_plan(caller, make, now)

    def _keep(
        self,
        caller: _Caller,
        last: Plan | None,
        reports: Mapping[str, DescribeMovesReply],
        now: Now,
    ) -> None:
        """Make a plan, and have storage keep it."""
        plan = make_plan(
            1 if last is None else last.number + 1,
            caller.arguments.get("changes"),
            self._following.record,
            self._known(reports, now),
            made_by=self._questions.node,
            made_us=now.wall_us,
        )

        def kept(reply: KeepPlanReply | None, _now: Now) -> None:
            if reply is None:
                caller.refuse(Code.UNAVAILABLE, _DISK_FAILED)
            else:
                caller.answer(plan.shown)

        own = self._questions.node
        self._questions.ask_storage(own, lambda number: KeepPlan(number, plan.packed), kept, now)

    def _known(self, reports: Mapping[str, DescribeMovesReply], now: Now) -> Known:
        return Known(
            lineage=self._following.lineage,
            n=self._cluster.n,
            copies=self._cluster.copies,
            waiting=self._newcomers.waiting(now),
            totals={name: Totals(one.keys, one.bytes) for name, one in reports.items()},
            alive=frozenset(reports),
        )

    def _show(self, caller: _Caller, now: Now) -> None:
        def show(plan: Plan | None, _now: Now) -> None:
            caller.answer(_wanted(plan, caller).shown)

        self._fetch_plan(caller, show, now)

    def _fetch_plan(
        self, caller: _Caller, then: Callable[[Plan | None, Now], None], now: Now
    ) -> None:
        """Ask storage for the plan that it keeps."""

        def fetched(reply: FetchPlanReply | None, now: Now) -> None:
            if reply is None:
                caller.refuse(Code.UNAVAILABLE, _DISK_FAILED)
            else:
                plan = unpack_plan(reply.plan) if reply.plan else None
                self._try(caller, lambda: then(plan, now))

        self._questions.ask_storage(self._questions.node, FetchPlan, fetched, now)

    # --- decisions ----------------------------------------------------------------------

    def _commit(self, caller: _Caller, now: Now) -> None:
        def propose(plan: Plan | None, now: Now) -> None:
            plan = _wanted(plan, caller)
            newest = self._following.record
            if plan.base_digest != newest.digest:
                raise _RefusedError(
                    Code.CONFLICT,
                    f"plan {plan.number} is based on epoch {plan.base}, and the newest is "
                    f"{newest.epoch} ({newest.why}): make a new plan",
                )
            without = caller.arguments.get("without") or ()
            self._check_without(without, plan)
            self._decide(caller, plan.record, tuple(without), now)

        self._fetch_plan(caller, propose, now)

    def _check_without(self, names: Any, plan: Plan) -> None:
        """Raise `_RefusedError` unless a change may be decided without these voters."""
        voters = {one.name for one in self._following.record.voters}
        if not isinstance(names, (list, tuple)) or not set(names) <= voters:
            raise _RefusedError(
                Code.BAD_REQUEST,
                f"unsafe-without is a list of members of the newest ring, not {names!r:.200}; "
                f"these decide: {', '.join(sorted(voters))}",
            )
        if self._questions.node in names:
            raise _RefusedError(
                Code.BAD_REQUEST, f"{self._questions.node} cannot decide without itself"
            )
        for name in names:
            if name in plan.record.all:
                raise _RefusedError(
                    Code.BAD_REQUEST,
                    f"{name} would stay a member, and be refused for good: "
                    f"the plan has to remove it (remove {name})",
                )

    def _abort(self, caller: _Caller, now: Now) -> None:
        record = self._following.record
        if not record.moving:
            raise _RefusedError(
                Code.CONFLICT, f"nothing moves: epoch {record.epoch} is stable ({record.why})"
            )
        fields = aborted(record)
        if fields is None:
            raise _RefusedError(
                Code.CONFLICT,
                f"there is nothing to go back to: {', '.join(record.lost)} is removed for good",
            )
        why = f"abort: {record.why}"
        self._decide(caller, self._following.next_record(now, why, **fields), (), now)

    def _decide(
        self, caller: _Caller, record: RingRecord, without: tuple[str, ...], now: Now
    ) -> None:
        """Have a record decided, and answer what has come of it."""
        if self._deciding is not None:
            raise _RefusedError(
                Code.CONFLICT, "another change is being decided by this node: try again"
            )

        def ended(result: Result, text: str, _now: Now) -> None:
            self._deciding = None
            match result:
                case Result.DECIDED:
                    caller.answer({"epoch": record.epoch, "state": state_of(record.moving)})
                case Result.OTHER:
                    caller.refuse(Code.CONFLICT, f"nothing was changed: {text}; {SEE_STATUS}")
                case Result.UNKNOWN:
                    caller.refuse(Code.UNAVAILABLE, text, definite=False)
                case _:
                    caller.refuse(Code.UNAVAILABLE, f"nothing was changed: {text}")

        self._deciding = caller
        caller.definite = False
        self._proposer.propose(record, ended, now, without)

    # --- reports ------------------------------------------------------------------------

    def _status(self, caller: _Caller, now: Now) -> None:
        record = self._following.record

        def show(plan: Plan | None, now: Now) -> None:
            def counted(reports: Mapping[str, DescribeMovesReply], now: Now) -> None:
                ring = describe_ring(
                    RingView(record, self._cluster.n),
                    self._following.lineage,
                    self._roster,
                    reports,
                    self._newcomers.waiting(now).values(),
                )
                shown = plan.shown if plan is not None and _is_recent(plan, record) else None
                caller.answer({**ring, "plan": shown})

            take_census(self._questions, record.all, record.epoch, counted, now)

        self._fetch_plan(caller, show, now)

    def _join(self, caller: _Caller, now: Now) -> None:
        who = read_newcomer(caller.arguments)
        after = caller.arguments.get("after", -1)
        if who is None or type(after) is not int:
            raise _RefusedError(
                Code.BAD_REQUEST,
                "join needs name, disk, host, ports, weight, zone and after; "
                f"{caller.arguments!r:.200} given",
            )
        state, text = self._newcomers.announce(who, self._following.record, now)

        def fetched(reply: FetchRingsReply | None, _now: Now) -> None:
            if reply is None:
                caller.refuse(Code.UNAVAILABLE, _DISK_FAILED)
                return
            records = [unpack_ring(packed) for packed in reply.records]
            newest = self._following.record
            founding = next(iter(records), newest)
            caller.answer(
                {
                    "state": state,
                    "text": text,
                    "member": self._questions.node,
                    "disk": self._cluster.disk,
                    "epoch": newest.epoch,
                    "digest": newest.digest,
                    "voters": len(newest.voters),
                    "settings": dict(self._cluster.described),
                    "records": [one.packed for one in records if one.epoch > after],
                    "members": [_row(one) for one in founding.members],
                }
            )

        own = self._questions.node
        self._questions.ask_storage(own, lambda number: FetchRings(number, -1), fetched, now)


def _wanted(plan: Plan | None, caller: _Caller) -> Plan:
    """The plan that a command is about.  Raises `_RefusedError`."""
    number = caller.arguments.get("plan")
    if plan is None:
        raise _RefusedError(
            Code.BAD_REQUEST, "this node keeps no plan; make one first: toystore cluster plan ..."
        )
    if number not in (None, plan.number):
        raise _RefusedError(
            Code.BAD_REQUEST,
            f"this node keeps plan {plan.number}, not {number!r:.80}; a plan is kept by the node "
            "that made it, until it makes another",
        )
    return plan


def _is_recent(plan: Plan, record: RingRecord) -> bool:
    """Whether a plan can still be committed, or was committed last."""
    return plan.base_digest == record.digest or (plan.record.epoch, plan.record.why) == (
        record.epoch,
        record.why,
    )


def _row(one: Listed) -> dict[str, Any]:
    """A member as the configuration has it."""
    ports = dict(zip(PORTS, one.ports, strict=False))
    return {"name": one.name, "host": one.host, **ports, "weight": one.weight, "zone": one.zone}
