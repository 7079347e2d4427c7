"""A storage machine on an engine in memory, with eight partitions of n=3 that it owns alone."""

import random

from toystore.core.data.record import digest_of, pack_record
from toystore.core.data.stamp import pack_stamp
from toystore.core.protocol.address import Peer
from toystore.core.protocol.machine import Now, Outbox
from toystore.core.ring.ranges import LEAVES, Range, Ranges
from toystore.core.ring.ring import Member
from toystore.core.ring.tree import hash_of, sum_of
from toystore.core.ring.view import fixed_ring
from toystore.core.storage.layout import RECORD
from toystore.core.storage.storage import Storage
from toystore.core.storage.stretch import scan_stretch
from toystore.engines.memory import MemoryEngine

ASKER = Peer("n1", "antientropy")
PARTITIONS = 8
N = 3
FOREVER = 2**64
EVERY_KEY = [b"%d" % number for number in range(60)]


def record(key, time_us=1, value=b"v", bucket="default"):
    return pack_record(pack_stamp(time_us, 0, b"minter-1"), bucket, key, value)


def digest(key, bucket="default"):
    return digest_of(bucket, key, N)


def flipped(data, at=-1):
    """``data`` with one bit turned over."""
    rotten = bytearray(data)
    rotten[at] ^= 1
    return bytes(rotten)


def content_of(engine):
    """All that a store has."""
    engine.begin()
    content = dict(engine.scan(b""))
    engine.commit()
    return content


class Disk:
    """A storage machine, each batch of questions in a transaction."""

    def __init__(self, members=("n1",)):
        self.engine = MemoryEngine()
        self.out = Outbox()
        self.start = Ranges(fixed_ring(map(Member, members), PARTITIONS, N), "n1", [N])
        self.make_machine()

    def make_machine(self):
        """A machine in its first state."""
        self.machine = Storage(
            store=self.engine,
            node="n1",
            ranges=self.start,
            copies={"default": N, "five": 5},
            hint_bytes_max=1000,
            outbox=self.out,
            chance=random.Random(1),
        )
        self.sums = self.machine.sums

    @property
    def ranges(self):
        """Those that the machine owns."""
        return self.machine.ranges

    def feed(self, *messages):
        """The replies to messages of a transaction that is open."""
        for message in messages:
            self.machine.receive(message, ASKER, Now(1.0, 10**15))
        return self.replies()

    def replies(self):
        replies = self.out.sends.pop(ASKER, [])
        assert not self.out.sends
        return replies

    def ask(self, *messages):
        """The replies to a batch that is committed."""
        self.engine.begin()
        replies = self.feed(*messages)
        self.commit()
        return replies + self.replies()

    def commit(self):
        self.engine.commit()
        self.machine.on_commit()

    def abort(self):
        self.engine.abort()
        self.machine.on_abort()
        self.out.clear()

    def plant(self, key, value):
        """Change the store behind the machine's back."""
        self.engine._set(RECORD + digest(key), value)

    def stored(self, key):
        return self.engine.get(RECORD + digest(key))

    def events(self):
        """What was logged since this was asked last."""
        events, self.out.events = [event.name for event in self.out.events], []
        return events

    def recomputed(self, of, is_sound):
        """The tree of a range, from the store alone."""
        tree = b""
        for leaf in self.ranges.leaves(of):
            xor = count = 0
            stretch = self.ranges.first_of(leaf), self.ranges.end_of(leaf)
            for at, stored in scan_stretch(self.engine, *stretch):
                if is_sound(stored):
                    xor ^= hash_of(at, stored)
                    count += 1
            tree += sum_of(xor, count)
        return tree


def leaf_of(key):
    """The leaf of a key, whose digest begins with 3 bits of partition and 4 of leaf."""
    return digest(key)[1] >> 1


def range_of(key):
    return Range(N, leaf_of(key) // LEAVES)
