"""Newer ring records are adopted before the actors start: by storage, as while it runs.

catch up    the members that this node knows are asked, for about a second
adopt       one transaction has the records and all that follows from them
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import zmq

from actors.asking import Asking
from actors.disk import OwnDisk, StartupError
from actors.surroundings import Surroundings, now
from actors.transaction import transaction
from toystore.config import ClusterConfig, MemberConfig
from toystore.core.assembly import make_machine
from toystore.core.protocol.address import RING, STORAGE, Peer
from toystore.core.protocol.machine import Outbox
from toystore.core.protocol.messages.client import Cluster
from toystore.core.protocol.messages.ring import OfferRings
from toystore.core.ring.record import RingRecord, RingRecordError, unpack_ring
from toystore.core.storage.layout import LINEAGE, ring_record_key
from toystore.core.storage.ring_at_start import newest_on_disk
from toystore.engines import Engine, EngineError, StoreFullError
from toystore.net.endpoint import Endpoint
from toystore.net.names import Resolver

CATCH_UP_S = 1.0
"""How long a start waits for newer records."""


def announcement(me: MemberConfig, disk: str, after: int) -> Cluster:
    """What a node asks members at its start: who am I to you, and what follows this epoch?"""
    ports = tuple(me.ports.values())
    who = {"name": me.name, "disk": disk, "host": me.host, "ports": ports}
    return Cluster(1, "join", who | {"weight": me.weight, "zone": me.zone, "after": after})


def client_ports(config: ClusterConfig, record: RingRecord, but: str) -> list[Endpoint]:
    """Where the client ports of the members are reached, without that of one node."""
    members = config.listing(record).members
    return [member.reached_at("client_port") for member in members if member.name != but]


def records_in(answers: Iterable[dict[str, Any]]) -> dict[int, RingRecord]:
    """The records in some answers, by epoch; what is not a record is left out."""
    found: dict[int, RingRecord] = {}
    for answer in answers:
        packed = answer.get("records")
        for one in packed if isinstance(packed, list | tuple) else ():
            try:
                record = unpack_ring(one)
            except (RingRecordError, TypeError):
                continue
            found.setdefault(record.epoch, record)
    return found


def catch_up(config: ClusterConfig, me: MemberConfig, engine: Engine, disk: OwnDisk) -> OwnDisk:
    """What is on the disk once it has the newer records of the members that have answered."""
    others = client_ports(config, disk.record, me.name)
    asking = Asking(Resolver())
    answers = asking.ask(others, announcement(me, disk.id, disk.record.epoch), CATCH_UP_S)
    newer = {at: one for at, one in records_in(answers).items() if at > disk.record.epoch}
    if not newer:
        return disk
    return adopt(config, me, engine, disk, [newer[at] for at in sorted(newer)])


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
        record, lineage = transaction(engine, lambda: _offer(around, engine, offer))
    except (EngineError, StoreFullError) as error:
        raise StartupError(f"newer ring records cannot be stored: {error}") from None
    finally:
        context.term()
    return OwnDisk(disk.id, lineage or disk.lineage, record or disk.record)


def _offer(
    around: Surroundings, engine: Engine, offer: OfferRings
) -> tuple[RingRecord | None, bytes | None]:
    """Pass the records to a storage machine, which lasts as long as the transaction.

    Returns the newest record on the disk then, and the lineage.
    """
    machine = make_machine(STORAGE, around.blueprint, Outbox(), around.chance(), engine)
    machine.receive(offer, Peer(around.me.name, RING), now())
    return newest_on_disk(engine), engine.get(LINEAGE)


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
