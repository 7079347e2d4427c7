"""The types of single values: names, hosts, ports, seconds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, NamedTuple

from pydantic import AfterValidator, Field, ValidationInfo

from toystore.core.ring.rules import NAME_MAX, PORT_MAX, WEIGHT_MAX, is_name
from toystore.hosts import EVERYWHERE, HostError, is_everywhere, parse_host

_SECONDS_MAX = 1e9
_NAMES_LISTED_MAX = 30


def _name(value: str) -> str:
    """Check a name: it must be safe as a folder, as a topic and in log lines."""
    if not is_name(value):
        raise ValueError(
            f"{value!r:.80} given; a name is up to {NAME_MAX} letters, digits, '.', '_' and '-', "
            "and begins with a letter or digit"
        )
    return value


def _address(value: str) -> str:
    """Remove the brackets of an IPv6 address."""
    try:
        return value if value == EVERYWHERE else parse_host(value)
    except HostError as error:
        raise ValueError(
            f"{value!r:.80} given; should be a host name or an address, without port ({error})"
        ) from None


def _reachable(value: str) -> str:
    if is_everywhere(value):
        raise ValueError(
            f"{value!r} given, where nobody can connect to; "
            f"write bind: {value!r} and, as host, the address that others are told"
        )
    return _address(value)


class Names(NamedTuple):
    """The names in a file, which `parse` passes to the checks of single values."""

    members: tuple[str, ...] = ()
    newcomers: tuple[str, ...] = ()
    """The nodes that join in the scenario."""


def _known(value: str, info: ValidationInfo) -> str:
    """Check that ``value`` is a member (`parse` passes the members)."""
    if info.context is not None and value not in info.context.members:
        names = list_names(info.context.members)
        raise ValueError(f"{value!r:.80} is not a member; the members are {names}")
    return value


def _known_to_scenario(value: str, info: ValidationInfo) -> str:
    """Check that ``value`` is a member, or a node that joins in the scenario."""
    if info.context is not None and value in info.context.newcomers:
        return value
    return _known(value, info)


def list_names(names: Sequence[str]) -> str:
    """Names for the text of an error; a long list is shortened."""
    more = len(names) - _NAMES_LISTED_MAX
    return ", ".join(names[:_NAMES_LISTED_MAX]) + (f" and {more} more" if more > 0 else "")


Name = Annotated[str, AfterValidator(_name)]
Host = Annotated[str, AfterValidator(_reachable)]
Bind = Annotated[str, AfterValidator(_address)]
KnownMember = Annotated[str, AfterValidator(_known)]
ScenarioNode = Annotated[str, AfterValidator(_known_to_scenario)]
Port = Annotated[int, Field(ge=1, le=PORT_MAX)]
Weight = Annotated[int, Field(ge=1, le=WEIGHT_MAX)]
Seconds = Annotated[float, Field(gt=0, le=_SECONDS_MAX)]
