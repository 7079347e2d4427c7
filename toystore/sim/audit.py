"""Checks of a cluster's inner state once every fault is over.

`membership_agreed`  every node has joined, and every node sees every node alive
`hints_drained`      no node keeps a hint, or a remainder of one
`nodes_whole`        every disk votes, and no range is behind
`rot_replaced`       no corrupt record is left if another owner has a sound one
`trees_are_true`     the sums that storage has are those of its records
`copies_complete`    every owner stores every acknowledged write
`everything_in_its_place`  every record is stored by owners of its key only
`replicas_equal`     the owners of each key store the same bytes, though no client has read it
`lists_distinct`     every partition has N distinct owners, and each node once in its order
`idle_is_quiet`      without requests there is only gossip and the scrub, and little of it
`news_travels`       all nodes declare a dead node dead at about the same time

Each returns violations, like the checks of histories (``toystore/check/promises.py``).
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from toystore.check.history import OK, Row
from toystore.check.promises import Violation
from toystore.core.antientropy.antientropy import Antientropy
from toystore.core.data.record import CorruptRecordError, digest_of, stamp_of, unpack_record
from toystore.core.protocol.address import ANTIENTROPY, STORAGE
from toystore.core.protocol.messages.codes import MemberStatus
from toystore.core.protocol.roles import TOLD_OF_MEMBERS
from toystore.core.ring.ranges import LEAVES
from toystore.core.ring.view import RingView
from toystore.core.storage.layout import HINT, QUEUE, RECORD, SETTLED, STATE, TOTAL, VOTES, YES
from toystore.core.storage.storage import Storage
from toystore.sim import ring_audit
from toystore.sim.cluster import SimCluster
from toystore.sim.reaping_audit import ROUND_S
from toystore.sim.storage import SimStorage

HINTS = (HINT, QUEUE, TOTAL)
"""The kinds of keys that hints use."""
NEWS_PERIODS_MAX = 6
"""Within this many probe periods every node knows that a node is dead."""
COUNTS_EARLY = 0.8
"""Hints are counted a random bit earlier or later than ``retry_s``; this is the earliest."""
ROOMY_BYTES = 2**16
"""With this hint limit in bytes, the hints of an audit have room."""


def membership_agreed(cluster: SimCluster) -> list[Violation]:
    """Every node has joined and sees every node alive, in the same incarnation and disk."""
    views = {}
    for node in cluster.members:
        if node.members is None or not node.members.joined:
            return [Violation("membership_agreed", f"{node.name} has not joined")]
        views[node.name] = sorted(node.members.members)
        dead = [s.name for s in node.members.members if s.status != MemberStatus.ALIVE]
        missing = cluster.ring.members.keys() - {state.name for state in node.members.members}
        if dead or missing:
            text = f"{node.name} calls {dead} not alive, and does not know {sorted(missing)}"
            return [Violation("membership_agreed", text)]
    first, *others = views.values()
    if any(view != first for view in others):
        return [Violation("membership_agreed", f"the nodes differ: {views}")]
    return []


def hints_drained(cluster: SimCluster) -> list[Violation]:
    """No disk has a hint, or a remainder of one."""
    left = {
        node.name: kinds
        for node in cluster.members
        if (kinds := Counter(key[:1] for key, _ in node.disk.scan(b"") if key[:1] in HINTS))
    }
    return [Violation("hints_drained", f"left are {left}")] if left else []


def nodes_whole(cluster: SimCluster) -> list[Violation]:
    """Every disk is confirmed and votes, and none has a range that is behind."""
    found = []
    for node in cluster.members:
        facts = {name: node.disk.get(name) for name in (SETTLED, VOTES)}
        behind = sum(1 for _ in node.disk.scan(STATE))
        if behind or facts[VOTES] != YES or not facts[SETTLED]:
            text = f"{node.name} is behind in {behind} ranges, and has {facts}"
            found.append(Violation("nodes_whole", text))
    return found


def rot_replaced(cluster: SimCluster) -> list[Violation]:
    """No owner has a corrupt record if another owner has a sound one."""
    return [
        Violation("rot_replaced", f"{node.name} has a corrupt record under {key.hex()}")
        for node in cluster.members
        for key, copy in node.disk.scan(RECORD)
        if not _is_sound(copy) and _can_be_replaced(cluster, node.name, key[len(RECORD) :])
    ]


def trees_are_true(cluster: SimCluster) -> list[Violation]:
    """The sums that each storage has are those of the records on its disk."""
    storages = (node.actors.get(STORAGE) for node in cluster.members)
    return [
        violation
        for storage in storages
        if isinstance(storage, SimStorage)
        for violation in storage.untrue_sums()
    ]


def is_compared(cluster: SimCluster) -> bool:
    """Whether anti-entropy of every node is idle, and has been told of every change."""
    return all(
        isinstance(storage, Storage)
        and isinstance(antientropy, Antientropy)
        and antientropy.idle
        and storage.is_watched
        and not storage.sums.changed()
        for storage, antientropy in (
            (node.actors[STORAGE].machine, node.actors[ANTIENTROPY].machine)
            for node in cluster.members
        )
    )


def is_well(cluster: SimCluster) -> bool:
    """Whether every node is connected, agreed, idle, whole and trusts itself, no hint is left, no
    corrupt record that could be replaced, and all replicas were compared.
    """
    actors = [actor for node in cluster.members for actor in node.actors.values()]
    return (
        all(link.up for actor in actors for link in actor.links.values())
        and not membership_agreed(cluster)
        and all(getattr(actor.machine, "idle", True) for actor in actors)
        and all(getattr(actor.machine, "trusts_itself", True) for actor in actors)
        and not hints_drained(cluster)
        and not nodes_whole(cluster)
        and is_compared(cluster)
        and not rot_replaced(cluster)
        and not ring_audit.ring_agreed(cluster)
        and not ring_audit.removed_stay_out(cluster)
    )


def is_called(cluster: SimCluster, name: str, status: MemberStatus) -> bool:
    """Whether every other node has ``name`` in ``status``."""
    told = (node.members for node in cluster.members if node.name != name)
    return all(
        state.status == status
        for members in told
        for state in (members.members if members else ())
        if state.name == name
    )


def calls_all_dead(cluster: SimCluster, name: str) -> bool:
    """Whether ``name`` has declared every other node dead."""
    told = cluster.nodes[name].members
    others = [state for state in (told.members if told else ()) if state.name != name]
    return all(state.status == MemberStatus.DEAD for state in others)


def can_lose_one(cluster: SimCluster) -> bool:
    """Whether all keys can be read and written while one node is unreachable."""
    scenario, quorum = cluster.scenario, max(cluster.scenario.r, cluster.scenario.w)
    # Writes that an unreachable node misses stay open for longer: a few must have room.
    roomy = scenario.hint_bytes_max >= ROOMY_BYTES and scenario.requests_max > scenario.partitions
    return len(cluster.members) > quorum and roomy


def news_travels(cluster: SimCluster, name: str) -> list[Violation]:
    """All other nodes have declared ``name`` dead within a few probe periods of each other."""
    others = cluster.ring.members.keys() - {name}
    at_s = {one: cluster.called_dead[one, name] for one in sorted(others)}
    late_s = NEWS_PERIODS_MAX * cluster.swim_settings.probe_period_s
    if at_s and max(at_s.values()) - min(at_s.values()) > late_s:
        return [Violation("news_travels", f"{name} was called dead at {at_s}")]
    return []


def copies_complete(cluster: SimCluster, rows: Iterable[Row]) -> list[Violation]:
    """Every owner stores the last acknowledged write of each key, or a later one.

    A write may be gone that had at most as many copies as nodes have lost data since.  A delete,
    and what it has deleted, may be gone below the floor of an owner.
    """
    last: dict[tuple[str, str], Row] = {}
    for row in rows:
        if row.writes and row.outcome == OK and row.copies > _losers_since(cluster, row):
            last[row.place] = max(row, last.get(row.place, row), key=lambda row: row.stamp)
    found = []
    for place, row in last.items():
        digest = _digest(cluster, *place)
        for owner, copy in _copies_of(cluster, digest).items():
            removed = cluster.floors.removed_at(cluster.nodes[owner].disk, digest)
            newest = removed if copy is None else stamp_of(copy)
            if newest.hex() < row.stamp and (copy is None or _is_sound(copy)):
                text = f"{owner} holds {_told(copy)}"
                found.append(Violation("copies_complete", text, (row,)))
    return found


def replicas_equal(cluster: SimCluster) -> list[Violation]:
    """The owners of each key hold the same bytes, unless all that there is has rotted."""
    digests = {key[len(RECORD) :] for node in cluster.members for key, _ in node.disk.scan(RECORD)}
    found = []
    for digest in sorted(digests):
        copies = _copies_of(cluster, digest)
        if len(set(copies.values())) > 1 and any(map(_is_sound, copies.values())):
            told = {name: _told(copy) for name, copy in copies.items()}
            found.append(Violation("replicas_equal", f"{digest.hex()}: {told}"))
    return found


HEALED: Sequence[Callable[[SimCluster], list[Violation]]] = (
    ring_audit.ring_agreed,
    ring_audit.removed_stay_out,
    membership_agreed,
    hints_drained,
    nodes_whole,
    rot_replaced,
    replicas_equal,
)
"""The checks of a healed cluster that say why it is not well."""


def everything_in_its_place(cluster: SimCluster) -> list[Violation]:
    """No node stores a record of a key that it does not own."""
    found = []
    for node in cluster.members:
        strays = [
            key[1:].hex()
            for key, copy in node.disk.scan(RECORD)
            if _is_sound(copy) and node.name not in _owners(cluster, key[1:])
        ]
        if strays:
            text = f"{node.name} holds {len(strays)} records of others, {strays[0]} first"
            found.append(Violation("everything_in_its_place", text))
    return found


def lists_distinct(ring: RingView, n: int) -> list[Violation]:
    """Each partition's order names every member once, so that its first N are distinct."""
    found = []
    for partition in range(ring.partitions):
        order = ring.order(partition)
        if sorted(order) != sorted(ring.members) or len(set(order[:n])) < n:
            text = f"partition {partition} has the order {order}"
            found.append(Violation("lists_distinct", text))
    return found


