"""What messages and events look like in a transcript: their own names, and the fields that matter.

A range is its N and its partition, ``3/5``; a row is a key and its stamp.
A field that only pairs a reply with its question is left out, and so is one that is not set, or
is about the ring;
an empty list is shown in replies alone.  Keys stand for their digests.  A stamp is its minter
and the time on the minter's clock, in seconds since the story began: ``ann@0.0000``.  A member is
its name, status and incarnation: ``n3:SUSPECT/1``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from toystore.core.data import context, record
from toystore.core.data.row import HASH_BYTES, split_rows
from toystore.core.data.stamp import STAMP_BYTES, unpack_stamp
from toystore.core.protocol.machine import Event
from toystore.core.protocol.messages import codes, gossip

PAIRING = ("request", "sequence", "bucket", "timeout_ms", "bytes_max", "until_us", "n", "compared")
OF_THE_RING = ("epoch", "states", "undecided")
"""Fields that say nothing while the ring does not change, as in all stories."""

_N = b"\x03"
"""N of the bucket that the stories use."""


class Words:
    """The words of one story."""

    def __init__(self) -> None:
        self.wall_us = 0
        """What right clocks said when the story began."""
        self._keys: dict[bytes, str] = {}
        self._shown: dict[str, Callable[[Any], str]] = {
            "code": lambda code: codes.Code(code).name,
            "context": lambda packed: self.stamp(context.unpack_context(packed)),
            "differing": lambda ranges: listed(f"{n}/{at}" for n, at, _ in ranges),
            "listed": lambda stretches: listed(self.rows(*one) for one in stretches),
            "records": lambda records: listed(map(self.record, records)),
            "roots": lambda roots: f"({len(roots)} ranges)",
            "unready": lambda ranges: listed(f"{n}/{at}" for n, at in ranges),
            "wanted": lambda hashes: listed(self.keys_of(hashes)),
            "delivered": lambda pairs: listed(f"{self.key(d)} {self.stamp(s)}" for d, s in pairs),
            "digest": self.key,
            "hints": lambda pairs: listed(f"{self.key(d)} {self.record(r)}" for d, r in pairs),
            "key": bytes.decode,
            "members": lambda states: listed(map(member, states)),
            "record": self.record,
            "stamp": self.stamp,
            "status": replica_status,
            "statuses": lambda statuses: listed(map(replica_status, statuses)),
            "updates": lambda states: listed(map(member, states)),
            "value": quoted,
            "values": lambda values: listed(map(quoted, values)),
        }

    def digest(self, key: str) -> bytes:
        """The digest of a key, which is shown as that key from now on."""
        digest = record.digest_of("default", key.encode(), 3)
        self._keys[digest] = key
        return digest

    def message(self, message: Any) -> str:
        """A message: its type and its fields."""
        kind = type(message).__name__
        texts = (
            f"{name}={self._shown.get(name, plain)(given)}"
            for name, given in message._asdict().items()
            if name not in (*PAIRING, *OF_THE_RING)
            and (is_set(given) or (given == () and kind.endswith("Reply")))
        )
        return " ".join((kind, *texts))

    def event(self, event: Event) -> str:
        """An event of the log: its name and its fields."""
        fields = ((name, given) for name, given in event.fields.items() if given is not None)
        return " ".join((event.name, *(f"{name}={plain(given)}" for name, given in fields)))

    def key(self, digest: bytes) -> str:
        """The key of a digest."""
        return self._keys.get(digest) or digest.hex()

    def keys_of(self, hashes: bytes) -> list[str]:
        """The keys of hashes."""
        each = range(0, len(hashes), HASH_BYTES)
        return [self.key(_N + hashes[at : at + HASH_BYTES]) for at in each]

    def rows(self, start: bytes, _end: bytes, rows: bytes) -> str:
        """The rows of a stretch: keys and stamps."""
        shown = (
            f"{self.key(start[:1] + row[:HASH_BYTES])} {self.stamp(row[-STAMP_BYTES:])}"
            for row in split_rows(rows)
        )
        return listed(shown)

    def stamp(self, stamp: bytes) -> str:
        """Who minted a stamp, and when."""
        time_us, counter, minter = unpack_stamp(stamp)
        since_s = (time_us - self.wall_us) / 1e6
        return f"{minter.rstrip(b'.').decode()}@{since_s:.4f}" + f"+{counter}" * bool(counter)

    def record(self, packed: bytes) -> str:
        """A value, or that it was deleted, and its stamp."""
        one = record.unpack_record(packed)
        return f"{'deleted' if one.tombstone else quoted(one.value)} {self.stamp(one.stamp)}"


def is_set(given: Any) -> bool:
    """Whether a field has anything in it; 0 is a number like any other."""
    return type(given) is int or bool(given)


def plain(given: Any) -> str:
    """Whatever needs no words of its own."""
    if isinstance(given, tuple):
        return listed(map(plain, given))
    if isinstance(given, float):
        return f"{given:.4f}"
    return f'"{given}"' if " " in str(given) else str(given)


def quoted(value: bytes) -> str:
    """A value as it stands in a command."""
    return f'"{value.decode()}"'


def replica_status(status: int) -> str:
    """What a replica says."""
    return codes.ReplicaStatus(status).name


def member(state: gossip.MemberState) -> str:
    """What gossip says of a member."""
    return f"{state.name}:{codes.MemberStatus(state.status).name}/{state.incarnation}"


def listed(texts: Iterable[str]) -> str:
    """Several, in the order in which they were given."""
    return f"({', '.join(texts)})"
