"""Ports for the nodes of a test, which no other test takes while it runs.

They lie below those that systems give to outgoing connections, because a node that is
started again must find its ports as free as it left them.  They come in blocks, and a block
is held by its last port, so that a second run of the tests keeps out of it even while its
nodes are down.
"""

from __future__ import annotations

import random
import socket

_BLOCKS = range(10_000, 30_000, 200)
_GUARD = 199
"""The last port of a block is held while the block is in use."""


def reserve_ports(size: int) -> tuple[socket.socket, int]:
    """A block of ports for ``size`` nodes: a socket that holds the block, and its `base_port`.

    Raises:
        RuntimeError: no block is free.
    """
    for base in random.SystemRandom().sample(_BLOCKS, len(_BLOCKS)):
        guard = socket.socket()
        try:
            guard.bind(("127.0.0.1", base + _GUARD))
            for port in range(base, base + 10 * size):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            guard.close()
            continue
        return guard, base
    raise RuntimeError("no block of free ports was found")
