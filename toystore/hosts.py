"""What a host is: a name or an address, without a port.

The configuration, the ring records, `plan readdress`, `join` and endpoints share these rules.
"""

from __future__ import annotations

import ipaddress
import re

EVERYWHERE = "*"
"""For bind: every address of this machine, IPv4 and, if it has one, IPv6."""

NAME_MAX = 253
"""The characters of a host name at most; `LABEL_MAX`: between two dots (RFC 1035, 2.3.4)."""
LABEL_MAX = 63
_LABEL = re.compile(rf"\w(?:[\w-]{{0,{LABEL_MAX - 2}}}\w)?")
_ONLY_NUMBERS = re.compile(r"[0-9.]+")


class HostError(ValueError):
    """The text is not a host; the error says what was given."""


def parse_host(text: str) -> str:
    """The host of a text without a port: ``[::1]`` and ``::1`` are both ``::1``.

    Raises:
        HostError: it is neither a name nor an address.
    """
    bracketed = text.startswith("[") and text.endswith("]")
    host = text[1:-1] if bracketed else text
    if bracketed or ":" in host:
        if not (is_ipv6(host) and is_numeric(host)):
            raise HostError(f"{text!r:.80} is no IPv6 address")
    elif not is_numeric(host) and (_ONLY_NUMBERS.fullmatch(host) or not _is_name(host)):
        raise HostError(f"{text!r:.80} is no host name and no address")
    return host


def reachable_host(text: str) -> str:
    """As `parse_host`, for a host that others connect to.

    Raises:
        HostError: it is no host, or means every address of a machine.
    """
    if is_everywhere(text):
        raise HostError(f"{text!r} is every address of a machine: nobody can connect to it")
    return parse_host(text)


def is_everywhere(host: str) -> bool:
    """Whether ``host`` means every address of a machine."""
    number = as_address(host)
    return host == EVERYWHERE or (number is not None and number.is_unspecified)


def as_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """``host`` as an address, if it is one."""
    try:
        return ipaddress.ip_address(parse_host(host))
    except ValueError:
        return None


def canonical_host(host: str) -> str:
    """The same text for all the ways in which one host can be written."""
    return str(as_address(host) or host.lower())


def is_numeric(host: str) -> bool:
    """Whether ``host`` is an address, which needs no lookup."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return not re.search(r"[\s/]", host)  # in the zone of an IPv6 address


def is_ipv6(host: str) -> bool:
    """Whether the address ``host`` is an IPv6 address."""
    return ":" in host


def _is_name(host: str) -> bool:
    """Whether ``host`` is labels with dots between them; a last dot is allowed."""
    labels = host.removesuffix(".").split(".")
    return len(host) <= NAME_MAX and all(map(_LABEL.fullmatch, labels))
