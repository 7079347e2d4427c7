"""`toystore cluster`: plan, show, commit and abort a change of the members; how far it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from toystore import Client, ToystoreError, streams
from toystore.cli.cluster_plan import read_words, show_plan
from toystore.cli.cluster_watch import show_status, wait_until_stable
from toystore.cli.options import Common, common_options
from toystore.cli.output import print_json
from toystore.core.reconfiguration.changes import FORMS

COMMAND_S, DECISION_S = 8.0, 20.0
"""How long a node may take to answer: it decides within 15 s, and does all else within 5 s."""
REACHED_S = 1.0
"""How long each of several endpoints may take to answer, until one is found."""
SERVED = ("endpoints", "longer")

YES = click.option("--yes", is_flag=True, help="Do not ask before it is done.")
WAIT = click.option("--wait", "waits", is_flag=True, help="Show how far it is until it is done.")
PLAN = click.argument("plan", required=False, type=click.IntRange(min=1))


@click.group()
@common_options(*SERVED)
def cluster() -> None:
    """Change the members of the cluster while it serves.

    Make a plan, look at it, commit it.  A node keeps one plan; `show` and `commit` without a
    number are about that one, so ask the same node (-e).
    """


@cluster.command(options_metavar="[OPTIONS]", epilog="Changes: " + "; ".join(FORMS.values()) + ".")
@click.argument("words", nargs=-1, required=True, metavar="CHANGE...")
@common_options(*SERVED)
@click.pass_obj
def plan(common: Common, words: Sequence[str]) -> None:
    """Plan one or several changes: what would move, from where to where; nothing is done yet.

    \b
    toystore cluster plan join n4
    toystore cluster plan join n4 join n5 leave n1
    """
    changes = read_words(words)
    with common.connect() as store:
        made = _ask(common, store, "plan", {"changes": changes})
    _show(common, made, made["base"])


@cluster.command()
@PLAN
@common_options(*SERVED)
@click.pass_obj
def show(common: Common, plan: int | None) -> None:
    """Show the plan that the node keeps."""
    with common.connect() as store:
        endpoint = _reached(common, store)
        kept = _ask(common, store, "show", {"plan": plan}, endpoint)
        newest = kept["base"]
        if not common.as_json:
            newest = _ask(common, store, "status", {}, endpoint)["epoch"]
    _show(common, kept, newest)


@cluster.command()
@PLAN
@YES
@WAIT
@click.option(
    "--unsafe-without",
    "without",
    metavar="NAME,...",
    help="Decide without these members, which the plan removes, if no majority is left.  The ring "
    "that follows is another one: they are refused permanently, and writes that only they have are "
    "lost.",
)
@common_options(*SERVED)
@click.pass_obj
def commit(common: Common, plan: int | None, yes: bool, waits: bool, without: str | None) -> None:
    """Have the members decide on the plan, and begin to move."""
    names = [name for name in (without or "").split(",") if name]
    with common.connect() as store:
        endpoint = _reached(common, store)
        if not yes:
            kept = _ask(common, store, "show", {"plan": plan}, endpoint)
            if not common.as_json:
                show_plan(kept)
            plan = kept["plan"]
            _confirm(_question(plan, names), as_json=common.as_json)
        arguments = {"plan": plan, "without": names}
        done = _ask(common, store, "commit", arguments, endpoint, DECISION_S)
    _report(common, done, waits=waits)


@cluster.command()
@YES
@WAIT
@common_options(*SERVED)
@click.pass_obj
def abort(common: Common, yes: bool, waits: bool) -> None:
    """End a change that is under way: what has moved moves back."""
    with common.connect() as store:
        endpoint = _reached(common, store)
        if not yes:
            now = _ask(common, store, "status", {}, endpoint)
            why = f"epoch {now['epoch']}, {now['state']}: {now.get('why', '')}"
            _confirm(f"Abort the change ({why})?", as_json=common.as_json)
        done = _ask(common, store, "abort", {}, endpoint, DECISION_S)
    _report(common, done, waits=waits)


@cluster.command()
@click.option("--wait", "waits", is_flag=True, help="Show how far a change is until it is done.")
@common_options(*SERVED)
@click.pass_obj
def status(common: Common, waits: bool) -> None:
    """Show the members, how far a change is, who waits to join, and the plan that is kept."""
    with common.connect() as store:
        now = store.cluster("status", timeout=max(common.timeout, COMMAND_S))
    if waits:
        now = wait_until_stable(common, now["epoch"])
    if common.as_json:
        print_json(now)
    else:
        show_status(now, _at(common))


# --- asking -----------------------------------------------------------------------------


def _ask(
    common: Common,
    store: Client,
    command: str,
    arguments: Mapping[str, Any],
    endpoint: str | None = None,
    least_s: float = COMMAND_S,
) -> dict[str, Any]:
    """Give a command to one node, and wait for at least ``least_s``."""
    at = endpoint or _reached(common, store)
    return store.cluster(command, arguments, at, timeout=max(common.timeout, least_s))


def _reached(common: Common, store: Client) -> str:
    """The first endpoint that answers: a plan is kept by one node, so all is asked of that.

    Raises:
        ToystoreError: none answers.
    """
    *others, last = common.endpoints
    for endpoint in others:
        try:
            store.status(endpoint, timeout=REACHED_S)
        except ToystoreError:
            continue
        return endpoint
    return last


def _confirm(question: str, *, as_json: bool) -> None:
    """Ask the operator; a no is an interruption."""
    try:
        agreed = click.confirm(question, err=as_json)
    except click.Abort:
        streams.complain("toystore: no answer was given, and nothing was done; see --yes")
        raise
    if not agreed:
        streams.complain("toystore: nothing was done")
        raise click.Abort


def _question(plan: int, without: Sequence[str]) -> str:
    if not without:
        return f"Commit plan {plan}?"
    return (
        f"Commit plan {plan} without {', '.join(without)}, which are refused permanently, and "
        "whose writes are lost if no other member has them?"
    )


# --- showing ----------------------------------------------------------------------------


def _show(common: Common, plan: Mapping[str, Any], newest: int) -> None:
    """Show a plan; ``newest``: the epoch of the newest ring record."""
    if common.as_json:
        print_json(plan)
        return
    show_plan(plan)
    if plan["base"] == newest:
        click.echo(f"\nCommit it with: toystore cluster commit {plan['plan']}{_at(common)}")
    else:
        click.echo(
            f"\nIt is based on epoch {plan['base']}, and the newest is {newest}: this plan, or "
            "another one, is committed already"
        )


def _report(common: Common, done: Mapping[str, Any], *, waits: bool) -> None:
    """Tell what was decided, and how far it is until it is done."""
    if not common.as_json:
        click.echo(f"decided: epoch {done['epoch']}, {done['state']}")
    if waits:
        try:
            now = wait_until_stable(common, done["epoch"])
        except KeyboardInterrupt:
            streams.complain(
                "toystore: only the watching has ended; the change goes on. "
                f"See: toystore cluster status --wait{_at(common)}"
            )
            raise
        done = {"epoch": now["epoch"], "state": now["state"]}
        if not common.as_json:
            click.echo(f"epoch {now['epoch']}, {now['state']}")
    elif not common.as_json and done["state"] == "moving":
        click.echo(f"See how far it is: toystore cluster status --wait{_at(common)}")
    if common.as_json:
        print_json(done)


def _at(common: Common) -> str:
    """The option that names the same nodes again, if it is needed."""
    if common.endpoints == Common().endpoints:
        return ""
    return "".join(f" -e {endpoint}" for endpoint in common.endpoints)
