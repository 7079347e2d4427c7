"""Encodes messages as frames, and decodes them.

A frame is one msgpack array; its first item is the version of the protocol:

    [version, messages]                                    from and to clients
    [version, messages, node, actor, cluster, digest]      between nodes and actors

and a message is ``[tag, ...fields]``.  Several messages for one destination share a
frame.  A received message is checked against the annotations of its type: the types of its
fields by one set lookup, nested values by a walk.  If anything does not match, `FrameError` is
raised; no other exception is.

The sender's limit bounds frames with several messages; a single message may be larger.  So a
receiver must accept the largest frame that any sender's limits allow, `FRAME_BYTES_MAX`.
"""

from __future__ import annotations

import itertools
import types
import typing
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import msgpack

from toystore.core.protocol.address import Peer
from toystore.core.protocol.messages import Message
from toystore.core.protocol.routes import ROUTE_BY_TAG, ROUTE_OF
from toystore.core.protocol.settings import ARRAY_ITEMS_CAP, KEY_BYTES_CAP, VALUE_BYTES_CAP

VERSION = 1
FRAME_BYTES_MAX = VALUE_BYTES_CAP + KEY_BYTES_CAP + 64 * 1024
"""The largest frame: the largest value, its key, and the other fields."""
ARRAYS_MAX = 2**20
"""The most arrays and maps in a frame.  An empty one is 1 byte in a frame, 64 in memory."""


class FrameError(Exception):
    """The bytes are not a frame of this protocol; the text says why."""


class VersionError(FrameError):
    """A frame of another version of the protocol."""


class Header(NamedTuple):
    """The sender, its cluster and its member list."""

    sender: Peer
    cluster: str
    members_digest: bytes


class Frame(NamedTuple):
    """A decoded frame."""

    messages: list[Message]
    header: Header | None


def encode(messages: Iterable[Message], header: Header | None = None) -> bytes:
    """One frame that carries ``messages``."""
    body = [(_TAG_OF[type(message)], *message) for message in messages]
    if header is None:
        frame: bytes = msgpack.packb((VERSION, body))
    else:
        frame = msgpack.packb(
            (VERSION, body, *header.sender, header.cluster, header.members_digest)
        )
    return frame


def encode_bounded(
    messages: list[Message], header: Header | None, bytes_max: int
) -> Iterable[tuple[bytes, list[Message]]]:
    """Frames of at most ``bytes_max`` (a single message may be larger), with their messages."""
    if len(messages) <= ARRAY_ITEMS_CAP:
        frame = encode(messages, header)
        if len(frame) <= bytes_max or len(messages) <= 1:
            yield frame, messages
            return
    half = len(messages) // 2
    yield from encode_bounded(messages[:half], header, bytes_max)
    yield from encode_bounded(messages[half:], header, bytes_max)


def decode(data: bytes) -> Frame:
    """The messages in a frame.

    Raises:
        VersionError: it is a frame, but of another version.
        FrameError: it is not a frame, or a message in it does not match its type.
    """
    try:
        parts = _unpacked(data)
    except Exception as error:  # msgpack raises half a dozen unrelated types
        raise FrameError(f"not msgpack: {type(error).__name__}: {error}") from None
    if type(parts) is not tuple or len(parts) < 2 or type(parts[0]) is not int:
        raise FrameError("not an array of a version and messages")
    if parts[0] != VERSION:
        raise VersionError(f"protocol version {parts[0]}; this node speaks {VERSION}")
    if type(parts[1]) is not tuple:
        raise FrameError("the messages are not an array")
    messages = [_message(raw) for raw in parts[1]]
    if len(parts) == 2:
        return Frame(messages, None)
    if tuple(map(type, parts[2:])) != (str, str, str, bytes):
        raise FrameError("a header is node, actor, cluster, members digest")
    return Frame(messages, Header(Peer(parts[2], parts[3]), parts[4], parts[5]))


def request_numbers(data: bytes) -> list[int] | None:
    """The numbers of the gets, puts and deletes in a client's frame, to refuse them undecoded.

    That costs a quarter of `decode`.  None if there is anything else in the frame.
    """
    try:
        version, messages = _unpacked(data)
        numbers = [raw[1] for raw in messages if raw[0] in _REFUSED_UNREAD and type(raw[1]) is int]
    except Exception:  # `decode` raises the right error for it
        return None
    return numbers if version == VERSION and len(numbers) == len(messages) else None


def _unpacked(data: bytes) -> Any:
    """The values in a frame.  Raises the errors of msgpack, and ValueError for too many arrays.

    A frame of fewer bytes than `ARRAYS_MAX` cannot have too many, so most are not counted.
    """
    count = None if len(data) <= ARRAYS_MAX else _Count().one_more
    return msgpack.unpackb(
        data,
        use_list=False,
        max_array_len=ARRAY_ITEMS_CAP,
        max_map_len=ARRAY_ITEMS_CAP,
        list_hook=count,
        object_hook=count,
    )


