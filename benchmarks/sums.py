"""What the sums of anti-entropy cost a put, in the storage machine on LMDB.

    python benchmarks/sums.py

Four machines write the same records in turn, each in batches of 64:

    none    no sums
    notes   the sums of the product without what they cost in the background: a put notes what it
            overwrites
    memory  the sums of the product: besides, the notes are folded, and the trees are asked for once
            in PUTS_BETWEEN puts
    store   a trial: the sum of the record's leaf is a key of the store, and changes in the record's
            own transaction

Each number is the median of the rounds, in microseconds a put.  Compare only figures of one run.
"""

from __future__ import annotations

import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click

from toystore.core.data.record import check_record, digest_of, pack_record
from toystore.core.data.stamp import pack_stamp
from toystore.core.protocol.address import Peer
from toystore.core.protocol.machine import Now, Outbox
from toystore.core.protocol.messages.antientropy import WatchRanges
from toystore.core.protocol.messages.replica import WriteReplica
from toystore.core.ring.ranges import Ranges
from toystore.core.ring.ring import Member
from toystore.core.ring.tree import hash_of
from toystore.core.ring.view import fixed_ring
from toystore.core.storage import sums
from toystore.core.storage.storage import Storage
from toystore.core.storage.store import Store
from toystore.engines import Engine, open_engine

PARTITIONS = 1024
MEMBERS = ("n1", "n2", "n3", "n4", "n5")
N = 3
BATCH = 64
RECORD_BYTES = 160
PUTS_BETWEEN = 8192
"""At 4,000 puts a second: the watcher asks at most every 2 s."""
ASKER = Peer("n2", "coordinator")
WATCHER = Peer("n1", "antientropy")


class NoSums:
    """Sums that nothing is told of."""

    def note(self, digest: bytes, before: bytes | None, record: bytes) -> None:
        """Do nothing."""


class SumsInStore:
    """A sum for each leaf, as a key of the store: 8 bytes XOR, 4 bytes count."""

    def __init__(self, store: Store, ranges: Ranges) -> None:
        self._store = store
        self._index_of = ranges.index_of

    def note(self, digest: bytes, before: bytes | None, record: bytes) -> None:
        """Take the record before out of the sum of its leaf, and put the new one in."""
        key = b"L" + self._index_of(digest).to_bytes(4, "big")
        packed = self._store.get(key) or bytes(12)
        xor, count = int.from_bytes(packed[:8], "big"), int.from_bytes(packed[8:], "big")
        if before is None:
            count += 1
        else:
            check_record(before)
            xor ^= hash_of(digest, before)
        xor ^= hash_of(digest, record)
        self._store.put(key, xor.to_bytes(8, "big") + count.to_bytes(4, "big"))


class Bench:
    """A storage machine on LMDB with one kind of sums."""

    def __init__(self, kind: str, durability: str, folder: Path) -> None:
        self.engine: Engine = open_engine(durability, folder / kind, map_bytes=1 << 30)
        self.out = Outbox()
        ranges = Ranges(fixed_ring(map(Member, MEMBERS), PARTITIONS, N), "n1", [N])
        self.machine = Storage(
            store=self.engine,
            node="n1",
            ranges=ranges,
            copies={"default": N},
            hint_bytes_max=0,
            outbox=self.out,
            chance=random.Random(1),
        )
        self._kind = kind
        instead: dict[str, Any] = {"none": NoSums(), "store": SumsInStore(self.engine, ranges)}
        if kind in instead:
            self.machine._records._sums = instead[kind]

    def write(self, batches: list[list[WriteReplica]]) -> None:
        """Commit each batch; ask for the trees once in `PUTS_BETWEEN` puts, and at the end."""
        for number, batch in enumerate(batches, 1):
            self._commit(batch)
            due = not number * BATCH % PUTS_BETWEEN or number == len(batches)
            if self._kind == "memory" and due:
                self.ask()

    def ask(self) -> None:
        """Ask for the trees of the ranges that have changed, until there are no more."""
        while self.machine.sums.has_changed:
            self.engine.begin()
            self.machine.receive(WatchRanges(1, False), WATCHER, Now(1.0, 1))
            self.engine.commit()
            self.machine.on_commit()
            self.out.clear()

    def _commit(self, batch: list[WriteReplica]) -> None:
        now = Now(1.0, 1)
        receive = self.machine.receive
        self.engine.begin()
        for message in batch:
            receive(message, ASKER, now)
        self.engine.commit()
        self.machine.on_commit()
        self.out.clear()


