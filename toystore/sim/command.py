"""``toystore sim``: run a seed, search for one that breaks a promise, check a history.

Exit codes: 0 every promise was kept, 1 one was broken, 2 bad use.
"""

from __future__ import annotations

import json
import random
import time
from pathlib import Path
from typing import NamedTuple

import click

from toystore.check import promises
from toystore.check.history import HistoryError, read_rows
from toystore.check.promises import Loss
from toystore.sim.membership.command import swim
from toystore.sim.membership.papers.command import papers
from toystore.sim.minimise import minimise
from toystore.sim.run import Report, run
from toystore.sim.scenario import Scenario
from toystore.sim.search import RINGS_EVERY, search
from toystore.sim.swarm import draw, read_scenario

BROKEN = 1
SHOWN_MAX = 3
"""How many violations of a run are shown."""
TELL_EVERY_S = 5.0
SEEDS = 2**31
"""A search without a first seed begins at a random seed below this."""


class Dimensions(NamedTuple):
    """What happens in the runs, beside faults; see `draw`."""

    rings: bool
    reaping: bool


@click.group()
def sim() -> None:
    """Simulate clusters with faults, in virtual time, from a seed."""


sim.add_command(swim)
sim.add_command(papers)


@sim.command("run")
@click.option("--seed", type=int, help="The seed to run.")
@click.option(
    "--scenario",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A scenario that a search has written, instead of a seed.",
)
@click.option("--rings", is_flag=True, help="Change the ring, too, in the run of a seed.")
@click.option("--reaping", is_flag=True, help="Remove tombstones, too, in the run of a seed.")
@click.option("--trace", is_flag=True, help="Print everything that happens.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option(
    "--minimise", "smaller", is_flag=True, help="If a promise is broken, reduce the scenario."
)
@click.pass_context
def run_command(
    context: click.Context,
    seed: int | None,
    file: Path | None,
    rings: bool,
    reaping: bool,
    trace: bool,
    as_json: bool,
    smaller: bool,
) -> None:
    """Run one seed, or one scenario from a file."""
    if (seed is None) == (file is None):
        raise click.UsageError("give either --seed or --scenario")
    report = run(_scenario(seed, file, Dimensions(rings, reaping)), click.echo if trace else None)
    if smaller and report.violations:
        report = minimise(report)
    if as_json:
        click.echo(json.dumps(_summary(report)))
    else:
        tell(report)
    context.exit(BROKEN if report.violations else 0)


@sim.command("search")
@click.option("--first", type=int, help="The first seed; default: random.")
@click.option("--count", type=click.IntRange(1), help="The number of seeds; default: no end.")
@click.option(
    "--rings/--no-rings",
    default=None,
    help=f"Change the ring, too; default: in every {RINGS_EVERY}th run.",
)
@click.option("--reaping", is_flag=True, help="Remove tombstones, too.")
@click.option("--jobs", type=click.IntRange(1), help="Processes; default: one per processor.")
@click.option(
    "--keep",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    help="Where to write scenarios that break a promise; default: here.",
)
@click.pass_context
def search_command(
    context: click.Context,
    first: int | None,
    count: int | None,
    rings: bool | None,
    reaping: bool,
    jobs: int | None,
    keep: Path,
) -> None:
    """Run new seeds, and reduce those that break a promise."""
    first = random.SystemRandom().randrange(SEEDS) if first is None else first
    click.echo(f"seeds from {first} on")
    tally = None
    told_s = time.monotonic()
    try:
        for outcome, tally in search(first, count, jobs, rings=rings, reaping=reaping):
            if outcome.violations:
                click.echo(f"\nseed {outcome.seed} breaks a promise:")
                _show_smallest(outcome.seed, keep, Dimensions(outcome.rings, reaping))
            if time.monotonic() - told_s > TELL_EVERY_S:
                told_s = time.monotonic()
                click.echo(str(tally))
    except KeyboardInterrupt:
        click.echo("stopped")
    click.echo(str(tally))
    context.exit(BROKEN if tally is not None and tally.broken else 0)


@sim.command("check")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--lossy", type=click.IntRange(0), default=0, help="The number of nodes that lost their disk."
)
@click.pass_context
def check_command(context: click.Context, file: Path, lossy: int) -> None:
    """Check a history (JSON lines) against the promises."""
    try:
        rows = list(read_rows(file))
    except HistoryError as error:
        raise click.UsageError(str(error)) from None
    found = promises.quorums_overlap(rows, [Loss(str(node)) for node in range(lossy)])
    for check in promises.ALWAYS:
        found += check(rows)
    for violation in found:
        click.echo(str(violation))
    click.echo(f"{len(rows):,} rows, {len(found)} violations")
    context.exit(BROKEN if found else 0)


def tell(report: Report) -> None:
    """A report for people."""
    scenario = report.scenario
    click.echo(
        f"seed {scenario.seed}: {scenario.nodes} nodes, N={scenario.n} R={scenario.r} "
        f"W={scenario.w}, {scenario.durability}; {scenario.clients} clients, "
        f"{scenario.keys} keys, {scenario.duration_s:.1f} s"
    )
    rates = ", ".join(f"{name} {rate:.3g}" for name, rate in scenario.rates.occurring().items())
    click.echo(f"mishaps: {rates or 'none'}")
    for fault in scenario.faults:
        click.echo(f"    {fault}")
    click.echo(
        f"{len(report.rows)} operations, {report.messages:,} messages, {report.faults} faults in "
        f"{report.seconds:.1f} s of virtual time; digest {report.digest}"
    )
    for violation in report.violations[:SHOWN_MAX]:
        click.echo(f"BROKEN  {violation}")
    if len(report.violations) > SHOWN_MAX:
        click.echo(f"        and {len(report.violations) - SHOWN_MAX} more")
    if not report.violations:
        click.echo("every promise was kept")


def _scenario(seed: int | None, file: Path | None, more: Dimensions) -> Scenario:
    if file is None:
        assert seed is not None
        return draw(seed, **more._asdict())
    try:
        return read_scenario(file.read_text())
    except ValueError as error:
        raise click.UsageError(f"{file}: {error}") from None


def _summary(report: Report) -> dict[str, object]:
    return {
        "seed": report.scenario.seed,
        "digest": report.digest,
        "violations": list(map(str, report.violations)),
        "operations": len(report.rows),
        "faults": report.faults,
        "messages": report.messages,
    }


def _show_smallest(seed: int, keep: Path, more: Dimensions) -> None:
    """Minimise a failing seed, report it, and print how to run both again."""
    smallest = minimise(run(draw(seed, **more._asdict())))
    keep.mkdir(parents=True, exist_ok=True)
    file = keep / f"sim-{seed}.json"
    file.write_text(smallest.scenario.to_json() + "\n")
    tell(smallest)
    options = "".join(f" --{name}" for name, is_set in more._asdict().items() if is_set)
    click.echo(f"replay: toystore sim run --seed {seed}{options}")
    click.echo(f"small:  toystore sim run --trace --scenario {file}")
