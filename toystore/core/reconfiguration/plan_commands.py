"""The commands that change the ring: plan, show, commit and abort.

plan, show      make a plan from what the members report; storage keeps the last one   (plans.py)
commit, abort   have the next record decided                                        (proposer.py)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from toystore.core.protocol.machine import Now
from toystore.core.protocol.messages.codes import Code
from toystore.core.protocol.messages.ring import (
    DescribeMovesReply,
    FetchPlan,
    FetchPlanReply,
    KeepPlan,
    KeepPlanReply,
)
from toystore.core.reconfiguration.caller import DISK_FAILED, Caller, RefusedError
from toystore.core.reconfiguration.census import take_census
from toystore.core.reconfiguration.changes import listed
from toystore.core.reconfiguration.following import Following
from toystore.core.reconfiguration.known import Known, Totals
from toystore.core.reconfiguration.newcomers import Newcomers
from toystore.core.reconfiguration.plans import Plan, make_plan, unpack_plan
from toystore.core.reconfiguration.proposal import Result
from toystore.core.reconfiguration.proposer import SEE_STATUS, Proposer
from toystore.core.reconfiguration.questions import Questions
from toystore.core.reconfiguration.status import state_of
from toystore.core.reconfiguration.successors import aborted
from toystore.core.ring.record import RingRecord, RingRecordError


class PlanCommands:
    """See the module's docstring."""

    def __init__(
        self,
        *,
        n: int,
        copies: frozenset[int],
        following: Following,
        proposer: Proposer,
        newcomers: Newcomers,
        questions: Questions,
    ) -> None:
        """``n``: N of the default bucket; ``copies``: every N that a bucket has."""
        self._n = n
        self._copies = copies
        self._following = following
        self._proposer = proposer
        self._newcomers = newcomers
        self._questions = questions
        self._is_deciding = False
        """Whether the proposal of a command is under way."""

    def plan(self, caller: Caller, now: Now) -> None:
        """Ask for the last plan, which has the number before, and all members; keep the plan."""
        record = self._following.record

        def make(last: Plan | None, now: Now) -> None:
            def counted(reports: Mapping[str, DescribeMovesReply], now: Now) -> None:
                caller.attempt(lambda: self._keep(caller, last, reports, now))

            take_census(self._questions, record.all, record.epoch, counted, now)

        self.fetch_plan(caller, make, now)

    def _keep(
        self,
        caller: Caller,
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
                caller.refuse(Code.UNAVAILABLE, DISK_FAILED)
            else:
                caller.answer(plan.shown)

        own = self._questions.node
        self._questions.ask_storage(own, lambda number: KeepPlan(number, plan.packed), kept, now)

    def _known(self, reports: Mapping[str, DescribeMovesReply], now: Now) -> Known:
        return Known(
            lineage=self._following.lineage,
            n=self._n,
            copies=self._copies,
            waiting=self._newcomers.waiting(now),
            totals={name: Totals(one.keys, one.bytes) for name, one in reports.items()},
            alive=frozenset(reports),
        )

    def show(self, caller: Caller, now: Now) -> None:
        """Answer with the plan that storage keeps."""

        def show(plan: Plan | None, _now: Now) -> None:
            caller.answer(_wanted(plan, caller).shown)

        self.fetch_plan(caller, show, now)

    def fetch_plan(
        self, caller: Caller, then: Callable[[Plan | None, Now], None], now: Now
    ) -> None:
        """Ask storage for the plan that it keeps."""

        def fetched(reply: FetchPlanReply | None, now: Now) -> None:
            if reply is None:
                caller.refuse(Code.UNAVAILABLE, DISK_FAILED)
            else:
                plan = _kept(reply.plan)
                caller.attempt(lambda: then(plan, now))

        self._questions.ask_storage(self._questions.node, FetchPlan, fetched, now)

    # --- decisions ----------------------------------------------------------------------

    def commit(self, caller: Caller, now: Now) -> None:
        """Have the plan decided that storage keeps."""

        def propose(plan: Plan | None, now: Now) -> None:
            plan = _wanted(plan, caller)
            newest = self._following.record
            if plan.base_digest != newest.digest:
                raise RefusedError(
                    Code.CONFLICT,
                    f"plan {plan.number} is based on epoch {plan.base}, and the newest is "
                    f"{newest.epoch} ({newest.why}): make a new plan",
                )
            without = caller.arguments.get("without") or ()
            self._check_without(without, plan)
            self._decide(caller, plan.record, tuple(without), now)

        self.fetch_plan(caller, propose, now)

    def _check_without(self, names: Any, plan: Plan) -> None:
        """Raise `RefusedError` unless a change may be decided without these voters."""
        voters = {one.name for one in self._following.record.voters}
        if not isinstance(names, (list, tuple)) or not all(isinstance(one, str) for one in names):
            text = f"unsafe-without is a list of names, not {names!r:.200}"
            raise RefusedError(Code.BAD_REQUEST, text)
        if unknown := sorted(set(names) - voters):
            raise RefusedError(
                Code.BAD_REQUEST,
                f"unsafe-without names {listed(unknown):.200}, which does not decide; these do: "
                f"{listed(sorted(voters))}",
            )
        if self._questions.node in names:
            raise RefusedError(
                Code.BAD_REQUEST, f"{self._questions.node} cannot decide without itself"
            )
        for name in names:
            if name in plan.record.all:
                raise RefusedError(
                    Code.BAD_REQUEST,
                    f"{name} would stay a member, and be refused for good: "
                    f"the plan has to remove it (remove {name})",
                )

    def abort(self, caller: Caller, now: Now) -> None:
        """Have the way back decided."""
        record = self._following.record
        if not record.moving:
            raise RefusedError(
                Code.CONFLICT, f"nothing moves: epoch {record.epoch} is stable ({record.why})"
            )
        fields = aborted(record)
        if fields is None:
            raise RefusedError(
                Code.CONFLICT,
                f"there is nothing to go back to: {', '.join(record.lost)} is removed for good",
            )
        why = f"abort: {record.why}"
        self._decide(caller, self._following.next_record(now, why, **fields), (), now)

    def _decide(
        self, caller: Caller, record: RingRecord, without: tuple[str, ...], now: Now
    ) -> None:
        """Have a record decided, and answer what has come of it."""
        if self._is_deciding:
            raise RefusedError(
                Code.CONFLICT, "another change is being decided by this node: try again"
            )

        def ended(result: Result, text: str, _now: Now) -> None:
            self._is_deciding = False
            match result:
                case Result.DECIDED:
                    caller.answer({"epoch": record.epoch, "state": state_of(record.moving)})
                case Result.OTHER:
                    caller.refuse(Code.CONFLICT, f"nothing was changed: {text}; {SEE_STATUS}")
                case Result.UNKNOWN:
                    caller.refuse(Code.UNAVAILABLE, text, definite=False)
                case _:
                    caller.refuse(Code.UNAVAILABLE, f"nothing was changed: {text}")

        self._is_deciding = True
        caller.definite = False
        self._proposer.propose(record, ended, now, without)


def _kept(packed: bytes) -> Plan | None:
    """The plan that storage keeps; None if it has none that could be carried out."""
    try:
        return unpack_plan(packed) if packed else None
    except RingRecordError:
        return None


def _wanted(plan: Plan | None, caller: Caller) -> Plan:
    """The plan that a command is about.  Raises `RefusedError`."""
    number = caller.arguments.get("plan")
    if plan is None:
        raise RefusedError(
            Code.BAD_REQUEST, "this node keeps no plan; make one first: toystore cluster plan ..."
        )
    if number not in (None, plan.number):
        raise RefusedError(
            Code.BAD_REQUEST,
            f"this node keeps plan {plan.number}, not {number!r:.80}; a plan is kept by the node "
            "that made it, until it makes another",
        )
    return plan
