"""`toystore status`: the cluster as its nodes see it."""

from __future__ import annotations

import time
from typing import Any

import click

from toystore import BadRequest, Client, Internal, Timeout, ToystoreError
from toystore.cli.options import Common, common_options
from toystore.cli.output import print_json, print_table

POLL_S = 0.1
"""How often `status --wait` asks again."""


@click.command()
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="Wait this long, at most, until the node sees every member alive.",
)
@common_options("endpoints", "timeout")
@click.pass_obj
def status(common: Common, wait_s: float | None) -> None:
    """Show the cluster as one node sees it, and how that node is."""
    with common.connect() as store:
        seen = store.status() if wait_s is None else _all_alive(store, wait_s, common.timeout)
    if common.as_json:
        print_json(seen)
    else:
        _show_status(seen)


def _all_alive(store: Client, wait_s: float, timeout_s: float) -> dict[str, Any]:
    """The status, once it says that every member is alive.

    Raises:
        Timeout: they were not within ``wait_s``; the text says who was missing.
    """
    give_up = time.monotonic() + wait_s
    while True:
        left_s = max(POLL_S, give_up - time.monotonic())
        try:
            seen = store.status(timeout=min(timeout_s, left_s))
            missing = [f"{m['name']} is {m['status']}" for m in seen["members"]]
            missing = [each for each in missing if not each.endswith(" is alive")]
            if seen["joined"] and not missing:
                return seen
            what = ", ".join(missing) or f"{seen['node']} has not joined"
        except (BadRequest, Internal):
            raise
        except ToystoreError as error:
            what = str(error)
        if time.monotonic() + POLL_S > give_up:
            raise Timeout(f"not every member is alive after {wait_s:g} s: {what}")
        time.sleep(POLL_S)


def _show_status(seen: dict[str, Any]) -> None:
    """A status for people."""
    joined = "joined" if seen["joined"] else "not joined"
    click.echo(f"{seen['node']} of {seen['cluster']}, {joined}\n")
    members = seen["members"]
    print_table(
        ("member", "status", "incarnation"),
        ((member["name"], member["status"], member["incarnation"]) for member in members),
    )
    if seen["hints"]:
        click.echo()
        print_table(
            ("hints for", "count", "bytes", "oldest, s"),
            (
                (owner, kept["count"], kept["bytes"], f"{kept['oldest_age_s']:.1f}")
                for owner, kept in seen["hints"].items()
            ),
        )
    for part in ("requests", "storage"):
        click.echo()
        print_table((part, ""), (seen[part] or {"": "too busy to say"}).items())
