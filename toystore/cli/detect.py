"""`toystore detect`: which nodes failed and which nodes noticed, from the logs."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import click

from toystore.cli.options import Common, common_options
from toystore.cli.output import print_json
from toystore.logs.document import document, of_accusation, of_failure, of_step
from toystore.logs.failure import Failure, FalseAccusation
from toystore.logs.follow import Follower
from toystore.logs.page import page
from toystore.logs.report import Finding, Report, Wanted, investigate
from toystore.logs.sources import SourceError
from toystore.logs.steps import Step
from toystore.logs.story import false_accusations, story, tell

_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|min|m|h|d)")
_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}


class Moment(click.ParamType):  # type: ignore[type-arg]
    """A time, or a duration before now; in seconds since 1970 UTC."""

    name = "time"

    def convert(self, value: Any, param: Any, ctx: Any) -> float:  # noqa: ARG002 - click's
        """Convert to seconds since 1970 UTC."""
        if isinstance(value, float):
            return value
        if ago := _SPAN.fullmatch(value):
            return time.time() - float(ago[1]) * _UNITS_S[ago[2]]
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is no time (2026-01-31T12:00) and no duration (90s, 10min, 2h)")
        return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="DIR...")
@click.option("--node", metavar="NAME", help="Show only what concerns this node.")
@click.option(
    "--since",
    type=Moment(),
    metavar="TIME",
    help="Show only what ended later: a time (UTC), or a duration before now (90s, 10min, 2h).",
)
@click.option(
    "--html",
    type=click.Path(dir_okay=False, writable=True, allow_dash=True),
    metavar="FILE",
    help="Write a page with a timeline, for a browser.",
)
@click.option("--follow", "-f", is_flag=True, help="Continue with each new step until Ctrl-C.")
@common_options()
@click.pass_obj
def detect(
    common: Common,
    paths: tuple[str, ...],
    node: str | None,
    since: float | None,
    html: str | None,
    follow: bool,
) -> None:
    """Show from the nodes' logs which nodes failed, and which nodes noticed and when.

    DIR is a folder with logs in it (also of many hosts, rotated, compressed), a log, or - for
    standard input.
    """
    wanted = Wanted(node, since)
    try:
        if follow:
            _follow(paths, wanted, common.as_json)
            return
        report = investigate(paths, wanted)
    except SourceError as error:
        raise click.UsageError(str(error)) from None
    if html is not None:
        _write(html, page(report))
    if html == "-":
        return
    if common.as_json:
        for piece in document(report):
            click.echo(piece, nl=False)
        click.echo()
    else:
        _show(report)


def _write(path: str, pieces: Iterable[str]) -> None:
    """Write to a file or to standard output."""
    try:
        with click.open_file(path, "w", encoding="utf-8") as file:
            file.writelines(pieces)
    except OSError as error:
        raise click.UsageError(f"cannot write {path}: {error.strerror}") from None


def _follow(paths: tuple[str, ...], wanted: Wanted, as_json: bool) -> None:
    """Print the report, then each step as it happens, until Ctrl-C."""
    follower = None
    with contextlib.suppress(KeyboardInterrupt):
        follower = Follower(paths, wanted)
        report = follower.report
        if as_json:
            for found in (*report.failures, *report.false):
                _print(found)
        else:
            _show(report)
            click.echo()
        for told in follower.follow():
            _print(told) if as_json else _tell(told, report)
    if follower is not None:
        for found in follower.close():
            _print(found) if as_json else _tell(found, follower.report)


def _print(told: Step | Finding) -> None:
    """Print a step or a result as JSON."""
    match told:
        case Step():
            print_json(of_step(told))
        case Failure():
            print_json({"failure": of_failure(told)})
        case FalseAccusation():
            print_json({"false_accusation": of_accusation(told)})


def _tell(told: Step | Finding, report: Report) -> None:
    """Print a step or a result as text."""
    match told:
        case Step():
            lines: Iterable[str] = (str(told),)
        case Failure():
            lines = ("", *tell(told, len(report.failures)), "")
        case FalseAccusation():
            lines = ("", "false accusation:", *false_accusations([told]), "")
    for line in lines:
        click.secho(line, bold=line.startswith("#"))


def _show(report: Report) -> None:
    """Print the report; on a terminal the first line of a failure is bold."""
    for line in story(report):
        click.secho(line, bold=line.startswith("#"))
