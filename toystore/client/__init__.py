"""The client library: what applications import, through ``from toystore import Client``.

The path of a call:

    blocking.py, asynchronous.py   `Client` and `AsyncClient`, which applications call
    call.py                        checks the arguments
    request.py                     makes the message, reads the reply
         |  a Request                            ^  its outcome
         v                                       |
    blocking_shell.py, async_shell.py   sockets, waiting, threads or event loop
    machine.py   attempts, retries, clocks, errors; no I/O and no clock of its own
                 (backlog.py: which request is next; endpoints.py: which endpoint is asked)

`Client` and `AsyncClient` differ only in how they wait.
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
