"""toystore: Amazon Dynamo with SWIM membership, as a ZeroMQ actor system.

What applications import stands here:

    from toystore import Client

The client is loaded when it is first asked for, so that ``toystore.core`` can be
imported where there is nothing but the standard library.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from toystore.client import (
        AsyncClient,
        BadRequest,
        Client,
        Conflict,
        Found,
        Internal,
        ManyFailed,
        Overloaded,
        Timeout,
        ToystoreError,
        Unavailable,
        Written,
    )

__version__ = "0.1.0"

__all__ = [
    "AsyncClient",
    "BadRequest",
    "Client",
    "Conflict",
    "Found",
    "Internal",
    "ManyFailed",
    "Overloaded",
    "Timeout",
    "ToystoreError",
    "Unavailable",
    "Written",
    "__version__",
]


def __getattr__(name: str) -> Any:
    """Load the client's names on first use (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module 'toystore' has no attribute {name!r}")
    found = globals()[name] = getattr(import_module("toystore.client"), name)
    return found
