"""Endpoints: ``tcp://host:port``, with an IPv6 host in brackets."""

from __future__ import annotations

import re
from typing import NamedTuple

from toystore.hosts import HostError, parse_host

_FORM = re.compile(r"(?:tcp://)?(\[[^\[\]\s/]*\]|[^\[\]:/\s]+):([0-9]+)")
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
    except HostError as error:
        raise EndpointError(f"{text!r:.80} is no endpoint: {error}") from None
    if len(form[2]) > 5 or not 0 < int(form[2]) <= 65535:
        raise EndpointError(
            f"{text!r:.80} is no endpoint: port {form[2]:.8}; should be from 1 to 65535"
        )
    return Endpoint(host, int(form[2]))
