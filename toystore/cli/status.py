"""`toystore status`: the cluster as one of its nodes sees it, or as each of them does."""

from __future__ import annotations

import time
from typing import Any

import click

from toystore import BadRequest, Client, Internal, Timeout, ToystoreError
from toystore.cli.census import NOT_ALL_ANSWERED, ask_all, print_census, show_census
from toystore.cli.options import Common, common_options
from toystore.cli.output import duration, print_json, print_table

POLL_S = 0.1
"""How often `status --wait` asks again."""
PERCENTILES = ("p50_ms", "p99_ms")


@click.command()
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="Wait until the node sees every member alive, at most this long.",
)
@click.option(
    "--all", "everybody", is_flag=True, help="Ask every node, and show how each sees the others."
)
@common_options("endpoints", "timeout")
@click.pass_context
def status(ctx: click.Context, wait_s: float | None, everybody: bool) -> None:
    """Show the state of one node and its view of the cluster.

    With --all: ask every given endpoint, and every member whose address they know.
    """
    common: Common = ctx.obj
    if everybody:
        if wait_s is not None:
            raise click.UsageError("--wait and --all do not go together")
        census = ask_all(common.endpoints, common.timeout)
        (print_census if common.as_json else show_census)(census)
        ctx.exit(NOT_ALL_ANSWERED if census.silent else 0)
    with common.connect() as store:
        seen = store.status() if wait_s is None else _all_alive(store, wait_s, common.timeout)
    if common.as_json:
        print_json(seen)
    else:
        _show_status(seen)


def _all_alive(store: Client, wait_s: float, timeout_s: float) -> dict[str, Any]:
    """The status, once it says that every member is alive.

    Raises:
        Timeout: they were not within ``wait_s``; the text names the missing members.
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
    life = ""
    if "version" in seen:  # an older node does not report it
        life = f"; version {seen['version']}, up for {duration(seen['uptime_s'])}"
    click.echo(f"{seen['node']} of {seen['cluster']}, {joined}{life}\n")
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
    if "latencies" in seen:
        click.echo()
        print_table(
            ("last minute", "count", "p50, ms", "p99, ms"),
            (
                (what, told["count"], *("" if told[p] is None else told[p] for p in PERCENTILES))
                for what, told in seen["latencies"].items()
            ),
        )
    for part in ("requests", "storage"):
        click.echo()
        print_table((part, ""), (seen[part] or {"": "too busy to say"}).items())
