"""Short forms in full: a member's name becomes a mapping with its ports."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from toystore.config.cluster import SEEDS, keys_of
from toystore.config.plain_yaml import dotted
from toystore.core.ring.record import PORTS
from toystore.hosts import canonical_host, is_everywhere

PORTS_APART = 10
"""How far the ports of a member are from those of the member before, by default."""


def spell_out(raw: Mapping[str, Any]) -> dict[str, Any]:
    """``raw`` with its short forms in full; values of a wrong type are left for a later check."""
    whole = {key: value for key, value in raw.items() if value is not None}
    members = whole.setdefault("members", ())
    if isinstance(members, list):
        whole["members"] = [_member(whole, at, member) for at, member in enumerate(members)]
    if whole.get("seeds", []) == []:
        whole["seeds"] = names_of(whole["members"])[:SEEDS]
    buckets = whole.setdefault("buckets", {})
    if isinstance(buckets, dict):
        whole["buckets"] = {"default": {}, **buckets}
    return whole


def _member(raw: Mapping[str, Any], at: int, member: object) -> object:
    """The ``at``-th member as a mapping, with the defaults from its place in the list."""
    if isinstance(member, str):
        member = {"name": member}
    if not isinstance(member, dict):
        return member
    host, base = keys_of("")["host"], keys_of("")["base_port"]
    # An error in these two is reported once, and not for every member.
    if isinstance(raw.get("host"), str) and not is_everywhere(raw["host"]):
        host = raw["host"]
    if type(raw.get("base_port")) is int:
        base = raw["base_port"]
    host = member.get("host", host)
    whole = {"host": host, "bind": host, **member}
    for offset, port in enumerate(PORTS):
        whole.setdefault(port, base + PORTS_APART * at + offset)
    return whole


def names_of(members: object) -> tuple[str, ...]:
    """The names of the members, or their places if they have no names."""
    listed = members if isinstance(members, list) else ()
    return tuple(
        str(member["name"]) if isinstance(member, dict) and "name" in member else f"members[{at}]"
        for at, member in enumerate(listed)
    )


def newcomers(scenario: object) -> tuple[str, ...]:
    """The names of the nodes that join in a scenario."""
    listed = scenario if isinstance(scenario, list) else ()
    steps = [step for step in listed if isinstance(step, dict)]
    joins = [step.get("node") for step in steps if step.get("do") == "join"]
    replaces = [step.get("by") for step in steps if step.get("do") == "replace"]
    return tuple(name for name in (*joins, *replaces) if isinstance(name, str))


def conflicts(members: object) -> Iterator[str]:
    """An error for each name or port that two members have."""
    taken: dict[tuple[str, str], str] = {}
    for at, member in enumerate(members if isinstance(members, list) else ()):
        if not isinstance(member, dict):
            continue
        # Names are folders, and on some file systems N1 and n1 are the same.
        claims = {"name": ("name", str(member.get("name", f"[{at}]")).lower())}
        at_host = canonical_host(str(member["host"]))
        claims |= {port: (at_host, str(member[port])) for port in PORTS}
        for key, claim in claims.items():
            here = dotted(("members", at, key))
            if taken.setdefault(claim, here) != here:
                yield f"{here}: {member[key]!r} is already that of {taken[claim]}; should differ"
