"""The words of `toystore cluster plan`, and how a plan is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from toystore import BadRequest
from toystore.cli.output import by_name, print_table, size
from toystore.core.reconfiguration.changes import FORMS
from toystore.core.ring.rules import WEIGHT_MAX
from toystore.net.endpoint import Endpoint

REBUILT = "the other owners"
"""Where a replica comes from whose old owner has failed permanently."""


def read_words(words: Sequence[str]) -> list[list[Any]]:
    """The changes in the words of a command line, such as ``join n4 leave n1``.

    Raises:
        BadRequest: a word is no change, or has too few words after it.
    """
    changes: list[list[Any]] = []
    rest = list(words)
    while rest:
        kind = rest[0]
        if kind not in FORMS:
            raise BadRequest(f"no change is called {kind!r:.80}; there are: {_forms()}")
        length = len(FORMS[kind].split())
        change, rest = rest[:length], rest[length:]
        if len(change) < length:
            raise BadRequest(f"{' '.join(change)!r:.80} is not complete; it is: {FORMS[kind]}")
        changes.append(_typed(change))
    return changes


def _typed(change: list[str]) -> list[Any]:
    """The change with its weight as a number."""
    if change[0] != "reweigh":
        return change
    try:
        return [*change[:2], int(change[2])]
    except ValueError:
        raise BadRequest(
            f"a weight is a whole number from 1 to {WEIGHT_MAX}, not {change[2]!r:.80}"
        ) from None


def _forms() -> str:
    return "; ".join(FORMS.values())


def words_of(changes: Sequence[Sequence[Any]]) -> str:
    """Changes as they are written: ``join n4, leave n1``."""
    return ", ".join(" ".join(str(part) or '""' for part in change) for change in changes)


def endpoint_of(node: Mapping[str, Any]) -> str:
    """Where clients reach a node that an answer lists."""
    return str(Endpoint(node["host"], node["ports"][0]))


def _words_with_addresses(plan: Mapping[str, Any]) -> str:
    """The changes of a plan, with the address of each newcomer: ``join n4 (tcp://h4:7400)``."""
    listed = {one["name"]: one for one in plan["record"]["members"]}
    words = []
    for change in plan["changes"]:
        newcomer = listed.get(change[-1]) if change[0] in ("join", "replace") else None
        at = f" ({endpoint_of(newcomer)})" if newcomer and newcomer["ports"] else ""
        words.append(words_of([change]) + at)
    return ", ".join(words)


def show_plan(plan: Mapping[str, Any]) -> None:
    """A plan for people."""
    words = _words_with_addresses(plan)
    click.echo(f"plan {plan['plan']}, for epoch {plan['base'] + 1}: {words}\n")
    if plan["moves"]:
        moves = by_name(plan["moves"], "to", "from")
        rows = [_cells(move["from"] or REBUILT, move["to"], move) for move in moves]
        total = _cells("total", "", plan)
        print_table(("from", "to", "partitions", "keys, about", "bytes, about"), [*rows, total])
    else:
        click.echo("nothing moves")
    click.echo()
    print_table(
        ("member", "owns, before", "after"),
        (
            (each["name"], f"{each['before']:,}", f"{each['after']:,}")
            for each in by_name(plan["load"])
        ),
    )
    if plan["warnings"]:
        click.echo("\nwarnings:")
    for warning in plan["warnings"]:
        click.echo(f"- {warning}")


def _cells(source: str, target: str, counts: Mapping[str, Any]) -> tuple[str, ...]:
    sizes = (f"{counts['partitions']:,}", f"{counts['keys']:,}", size(counts["bytes"]))
    return (source, target, *sizes)
