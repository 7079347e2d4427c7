"""What a member may be: the rules that the configuration, ring records and newcomers share.

A node turns the newest ring record into its settings, so a record is not accepted unless that is
possible (`toystore/core/ring/record.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from toystore.hosts import HostError, canonical_host, reachable_host

NAME_MAX = 64
PORT_MAX = 65535
PORTS_EACH = 4
WEIGHT_MAX = 1000
INT_CAP = 2**63 - 1
"""The largest number that a message carries."""
_NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{NAME_MAX - 1}}}")


def is_name(value: str) -> bool:
    """Whether a member may have this name: it is safe as a folder, as a topic and in log lines."""
    return _NAME.fullmatch(value) is not None


def is_number(value: object, least: int = 0, most: int = INT_CAP) -> bool:
    """Whether this is an int, and no bool, in these bounds."""
    return type(value) is int and least <= value <= most


def is_weight(value: object) -> bool:
    """Whether a member may have this weight."""
    return is_number(value, 1, WEIGHT_MAX)


def member_fault(
    name: object,
    seat: object,
    disk: object,
    weight: object,
    zone: object,
    host: object,
    ports: Sequence[object],
) -> str | None:
    """What is wrong with a member, given by the fields of a `Listed`; None if nothing is.

    One without ports is simulated, and its host may be any text.
    """
    if not isinstance(name, str) or not is_name(name):
        return f"{name!r:.80} is no name of a member"
    for text in (seat, disk, zone, host):
        if not isinstance(text, str):
            return f"{name}: {text!r:.80} is no text"
    if not is_weight(weight):
        return f"{name}: a weight is from 1 to {WEIGHT_MAX}, not {weight!r:.80}"
    return _address_fault(name, str(host), ports) if ports else None


def _address_fault(name: str, host: str, ports: Sequence[object]) -> str | None:
    if not all(is_number(port, 1, PORT_MAX) for port in ports):
        return f"{name}: a port is a number from 1 to {PORT_MAX}; {ports!r:.80} given"
    if len(set(ports)) != PORTS_EACH or len(ports) != PORTS_EACH:
        return f"{name}: {ports!r:.80} are not {PORTS_EACH} different ports"
    try:
        bare = reachable_host(host)
    except HostError as error:
        return f"{name}: {error}"
    return None if bare == host else f"{name}: {host!r:.80} has brackets"


def clash(members: Iterable[tuple[str, str, Sequence[int]]]) -> str | None:
    """What two of these members have in common that each has for itself; None if nothing is.

    Args:
        members: name, host and ports of each.
    """
    owner_of: dict[tuple[str, int], str] = {}
    for name, host, ports in members:
        # Names are folders, and on some file systems N1 and n1 are the same.
        claims = [(name.lower(), 0), *((canonical_host(host), port) for port in ports)]
        for claim in claims:
            other = owner_of.setdefault(claim, name)
            if other != name:
                both = f"{name} and {other} would both have the "
                if not claim[1]:
                    return f"{both}name"
                return f"{both}address {host}:{claim[1]}; each member has four ports of its own"
    return None
