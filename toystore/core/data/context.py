"""The causal context: what a client has seen of a key, opaque to it.

A get hands one out and a put takes it back.  Under last write wins it holds the stamp
of what was read, so that the put is stamped above it, whatever the clocks say.

    offset  size  field
    0       1     format (1: a stamp)
    1       20    the stamp
    21      4     CRC-32 of what stands before it, to tell a context from a guess
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
    """The stamp in a context.  Raises ValueError if no toystore made it."""
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
