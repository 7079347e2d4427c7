"""`toystore node`: becomes the node program."""

from __future__ import annotations

import os
import sys

import click


@click.command()
@click.argument("config", type=click.Path(exists=True, dir_okay=False))
@click.argument("name")
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False),
    help="Where to store data. [default: data/CLUSTER]",
)
def node(config: str, name: str, data_dir: str | None) -> None:
    """Run one node in the foreground.

    CONFIG is the cluster's YAML file; NAME is one of its members.
    """
    arguments = [sys.executable, "-m", "actors", config, name]
    os.execv(sys.executable, [*arguments, *(("--data-dir", data_dir) if data_dir else ())])
