"""toystore: Amazon Dynamo with SWIM membership, as a ZeroMQ actor system.

Applications import from here:

    from toystore import Client

The client is imported on its first use, so that ``toystore.core`` can be imported with only
the standard library.
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

__version__ = "0.2.0.dev0"

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
    """Import the client's names on first use (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module 'toystore' has no attribute {name!r}")
    found = globals()[name] = getattr(import_module("toystore.client"), name)
    return found