def idle_is_quiet(
    cluster: SimCluster, said: Counter[str], logged: Counter[str], seconds: float
) -> list[Violation]:
    """``said`` and ``logged`` in ``seconds`` without requests are what they should be.

    Each node pings one other node per probe period, and exchanges with one per exchange
    period; then it sends its other actors all that it knows of the members.  It fetches known
    disks from its storage if it has none yet, and counts its hints.  Each of these messages but
    the news of members is answered.  A node whose question for the process at an address was lost
    asks again at the next exchange, and may log that the member was unconfirmed.  Anti-entropy asks
    the own storage to read each leaf once in a round of the scrub, and compares nothing; after a
    change of the ring it may catch up with a round that was delayed.  If tombstones are left that
    are not old, it asks the own storage for old ones in each round.  No other message is sent.
    """
    swim = cluster.swim_settings
    nodes, round_s = len(cluster.members), cluster.antientropy_settings.scrub_s
    periods = {
        ("Ping", "Ack"): swim.probe_period_s,
        ("Exchange", "ExchangeReply"): swim.exchange_period_s,
        ("LoadDisks", "LoadDisksReply"): swim.join_retry_s,
        ("CountHints", "CountHintsReply"): COUNTS_EARLY * cluster.handoff_settings.retry_s,
    }
    most = {
        name: nodes * (seconds / period_s + 1)
        for names, period_s in periods.items()
        for name in names
    }
    asked = ("DescribeNode", "DescribeNodeReply", "ClaimReply")
    most |= dict.fromkeys(asked, nodes * (nodes - 1))
    most["MembersChanged"] = len(TOLD_OF_MEMBERS) * most["Exchange"]
    most["ScrubLeaf"] = _leaves(cluster) * seconds / round_s + 2 * LEAVES * nodes
    rounds = int(seconds / round_s) + 1
    if cluster.scenario.changes_ring:
        most["ScrubLeaf"] = rounds = sys.maxsize
    if cluster.scenario.reaps:
        most |= dict.fromkeys(("SumDead", "SumDeadReply"), nodes * (seconds / ROUND_S + 1))
    most["ScrubLeafReply"] = most["ScrubLeaf"]
    logged = logged - Counter(
        {
            "scrub.finished": nodes * rounds,
            "name.unconfirmed": nodes * (nodes - 1),
        }
    )
    found = []
    if unusual := {name: count for name, count in said.items() if count > most.get(name, 0)}:
        found.append(Violation("idle_is_quiet", f"said in {seconds:g} s of idleness: {unusual}"))
    if logged:
        found.append(Violation("idle_is_quiet", f"logged in idleness: {dict(logged)}"))
    return found


