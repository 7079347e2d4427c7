"""The timed failures of the YAML file, done to the nodes one after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import NamedTuple

from toystore.config import Step
from toystore.localcluster.cluster import LocalCluster, Tell


class Played(NamedTuple):
    """A step that was done."""

    step: Step
    when: datetime
    """UTC, as the logs have it."""

    def __str__(self) -> str:
        step = self.step
        return f"{step.do} {step.node}" + (f" for {step.for_s:g} s" if step.for_s else "")


async def play(
    steps: Iterable[Step], cluster: LocalCluster, tell: Tell, played: list[Played]
) -> None:
    """Do the steps, each at its second from now, and append each to ``played``."""
    began = asyncio.get_running_loop().time()
    async with asyncio.TaskGroup() as group:
        for step in sorted(steps, key=lambda step: step.at):
            await _until(began + step.at)
            played.append(Played(step, datetime.now(UTC)))
            cluster.log(
                "scenario.step", at_s=step.at, do=step.do, member=step.node, for_s=step.for_s
            )
            tell(f"scenario at {step.at:g} s: {played[-1]}")
            group.create_task(_take(step, cluster, began))


async def _take(step: Step, cluster: LocalCluster, began: float) -> None:
    """Do one step, to its end."""
    match step.do:
        case "kill":
            cluster.kill(step.node)
        case "stop":
            cluster.stop(step.node)
        case "restart":
            await cluster.restart(step.node)
        case "resume":
            cluster.resume(step.node)
        case "pause":
            cluster.pause(step.node)
            await _until(began + step.ends_at)
            cluster.resume(step.node)


async def _until(moment: float) -> None:
    """Sleep until the loop's clock shows ``moment``."""
    await asyncio.sleep(max(0.0, moment - asyncio.get_running_loop().time()))
