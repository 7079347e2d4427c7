"""`toystore status`: the cluster as one of its nodes sees it, or as each of them does.

Also whether a node has all its ranges, or how far it is with them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from typing import Any

import click

from toystore import BadRequest, Client, Internal, Timeout, ToystoreError
from toystore.cli.census import NOT_ALL_ANSWERED, ask_all, print_census, show_census
from toystore.cli.options import Common, common_options
from toystore.cli.output import by_name, duration, print_json, print_table
from toystore.cli.rebuild import Progress, extent_of, watch

POLL_S, PACE_S = 0.1, 1.0
"""How often `status --wait` asks again; how long a status watches the pace of a rebuild."""
PERCENTILES = ("p50_ms", "p99_ms")


@click.command()
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="Wait until the node sees every member alive, at most this long.  With --watch: until "
    "the node has all its ranges.",
)
@click.option(
    "--all", "everybody", is_flag=True, help="Ask every node, and show how each sees the others."
)
@click.option(
    "--watch", "watching", is_flag=True, help="Show how far a rebuild is, until it has ended."
)
@common_options("endpoints", "timeout")
@click.pass_context
def status(ctx: click.Context, wait_s: float | None, everybody: bool, watching: bool) -> None:
    """Show the state of one node and its view of the cluster.

    With --all: ask every given endpoint, and every member whose address they know.
    With --watch: only show how far the node (at each given endpoint) is with its ranges, until it
    has all of them and votes; with --all, how far each node is.
    """
    common: Common = ctx.obj
    if watching:
        endpoints: Sequence[str] = common.endpoints
        if everybody:
            endpoints = [*ask_all(endpoints, common.timeout).endpoints.values()]
        watch(endpoints, common.timeout, wait_s, as_json=common.as_json)
        return
    if everybody:
        if wait_s is not None:
            raise click.UsageError("--wait and --all do not go together")
        census = ask_all(common.endpoints, common.timeout)
        (print_census if common.as_json else show_census)(census)
        ctx.exit(NOT_ALL_ANSWERED if census.silent else 0)
    with common.connect() as store:
        seen = store.status() if wait_s is None else _all_alive(store, wait_s, common.timeout)
        rebuilding = "" if common.as_json else _rebuilding(store, seen)
    if common.as_json:
        print_json(seen)
    else:
        _show_status(seen, rebuilding)


def _rebuilding(store: Client, seen: dict[str, Any]) -> str:
    """A line on how far the node is with its ranges; empty if it has all.

    It is asked again after a short time, to see how fast it is.
    """
    extent, progress = extent_of(seen), Progress()
    if extent is None or not extent.behind:
        return ""
    progress.note(extent, time.monotonic())
    time.sleep(PACE_S)
    with contextlib.suppress(ToystoreError):
        again = store.status()
        later = extent_of(again) if again["node"] == seen["node"] else None
        if later is not None:
            progress.note(later, time.monotonic())
            extent = later
    text = f"rebuilding: {extent.done:,} of {extent.ranges:,} ranges"
    return ", ".join(part for part in (text, progress.text()) if part)


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


def _show_status(seen: dict[str, Any], rebuilding: str) -> None:
    """A status for people."""
    joined = "joined" if seen["joined"] else "not joined"
    life = ""
    if "version" in seen:  # an older node does not report it
        life = f"; version {seen['version']}, up for {duration(seen['uptime_s'])}"
    click.echo(f"{seen['node']} of {seen['cluster']}, {joined}{life}")
    click.echo(f"{rebuilding}\n" if rebuilding else "")
    members = by_name(seen["members"])
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
    for part in ("requests", "storage", "antientropy"):
        if part in seen:  # an older node does not report anti-entropy
            click.echo()
            print_table((part, ""), _rows(seen[part] or {"": "too busy to say"}))


def _rows(figures: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Names and figures, in cells."""
    for name, figure in figures.items():
        yield name, ", ".join(figure) if isinstance(figure, (list, tuple)) else figure
