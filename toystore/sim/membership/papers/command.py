"""``toystore sim papers``: the experiments of the papers, each beside the paper's figure."""

from __future__ import annotations

from typing import Any

import click

from toystore.core.protocol.settings import PROFILES
from toystore.sim.membership.options import Command, shared_options, show
from toystore.sim.membership.papers.dissemination import dissemination
from toystore.sim.membership.papers.false_positives import false_positives
from toystore.sim.membership.papers.finding import Finding
from toystore.sim.membership.papers.first_detection import first_detection
from toystore.sim.membership.papers.load import load
from toystore.sim.membership.papers.loss import loss
from toystore.sim.membership.plan import PlanError

SIZES = (16, 64, 256, 1_000, 4_000, 10_000)


@click.group()
def papers() -> None:
    """Repeat the experiments of the SWIM and Lifeguard papers."""


def sizes(command: Command) -> Command:
    """The option of experiments that compare groups of different sizes."""
    return click.option(
        "--members",
        "sizes",
        type=click.IntRange(4),
        multiple=True,
        default=SIZES,
        help="A size of the group; may be repeated.",
    )(command)


@papers.command("first-detection")
@click.option("--members", type=click.IntRange(4), default=100, show_default=True)
@click.option("--trials", type=click.IntRange(1), default=1_000, show_default=True)
@shared_options
def first_detection_command(
    profile: str, members: int, trials: int, seed: int, **shown: Any
) -> None:
    """SWIM 3.1: the first ping of a crashed member, after e/(e-1) periods."""
    _show(first_detection(PROFILES[profile], members=members, trials=trials, seed=seed), **shown)


@papers.command("load")
@sizes
@click.option("--periods", type=click.IntRange(1), default=10, show_default=True)
@shared_options
def load_command(
    profile: str, sizes: tuple[int, ...], periods: int, seed: int, **shown: Any
) -> None:
    """SWIM 5.1: messages per member and period, flat for all sizes."""
    _show(load(PROFILES[profile], sizes=sizes, periods=periods, seed=seed), **shown)


@papers.command("dissemination")
@sizes
@click.option("--crashes", type=click.IntRange(1), default=10, show_default=True)
@shared_options
def dissemination_command(
    profile: str, sizes: tuple[int, ...], crashes: int, seed: int, **shown: Any
) -> None:
    """SWIM 4.1: how a suspicion spreads, against lambda * ln N periods."""
    _show(dissemination(PROFILES[profile], sizes=sizes, crashes=crashes, seed=seed), **shown)


@papers.command("loss")
@click.option("--seconds", type=click.FloatRange(8), default=240.0, show_default=True)
@click.option("--trials", type=click.IntRange(1), default=10, show_default=True)
@shared_options
def loss_command(profile: str, seconds: float, trials: int, seed: int, **shown: Any) -> None:
    """SWIM 5.3: 17 members that lose 10% of their messages."""
    _show(loss(PROFILES[profile], seconds=seconds, trials=trials, seed=seed), **shown)


@papers.command("false-positives")
@click.option("--members", type=click.IntRange(8), default=128, show_default=True)
@click.option("--seconds", type=click.FloatRange(1), default=120.0, show_default=True)
@click.option(
    "--slow",
    type=click.IntRange(1),
    multiple=True,
    default=(8, 32),
    show_default=True,
    help="How many members are slow. May be repeated, as the two below: all are combined.",
)
@click.option(
    "--slow-for",
    type=click.FloatRange(0),
    multiple=True,
    default=(8.0, 32.0),
    show_default=True,
    help="For how many seconds they are delayed each time.",
)
@click.option(
    "--slow-gap",
    type=click.FloatRange(0, min_open=True),
    multiple=True,
    default=(1.0,),
    show_default=True,
    help="For how many seconds they work normally in between.",
)
@shared_options
def false_positives_command(
    profile: str,
    members: int,
    seconds: float,
    slow: tuple[int, ...],
    slow_for: tuple[float, ...],
    slow_gap: tuple[float, ...],
    seed: int,
    **shown: Any,
) -> None:
    """Lifeguard V: healthy members that are declared dead because others are slow."""
    try:
        finding = false_positives(
            PROFILES[profile],
            members=members,
            seconds=seconds,
            slow=slow,
            delayed_s=slow_for,
            normal_s=slow_gap,
            seed=seed,
        )
    except PlanError as error:
        raise click.UsageError(str(error)) from None
    _show(finding, **shown)


def _show(finding: Finding, **shown: Any) -> None:
    show(finding.text(), finding.summary(), finding.charts, **shown)
