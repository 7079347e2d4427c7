"""The tree of a range: the sums of its leaves, and their digest, the root (Merkle, 1987).

Two replicas of a range compare their roots.  If these differ, they compare the sums of the leaves,
and then only the records of the leaves that differ (Dynamo, section 4.7).

    root     8 bytes    BLAKE2b of the tree
    tree     16 sums    12 bytes each: XOR of the hashes of a leaf's records (8), their number (4)
    hash     8 bytes    BLAKE2b of a record's digest and its first 26 bytes: format, flags,
                        checksum and stamp
"""

from __future__ import annotations

import hashlib
import struct

from toystore.core.ring.ranges import LEAVES

ROOT_BYTES = 8
_HASH_BYTES = 8
HEAD_BYTES = 26  # of a record
_SUM = struct.Struct(">QI")
SUM_BYTES = _SUM.size
TREE_BYTES = LEAVES * SUM_BYTES


def hash_of(digest: bytes, head: bytes) -> int:
    """The hash of a record: ``head`` is the record, or at least its first 26 bytes."""
    hashed = hashlib.blake2b(digest + head[:HEAD_BYTES], digest_size=_HASH_BYTES)
    return int.from_bytes(hashed.digest(), "big")


def sum_of(hashes: int, count: int) -> bytes:
    """The 12 bytes of a leaf: the XOR of the hashes, and the number of its records."""
    return _SUM.pack(hashes, count)


def root_of(tree: bytes) -> bytes:
    """The root of a tree."""
    return hashlib.blake2b(tree, digest_size=ROOT_BYTES).digest()


def differing(one: bytes, other: bytes) -> list[int]:
    """The leaves in which two trees differ, from 0 to 15, in order."""
    return [
        leaf
        for leaf in range(LEAVES)
        if one[leaf * SUM_BYTES :][:SUM_BYTES] != other[leaf * SUM_BYTES :][:SUM_BYTES]
    ]
