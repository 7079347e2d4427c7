"""The client library: what applications import, through ``from toystore import Client``.

One call's way through it:

    blocking.py, asynchronous.py   the shells: sockets, waiting, threads or event loop
         |  a Request                            ^  its outcome
         v                                       |
    call.py      the arguments, checked
    request.py   what is asked: message made, reply read
    machine.py   how it is asked: attempts, retries, clocks, errors; no I/O, told the time
                 (backlog.py: whose turn it is; endpoints.py: whom to ask)

`Client` and `AsyncClient` share everything but the waiting.
"""

from toystore.client.answer import Found, Load, Placement, RingTable, Written
from toystore.client.asynchronous import AsyncClient
from toystore.client.blocking import Client
from toystore.client.clock import Clock, ProcessClock
from toystore.client.errors import (
    BadRequest,
    Conflict,
    Internal,
    ManyFailed,
    Overloaded,
    Timeout,
    ToystoreError,
    Unavailable,
)

__all__ = [
    "AsyncClient",
    "BadRequest",
    "Client",
    "Clock",
    "Conflict",
    "Found",
    "Internal",
    "Load",
    "ManyFailed",
    "Overloaded",
    "Placement",
    "ProcessClock",
    "RingTable",
    "Timeout",
    "ToystoreError",
    "Unavailable",
    "Written",
]
