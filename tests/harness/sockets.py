"""Raw ZeroMQ sockets, and somebody who comes to a node's port with the header of a member."""

from __future__ import annotations

from typing import Any

import zmq

from .waiting import PATIENCE_S, wait_until


def connected(
    context: zmq.Context[Any], kind: int, address: str, **options: Any
) -> zmq.Socket[bytes]:
    """A raw socket; its options are set before it connects, and it never waits for ever."""
    made = _made(context, kind, options)
    made.connect(address)
    return made


def bound(context: zmq.Context[Any], kind: int, address: str, **options: Any) -> zmq.Socket[bytes]:
    """As `connected`; a port that was just left may take a moment to be free again."""
    made = _made(context, kind, options)

    def is_bound() -> bool:
        try:
            made.bind(address)
        except zmq.ZMQError:
            return False
        return True

    wait_until(is_bound, f"{address} is free")
    return made


def _made(context: zmq.Context[Any], kind: int, options: dict[str, Any]) -> zmq.Socket[bytes]:
    made: zmq.Socket[bytes] = context.socket(kind)
    made.linger = 0
    made.rcvtimeo = made.sndtimeo = int(PATIENCE_S * 1000)
    for option, value in options.items():
        made.set(getattr(zmq, option), value)
    return made
