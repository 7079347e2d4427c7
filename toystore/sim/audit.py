"""Checks of a cluster's inner state once every fault is over.

`membership_agreed`  every node has joined, and every node sees every node alive
`hints_drained`      no node keeps a hint, or a remainder of one
`copies_complete`    every owner stores every acknowledged write, unless its coordinator died
`everything_in_its_place`  every record is stored by owners of its key only
`replicas_equal`     after each key was read from all its owners, they store the same bytes
`lists_distinct`     every partition has N distinct owners, and each node once in its order
`idle_is_quiet`      without requests there is only gossip, and little of it
`news_travels`       all nodes declare a dead node dead at about the same time

Each returns violations, like the checks of histories (``toystore/check/promises.py``).
With anti-entropy, `replicas_equal` would not need the reads before it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from toystore.check.history import OK, Row
from toystore.check.promises import Violation
from toystore.core.data.record import CorruptRecordError, digest_of, stamp_of, unpack_record
from toystore.core.protocol.messages.codes import MemberStatus
from toystore.core.protocol.roles import TOLD_OF_MEMBERS
from toystore.core.ring.ring import Ring
from toystore.core.storage.layout import HINT, QUEUE, RECORD, SETTLED, TOTAL, VOTES, YES
from toystore.sim.cluster import SimCluster

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
    for node in cluster.nodes.values():
        if node.members is None or not node.members.joined:
            return [Violation("membership_agreed", f"{node.name} has not joined")]
        views[node.name] = sorted(node.members.members)
        dead = [s.name for s in node.members.members if s.status != MemberStatus.ALIVE]
        missing = set(cluster.nodes) - {state.name for state in node.members.members}
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
        for node in cluster.nodes.values()
        if (kinds := Counter(key[:1] for key, _ in node.disk.scan(b"") if key[:1] in HINTS))
    }
    return [Violation("hints_drained", f"left are {left}")] if left else []


def is_well(cluster: SimCluster) -> bool:
    """Whether every node is connected, agreed, idle and trusts itself, no hint is left, and the
    disks are settled.
    """
    actors = [actor for node in cluster.nodes.values() for actor in node.actors.values()]
    return (
        all(link.up for actor in actors for link in actor.links.values())
        and not membership_agreed(cluster)
        and all(getattr(actor.machine, "idle", True) for actor in actors)
        and all(getattr(actor.machine, "trusts_itself", True) for actor in actors)
        and not hints_drained(cluster)
        and all(node.disk.get(SETTLED) for node in cluster.nodes.values())
    )


def is_called(cluster: SimCluster, name: str, status: MemberStatus) -> bool:
    """Whether every other node has ``name`` in ``status``."""
    told = (node.members for node in cluster.nodes.values() if node.name != name)
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
    voting = all(node.disk.get(VOTES) == YES for node in cluster.nodes.values())
    return scenario.nodes > quorum and voting and roomy


def news_travels(cluster: SimCluster, name: str) -> list[Violation]:
    """All other nodes have declared ``name`` dead within a few probe periods of each other."""
    others = cluster.nodes.keys() - {name}
    at_s = {one: cluster.called_dead[one, name] for one in sorted(others)}
    late_s = NEWS_PERIODS_MAX * cluster.swim_settings.probe_period_s
    if at_s and max(at_s.values()) - min(at_s.values()) > late_s:
        return [Violation("news_travels", f"{name} was called dead at {at_s}")]
    return []


def copies_complete(cluster: SimCluster, rows: Iterable[Row]) -> list[Violation]:
    """Every owner stores the last acknowledged write of each key, or a later one.

    An owner may lack two kinds of writes until the key is read: writes that were invoked
    before a node lost data, and writes in `SimCluster.unkept`.
    """
    lost_s = max((loss.at_s or 0.0 for loss in cluster.losses), default=0.0)
    last: dict[tuple[str, str], Row] = {}
    for row in rows:
        owed = row.writes and row.outcome == OK and row.invoke_s > lost_s
        if owed and (_digest(cluster, *row.place), row.stamp) not in cluster.unkept:
            last[row.place] = max(row, last.get(row.place, row), key=lambda row: row.stamp)
    found = []
    for place, row in last.items():
        for owner, copy in _copies(cluster, *place).items():
            if copy is None or stamp_of(copy).hex() < row.stamp:
                text = f"{owner} holds {_told(copy)}"
                found.append(Violation("copies_complete", text, (row,)))
    return found


def replicas_equal(cluster: SimCluster, keys: Iterable[tuple[str, str]]) -> list[Violation]:
    """The owners of each (bucket, key) hold the same bytes, unless all that there is has rotted."""
    found = []
    for bucket, key in keys:
        copies = _copies(cluster, bucket, key)
        if len(set(copies.values())) > 1 and any(map(_is_sound, copies.values())):
            told = {name: _told(copy) for name, copy in copies.items()}
            found.append(Violation("replicas_equal", f"{bucket}/{key}: {told}"))
    return found


def everything_in_its_place(cluster: SimCluster) -> list[Violation]:
    """No node stores a record of a key that it does not own."""
    found = []
    for node in cluster.nodes.values():
        strays = [
            key[1:].hex()
            for key, copy in node.disk.scan(RECORD)
            if _is_sound(copy) and node.name not in _owners(cluster, key[1:])
        ]
        if strays:
            text = f"{node.name} holds {len(strays)} records of others, {strays[0]} first"
            found.append(Violation("everything_in_its_place", text))
    return found


def lists_distinct(ring: Ring, n: int, members: Sequence[str]) -> list[Violation]:
    """Each partition's order names every member once, so that its first N are distinct."""
    found = []
    for partition in range(ring.partitions):
        order = ring.order(partition)
        if sorted(order) != sorted(members) or len(set(order[:n])) < n:
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
    the news of members is answered, and no other message is sent.
    """
    swim = cluster.swim_settings
    periods = {
        ("Ping", "Ack"): swim.probe_period_s,
        ("Exchange", "ExchangeReply"): swim.exchange_period_s,
        ("LoadDisks", "LoadDisksReply"): swim.join_retry_s,
        ("CountHints", "CountHintsReply"): COUNTS_EARLY * cluster.handoff_settings.retry_s,
    }
    most = {
        name: len(cluster.nodes) * (seconds / period_s + 1)
        for names, period_s in periods.items()
        for name in names
    }
    most["MembersChanged"] = len(TOLD_OF_MEMBERS) * most["Exchange"]
    found = []
    if unusual := {name: count for name, count in said.items() if count > most.get(name, 0)}:
        found.append(Violation("idle_is_quiet", f"said in {seconds:g} s of idleness: {unusual}"))
    if logged:
        found.append(Violation("idle_is_quiet", f"logged in idleness: {dict(logged)}"))
    return found


def _digest(cluster: SimCluster, bucket: str, key: str) -> bytes:
    """The digest of a key: its place on the ring."""
    return digest_of(bucket, key.encode(), cluster.coordinator_settings.buckets[bucket].n)


def _copies(cluster: SimCluster, bucket: str, key: str) -> dict[str, bytes | None]:
    """The record of a key on each of its owners."""
    digest = _digest(cluster, bucket, key)
    owners = _owners(cluster, digest)
    return {name: cluster.nodes[name].disk.get(RECORD + digest) for name in owners}


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
