"""What a node binds: the addresses of its own host, IPv4 and IPv6 alike."""

from __future__ import annotations

import errno
import socket as tcp
from collections.abc import Iterable
from pathlib import Path

import zmq

from toystore.net.endpoint import EVERYWHERE, is_ipv6, is_numeric, parse
from toystore.net.names import Resolver

NAME_S_MAX = 5.0
"""How long the name of the own host is waited for."""


EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
"""Where Linux says which ports it gives to connections that go out, IPv6 included."""


class ListenError(Exception):
    """A host's name leads to no address of this machine; the text says where it leads."""


def hosts(host: str, resolver: Resolver) -> tuple[str, ...]:
    """What to bind for ``host``: a number, a name, a network interface or `EVERYWHERE`.

    A name is waited for, up to `NAME_S_MAX`, and stands for those of its addresses that
    are this machine's.  Raises `ListenError`.
    """
    if host == EVERYWHERE or is_numeric(host) or is_interface(host):
        return (host,)
    found = resolver.wait(host, NAME_S_MAX)
    own = tuple(address for address in found.addresses if is_own(address))
    if own:
        return own
    if found.addresses:
        leads_to = ", ".join(found.addresses)
        raise ListenError(f"cannot bind {host}: it is {leads_to}, which is not of this machine")
    raise ListenError(
        f"cannot bind {host}: the name cannot be resolved ({found.fault or 'no answer'}); "
        "give, as bind, an address of this machine"
    )


def bind(socket: zmq.Socket[bytes], address: str) -> None:
    """Bind a ZeroMQ socket to ``tcp://...`` or ``inproc://...``.

    ``tcp://[::]:port`` and ``tcp://*:port`` listen to IPv4 too.  Raises `zmq.ZMQError`.
    """
    everywhere = address.startswith(f"tcp://{EVERYWHERE}:")
    by_host = address.startswith("tcp://") and not everywhere
    socket.setsockopt(zmq.IPV6, everywhere or (by_host and is_ipv6(parse(address).host)))
    socket.bind(address)


def probe(host: str, port: int) -> None:
    """Bind one of what `hosts` has found as `bind` would, and let go again.  Raises OSError."""
    if is_interface(host):  # only libzmq knows its address
        return
    try:
        _probe("::" if host == EVERYWHERE else host, port)
    except OSError as error:
        if host != EVERYWHERE or error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
            raise
        _probe("0.0.0.0", port)


def ephemeral(ports: Iterable[int]) -> str | None:
    """A warning if some of these ports may be taken by connections that go out, or None.

    While a node is down, a peer's own attempt to reach it can be given the port that it
    dials, and then holds it.  None as well where the system does not say which they are.
    """
    try:
        first, last = map(int, EPHEMERAL.read_text().split())
    except (OSError, ValueError):
        return None
    risky = sorted(port for port in ports if first <= port <= last)
    if not risky:
        return None
    some = ", ".join(map(str, risky[:4])) + (", ..." if len(risky) > 4 else "")
    return (
        f"port {some}: the system gives ports {first} to {last} to connections that go out, so "
        f"that one may be taken while its node is down; choose ports below {first}"
    )


def is_interface(host: str) -> bool:
    """Whether this machine has a network interface of that name."""
    return any(name == host for _, name in tcp.if_nameindex())


def is_own(address: str) -> bool:
    """Whether an address is one of this machine's."""
    try:
        _probe(address, 0)
    except OSError:
        return False
    return True


def _probe(address: str, port: int) -> None:
    family = tcp.AF_INET6 if is_ipv6(address) else tcp.AF_INET
    with tcp.socket(family) as made:
        made.setsockopt(tcp.SOL_SOCKET, tcp.SO_REUSEADDR, 1)
        if family == tcp.AF_INET6:
            made.setsockopt(tcp.IPPROTO_IPV6, tcp.IPV6_V6ONLY, 0)
        made.bind((address, port))
