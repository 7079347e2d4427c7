"""The pieces of a ZMTP connection: what a lossy link may lose, and what it must not."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toystore.localcluster.zmtp import Pieces

GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x01NULL" + bytes(48)
SUBSCRIBE = b"\x04\x0d\x09SUBSCRIBEn1\0"


def ready(socket_type: bytes) -> bytes:
    body = b"\x05READY\x0bSocket-Type" + len(socket_type).to_bytes(4, "big") + socket_type
    return b"\x04" + bytes([len(body)]) + body


def message(*parts: bytes) -> bytes:
    """A message; a part of more than 255 bytes makes a long frame."""
    frames = []
    for at, part in enumerate(parts, start=1):
        long = len(part) > 255
        flags = (at < len(parts)) | long << 1
        frames.append(bytes([flags]) + len(part).to_bytes(8 if long else 1, "big") + part)
    return b"".join(frames)


DATAGRAMS = [message(b"n1\0ping"), message(bytes(300)), message(b"two", b"parts", bytes(999))]


@given(st.lists(st.integers(0, 2000), max_size=20))
def test_however_bytes_arrive_each_message_of_a_publisher_is_one_piece(cuts):
    stream = GREETING + ready(b"XPUB") + DATAGRAMS[0] + SUBSCRIBE + DATAGRAMS[1] + DATAGRAMS[2]
    ends = [0, *sorted(cuts), len(stream)]
    pieces = Pieces()

    found = [
        piece for start, end in itertools.pairwise(ends) for piece in pieces.feed(stream[start:end])
    ]

    assert b"".join(piece.data for piece in found) == stream
    assert [piece.data for piece in found if piece.is_datagram] == DATAGRAMS


@pytest.mark.parametrize(
    "stream",
    [
        GREETING + ready(b"SUB") + message(b"\x01n1\0") + SUBSCRIBE,
        b"GET / HTTP/1.1\r\n" + bytes(200),
        b"\xff" * 9 + b"\x7f\x02" + bytes(200),
    ],
    ids=["a subscriber", "not ZMTP", "ZMTP 2"],
)
def test_what_is_not_from_a_publisher_is_passed_on_and_never_lost(stream):
    pieces = Pieces()

    found = [piece for byte in stream for piece in pieces.feed(bytes([byte]))]

    assert b"".join(piece.data for piece in found) == stream
    assert not any(piece.is_datagram for piece in found)
