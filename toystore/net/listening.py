"""What a node binds: the addresses of its own host, both IPv4 and IPv6."""

from __future__ import annotations

import errno
import os
import socket as tcp
from collections.abc import Iterable
from pathlib import Path

import zmq

from toystore.hosts import EVERYWHERE, is_ipv6, is_numeric
from toystore.net.endpoint import parse
from toystore.net.names import Resolver

NAME_S_MAX = 5.0
"""The time limit of a lookup of the node's own host."""


EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
"""The range of ports that Linux gives to outgoing connections, also for IPv6."""


class ListenError(Exception):
    """A host or a port cannot be bound; the text says why."""


def hosts(host: str, resolver: Resolver) -> tuple[str, ...]:
    """What to bind for ``host``: an address, a name, a network interface or `EVERYWHERE`.

    For a name, these are its addresses of this machine.  The lookup blocks for up to
    `NAME_S_MAX`.  Raises `ListenError`.
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
        f"cannot bind {host}: the name cannot be resolved ({found.reason or 'no answer'}); "
        "give, as bind, an address of this machine"
    )


def bind(socket: zmq.Socket[bytes], address: str) -> None:
    """Bind a ZeroMQ socket to ``tcp://...`` or ``inproc://...``.

    ``tcp://[::]:port`` and ``tcp://*:port`` listen on IPv4 too.  Raises `zmq.ZMQError`.
    """
    everywhere = address.startswith(f"tcp://{EVERYWHERE}:")
    by_host = address.startswith("tcp://") and not everywhere
    socket.setsockopt(zmq.IPV6, everywhere or (by_host and is_ipv6(parse(address).host)))
    socket.bind(address)


def probe(host: str, port: int) -> None:
    """Bind one result of `hosts` as `bind` does, and close it again.  Raises OSError."""
    if is_interface(host):  # only libzmq knows its address
        return
    try:
        _probe("::" if host == EVERYWHERE else host, port)
    except OSError as error:
        if host != EVERYWHERE or error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
            raise
        _probe("0.0.0.0", port)


def check_free(host: str, ports: Iterable[int], resolver: Resolver) -> None:
    """Raise `ListenError` if a port of ``host`` (see `hosts`) cannot be bound now."""
    for address in hosts(host, resolver):
        for port in ports:
            try:
                probe(address, port)
            except OSError as error:
                where = f"[{address}]" if is_ipv6(address) else address
                raise ListenError(
                    f"cannot bind tcp://{where}:{port}: {os.strerror(error.errno or 0)}"
                ) from None


def ephemeral(ports: Iterable[int]) -> str | None:
    """A warning if outgoing connections may use some of these ports, or None.

    While a node is down, a peer's connect to the node's port can get the same port as its
    source, and then the port is in use.  None if the system does not say which ports it uses.
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
    """Whether this machine has a network interface with that name."""
    return any(name == host for _, name in tcp.if_nameindex())


def is_own(address: str) -> bool:
    """Whether an address belongs to this machine."""
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
