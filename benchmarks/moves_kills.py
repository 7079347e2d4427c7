"""A node is killed (-9) in the middle of a change of the ring: how does the change end?

Each change is made once for each victim: the *newcomer* (or, if none comes, a node that gets
ranges), a *source* that gives ranges away, and the *proposer*, the node that the operator asked.

    back    the victim is started again: the change ends by itself
    lost    it is not: the operator removes it; before that, the operator aborts the change if it
            was the newcomer

Then all nodes agree on the members, each owner holds each record and answers with it, and no other
node holds it.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Collection
from itertools import product
from typing import Any

from checked_load import failures, missed, wrong
from filled import LOOK_S, PATIENCE_S, Row, show_row
from ring_stage import Change, RingStage

from tests.harness.disks import strays, unequal
from toystore.localcluster.ring_changes import STABLE, ChangeFailedError

VICTIMS = ("newcomer", "source", "proposer")
KINDS = ("join", "leave", "replace", "remove")
LOST = (("join", "newcomer"), ("replace", "newcomer"), ("join", "source"), ("leave", "source"))
MIDDLE = 0.2
"""This share of the ranges that move has moved when the victim is killed."""


async def kills(stage: RingStage, kinds: Collection[str], victims: Collection[str]) -> Row:
    """Kill each of these victims in the middle of each change of these kinds; a row for each."""
    rows: Row = {}
    all_of_them = [(kind, victim, True) for kind, victim in product(kinds, victims)]
    all_of_them += [
        (kind, victim, False) for kind, victim in LOST if kind in kinds and victim in victims
    ]
    for kind, victim, back in all_of_them:
        title = f"{kind}, {victim} {'back' if back else 'lost'}"
        rows[title] = await _one(stage, kind, victim, back=back)
        show_row(title, rows[title])
        await _even_out(stage)
    return rows


async def _one(stage: RingStage, kind: str, victim: str, *, back: bool) -> Row:
    """Make one change, with one victim."""
    change = stage.change(kind)
    await stage.changes.start_newcomers([change])
    if kind == "remove":
        await stage.lose(change[1])
    before = {row["name"] for row in (await _status(stage))["members"]}
    await stage.start_load()
    await asyncio.sleep(1)
    began = time.monotonic()
    await stage.changes.change(change, wait=False)
    name = _name_of(stage, change, victim)
    share = await _middle(stage)
    await stage.kill(name)
    await asyncio.sleep(stage.options.away_s)
    if back:
        stage.cluster.start(name)
    elif victim == "newcomer":
        await _command(stage, "abort", {})
    if not back:
        await stage.changes.change(["remove", name], wait=False)
    status = await stage.changes.until_stable()
    took_s = time.monotonic() - began
    await stage.until_in_place()
    await asyncio.sleep(1)
    answers = await stage.load.stop()
    await stage.cluster.settled(stage.options.settle_s)
    await stage.until_equal()
    ring, held = stage.ring(), stage.held()
    after = {row["name"] for row in status["members"]}
    return {
        "change": " ".join(change),
        "victim": name,
        "killed_at": share,
        "stable_s": round(took_s, 1),
        "members_right": after == _expected(before, change, name, victim, back=back),
        "unequal": len(unequal(ring, held)),
        "strays": len(strays(ring, held)),
        "operations": len(answers),
        "failures": dict(Counter(failures(answers))),
        "wrong": wrong(answers)[:3],
        "missed": missed(answers)[:3],
        **await stage.read_back(),
    }


def _name_of(stage: RingStage, change: Change, victim: str) -> str:
    """The node that is the victim."""
    running = [name for name in stage.running() if name not in change[1:]]
    if victim == "proposer":
        return running[0]
    if victim == "newcomer" and change[0] in ("join", "replace"):
        return str(change[-1])
    if victim == "source" and change[0] in ("leave", "replace"):
        return str(change[1])
    return running[1]


def _expected(before: set[str], change: Change, name: str, victim: str, *, back: bool) -> set[str]:
    """The members that there should be afterwards."""
    if not back and victim == "newcomer":
        return before
    after = set(before)
    if change[0] in ("leave", "replace", "remove"):
        after.discard(change[1])
    if change[0] in ("join", "replace"):
        after.add(change[-1])
    return after if back else after - {name}


async def _middle(stage: RingStage) -> float:
    """Wait until some of the ranges that move have moved; their share."""
    most = 0
    while True:
        status = await _status(stage)
        rows = status["members"]
        left = sum((row.get("behind") or 0) + (row.get("unreleased") or 0) for row in rows)
        most = max(most, left)
        share = round(1 - left / most, 2) if most else 0.0
        if share >= MIDDLE or status["state"] == STABLE:
            return share
        await asyncio.sleep(LOOK_S)


async def _status(stage: RingStage) -> dict[str, Any]:
    return await stage.cluster.command("status", {}, timeout_s=20.0)


async def _command(stage: RingStage, command: str, arguments: dict[str, Any]) -> None:
    """Give a command until it is accepted: the node that is asked may not know yet who is alive."""
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            await stage.changes.ask(command, arguments)
        except ChangeFailedError:
            if time.monotonic() > end:
                raise
            await asyncio.sleep(1)
        else:
            return


async def _even_out(stage: RingStage) -> None:
    """Have five members again."""
    while len((await _status(stage))["members"]) < stage.options.nodes:
        await stage.changes.change(stage.change("join"))
    while len((await _status(stage))["members"]) > stage.options.nodes:
        await stage.changes.change(stage.change("leave"))
    await stage.until_in_place()
