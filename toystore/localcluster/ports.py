"""Ports for the nodes of a test, which no other test takes while it runs.

They are below the range for outgoing connections, so that a restarted node finds its ports
free.  They come in blocks.  The last port of a block stays bound while the block is in use, so
that a second run of the tests does not use the block, even while its nodes are down.
"""

from __future__ import annotations

import random
import socket

_BLOCKS = range(10_000, 30_000, 200)
_GUARD = 199
"""The last port of a block stays bound while the block is in use."""


def reserve_ports(size: int) -> tuple[socket.socket, int]:
    """A block of ports for ``size`` nodes: the socket that reserves it, and its `base_port`.

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
