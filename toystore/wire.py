"""Encodes messages as frames, and decodes them.

A frame is one msgpack array; its first item is the version of the protocol:

    [version, runs]                        from clients
    [version, runs, epoch]                 to clients: of the node's newest ring record
    [version, runs, node, actor, cluster, lineage, epoch, digest, buckets]
                                           between nodes and actors

and a run is ``[tag, [fields, ...], [fields, ...]]``: consecutive messages of one type.  Several
messages for one destination share a frame, in the order in which they were written.  A
received message is checked against the annotations of its type: the types of one field in all
messages of a run at once, nested values by a walk.  If anything does not match, `FrameError` is
raised; no other exception is.

The sender's limit bounds frames with several messages; a single message may be larger.  So a
receiver must accept the largest frame that any sender's limits allow, `FRAME_BYTES_MAX`.
"""

from __future__ import annotations

import itertools
import types
import typing
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import msgpack

from toystore.core.protocol.address import Peer
from toystore.core.protocol.messages import Message
from toystore.core.protocol.routes import ROUTE_BY_TAG, ROUTE_OF
from toystore.core.protocol.settings import ARRAY_ITEMS_CAP, KEY_BYTES_CAP, VALUE_BYTES_CAP
from toystore.core.ring.cluster_id import ClusterId

VERSION = 2
FRAME_BYTES_MAX = VALUE_BYTES_CAP + KEY_BYTES_CAP + 64 * 1024
"""The largest frame: the largest value, its key, and the other fields."""
ARRAYS_MAX = 2**20
"""The most arrays and maps in a frame.  An empty one is 1 byte in a frame, 64 in memory."""


class FrameError(Exception):
    """The bytes are not a frame of this protocol; the text says why."""


class VersionError(FrameError):
    """A frame of another version of the protocol."""

    def __init__(self, version: int, sender: str | None) -> None:
        super().__init__(
            f"protocol version {version}; this node speaks {VERSION}: install the same version "
            "of toystore on all nodes and clients, as docs/OPERATIONS.md describes"
        )
        self.sender = sender
        """The node that sent it, or None: its name has this place in every version."""


class Header(NamedTuple):
    """The sender, and its cluster as the sender knows it."""

    sender: Peer
    cluster: ClusterId


class Frame(NamedTuple):
    """A decoded frame."""

    messages: list[Message]
    header: Header | None
    epoch: int | None = None
    """In a frame for a client: of the sender's newest ring record."""


def encode(
    messages: Iterable[Message], header: Header | None = None, epoch: int | None = None
) -> bytes:
    """One frame that carries ``messages``; ``epoch``: see `Frame`."""
    runs: list[list[Any]] = []
    kind = None
    for message in messages:
        if type(message) is not kind:
            kind = type(message)
            run: list[Any] = [_TAG_OF[kind]]
            runs.append(run)
        run.append(message)
    if header is None:
        frame: bytes = msgpack.packb((VERSION, runs) if epoch is None else (VERSION, runs, epoch))
    else:
        frame = msgpack.packb((VERSION, runs, *header.sender, *header.cluster))
    return frame


def encode_bounded(
    messages: list[Message], header: Header | None, bytes_max: int, epoch: int | None = None
) -> Iterable[tuple[bytes, list[Message]]]:
    """Frames of at most ``bytes_max`` (a single message may be larger), with their messages."""
    if len(messages) <= ARRAY_ITEMS_CAP:
        frame = encode(messages, header, epoch)
        if len(frame) <= bytes_max or len(messages) <= 1:
            yield frame, messages
            return
    half = len(messages) // 2
    yield from encode_bounded(messages[:half], header, bytes_max, epoch)
    yield from encode_bounded(messages[half:], header, bytes_max, epoch)


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
        raise VersionError(parts[0], next((p for p in parts[2:3] if type(p) is str), None))
    if type(parts[1]) is not tuple:
        raise FrameError("the messages are not an array")
    messages: list[Message] = []
    for run in parts[1]:
        messages += _messages(run)
        if len(messages) > ARRAY_ITEMS_CAP:
            raise FrameError(f"more than {ARRAY_ITEMS_CAP} messages")
    if len(parts) == 2:
        return Frame(messages, None)
    if len(parts) == 3 and type(parts[2]) is int:
        return Frame(messages, None, parts[2])
    if tuple(map(type, parts[2:])) != (str, str, str, bytes, int, bytes, bytes):
        raise FrameError("a header is node, actor, cluster, lineage, epoch, digest, buckets")
    return Frame(messages, Header(_new(Peer, parts[2:4]), _new(ClusterId, parts[4:])))


