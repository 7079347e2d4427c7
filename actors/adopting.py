"""Newer ring records are adopted before the actors start: by storage, as while it runs.

catch up    the members that this node knows are asked, for about a second; a folder of another
            founding of the cluster is refused (core/ring/origin.py)
adopt       one transaction has the records and all that follows from them
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import zmq

from actors.asking import Asking
from actors.disk import WHAT_NOW, OwnDisk, RemovedError, StartupError
from actors.surroundings import Surroundings, now
from actors.transaction import transaction
from toystore.config import ClusterConfig, MemberConfig
from toystore.core.assembly import make_machine
from toystore.core.protocol.address import RING, STORAGE, Peer
from toystore.core.protocol.machine import Outbox
from toystore.core.protocol.messages.client import Cluster
from toystore.core.protocol.messages.ring import OfferRings
from toystore.core.ring.origin import Answer, contradicting, suffices
from toystore.core.ring.record import RingRecord, RingRecordError, unpack_ring
from toystore.core.storage.layout import LINEAGE, ring_record_key
from toystore.core.storage.ring_at_start import history_on_disk, newest_on_disk
from toystore.engines import Engine, EngineError, StoreFullError
from toystore.net.endpoint import Endpoint
from toystore.net.names import Resolver

CATCH_UP_S = 1.0
"""How long a start waits for newer records."""
ASKS_MAX = 3
"""How often the members are asked, if some are of another founding, and too few to be sure."""


def announcement(me: MemberConfig, disk: str, after: int, wait_s: float = 0.0) -> Cluster:
    """What a node asks members at its start: who am I to you, and what follows this epoch?

    ``wait_s``: the answer to a node that is no member may take so long, as the ring may change.
    """
    ports = tuple(me.ports.values())
    who = {"name": me.name, "disk": disk, "host": me.host, "ports": ports}
    return Cluster(
        1, "join", who | {"weight": me.weight, "zone": me.zone, "after": after, "wait_s": wait_s}
    )


def client_ports(config: ClusterConfig, record: RingRecord, but: str) -> list[Endpoint]:
    """Where the client ports of the members are reached, without that of one node."""
    members = config.listing(record).members
    return [member.reached_at("client_port") for member in members if member.name != but]


def answers_in(results: Iterable[dict[str, Any]]) -> list[Answer]:
    """What members have answered to an `announcement`; what makes no sense is left out."""
    found: list[Answer] = []
    for result in results:
        with contextlib.suppress(RingRecordError, TypeError, KeyError, ValueError):
            records = {one.epoch: one for one in map(unpack_ring, result["records"])}
            found.append(
                Answer(
                    str(result["member"]),
                    str(result["disk"]),
                    int(result["epoch"]),
                    bytes(result["digest"]),
                    int(result["voters"]),
                    records,
                )
            )
    return found


def records_in(answers: Iterable[Answer]) -> dict[int, RingRecord]:
    """The records in some answers, by epoch."""
    found: dict[int, RingRecord] = {}
    for answer in answers:
        found = dict(answer.records) | found
    return found


def catch_up(
    config: ClusterConfig, me: MemberConfig, engine: Engine, disk: OwnDisk, folder: Path
) -> OwnDisk:
    """What is on the disk once it has the newer records of the members that have answered.

    Raises:
        StartupError: the folder is of another founding of the cluster, or too old.
        RemovedError: the node was removed so long ago that the folder cannot follow.
    """
    while True:
        answers, before = _ask(config, me, disk, folder), disk.record.epoch
        if later := records_in(answers):
            disk = _follow(config, me, engine, disk, [later[at] for at in sorted(later)], folder)
        newest = max((one.epoch for one in answers), default=0)
        if disk.record.epoch in (before, newest):
            return disk  # an answer has a part of the records only, if they are many


def _ask(config: ClusterConfig, me: MemberConfig, disk: OwnDisk, folder: Path) -> list[Answer]:
    """The answers of the members that are of the folder's founding.  Raises `StartupError`."""
    others = client_ports(config, disk.record, me.name)
    asking, asked = Asking(Resolver()), announcement(me, disk.id, disk.record.epoch)
    for _ in range(ASKS_MAX):
        answers = answers_in(asking.ask(others, asked, CATCH_UP_S))
        contradict = contradicting(answers, disk.record, disk.lineage, disk.history)
        if not contradict:
            break
        if suffices(contradict):
            raise StartupError(_other_founding(config.cluster, me.name, folder, contradict))
    return [one for one in answers if one not in contradict]


