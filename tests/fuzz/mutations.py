"""Inputs made wrong, as disks, networks and hands make them wrong.

`mutated` is the one way from an input to another: the tests draw from it through
hypothesis, and the long search from a seed.  What it is given decides what it does:

    tear   the bytes: flip, cut, repeat, overwrite, splice; a length becomes a huge one
    bend   the values in them: taken apart by the input's `Form`, one is swapped, dropped,
           doubled, nested or made odd, and all is put together again, checksums included

so that an input may be wrong at any depth and still be sound down to there.  Bytes that
stand inside of others (a record in a store) are bent by their own form.
"""

from __future__ import annotations

import contextlib
import copy
import json
import random
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import msgpack
import yaml

from toystore.core.data.context import unpack_context
from toystore.core.data.record import check_record
from toystore.core.data.stamp import pack_stamp, unpack_stamp

INPUT_BYTES_MAX = 64 * 1024
STEPS_MAX = 4


def mutated(data: bytes, other: bytes, form: Form, chance: random.Random) -> bytes:
    """``data`` with a few things wrong with it, some of them taken from ``other``."""
    for _ in range(chance.randint(1, STEPS_MAX)):
        step = _bent if form.is_pack or chance.randrange(3) else _torn
        data = step(data, other, form, chance)[:INPUT_BYTES_MAX]
    return data


def smaller(data: bytes, form: Form) -> Iterator[bytes]:
    """Inputs that have less in them than ``data``, those that have least first."""
    with contextlib.suppress(Exception):
        for at in range(len(_places([form.apart(data)]))):
            whole = [form.apart(data)]
            holder, key = _places(whole)[at]
            del holder[key]
            with contextlib.suppress(Exception):
                yield form.together(whole[0])
    size = len(data)
    while size := size // 2:
        for at in range(0, len(data), size):
            yield data[:at] + data[at + size :]


# --- how inputs come apart --------------------------------------------------------------


class Form(NamedTuple):
    """How bytes of one kind come apart into plain values, and go together again.

    Either may raise anything: then the bytes are torn instead.
    """

    apart: Callable[[bytes], Any]
    together: Callable[[Any], bytes]
    words: tuple[bytes, ...] = ()
    """What means something to their reader, to be strewn in."""
    odd: tuple[Any, ...] = ()
    """Values that are odd in this form alone; see `ODD`."""
    is_pack: bool = False
    """Made for the fuzzing alone: to tear it would say nothing, so that is done to its parts."""


def _record_apart(data: bytes) -> list[Any]:
    check_record(data)
    return [*data[:2], *struct.unpack_from(">20sQHHI", data, 6), data[42:]]


def _record_together(parts: list[Any]) -> bytes:
    version, flags, *fields, rest = parts
    body = struct.pack(">20sQHHI", *fields) + rest
    return bytes((version, flags)) + (zlib.crc32(body) ^ flags).to_bytes(4, "big") + body


def _context_apart(data: bytes) -> list[Any]:
    return [data[0], unpack_context(data)]


def _context_together(parts: list[Any]) -> bytes:
    body = bytes(parts[:1]) + parts[1]
    return body + zlib.crc32(body).to_bytes(4, "big")


def _msgpack_apart(data: bytes) -> Any:
    return msgpack.unpackb(data, strict_map_key=False)


def _lines_apart(data: bytes) -> list[Any]:
    return [json.loads(line) for line in data.splitlines()]


def _lines_together(lines: list[Any]) -> bytes:
    return b"\n".join(json.dumps(line).encode() for line in lines)


def _yaml_apart(data: bytes) -> Any:
    if b"*" in data:
        raise ValueError("an alias: it may be a bomb")
    return yaml.safe_load(data)


def _yaml_together(tree: Any) -> bytes:
    text = yaml.safe_dump(tree, sort_keys=False).encode()
    return re.sub(rb"WORD(\d+)", lambda word: YAML_WORDS[int(word[1])], text)


