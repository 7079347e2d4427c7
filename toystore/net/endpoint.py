"""Endpoints: ``tcp://host:port``, with an IPv6 host in brackets."""

from __future__ import annotations

import ipaddress
import re
from typing import NamedTuple

EVERYWHERE = "*"
"""For bind: every address of this machine, IPv4 and, if it has one, IPv6."""

_FORM = re.compile(r"(?:tcp://)?(\[[^\[\]\s/]*\]|[^\[\]:/\s]+):([0-9]+)")
_NAME = re.compile(r"\w(?:[\w.-]{0,251}[\w.])?")
_ONLY_NUMBERS = re.compile(r"[0-9.]+")
_SHOULD_BE = '"tcp://host:port", "host:port" or, for IPv6, "tcp://[::1]:7400"'


class EndpointError(ValueError):
    """The text is not an endpoint; the error says what was given and what would be right."""


class Endpoint(NamedTuple):
    """A host and a port; its text is a ZeroMQ address."""

    host: str
    """A name or an address; IPv6 without brackets."""
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"tcp://{host}:{self.port}"


def parse(text: str) -> Endpoint:
    """The endpoint of the text ``tcp://host:port`` or ``host:port``.

    Raises:
        EndpointError: it is something else.
    """
    form = _FORM.fullmatch(text)
    if form is None:
        raise EndpointError(f"{text!r:.80} is no endpoint; should be {_SHOULD_BE}")
    try:
        host = parse_host(form[1])
    except EndpointError as error:
        raise EndpointError(f"{text!r:.80} is no endpoint: {error}") from None
    if len(form[2]) > 5 or not 0 < int(form[2]) <= 65535:
        raise EndpointError(
            f"{text!r:.80} is no endpoint: port {form[2]:.8}; should be from 1 to 65535"
        )
    return Endpoint(host, int(form[2]))


def parse_host(text: str) -> str:
    """The host of a text without a port: ``[::1]`` and ``::1`` are both ``::1``.

    Raises:
        EndpointError: it is neither a name nor an address.
    """
    bracketed = text.startswith("[") and text.endswith("]")
    host = text[1:-1] if bracketed else text
    if bracketed or ":" in host:
        if not (is_ipv6(host) and is_numeric(host)):
            raise EndpointError(f"{text!r:.80} is no IPv6 address")
    elif not is_numeric(host) and (_ONLY_NUMBERS.fullmatch(host) or not _NAME.fullmatch(host)):
        raise EndpointError(f"{text!r:.80} is no host name and no address")
    return host


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
