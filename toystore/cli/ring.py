"""`toystore ring`: the owners of a key, the share of each member, or strategies compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from toystore.cli.options import KEY_OR_NONE, SERVED, Common, common_options
from toystore.cli.output import print_json, print_table
from toystore.client import Placement, RingTable


@click.command()
@KEY_OR_NONE
@click.option(
    "--simulate",
    is_flag=True,
    help="Compare Dynamo's partitioning strategies with toystore's placement; asks no node.",
)
@click.option(
    "--svg",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="With --simulate: write a picture to this file.",
)
@click.option("--seed", type=int, help="With --simulate: same seed, same figures. [default: 1]")
@common_options(*SERVED)
@click.pass_obj
def ring(
    common: Common, key: bytes | None, simulate: bool, svg: Path | None, seed: int | None
) -> None:
    """Show the owners of KEY; without KEY, the share of each member.

    An owner that is not alive is marked with its status.

    With --simulate: the load-balancing efficiency of the three strategies of the Dynamo paper
    (its figure 8), and how evenly toystore's own ring is loaded and what its changes move.
    """
    if simulate:
        if key is not None:
            raise click.UsageError("--simulate is about no key: leave KEY out")
        _simulate(1 if seed is None else seed, svg, as_json=common.as_json)
        return
    if svg is not None or seed is not None:
        raise click.UsageError("--svg and --seed go with --simulate")
    with common.connect() as store:
        if key is None:
            _show_shares(common, store.ring())
        else:
            placed = store.owners(key)
            members = store.status()["members"]
            _show_owners(common, placed, {each["name"]: each["status"] for each in members})


def _simulate(seed: int, svg: Path | None, *, as_json: bool) -> None:
    """Compare placements, in this process."""
    from toystore.sim.membership.charts import picture  # noqa: PLC0415 - no other use needs it
    from toystore.sim.placement import report  # noqa: PLC0415

    if svg is not None:
        try:
            svg.touch()  # so that a long run does not end with an error
        except OSError as error:
            raise click.UsageError(f"cannot write {svg}: {error.strerror}") from None
    found = report.compare(seed)
    if svg is not None:
        svg.write_text(picture(report.charts(found)))
    if as_json:
        print_json(report.summary(found))
    else:
        click.echo(report.text(found))


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