class _Count:
    """Counts the arrays and maps of a frame as they are made."""

    def __init__(self) -> None:
        self._room = ARRAYS_MAX

    def one_more(self, made: Any) -> Any:
        """Count one, or raise ValueError."""
        self._room -= 1
        if self._room < 0:
            raise ValueError(f"more than {ARRAYS_MAX} arrays and maps")
        return made


# --- checking, compiled once from the annotations ---------------------------------------

Check = Callable[[Any], Any]
"""Returns the value as its annotation has it, or raises `FrameError`."""


class _Shape(NamedTuple):
    """The shape of a message type on the wire."""

    kind: type[Any]
    signatures: frozenset[tuple[type, ...]]
    nested: tuple[tuple[int, Check], ...]


def _message(raw: Any) -> Message:
    """One message from ``[tag, ...fields]``."""
    if type(raw) is not tuple or not raw:
        raise FrameError("a message is a non-empty array")
    tag = raw[0]
    # A foreign tag may nest too deep to be hashed or printed: check its type first.
    if type(tag) is not int:
        raise FrameError(f"unknown message tag: {type(tag).__name__}")
    shape = _SHAPES.get(tag)
    if shape is None:
        raise FrameError(f"unknown message tag: {tag}")
    kind, signatures, nested = shape
    fields: Sequence[Any] = raw[1:]
    if tuple(map(type, fields)) not in signatures:
        given = ", ".join(type(field).__name__ for field in fields[:16])
        raise FrameError(f"the fields of {kind.__name__} cannot be ({given})")
    if nested:
        whole = list(fields)
        for at, check in nested:
            whole[at] = check(whole[at])
        fields = whole
    # As `_make`, without its count of the fields: the signatures have checked that.
    message: Message = _new(kind, fields)
    return message


def _plain_types(annotation: Any) -> tuple[type, ...]:
    """The wire types that a field may have at its top level."""
    if isinstance(annotation, types.UnionType):
        return tuple(itertools.chain.from_iterable(map(_plain_types, annotation.__args__)))
    origin = typing.get_origin(annotation) or annotation
    if isinstance(origin, type) and issubclass(origin, tuple):
        return (tuple,)
    return (origin,)


def _checker(annotation: Any) -> Check | None:
    """A check of the values inside a field, or None if the top-level type is enough."""
    if isinstance(annotation, type) and issubclass(annotation, tuple):
        hints = typing.get_type_hints(annotation)
        return _fixed(annotation.__name__, list(hints.values()), annotation._make)  # type: ignore[attr-defined]
    if typing.get_origin(annotation) is dict:
        return _string_keys
    if typing.get_origin(annotation) is not tuple:
        return None
    inner = typing.get_args(annotation)
    if len(inner) == 2 and inner[1] is Ellipsis:
        return _repeated(inner[0])
    return _fixed("a row", list(inner), tuple)


def _string_keys(value: dict[Any, Any]) -> Any:
    """Check a ``dict[str, Any]``, the only kind of dictionary in a message."""
    if not all(type(key) is str for key in value):
        raise FrameError("a key is not a str")
    return value


def _repeated(annotation: Any) -> Check:
    """A check of ``tuple[annotation, ...]``."""
    allowed = _plain_types(annotation)
    inner = _checker(annotation)

    def check(value: tuple[Any, ...]) -> Any:
        for item in value:
            if type(item) not in allowed:
                raise FrameError(f"an item is {type(item).__name__}, not {allowed[0].__name__}")
        return value if inner is None else tuple(inner(item) for item in value)

    return check


def _fixed(name: str, annotations: list[Any], make: Callable[[Iterable[Any]], Any]) -> Check:
    """A check of a tuple with fixed fields."""
    signatures = frozenset(itertools.product(*map(_plain_types, annotations)))

    def check(value: tuple[Any, ...]) -> Any:
        if tuple(map(type, value)) not in signatures:
            raise FrameError(f"{name} has the wrong fields")
        return make(value)

    return check


def _shape(message_type: type[Any]) -> _Shape:
    """Compile the shape of a message type from its annotations."""
    hints = list(typing.get_type_hints(message_type).values())
    nested = ((at, _checker(hint)) for at, hint in enumerate(hints))
    return _Shape(
        message_type,
        frozenset(itertools.product(*map(_plain_types, hints))),
        tuple((at, check) for at, check in nested if check is not None),
    )


_new: Callable[[type[Any], Iterable[Any]], Any] = tuple.__new__
_TAG_OF: dict[type[Any], int] = {kind: route.tag for kind, route in ROUTE_OF.items()}
_REFUSED_UNREAD = frozenset(route.tag for route in ROUTE_BY_TAG.values() if route.queued)
_SHAPES: dict[int, _Shape] = {tag: _shape(route.type) for tag, route in ROUTE_BY_TAG.items()}