def request_numbers(data: bytes) -> list[int] | None:
    """The numbers of the gets, puts and deletes in a client's frame, to refuse them undecoded.

    That costs a third of `decode`.  None if there is anything else in the frame.
    """
    numbers: list[Any] = []
    try:
        version, runs = _unpacked(data)
        for run in runs:
            if run[0] not in _REFUSED_UNREAD:
                return None
            numbers += [fields[0] for fields in run[1:]]
    except Exception:  # `decode` raises the right error for it
        return None
    return numbers if version == VERSION and set(map(type, numbers)) <= {int} else None


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
    columns: tuple[frozenset[type], ...]
    """The types that each field may have."""
    signatures: frozenset[tuple[type, ...]]
    """The types that all fields may have together."""
    nested: tuple[tuple[int, Check], ...]
    """The fields that have values inside, each with its check."""


def _messages(run: Any) -> Iterable[Message]:
    """The messages of a run, ``[tag, [fields, ...], [fields, ...]]``."""
    if type(run) is not tuple or len(run) < 2:
        raise FrameError("a run is an array of a tag and messages")
    tag = run[0]
    # A foreign tag may nest too deep to be hashed or printed: check its type first.
    if type(tag) is not int:
        raise FrameError(f"unknown message tag: {type(tag).__name__}")
    try:
        shape = _SHAPES[tag]
    except KeyError:
        raise FrameError(f"unknown message tag: {tag}") from None
    if len(run) == 2:
        return (_message(shape, run[1]),)
    rows = run[1:]
    if _fit_at_once(shape, rows):
        return map(_new, itertools.repeat(shape.kind), rows)
    return [_message(shape, row) for row in rows]


def _fit_at_once(shape: _Shape, rows: tuple[Any, ...]) -> bool:
    """Whether every row fits the shape; False also if values inside a field must be checked.

    The types are checked field by field, which is faster than row by row.
    """
    if set(map(type, rows)) != {tuple}:
        return False
    try:
        columns = tuple(zip(*rows, strict=True))
    except ValueError:
        return False
    return (
        len(columns) == len(shape.columns)
        and all(map(_only, shape.columns, columns))
        and not any(map(any, [columns[at] for at, _ in shape.nested]))
    )


def _only(allowed: frozenset[type], values: tuple[Any, ...]) -> bool:
    """Whether all values are of the allowed types."""
    return allowed.issuperset(map(type, values))


def _message(shape: _Shape, fields: Any) -> Message:
    """One message from ``[field, ...]``."""
    kind, _, signatures, nested = shape
    if type(fields) is not tuple:
        raise FrameError(f"the fields of {kind.__name__} are not an array")
    if tuple(map(type, fields)) not in signatures:
        given = ", ".join(type(field).__name__ for field in fields[:16])
        raise FrameError(f"the fields of {kind.__name__} cannot be ({given})")
    # As `_make`, without its count of the fields: the signatures have checked that.
    message: Message = _new(kind, _checked(fields, nested) if nested else fields)
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
    nested = _nested(annotations)

    def check(value: tuple[Any, ...]) -> Any:
        if tuple(map(type, value)) not in signatures:
            raise FrameError(f"{name} has the wrong fields")
        return make(_checked(value, nested))

    return check


def _nested(annotations: list[Any]) -> tuple[tuple[int, Check], ...]:
    """The checks of values inside of fields."""
    checks = ((at, _checker(annotation)) for at, annotation in enumerate(annotations))
    nested = tuple((at, check) for at, check in checks if check is not None)
    for _, check in nested:
        check(())  # An empty array or map has nothing to check: it is left out.
    return nested


def _checked(fields: tuple[Any, ...], nested: tuple[tuple[int, Check], ...]) -> tuple[Any, ...]:
    """The fields as their annotations have them."""
    for at, check in nested:
        if fields[at]:
            fields = (*fields[:at], check(fields[at]), *fields[at + 1 :])
    return fields


def _shape(message_type: type[Any]) -> _Shape:
    """Compile the shape of a message type from its annotations."""
    hints = list(typing.get_type_hints(message_type).values())
    nested = _nested(hints)
    return _Shape(
        message_type,
        tuple(frozenset(_plain_types(hint)) for hint in hints),
        frozenset(itertools.product(*map(_plain_types, hints))),
        nested,
    )


class _Shapes(dict[int, _Shape]):
    """Shapes by tag.  Each is compiled when it is needed first: a client needs a few of them."""

    def __missing__(self, tag: int) -> _Shape:
        shape = self[tag] = _shape(ROUTE_BY_TAG[tag].type)
        return shape


_new: Callable[[type[Any], Iterable[Any]], Any] = tuple.__new__
_TAG_OF: dict[type[Any], int] = {kind: route.tag for kind, route in ROUTE_OF.items()}
_REFUSED_UNREAD = frozenset(route.tag for route in ROUTE_BY_TAG.values() if route.queued)
_SHAPES = _Shapes()
