"""The causal context: what a client has seen of a key.  It is opaque to the client.

A get returns a context, and the client passes it to a put.  Under last write wins it
contains the stamp of what was read.  The put is stamped above that stamp, even if the
clocks are wrong.

    offset  size  field
    0       1     format (1: a stamp)
    1       20    the stamp
    21      4     CRC-32 of the bytes before it: arbitrary bytes are no context
"""

from __future__ import annotations

import zlib

from toystore.core.data.stamp import STAMP_BYTES

_FORMAT = b"\x01"
_BYTES = 1 + STAMP_BYTES + 4


def pack_context(stamp: bytes) -> bytes:
    """The context of a value whose stamp is ``stamp``."""
    body = _FORMAT + stamp
    return body + zlib.crc32(body).to_bytes(4, "big")


def unpack_context(context: bytes) -> bytes:
    """The stamp in a context.  Raises ValueError for bytes that are not a context."""
    body, checksum = context[: _BYTES - 4], context[_BYTES - 4 :]
    if (
        len(context) != _BYTES
        or body[:1] != _FORMAT
        or zlib.crc32(body).to_bytes(4, "big") != checksum
    ):
        raise ValueError(
            f"context {context[:32]!r} is not one that a get returned; "
            "pass the .context of a found value, or none"
        )
    return body[1:]