def _leaves(cluster: SimCluster) -> int:
    """How many leaves all nodes own."""
    copies = {bucket.n for bucket in cluster.coordinator_settings.buckets.values()}
    return sum(copies) * cluster.ring.partitions * LEAVES


def _digest(cluster: SimCluster, bucket: str, key: str) -> bytes:
    """The digest of a key: its place on the ring."""
    return digest_of(bucket, key.encode(), cluster.coordinator_settings.buckets[bucket].n)


def _copies(cluster: SimCluster, bucket: str, key: str) -> dict[str, bytes | None]:
    """The record of a key on each of its owners."""
    return _copies_of(cluster, _digest(cluster, bucket, key))


def _copies_of(cluster: SimCluster, digest: bytes) -> dict[str, bytes | None]:
    """The record under a digest on each of its owners."""
    owners = _owners(cluster, digest)
    return {name: cluster.nodes[name].disk.get(RECORD + digest) for name in owners}


def _can_be_replaced(cluster: SimCluster, owner: str, digest: bytes) -> bool:
    """Whether a node owns a key of which another owner has a sound record."""
    copies = _copies_of(cluster, digest)
    return owner in copies and any(map(_is_sound, copies.values()))


def sound_owners(cluster: SimCluster, bucket: str, key: str) -> int:
    """How many owners of a key have a sound record of it, or none."""
    copies = _copies(cluster, bucket, key).values()
    return sum(copy is None or _is_sound(copy) for copy in copies)


def _losers_since(cluster: SimCluster, row: Row) -> int:
    """How many nodes have lost data since a row was invoked."""
    return len({loss.node for loss in cluster.losses if (loss.at_s or 0.0) >= row.invoke_s})


def _owners(cluster: SimCluster, digest: bytes) -> tuple[str, ...]:
    """The nodes that own a key."""
    return cluster.ring.order(cluster.ring.partition_of(digest))[: digest[0]]


def _is_sound(copy: bytes | None) -> bool:
    """Whether there is a copy that is not corrupt."""
    return copy is not None and _bucket(copy) is not None


def _bucket(copy: bytes) -> str | None:
    """The bucket of a record; None if the record is corrupt."""
    try:
        return unpack_record(copy).bucket
    except CorruptRecordError:
        return None


def _told(copy: bytes | None) -> str:
    """A copy as text, for a violation."""
    if copy is None:
        return "nothing"
    try:
        record = unpack_record(copy)
    except CorruptRecordError as error:
        return str(error)
    value = "a tombstone" if record.tombstone else record.value.decode(errors="replace")[:20]
    return f"{value} of {record.stamp.hex()}"
