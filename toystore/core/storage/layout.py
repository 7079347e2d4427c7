"""The layout of the store: every kind of key that is on the disk of a node.

The first byte of a key is its kind:

    b"R" + digest(17)                                  a record
    b"H" + owner + NUL + digest(17)                    a hint for owner: stored_at_us(8) + record
    b"Q" + owner + NUL + stored_at_us(8) + digest(17)  the queue of an owner's hints, oldest first
    b"B" + n(1) + partition(4)                         the state of a range, 1 byte: `RangeState`
    b"F" + n(1) + partition(4)                         the floor of a range: time_us(8)
    b"t" + owner                                       the total of an owner's hints
    b"E" + epoch(4)                                    the ring record of an epoch
    b"m" + name                                        a fact about this disk

A digest begins with N and the partition, so each range is one stretch of the records.  A range
without a state is WHOLE if the node owns it; an empty state is BEHIND.

An engine stores keys of up to 511 bytes.  `fits_a_key` is the check that a name fits one; the
configuration limits the names of members to far less.
"""

from __future__ import annotations

from toystore.core.ring.ranges import Range

RECORD = b"R"
HINT = b"H"
QUEUE = b"Q"
STATE = b"B"
FLOOR = b"F"
TOTAL = b"t"
RING_RECORD = b"E"
FACT = b"m"

LAYOUT_VERSION = b"2"

YES = b"yes"
NO = b"no"

LAYOUT = b"mlayout"
"""`LAYOUT_VERSION` of the program that initialised the store."""
DISK = b"mdisk"
"""The id of the disk, 32 hex digits."""
CLUSTER = b"mcluster"
NODE = b"mnode"
VOTE = b"mvote"
"""What this disk has promised and accepted for the ring record of the next epoch."""
PLAN = b"mplan"
"""The last plan of a change of the ring, as JSON."""
MEMBERS = b"mmembers"
"""The digest of the member list by which the data was placed."""
LINEAGE = b"mlineage"
"""The digest of the cluster at its founding."""
SETTLED = b"msettled"
"""`YES` if this disk is the one that the cluster knows, `REPLACED` if it took the place of that
one; absent before it is confirmed which."""
COPIES = b"mcopies"
"""The N of the ranges that the last run owned, as in ``1,3``."""
ADOPTED = b"madopted"
"""The epoch of the ring record that the states of ranges follow from, and that of the newest record
by which ranges moved, as in ``7,5``; absent before the first."""
REPLACED = b"replaced"
VOTES = b"mvotes"
"""`YES` if this disk votes "not found" in each range: it was not replaced, or is whole again."""
PEER = b"mpeer:"
"""The disk id of another member; the member's name follows."""
BUCKET = b"mbucket:"
"""N of a bucket, in decimal; the bucket's name follows."""
CLOSED = b"mclosed"
"""The floor below which no new write is stored, in any range: time_us(8)."""
REFUSING = b"mrefusing"
"""This key exists while hints are refused, so that only the first refusal is logged."""

HINT_TIME_BYTES = 8
"""Length of the time before the record of a hint, and in the queue."""
NAME_BYTES_MAX = 255


def fits_a_key(name: str) -> bool:
    """Whether ``name`` fits a key, and the end of the name can be found in the key."""
    return 0 < len(name.encode()) <= NAME_BYTES_MAX and "\0" not in name


def hint_key(owner: str, digest: bytes) -> bytes:
    """The key of a hint; with an empty ``digest``, the prefix of all hints for ``owner``."""
    return b"H%b\0%b" % (owner.encode(), digest)


def queue_prefix(owner: str) -> bytes:
    """The prefix of the queue of ``owner``; the time and the digest of a hint follow."""
    return b"Q%b\0" % owner.encode()


def state_key(of: Range) -> bytes:
    """The key of the state of a range."""
    return STATE + _packed(of)


def floor_key(of: Range) -> bytes:
    """The key of the floor of a range."""
    return FLOOR + _packed(of)


def _packed(of: Range) -> bytes:
    return of.n.to_bytes(1, "big") + of.partition.to_bytes(4, "big")


def ring_record_key(epoch: int) -> bytes:
    """The key of the ring record of an epoch."""
    return RING_RECORD + epoch.to_bytes(4, "big")


def total_key(owner: str) -> bytes:
    """The key of the total of the hints for ``owner``."""
    return TOTAL + owner.encode()
