"""`toystore ring`: the owners of a key, or the share of each member."""

from __future__ import annotations

from typing import Any

import click

from toystore.cli.options import KEY_OR_NONE, SERVED, Common, common_options
from toystore.cli.output import print_json, print_table
from toystore.client import Placement, RingTable


@click.command()
@KEY_OR_NONE
@common_options(*SERVED)
@click.pass_obj
def ring(common: Common, key: bytes | None) -> None:
    """Show the owners of KEY; without KEY, the share of each member.

    An owner that is not alive is marked with its status.
    """
    with common.connect() as store:
        if key is None:
            _show_shares(common, store.ring())
        else:
            placed = store.owners(key)
            members = store.status()["members"]
            _show_owners(common, placed, {each["name"]: each["status"] for each in members})


def _show_owners(common: Common, placed: Placement, status_of: dict[str, str]) -> None:
    """Show the owners of a key; ``status_of``: each member's status, in the asked node's view."""
    away = {
        name: status_of.get(name, "unknown")
        for name in (*placed.owners, *placed.fallbacks)
        if status_of.get(name) != "alive"
    }
    if common.as_json:
        print_json(
            {
                "partition": placed.partition,
                "owners": placed.owners,
                "fallbacks": placed.fallbacks,
                "not_alive": away,
            }
        )
        return

    def told(names: tuple[str, ...]) -> str:
        return " ".join(f"{name}({away[name]})" if name in away else name for name in names)

    rows: tuple[tuple[str, Any], ...] = (
        ("partition", placed.partition),
        ("owners", told(placed.owners)),
        ("fallbacks", told(placed.fallbacks)),
    )
    print_table(("key", ""), rows)


def _show_shares(common: Common, table: RingTable) -> None:
    """Show the share of each member."""
    load = [{"name": name, "owned": owned, "first": first} for name, owned, first in table.load]
    if common.as_json:
        print_json({"partitions": table.partitions, "load": load})
        return
    click.echo(f"{table.partitions} partitions\n")
    print_table(("member", "owned", "owned first"), (row.values() for row in load))