STAMP = Form(lambda data: list(unpack_stamp(data)), lambda parts: pack_stamp(*parts))
RECORD = Form(_record_apart, _record_together)
CONTEXT = Form(_context_apart, _context_together)
MSGPACK = Form(
    _msgpack_apart,
    msgpack.packb,
    (*(lead + b"\xff" * 4 for lead in (b"\xdd", b"\xdf", b"\xc6", b"\xdb")), b"\xd6\xff", b"\xc1"),
)
PACK = MSGPACK._replace(is_pack=True)
LINES = Form(_lines_apart, _lines_together, (b"\n", b'"', b"{", b"[" * 2000, b"NaN", b"\\ud800"))
YAML_WORDS = (
    *(b"!!int ''", b"!!float ''", b"!!bool x", b"!!timestamp x", b"!!binary x", b"!!set {x}"),
    *(b"0x" + b"f" * 5000, b"1" + b":59" * 3000, b"1:59.5", b".inf", b"1.0e+999", b"2024-99-99"),
    *(b"&a [*a, *a]", b"*a", b"&a {<<: *a}", b"<<", b"|", b"? x", b"- x", b"[" * 40, b"\xff"),
)
YAML = Form(
    _yaml_apart, _yaml_together, YAML_WORDS, tuple(f"WORD{at}" for at in range(len(YAML_WORDS)))
)
_INSIDE = (RECORD, CONTEXT, MSGPACK)


# --- bend: the values -------------------------------------------------------------------

ODD: tuple[Any, ...] = (
    *(None, True, 0, -1, 2**16, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1, -(2**63)),
    *(10**400, 0.5, -0.0, 1e308, float("nan"), float("inf")),
    *("", "\0", "n1", "x" * 600, "\u202e\U0001f600", b"", bytes(16), b"\xff" * 20, b"x" * 600),
    *([], {}, [[]], {"": None}, [0] * 100),
)


def _bent(data: bytes, other: bytes, form: Form, chance: random.Random) -> bytes:
    """One value in ``data`` made wrong; torn where it has none that is within reach."""
    with contextlib.suppress(Exception):
        whole = [form.apart(data)]
        holder, key = chance.choice(_places(whole))
        _bend(holder, key, other, form, chance)
        return form.together(whole[0])
    return data if form.is_pack else _torn(data, other, form, chance)


def _places(tree: list[Any]) -> list[tuple[Any, Any]]:
    """Every value in ``tree``, as what holds it and the key that it is held under."""
    places: list[tuple[Any, Any]] = []
    unseen: list[Any] = [tree]
    while unseen:
        holder = unseen.pop()
        for key, value in enumerate(holder) if isinstance(holder, list) else holder.items():
            places.append((holder, key))
            if isinstance(value, list | dict):
                unseen.append(value)
    return places


def _bend(holder: Any, key: Any, other: bytes, form: Form, chance: random.Random) -> None:
    """Change the value that ``holder`` has under ``key``."""
    value = holder[key]
    match chance.randrange(8):
        case 0 | 1 | 2:
            holder[key] = _nudged(value, other, form, chance)
        case 3:
            holder[key] = copy.deepcopy(chance.choice(ODD + form.odd))
        case 4:
            their, place = chance.choice(_places([form.apart(other)]))
            holder[key] = their[place]
        case 5:
            del holder[key]
        case 6 if isinstance(holder, list):
            holder.insert(chance.randint(0, len(holder)), copy.deepcopy(value))
        case 6:
            holder[chance.choice(("", 0, None, "x" * 600, f"{key}s"))] = value
        case _:
            for _ in range(chance.choice((1, 1, 300))):
                value = [value]
            holder[key] = value


def _nudged(value: Any, other: bytes, form: Form, chance: random.Random) -> Any:
    """Nearly ``value``."""
    match value:
        case int():
            return chance.choice((value + 1, value - 1, -value, value ^ 1 << chance.randrange(64)))
        case str():
            return _torn(value.encode(), other, form, chance).decode(errors="replace")
        case bytes():
            return _bent(value, other, chance.choice(_INSIDE), chance)
        case list() if value:
            chance.shuffle(value)
            return value
        case _:
            return copy.deepcopy(chance.choice(ODD))


# --- tear: the bytes --------------------------------------------------------------------


def _torn(data: bytes, other: bytes, form: Form, chance: random.Random) -> bytes:
    """Bytes of ``data`` changed, whatever they mean."""
    start = chance.randint(0, len(data))
    end = min(len(data), start + chance.choice((1, 2, 4, 8, 20, 1000)))
    head, middle, tail = data[:start], data[start:end], data[end:]
    match chance.randrange(7):
        case 0:
            return head + tail
        case 1:
            return head
        case 2:
            return head + middle * chance.choice((2, 3, 20)) + tail
        case 3:
            return head + chance.choice((b"\0", b"\x7f", b"\x80", b"\xff")) * len(middle) + tail
        case 4:
            return head + other[chance.randint(0, len(other)) :]
        case 5 if form.words:
            return head + chance.choice(form.words) + chance.choice((middle, b"")) + tail
        case _:
            flipped = bytes(byte ^ 1 << chance.randrange(8) for byte in middle[:2])
            return head + flipped + middle[2:] + tail
