"""`toystore node`: becomes the node program."""

from __future__ import annotations

import os
import sys

import click


@click.command()
@click.argument("config", type=click.Path(exists=True, dir_okay=False), required=False)
@click.argument("member", required=False)
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False),
    help="Where to store data. [default: data/CLUSTER]",
)
@click.option("--join", metavar="ENDPOINT", help="The client port of any member of the cluster.")
@click.option("--name", help="With --join: the name of this node.")
@click.option("--base-port", type=int, help="With --join: the client port; three others follow.")
@click.option("--host", help="With --join: where others reach this node. [default: 127.0.0.1]")
@click.option("--bind", help="With --join: what this node binds. [default: the host]")
@click.option("--weight", type=int, help="With --join: its share of the ring. [default: 1]")
@click.option("--zone", help="With --join: its zone.")
def node(config: str | None, member: str | None, **options: str | int | None) -> None:
    """Run one node in the foreground.

    CONFIG is the cluster's YAML file; MEMBER is one of its members.  A node that the file does not
    list joins with --join instead: it waits until `toystore cluster plan join NAME` and `toystore
    cluster commit` have taken it in.  It needs --name, --base-port and --data-dir.

    Exit codes: 0 after a clean stop, 1 if it failed, 2 if it could not start, 3 if it is no longer
    a member, or cannot be one.
    """
    given = [
        f"--{option.replace('_', '-')}={value}"
        for option, value in options.items()
        if value is not None
    ]
    named = [value for value in (config, member) if value is not None]
    os.execv(sys.executable, [sys.executable, "-m", "actors", *named, *given])