class Writes:
    """The keys that this node owns, and a new record of each whenever it is asked for one."""

    def __init__(self, keys: int) -> None:
        ranges = Ranges(fixed_ring(map(Member, MEMBERS), PARTITIONS, N), "n1", [N])
        names = (b"key:%d" % number for number in range(10**9))
        placed = ((digest_of("default", key, N), key) for key in names)
        owned = (pair for pair in placed if ranges.range_of(pair[0]) in ranges.owned)
        self._keys = [next(owned) for _ in range(keys)]
        self._more = owned
        self._time_us = 0
        self._chance = random.Random(1)

    def every_key(self) -> list[list[WriteReplica]]:
        """Each key once."""
        return self._batches(iter(self._keys), len(self._keys))

    def overwrites(self, puts: int) -> list[list[WriteReplica]]:
        """Newer records of random keys."""
        return self._batches(iter(self._chance.choices(self._keys, k=puts)), puts)

    def new_keys(self, puts: int) -> list[list[WriteReplica]]:
        """Keys that nothing is stored under."""
        return self._batches(self._more, puts)

    def _batches(self, pairs: Iterator[tuple[bytes, bytes]], puts: int) -> list[list[WriteReplica]]:
        writes = [self._write(*next(pairs)) for _ in range(puts)]
        return [writes[at : at + BATCH] for at in range(0, puts, BATCH)]

    def _write(self, digest: bytes, key: bytes) -> WriteReplica:
        self._time_us += 1
        stamp = pack_stamp(self._time_us, 0, b"minter-1")
        head = len(pack_record(stamp, "default", key, b""))
        record = pack_record(stamp, "default", key, bytes(RECORD_BYTES - head))
        return WriteReplica(1, digest, record, None)


class Cost(NamedTuple):
    """What a put costs, in microseconds."""

    wall: float
    cpu: float


def measured(bench: Bench, batches: list[list[WriteReplica]]) -> Cost:
    """The cost of a put.  Before, all notes are folded."""
    bench.ask()
    wall, cpu = time.perf_counter(), time.process_time()
    bench.write(batches)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    puts = sum(map(len, batches))
    return Cost(1e6 * wall / puts, 1e6 * cpu / puts)


@click.command()
@click.option("--keys", default=100_000, help="Keys that are stored before.")
@click.option("--puts", default=16_384, help="Puts a round.")
@click.option("--rounds", default=9, help="Rounds; each kind has its turn in each.")
@click.option("--durability", default="async", help="async: commits are not synced; sync.")
def main(keys: int, puts: int, rounds: int, durability: str) -> None:
    """Measure what sums cost a put."""
    kinds = ("none", "notes", "memory", "store")
    writes = Writes(keys)
    with tempfile.TemporaryDirectory(prefix="toystore-benchmark-") as folder:
        benches = {kind: Bench(kind, durability, Path(folder)) for kind in kinds}
        stored = writes.every_key()
        for bench in benches.values():
            bench.write(stored)
        # Between two measurements all notes of this machine are folded anyway.
        sums.NOTES_MAX = 10**9
        offers: dict[str, Callable[[int], list[list[WriteReplica]]]] = {
            "overwrites": writes.overwrites,
            "new keys": writes.new_keys,
        }
        print(f"{durability}, {keys} keys stored, medians of {rounds} rounds of {puts} puts")
        for title, offer in offers.items():
            costs: dict[str, list[Cost]] = {kind: [] for kind in kinds}
            for number in range(rounds):
                batches = offer(puts)
                for turn in range(len(kinds)):
                    kind = kinds[(turn + number) % len(kinds)]
                    costs[kind].append(measured(benches[kind], batches))
            report(title, costs)
        for bench in benches.values():
            bench.engine.close()


def report(title: str, costs: dict[str, list[Cost]]) -> None:
    """Print the medians, and their ratios to those without sums."""
    medians = {
        kind: Cost(*(statistics.median(column) for column in zip(*some, strict=True)))
        for kind, some in costs.items()
    }
    none = medians["none"]
    print(f"{title:<10} wall us/put  ratio  cpu us/put  ratio")
    for kind, (wall, cpu) in medians.items():
        ratios = wall / none.wall, cpu / none.cpu
        print(f"  {kind:<8} {wall:>11.1f} {ratios[0]:>6.2f} {cpu:>11.1f} {ratios[1]:>6.2f}")


if __name__ == "__main__":
    main()
