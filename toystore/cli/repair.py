"""`toystore repair`: every node scrubs its ranges and compares them with their other owners."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from typing import Any

import click

from toystore import AsyncClient, BadRequest, streams
from toystore.cli.census import ask_all
from toystore.cli.follow import Nothing, Step, Told, follow, make_view
from toystore.cli.options import Common, common_options
from toystore.cli.output import print_json, print_table, size
from toystore.logs.names import in_order

NOT_ALL_REPAIRED = 3
STOP_AFTER_S = 30.0
_JOB_BITS = 62
_TOTALS = ("ranges", "done", "compared", "records", "bytes", "rotten", "repaired")
_COLUMNS = ("node", "ranges", "done", "compared", "records moved", "bytes", "corrupt", "replaced")


@click.command()
@click.option(
    "--partition",
    type=click.IntRange(min=0),
    metavar="NUMBER",
    help="Only the ranges of this partition (`toystore ring KEY` shows a key's).",
)
@click.option(
    "--node",
    "only",
    multiple=True,
    metavar="NAME",
    help="Only the ranges of this node; repeatable.",
)
@click.option(
    "--stop-after",
    "stop_after_s",
    type=click.FloatRange(min=0, min_open=True),
    default=STOP_AFTER_S,
    show_default=True,
    metavar="SECONDS",
    help="Stop watching when no node has made progress for this long.",
)
@common_options("endpoints", "one_bucket", "timeout")
@click.pass_context
def repair(
    ctx: click.Context, partition: int | None, only: tuple[str, ...], stop_after_s: float
) -> None:
    """Make the replicas equal now, and replace corrupt records.

    Every member reads all records of its ranges, checks them, and compares the ranges with their
    other owners.  This happens anyway, but takes its time; `repair` does it at once, and shows
    how far it is.  Buckets with the same N share their ranges.  The nodes go on if this command
    is interrupted.
    """
    common: Common = ctx.obj
    nodes = _nodes(common, only)
    job = secrets.randbits(_JOB_BITS)

    async def ask(store: AsyncClient, endpoint: str) -> dict[str, Any]:
        return await store.repair(job, endpoint, bucket=common.bucket, partition=partition)

    with Nothing() if common.as_json else make_view() as view:
        watch = Watch(nodes, stop_after_s, view)
        try:
            follow(nodes, common.timeout, ask, watch.look)
        except KeyboardInterrupt:
            streams.complain(
                "toystore: only the watching has ended; the nodes go on with the repair"
            )
            raise
    (watch.print_report if common.as_json else watch.show_report)(job)
    ctx.exit(0 if watch.all_repaired else NOT_ALL_REPAIRED)


def _nodes(common: Common, only: tuple[str, ...]) -> dict[str, str]:
    """The endpoint of each node that is to repair its ranges.

    Raises:
        BadRequest: there is no member of a name in ``only``.
        ToystoreError: no endpoint answers.
    """
    nodes = ask_all(common.endpoints, common.timeout).endpoints
    for name in only:
        if name not in nodes:
            raise BadRequest(f"no member {name!r:.80}; there are {', '.join(in_order(nodes))}")
    return {name: nodes[name] for name in only or in_order(nodes)}


class Watch:
    """What the nodes have reported, and whether it is worth to go on watching."""

    def __init__(self, nodes: Mapping[str, str], stop_after_s: float, view: Nothing) -> None:
        self._progress: dict[str, dict[str, Any]] = {name: {} for name in nodes}
        """The last progress of each node, empty if it has reported none."""
        self._trouble: dict[str, str] = {}
        """Why a node does not answer at present, or has failed."""
        self._stop_after_s = stop_after_s
        self._view = view
        self._moved_at = time.monotonic()

    def look(self, answers: Mapping[str, Told]) -> bool:
        """Take in the last answers; whether all have finished, or none makes progress."""
        for node, told in answers.items():
            if not isinstance(told, dict):
                self._trouble[node] = f"does not answer: {told}"
            elif "error" in told:
                self._trouble[node] = f"has failed: {told['error']}"
            else:
                self._trouble.pop(node, None)
                if told != self._progress[node]:
                    self._progress[node] = told
                    self._moved_at = time.monotonic()
        self._view.show({node: self._step(node) for node in self._progress})
        quiet_s = time.monotonic() - self._moved_at
        return self._finished() or quiet_s >= self._stop_after_s

    def _finished(self) -> bool:
        return all(told.get("finished") for told in self._progress.values())

    def _step(self, node: str) -> Step:
        """How far a node is."""
        told = self._progress[node]
        if not told:
            return Step(node, 0, 0, ", ".join(self._hindered_by(node)), ended=False)
        if not told["ranges"] and told["finished"]:
            return Step(node, 0, 0, "owns no such range", ended=True)
        reading = told["scrubbed"] < told["ranges"]
        parts = [] if reading else [f"{told['records']:,} records, {size(told['bytes'])} moved"]
        if told["rotten"]:
            parts.append(f"{told['rotten']:,} corrupt")
        return Step(
            node,
            told["scrubbed" if reading else "done"],
            told["ranges"],
            ", ".join(parts + self._hindered_by(node)),
            told["finished"],
            "ranges scrubbed" if reading else "ranges compared",
        )

    def _hindered_by(self, node: str) -> list[str]:
        """Why a node has not finished."""
        if node in self._trouble:
            return [self._trouble[node]]
        told = self._progress[node]
        queued = ["waits for an earlier repair"] if told.get("queued") else []
        waits_for = told.get("waits_for")
        return [*queued, *([f"waits for {', '.join(waits_for)}"] if waits_for else [])]

    @property
    def total(self) -> dict[str, int]:
        """The sums over all nodes."""
        return {key: sum(told.get(key, 0) for told in self._progress.values()) for key in _TOTALS}

    @property
    def all_repaired(self) -> bool:
        """Whether every node has finished, and each corrupt record is replaced."""
        return self._finished() and self.total["repaired"] >= self.total["rotten"]

    def print_report(self, job: int) -> None:
        """The outcome for programs."""
        print_json(
            {
                "job": job,
                "all_repaired": self.all_repaired,
                "total": self.total,
                "nodes": {node: told for node, told in self._progress.items() if told},
                "trouble": self._trouble,
            }
        )

    def show_report(self, _: int) -> None:
        """The outcome for people."""
        click.echo()
        rows = [(node, *_cells(told)) for node, told in self._progress.items() if told]
        print_table(_COLUMNS, [*rows, ("total", *_cells(self.total))])
        for node, told in self._progress.items():
            if not told.get("finished"):
                done, why = told.get("done", 0), self._hindered_by(node) or ["has not finished"]
                ranges = f" ({done:,} of {told['ranges']:,} ranges)" if told else ""
                click.echo(f"{node} {', '.join(why)}{ranges}")
        corrupt = self.total["rotten"] - self.total["repaired"]
        if corrupt > 0:
            click.echo(
                f"{corrupt:,} corrupt records are not replaced: no other owner has a sound copy, "
                "or they were written a few seconds ago"
            )


def _cells(told: Mapping[str, Any]) -> list[str]:
    return [size(told[key]) if key == "bytes" else f"{told[key]:,}" for key in _TOTALS]
