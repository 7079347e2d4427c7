"""Short forms in full: a member's name becomes a mapping with its ports."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from toystore.config.cluster import keys_of
from toystore.config.plain_yaml import dotted
from toystore.config.sections import PORTS
from toystore.config.values import as_address, is_everywhere

_PORTS_APART = 10
_SEEDS = 3


def spell_out(raw: Mapping[str, Any]) -> dict[str, Any]:
    """``raw`` with its short forms at length; what is of the wrong type is left to be refused."""
    whole = {key: value for key, value in raw.items() if value is not None}
    members = whole.setdefault("members", ())
    if isinstance(members, list):
        whole["members"] = [_member(whole, at, member) for at, member in enumerate(members)]
    if whole.get("seeds", []) == []:
        whole["seeds"] = names_of(whole["members"])[:_SEEDS]
    buckets = whole.setdefault("buckets", {})
    if isinstance(buckets, dict):
        whole["buckets"] = {"default": {}, **buckets}
    return whole


def _member(raw: Mapping[str, Any], at: int, member: object) -> object:
    """A member, the ``at``-th, as a mapping with all that follows from its place in the list."""
    if isinstance(member, str):
        member = {"name": member}
    if not isinstance(member, dict):
        return member
    host, base = keys_of("")["host"], keys_of("")["base_port"]
    # What is wrong with these two is told once, and not of every member.
    if isinstance(raw.get("host"), str) and not is_everywhere(raw["host"]):
        host = raw["host"]
    if type(raw.get("base_port")) is int:
        base = raw["base_port"]
    host = member.get("host", host)
    whole = {"host": host, "bind": host, **member}
    for offset, port in enumerate(PORTS):
        whole.setdefault(port, base + _PORTS_APART * at + offset)
    return whole


def names_of(members: object) -> tuple[str, ...]:
    """What to call the members: by their names, or by their places if they have none."""
    listed = members if isinstance(members, list) else ()
    return tuple(
        str(member["name"]) if isinstance(member, dict) and "name" in member else f"members[{at}]"
        for at, member in enumerate(listed)
    )


def conflicts(members: object) -> Iterator[str]:
    """A fault for each name or port that two members claim."""
    taken: dict[tuple[str, str], str] = {}
    for at, member in enumerate(members if isinstance(members, list) else ()):
        if not isinstance(member, dict):
            continue
        # Names are folders, and some file systems do not tell N1 from n1.
        claims = {"name": ("name", str(member.get("name", f"[{at}]")).lower())}
        host = str(member["host"])
        at_host = str(as_address(host) or host.lower())  # an address can be written in several ways
        claims |= {port: (at_host, str(member[port])) for port in PORTS}
        for key, claim in claims.items():
            here = dotted(("members", at, key))
            if taken.setdefault(claim, here) != here:
                yield f"{here}: {member[key]!r} is already that of {taken[claim]}; should differ"
