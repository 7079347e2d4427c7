"""What inputs are made of: samples of everything, and how several parts make one input.

What has no single input (a disk and the messages that meet it, a message of several
frames) is packed into one by msgpack; bytes that are no such pack say nothing of the
decoder and raise `NotAnInputError`.
"""

from __future__ import annotations

import functools
import tempfile
import types
import typing
from pathlib import Path
from typing import Any

import msgpack

from toystore.config import parse
from toystore.core.data.context import pack_context
from toystore.core.data.record import digest_of, pack_record
from toystore.core.data.stamp import pack_stamp
from toystore.core.protocol.address import GOSSIP, Peer
from toystore.core.protocol.machine import Now
from toystore.wire import Header

NOW = Now(1000.0, 1_700_000_000_000_000)
STAMP = pack_stamp(NOW.wall_us, 3, b"minter 1")
CONTEXT = pack_context(STAMP)
DIGEST = digest_of("default", b"cart:7", 3)
RECORD = pack_record(STAMP, "default", b"cart:7", b"milk, bread")
CONFIG = parse(
    {"cluster": "small", "members": ["n1", "n2"], "buckets": {"default": {"n": 1, "r": 1, "w": 1}}}
)
HEADER = Header(Peer("n2", GOSSIP), CONFIG.cluster_id())


class NotAnInputError(Exception):
    """The bytes do not come apart into what the decoder is given."""


def unpacked(data: bytes) -> Any:
    """What an input of several parts is made of."""
    try:
        return msgpack.unpackb(data, use_list=True)
    except Exception as error:
        raise NotAnInputError(f"no pack: {type(error).__name__}") from None


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    """Removed when this process ends."""
    return tempfile.TemporaryDirectory()


def file_of(name: str, data: bytes) -> Path:
    """A file that holds ``data``."""
    path = Path(_folder().name) / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return path


def listed(value: Any) -> list[Any]:
    """A list that is in an input."""
    if not isinstance(value, list):
        raise NotAnInputError(f"{type(value).__name__}, not a list")
    return value


# --- samples of messages ---------------------------------------------------------------

NAMED: dict[str, Any] = {
    "digest": DIGEST,
    "stamp": STAMP,
    "context": CONTEXT,
    "record": RECORD,
    "bucket": "default",
    "owner": "n3",
    "hint_owner": "n3",
    "hint_owners": ("n3",),
    "hints": ((DIGEST, RECORD),),
    "delivered": ((DIGEST, STAMP),),
    "request": 1,
}
"""Fields that not just any value of their type will do for."""
TYPED: dict[Any, Any] = {
    int: 2,
    str: "n2",
    bytes: b"cart:7",
    bool: True,
    type(None): None,
    dict: {"n2": {"count": 1, "age_s": 0.5, "of": [None, b"x"]}},
}


def sample(annotation: Any, name: str = "") -> Any:
    """A valid value of a message's field, or a whole message, by its annotations."""
    if isinstance(annotation, types.UnionType):
        return sample(annotation.__args__[0], name)
    origin, inner = typing.get_origin(annotation) or annotation, typing.get_args(annotation)
    if name in NAMED and isinstance(NAMED[name], origin):
        return NAMED[name]
    if origin in TYPED:
        return TYPED[origin]
    if origin is not tuple:
        hints = typing.get_type_hints(annotation)
        return annotation(*(sample(hint, field) for field, hint in hints.items()))
    return (sample(inner[0]),) * 2 if inner[-1] is Ellipsis else tuple(map(sample, inner))
