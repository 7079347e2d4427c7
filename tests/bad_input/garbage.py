"""Bytes that are no frame of ours, and bytes that are not even ZeroMQ."""

from __future__ import annotations

import random
import struct

import msgpack

from toystore.wire import VERSION, encode

from .target import SEED, a_put

A_FRAME = encode([a_put()])
DEEP = b"\x91" * 5000 + b"\x90"
GARBAGE = {
    "nothing": b"",
    "reserved byte": b"\xc1",
    "text": b"GET / HTTP/1.1\r\n\r\n",
    "noise": random.Random(SEED).randbytes(1000),
    "a number": msgpack.packb(1),
    "an empty array": msgpack.packb([]),
    "a map": msgpack.packb({1: []}),
    "no messages": msgpack.packb([VERSION]),
    "messages are text": msgpack.packb([VERSION, "put"]),
    "a run is a number": msgpack.packb([VERSION, [3]]),
    "an empty run": msgpack.packb([VERSION, [[]]]),
    "a run without messages": msgpack.packb([VERSION, [[1]]]),
    "a message is a number": msgpack.packb([VERSION, [[1, 3]]]),
    "an empty message": msgpack.packb([VERSION, [[1, []]]]),
    "an unknown tag": msgpack.packb([VERSION, [[999, [1]]]]),
    "a tag that is text": msgpack.packb([VERSION, [["Put", [1]]]]),
    "too few fields": msgpack.packb([VERSION, [[1, [1]]]]),
    "a key that is text": msgpack.packb([VERSION, [[1, [1, "default", "k", None, 9]]]]),
    "a number that is a float": msgpack.packb([VERSION, [[1, [1.5, "default", b"k", 1, 9]]]]),
    "a header cut short": msgpack.packb([VERSION, [], "n2", "storage"]),
    "a header of other types": msgpack.packb([VERSION, [], "n2", "storage", "bad_input", "x"]),
    "a later version": msgpack.packb([VERSION + 1, []]),
    "version 1": msgpack.packb([1, []]),
    "version 0": msgpack.packb([0, []]),
    "a bucket that is not UTF-8": A_FRAME.replace(b"default", b"\xff\xfe\xfd\xfc\xfb\xfa\xf9"),
    "nested too deep": DEEP,
    "nested too deep inside": msgpack.packb([VERSION, [[3, 0]]])[:-1] + DEEP,
    "an array that claims to be huge": b"\xdd\xff\xff\xff\xff",
    "bytes that claim to be huge": b"\x92\x02\xc6\xff\xff\xff\xff",
    "two frames in one": A_FRAME * 2,
    "a timestamp": msgpack.packb([VERSION, [[8, [msgpack.Timestamp(1)]]]]),
    **{f"cut off at {at}": A_FRAME[:at] for at in range(1, len(A_FRAME), 7)},
}


GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00NULL" + bytes(16) + b"\x00" + bytes(31)


def ready(kind: bytes) -> bytes:
    """The command that ends a handshake, from a socket of some kind without an identity."""
    named = ((b"Socket-Type", kind), (b"Identity", b""))
    sized = (b"%c%b%b%b" % (len(k), k, struct.pack(">I", len(v)), v) for k, v in named)
    body = b"\x05READY" + b"".join(sized)
    return b"\x04%c%b" % (len(body), body)


READY = ready(b"DEALER")
NOT_ZEROMQ = {
    "nothing": b"",
    "HTTP": b"GET / HTTP/1.1\r\nHost: toystore\r\n\r\n",
    "TLS": bytes.fromhex("16030100c8010000c40303") + bytes(200),
    "noise": random.Random(SEED).randbytes(100_000),
    "half a greeting": GREETING[:20],
    "a greeting and noise": GREETING + random.Random(SEED).randbytes(10_000),
    "a greeting and a huge command": GREETING + b"\x06" + struct.pack(">Q", 2**62),
    "a handshake and a huge frame": GREETING + READY + b"\x02" + struct.pack(">Q", 2**62),
    "a handshake and half a frame": GREETING + READY + b"\x00\xff" + b"half",
}
