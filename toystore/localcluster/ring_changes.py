"""The steps of a scenario that change the ring, done through a node as an operator does it.

    join, replace    start a process that waits to be taken in; plan, commit, wait until stable
    leave, remove    plan, commit, wait until stable
    wipe             kill -9, delete the folder's data, start it again

One change follows the other: while ranges move, no other is accepted, but that a member is lost for
good; the move before would wait for that member for ever.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from toystore.client import BadRequest, Conflict, ToystoreError
from toystore.config import Step
from toystore.localcluster.cluster import LocalCluster, Tell
from toystore.localcluster.node import HAS_PROCESS, Moved

LOOK_S = 0.5
"""The time between two looks at how far a change is: each asks every storage."""
CHANGE_S_MAX = 600.0
"""How long a change may take."""
LEAVE_S_MAX = 10.0
"""How long a node that has left may take to end until the next change is begun."""
PLAN_S_MAX = 30.0
"""How long it is tried to have a plan made."""
COMMIT_S = 20.0
STABLE = "stable"


class Change(NamedTuple):
    """A change of the ring that was made."""

    words: str
    partitions: str
    """How many replicas of partitions have moved, of how many."""
    moved: Moved
    took_s: float

    def __str__(self) -> str:
        return (
            f"{self.words}: {self.partitions} moved, with {self.moved.records:,} records "
            f"({self.moved.bytes / 1e6:,.1f} MB), in {self.took_s:.1f} s"
        )


class ChangeFailedError(Exception):
    """A change of the ring was refused, or did not end in time; the text says why."""

    def __init__(self, text: str, *, is_refusal: bool = False) -> None:
        super().__init__(text)
        self.is_refusal = is_refusal
        """Whether the same command would be refused again."""


class RingChanges:
    """Changes the ring of one local cluster."""

    def __init__(self, cluster: LocalCluster, tell: Tell) -> None:
        self.made: list[Change] = []
        self.failed: list[str] = []
        self._cluster = cluster
        self._tell = tell
        self._turn = asyncio.Lock()

    async def take(self, step: Step) -> None:
        """Do one step, after those before it.  Raises `ChangeFailedError`."""
        assert step.node is not None
        match step.do:
            case "join":
                self._cluster.add(step.node, weight=step.weight, zone=step.zone)
                await self.change(["join", step.node])
            case "replace":
                assert step.by is not None
                self._cluster.add(step.by)
                await self.change(["replace", step.node, step.by])
            case "remove":
                await self._make([["remove", step.node]], wait=True)
            case _:
                await self.change([step.do, step.node])

    async def report(self) -> list[str]:
        """What was changed, in a few lines."""
        status = await self.ask("status", {})
        members = ", ".join(row["name"] for row in status["members"])
        return [
            f"ring      epoch {status['epoch']}, {status['state']}; "
            f"{len(status['members'])} members: {members}",
            f"changes   {len(self.made)} made, {len(self.failed)} failed",
            *(f"          {change}" for change in self.made),
            *(f"          FAILED {change}" for change in self.failed),
        ]

    async def change(self, *changes: list[Any], wait: bool = True) -> None:
        """Plan some changes and commit them, then wait until nothing moves any more.

        New nodes that have no process are started.  Raises `ChangeFailedError`.
        """
        if self._turn.locked():
            self._tell(f"{_words(changes)} waits until the change before it has ended")
        async with self._turn:
            if any(row[0] != "remove" for row in changes):
                await self.until_stable()  # a removal may be under way, which waits for no turn
            await self._make(changes, wait=wait)

    async def _make(self, changes: Sequence[list[Any]], *, wait: bool) -> None:
        """Make some changes.  Raises `ChangeFailedError`."""
        began, before, made_before = time.monotonic(), await self._moved(), len(self.made)
        await self.start_newcomers(changes)
        plan = await self._plan(changes)
        await self.ask("commit", {"plan": plan["plan"]})
        words, partitions = _words(changes), self._replicas(plan["partitions"])
        self._tell(f"{words} is decided: {partitions} are to move")
        if not wait:
            return
        await self.until_stable()
        took_s = time.monotonic() - began
        moved = _since(before, await self._moved())
        for meanwhile in self.made[made_before:]:  # a removal, in the middle of this change
            moved = moved.less(meanwhile.moved)
        self.made.append(Change(words, partitions, moved, took_s))
        self._tell(str(self.made[-1]))
        await self._until_ended([str(row[1]) for row in changes if row[0] in ("leave", "replace")])

    async def _plan(self, changes: Sequence[list[Any]]) -> dict[str, Any]:
        """Have a plan made; again if no node answers, as on a machine with too much to do."""
        end = time.monotonic() + PLAN_S_MAX
        while True:
            try:
                return await self.ask("plan", {"changes": [list(row) for row in changes]})
            except ChangeFailedError as error:
                if error.is_refusal or time.monotonic() > end:
                    raise
            await asyncio.sleep(LOOK_S)

    async def start_newcomers(self, changes: Sequence[list[Any]]) -> None:
        """Start the new nodes of some changes, and wait until each waits to be taken in."""
        for name in _newcomers(changes):
            if self._cluster.nodes[name].state not in HAS_PROCESS:
                self._cluster.start(name)
            await self._until(partial(_waits, name), f"{name} waits to be taken in")

    async def until_stable(self) -> dict[str, Any]:
        """Wait until nothing moves any more; the status of the ring then."""
        return await self._until(lambda status: status["state"] == STABLE, "the ring is stable")

    async def _until_ended(self, names: Collection[str]) -> None:
        """Wait until nodes that have left have ended, so that no newcomer asks them."""
        end = time.monotonic() + LEAVE_S_MAX
        while any(self._cluster.nodes[name].state in HAS_PROCESS for name in names):
            if time.monotonic() > end:
                return
            await asyncio.sleep(LOOK_S)
            self._cluster.reap()

    async def _until(self, holds: Callable[[dict[str, Any]], bool], what: str) -> dict[str, Any]:
        end = time.monotonic() + CHANGE_S_MAX
        while True:
            try:
                status = await self.ask("status", {})
                if holds(status):
                    return status
            except ChangeFailedError:
                if time.monotonic() > end:
                    raise
            if time.monotonic() > end:
                raise ChangeFailedError(f"in {CHANGE_S_MAX:g} s it did not come to this: {what}")
            await asyncio.sleep(LOOK_S)

    async def _moved(self) -> dict[str, Moved]:
        """What each node that answers has moved since its start."""
        await self._cluster.look()
        return {node.name: node.moved for node in self._cluster.nodes.values() if node.status}

    def _replicas(self, count: int) -> str:
        """So many replicas of partitions, of all that there are."""
        config = self._cluster.config
        total = config.partitions * sum(set(config.copies().values()))
        return f"{count:,} of {total:,} replicas of partitions"

    async def ask(self, command: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """The answer of a member that runs.  Raises `ChangeFailedError`."""
        try:
            return await self._cluster.command(command, arguments, timeout_s=COMMIT_S)
        except ToystoreError as error:
            is_refusal = isinstance(error, (BadRequest, Conflict))
            raise ChangeFailedError(f"{command}: {error}", is_refusal=is_refusal) from None


async def wipe(cluster: LocalCluster, name: str) -> None:
    """Kill a node, delete what it has stored, start it again."""
    cluster.kill(name)
    await cluster.ended(name)
    await asyncio.to_thread(shutil.rmtree, cluster.nodes[name].folder / "data")
    cluster.start(name)


def _since(before: Mapping[str, Moved], after: Mapping[str, Moved]) -> Moved:
    """What the nodes that answer have moved since; one that was restarted began with nothing."""
    grown = [
        now if then is None or then.bytes > now.bytes else now.less(then)
        for now, then in ((now, before.get(name)) for name, now in after.items())
    ]
    return Moved(sum(one.records for one in grown), sum(one.bytes for one in grown))


def _words(changes: Sequence[list[Any]]) -> str:
    """Changes as operators write them: ``join n6, leave n1``."""
    return ", ".join(" ".join(map(str, row)) for row in changes)


def _newcomers(changes: Sequence[list[Any]]) -> list[str]:
    """The new members of some changes."""
    return [str(row[-1]) for row in changes if row[0] in ("join", "replace")]


def _waits(name: str, status: dict[str, Any]) -> bool:
    return any(row["name"] == name for row in status["waiting"])
