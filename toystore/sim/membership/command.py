"""``toystore sim swim``: a large group of failure detectors, measured."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import click

from toystore.core.protocol.settings import PROFILES
from toystore.sim.membership.options import shared_options, show
from toystore.sim.membership.plan import Plan, PlanError, Slowness, without_lifeguard
from toystore.sim.membership.swim_run import Run, charts, summary, text


@click.command("swim")
@click.option("--members", type=int, default=100, show_default=True, help="The size of the group.")
@click.option("--seconds", type=float, default=60.0, show_default=True, help="Simulated time.")
@click.option(
    "--loss", type=float, default=0.0, help="The share of the datagrams that is lost: 0.1 is 10%."
)
@click.option(
    "--latency", type=float, default=1.0, show_default=True, help="Milliseconds, on average."
)
@click.option(
    "--kill",
    type=click.IntRange(0),
    default=1,
    show_default=True,
    help="How many random members crash, at random times in the first third of the run.",
)
@click.option(
    "--kill-at",
    type=float,
    multiple=True,
    help="A random member crashes at this second. May be repeated; replaces --kill.",
)
@click.option(
    "--slow",
    type=int,
    default=0,
    help="How many members are slow: their messages are delayed, their timers are not.",
)
@click.option(
    "--slow-for",
    type=float,
    default=5.0,
    show_default=True,
    help="For how many seconds slow members are delayed each time.",
)
@click.option(
    "--slow-gap",
    type=float,
    default=1.0,
    show_default=True,
    help="For how many seconds they work normally in between.",
)
@click.option("--links", is_flag=True, help="A crash breaks links, as kill -9 does.")
@click.option(
    "--no-lifeguard", is_flag=True, help="Without Lifeguard: no local health, fixed suspicions."
)
@shared_options
def swim(as_json: bool, svg: Path | None, **given: Any) -> None:
    """Simulate a group of failure detectors: detection, load, false positives."""
    run = Run(_plan(**given))
    name = f"profile {given['profile']}"
    if given["no_lifeguard"]:
        name += " without Lifeguard"
    show(text(run, name), summary(run), charts(run), as_json=as_json, svg=svg)


def _plan(**given: Any) -> Plan:
    """The plan that the options describe; a `click.UsageError` says what is wrong."""
    settings = PROFILES[given["profile"]]
    if given["no_lifeguard"]:
        settings = without_lifeguard(settings)
    try:
        return Plan(
            members=given["members"],
            seconds=given["seconds"],
            seed=given["seed"],
            settings=settings,
            loss=given["loss"],
            latency_s=given["latency"] / 1000,
            crashes_at=given["kill_at"] or _crash_times(given),
            slow=given["slow"],
            slowness=Slowness(given["slow_for"], given["slow_gap"]),
            links=given["links"],
        )
    except PlanError as error:
        raise click.UsageError(str(error)) from None


def _crash_times(given: dict[str, Any]) -> tuple[float, ...]:
    """Random times in the first third of the run; the rest is there to detect the crashes."""
    chance = random.Random(f"{given['seed']}/crashes")
    return tuple(sorted(chance.uniform(0, given["seconds"] / 3) for _ in range(given["kill"])))
