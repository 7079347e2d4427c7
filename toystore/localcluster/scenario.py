"""The timed failures of the YAML file, done to the nodes and their links one after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from toystore.config import Step
from toystore.localcluster.cluster import LocalCluster, Tell
from toystore.localcluster.faults import Faults, blocks
from toystore.localcluster.links import LinksError
from toystore.localcluster.ring_changes import ChangeFailedError, RingChanges, wipe


class Played(NamedTuple):
    """A step that was done."""

    step: Step
    when: datetime
    """UTC, as the logs have it."""

    def __str__(self) -> str:
        return words(self.step)


async def play(
    steps: Iterable[Step],
    cluster: LocalCluster,
    tell: Tell,
    played: list[Played],
    faults: Faults | None = None,
    changes: RingChanges | None = None,
) -> None:
    """Do the steps, each at its second from now, and append each to ``played``.

    ``faults`` is needed if a step acts on links, ``changes`` if one changes the ring.
    """
    began = asyncio.get_running_loop().time()
    async with asyncio.TaskGroup() as group:
        for step in sorted(steps, key=lambda step: step.at):
            await _until(began + step.at)
            played.append(Played(step, datetime.now(UTC)))
            cluster.log(
                "scenario.step", at_s=step.at, do=step.do, member=step.node, for_s=step.for_s
            )
            tell(f"scenario at {step.at:g} s: {played[-1]}")
            if step.changes_ring:
                assert changes is not None, "run_cluster.py makes them if a step needs them"
                group.create_task(_change(step, changes, tell))
            elif step.on_links:
                assert faults is not None, "run_cluster.py makes links if a step needs them"
                group.create_task(_disturb(step, cluster, tell, faults, began))
            else:
                group.create_task(_take(step, cluster, began))


async def _take(step: Step, cluster: LocalCluster, began: float) -> None:
    """Do one step to a process, to its end."""
    assert step.node is not None
    match step.do:
        case "kill":
            cluster.kill(step.node)
        case "stop":
            cluster.stop(step.node)
        case "restart":
            await cluster.restart(step.node)
        case "resume":
            cluster.resume(step.node)
        case "wipe":
            await wipe(cluster, step.node)
        case "pause":
            cluster.pause(step.node)
            await _until(began + step.ends_at)
            cluster.resume(step.node)


async def _change(step: Step, changes: RingChanges, tell: Tell) -> None:
    """Do one step that changes the ring, to its end."""
    try:
        await changes.take(step)
    except ChangeFailedError as error:
        changes.failed.append(f"{words(step)}: {error}")
        tell(f"{words(step)} failed: {error}")


async def _disturb(
    step: Step, cluster: LocalCluster, tell: Tell, faults: Faults, began: float
) -> None:
    """Do one step to links, to its end.  Its log is earlier than its effects, at both ends."""
    links = [
        {"from": list(block.senders), "to": list(block.receivers)}
        for block in blocks(step, faults.names)
    ]
    kind = "cut" if step.do == "split" else step.do
    cluster.log(
        "link.fault",
        kind=kind,
        links=links,
        share=step.share,
        delay_s=step.delay_s,
        jitter_s=step.jitter_s,
        reset=step.reset,
        for_s=step.for_s,
    )
    try:
        await asyncio.to_thread(faults.begin, step)
        if step.for_s is not None:
            await _until(began + step.ends_at)
            cluster.log("link.restored", kind=kind, links=links)
            await asyncio.to_thread(faults.end, step)
    except LinksError as error:
        tell(str(error))


async def _until(moment: float) -> None:
    """Sleep until the loop's clock shows ``moment``."""
    await asyncio.sleep(max(0.0, moment - asyncio.get_running_loop().time()))


# --- words ------------------------------------------------------------------------------


def words(step: Step) -> str:
    """A step in words: ``delay n4 ↔ all: 150 ms, jitter 50 ms, for 10 s``."""
    if step.do == "heal":
        return "heal"
    if not step.on_links:
        by = f" by {step.by}" if step.by else ""
        return f"{step.do} {step.node}{by}{_duration(step)}"
    return f"{step.do} {_places(step)}{_figures(step)}{_duration(step)}"


def _duration(step: Step) -> str:
    return f" for {step.for_s:g} s" if step.for_s else ""


def _places(step: Step) -> str:
    """The links of a step."""
    if step.groups:
        return f"{' | '.join(map(_names, step.groups))}{' | the others' * (len(step.groups) == 1)}"
    if step.between:
        return " ↔ ".join(dict.fromkeys(step.between))
    if step.node:
        return f"{step.node} ↔ all"
    return f"{_names(step.from_ or ('all',))} → {_names(step.to or ('all',))}"


def _figures(step: Step) -> str:
    """How much a step delays or loses."""
    if step.share is not None:
        return f": {step.share:.0%}"
    if step.delay_s is not None:
        jitter = f" + 0 to {step.jitter_s * 1000:g} ms" if step.jitter_s else ""
        return f": {step.delay_s * 1000:g} ms{jitter}"
    return ", with resets," if step.reset else ""


def _names(names: Sequence[str]) -> str:
    return ", ".join(names)
