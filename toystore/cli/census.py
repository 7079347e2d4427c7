"""`toystore status --all`: asks every node, and compares the answers."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import click

import toystore
from toystore import ToystoreError
from toystore.cli.output import duration, print_json, print_table, size
from toystore.cli.rebuild import extent_of
from toystore.logs.names import in_order

NOT_ALL_ANSWERED = 3
ODD = "*"
"""Marks a status that differs from that in most answers."""

Status = dict[str, Any]
Answer = Status | ToystoreError


@dataclass(frozen=True, slots=True)
class Census:
    """The answers of all nodes."""

    seen: dict[str, Status]
    """By the node that answered."""
    silent: dict[str, ToystoreError]
    """Why a node did not answer, by its name or, if that is not known, by its endpoint."""
    endpoints: dict[str, str]
    """Where each node was asked, by its name or, if that is not known, by its endpoint."""

    def members(self) -> list[str]:
        """All members in any answer."""
        seen = self.seen.values()
        return in_order({member["name"] for status in seen for member in status["members"]})

    def view(self, node: str) -> dict[str, str]:
        """The status of each member in the view of one node."""
        return {member["name"]: member["status"] for member in self.seen[node]["members"]}

    def opinions(self, member: str) -> dict[str, str]:
        """The status of a member in the view of each node that answered."""
        return {node: self.view(node).get(member, "no member") for node in self.seen}


def ask_all(endpoints: Sequence[str], timeout_s: float) -> Census:
    """Ask the nodes at ``endpoints``, then all other members of whose addresses they know.

    Raises:
        ToystoreError: no endpoint answers.
    """
    return asyncio.run(_census(endpoints, timeout_s))


async def _census(endpoints: Sequence[str], timeout_s: float) -> Census:
    answers = await _statuses(endpoints, timeout_s)
    seen = _by_node(answers)
    if not seen:
        raise next(told for told in answers.values() if isinstance(told, ToystoreError))
    address_of = {
        member["name"]: member["endpoint"]
        for status in seen.values()
        for member in status["members"]
        if "endpoint" in member and member["name"] not in seen
    }
    answers |= await _statuses(sorted(set(address_of.values()) - answers.keys()), timeout_s)
    name_of = {at: name for name, at in address_of.items()}
    name_of |= {at: told["node"] for at, told in answers.items() if isinstance(told, dict)}
    return Census(
        seen=_by_node(answers),
        silent={
            name_of.get(at, at): why
            for at, why in answers.items()
            if isinstance(why, ToystoreError)
        },
        endpoints={name_of.get(at, at): at for at in answers},
    )


async def _statuses(endpoints: Sequence[str], timeout_s: float) -> dict[str, Answer]:
    """The answer of the node at each endpoint; all are asked at once."""
    if not endpoints:
        return {}
    async with toystore.AsyncClient(
        list(endpoints), timeout=timeout_s, learn_members=False
    ) as store:

        async def ask(endpoint: str) -> Answer:
            try:
                return await store.status(endpoint)
            except ToystoreError as error:
                return error

        answers = await asyncio.gather(*map(ask, endpoints))
    return dict(zip(endpoints, answers, strict=True))


def _by_node(answers: dict[str, Answer]) -> dict[str, Status]:
    """The statuses, by the node that sent them."""
    return {told["node"]: told for told in answers.values() if isinstance(told, dict)}


def print_census(census: Census) -> None:
    """A census for programs."""
    views = {member: census.opinions(member) for member in census.members()}
    print_json(
        {
            "nodes": census.seen,
            "silent": {
                name: {"error": type(why).__name__, "text": str(why)}
                for name, why in census.silent.items()
            },
            "differences": {
                member: told for member, told in views.items() if len(set(told.values())) > 1
            },
        }
    )


def show_census(census: Census) -> None:
    """A census for people: how each node is, and how it sees the others."""
    nodes, members = in_order(census.seen), census.members()
    clusters = " and ".join(dict.fromkeys(status["cluster"] for status in census.seen.values()))
    asked = len(nodes) + len(census.silent)
    click.echo(f"{len(nodes)} of {asked} nodes of {clusters} answer\n")
    versions = _marked({node: census.seen[node].get("version", "?") for node in nodes})
    columns = (
        *("node", "version", "up", "keys", "disk", "whole", "hints"),
        *("gets, p50/p99 ms", "puts"),
    )
    print_table(
        columns,
        ((node, versions[node], *_figures(census.seen[node])) for node in nodes),
    )
    opinions = [_marked(census.opinions(member)) for member in members]
    click.echo()
    print_table(
        ("seen by", *members),
        [
            *((node, *(column[node] for column in opinions)) for node in nodes),
            *((name, *("no answer" for _ in members)) for name in census.silent),
        ],
    )
    if any(cell.endswith(ODD) for column in (versions, *opinions) for cell in column.values()):
        click.echo(f"\n{ODD} not what most nodes say")
    if census.silent:
        click.echo()
    for name, why in census.silent.items():
        click.echo(f"{name} does not answer: {why}")


def _figures(status: Status) -> Iterable[str]:
    """The figures of a node, in cells; empty if the node does not report one."""
    storage, latencies = status["storage"] or {}, status.get("latencies", {})
    joined = "" if status["joined"] else ", not joined"
    yield (duration(status["uptime_s"]) if "uptime_s" in status else "") + joined
    yield f"{storage['keys']:,}" if "keys" in storage else ""
    yield size(storage["disk_bytes"]) if "disk_bytes" in storage else ""
    extent = extent_of(status)
    yield "" if extent is None else f"{extent.percent}%"
    yield f"{sum(kept['count'] for kept in status['hints'].values()):,}"
    for what in ("gets", "puts"):
        told = latencies.get(what, {})
        yield f"{told['p50_ms']:.3g}/{told['p99_ms']:.3g}" if told.get("count") else ""


def _marked(said: dict[str, str]) -> dict[str, str]:
    """Each status, marked unless most nodes report it; without a majority all are marked."""
    counts = Counter(said.values()).most_common(2)
    divided = len(counts) == 2 and counts[0][1] == counts[1][1]
    return {
        who: what if what == counts[0][0] and not divided else what + ODD
        for who, what in said.items()
    }