def _follow(
    config: ClusterConfig,
    me: MemberConfig,
    engine: Engine,
    disk: OwnDisk,
    later: Sequence[RingRecord],
    folder: Path,
) -> OwnDisk:
    """Adopt later records.  Raises `StartupError`, `RemovedError`."""
    if later[0].epoch > disk.record.epoch + 1:
        _jump(me.name, engine, disk, later, folder)
    return adopt(config, me, engine, disk, later)


def _jump(
    name: str, engine: Engine, disk: OwnDisk, later: Sequence[RingRecord], folder: Path
) -> None:
    """The members keep no record that follows the newest on the disk: a new disk needs none."""
    if not disk.record.epoch:
        begin_with(engine, later[0])
        return
    if (reason := later[-1].removal(name, disk.id)) is not None:
        raise RemovedError(f"{reason}; {WHAT_NOW}")
    raise StartupError(
        f"the ring record in {folder} is of epoch {disk.record.epoch}, and the members keep none "
        f"before epoch {later[0].epoch}: start {name} with an empty folder"
    )


def _other_founding(cluster: str, name: str, folder: Path, contradict: Sequence[Answer]) -> str:
    members = ", ".join(sorted(one.name for one in contradict))
    return (
        f"the folder {folder} is of another founding of cluster {cluster!r}: its ring records are "
        f"not those of {members}. Give {name} an empty folder, or the one that it has had in this "
        "cluster"
    )


def adopt(
    config: ClusterConfig,
    me: MemberConfig,
    engine: Engine,
    disk: OwnDisk,
    records: Sequence[RingRecord],
) -> OwnDisk:
    """Have storage adopt records that follow each other; those that do not follow are left out.

    Raises:
        StartupError: the disk failed or is full.
    """
    offer = OfferRings(1, tuple(record.packed for record in records))
    config = config.listing(disk.record)
    context: zmq.Context[Any] = zmq.Context()
    around = Surroundings(
        config, me, context, "", lineage=disk.lineage, disk=disk.id, record=disk.record
    )
    try:
        return transaction(engine, lambda: _offer(around, engine, offer, disk))
    except (EngineError, StoreFullError) as error:
        raise StartupError(f"newer ring records cannot be stored: {error}") from None
    finally:
        context.term()


def _offer(around: Surroundings, engine: Engine, offer: OfferRings, disk: OwnDisk) -> OwnDisk:
    """Pass the records to a storage machine, which lasts as long as the transaction.

    Returns what is on the disk then.
    """
    machine = make_machine(STORAGE, around.blueprint, Outbox(), around.chance(), engine)
    machine.receive(offer, Peer(around.me.name, RING), now())
    lineage = engine.get(LINEAGE) or disk.lineage
    record = newest_on_disk(engine) or disk.record
    return OwnDisk(disk.id, lineage, record, history_on_disk(engine))


def begin_with(engine: Engine, first: RingRecord) -> None:
    """Let a new disk be of the lineage of the first record that follows.

    If the cluster no longer keeps its first records, this one is stored as if it had been adopted.
    """

    def begin() -> None:
        if first.epoch == 1:
            engine.put(LINEAGE, first.parent)
        else:
            engine.put(LINEAGE, first.lineage)
            engine.put(ring_record_key(first.epoch), first.packed)

    transaction(engine, begin)
