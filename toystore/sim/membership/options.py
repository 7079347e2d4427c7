"""The options that the commands share, and how they show what was measured."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from toystore.core.protocol.settings import PROFILES
from toystore.sim.membership.charts import Chart, picture

Command = TypeVar("Command", bound=Callable[..., Any])


def shared_options(command: Command) -> Command:
    """Give a command the options ``--profile``, ``--seed``, ``--json`` and ``--svg``."""
    for option in (
        click.option(
            "--svg",
            type=click.Path(dir_okay=False, path_type=Path),
            callback=_writable,
            help="Write a picture to this file.",
        ),
        click.option("--json", "as_json", is_flag=True, help="Print one JSON object."),
        click.option("--seed", type=int, default=1, show_default=True, help="Same seed, same run."),
        click.option(
            "--profile",
            type=click.Choice(list(PROFILES)),
            default="lan",
            show_default=True,
            help="The settings of the machines.",
        ),
    ):
        command = option(command)
    return command


def show(
    text: str,
    summary: dict[str, Any],
    charts: Sequence[Chart],
    *,
    as_json: bool,
    svg: Path | None,
) -> None:
    """Print what was measured, and draw it if a file was named."""
    if svg is not None:
        svg.write_text(picture(charts))
    click.echo(json.dumps(summary) if as_json else text)


def _writable(_context: click.Context, _option: click.Parameter, file: Path | None) -> Path | None:
    """Make the file before the run, so that a long run does not end with an error."""
    if file is not None:
        try:
            file.touch()
        except OSError as error:
            raise click.BadParameter(f"cannot write {file}: {error.strerror}") from None
    return file
