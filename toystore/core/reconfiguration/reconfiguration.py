"""The reconfiguration machine: the actor `ring` follows and changes who the members are.

    Reconfiguration    messages, timers
     |- Following      the newest record, from this node's storage or another's   (following.py)
     |- Seat           whether this node's disk is the one that is listed              (seat.py)
     |- Departure      a node that was removed ends once it is not needed         (departure.py)
     |- Proposer       has the voters decide the next record                       (proposer.py)
     |- Automatic      what is proposed without an operator                       (automatic.py)
     |   |- Absence    members that are dead for long                               (absence.py)
     |   '- Finishing  the end of a move                                          (finishing.py)
     |- Commands       what operators and newcomers ask                            (commands.py)
     |   |- PlanCommands   changes of the ring                                (plan_commands.py)
     |   '- JoinCommand    newcomers announce themselves                       (join_command.py)
     '- Newcomers      nodes that wait to be members                              (newcomers.py)

Its node's storage keeps the decided records and votes on the next one, because both must be on a
disk.  The machine only talks to storages, its own and those of other nodes (questions.py).  It
keeps nothing that a new machine could not find out.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence, Set
from typing import Any

from toystore.core.protocol.address import Address
from toystore.core.protocol.machine import Now, Outbox
from toystore.core.protocol.messages import Message
from toystore.core.protocol.messages.local import MembersChanged, SendFailed
from toystore.core.protocol.messages.ring import RingCommand, RingSeen
from toystore.core.protocol.settings import RingSettings
from toystore.core.reconfiguration.absence import Absence
from toystore.core.reconfiguration.automatic import Automatic
from toystore.core.reconfiguration.commands import Commands
from toystore.core.reconfiguration.departure import Departure
from toystore.core.reconfiguration.finishing import AFTER, Finishing
from toystore.core.reconfiguration.following import Following
from toystore.core.reconfiguration.join_command import JoinCommand
from toystore.core.reconfiguration.newcomers import Newcomers
from toystore.core.reconfiguration.plan_commands import PlanCommands
from toystore.core.reconfiguration.proposer import Proposer
from toystore.core.reconfiguration.questions import NEVER, Questions
from toystore.core.reconfiguration.roster import Roster
from toystore.core.reconfiguration.seat import Seat
from toystore.core.ring.record import RingRecord


class Reconfiguration:
    """Follows and changes the ring of one node."""

    def __init__(
        self,
        *,
        node: str,
        record: RingRecord,
        lineage: bytes,
        disk: str,
        n: int,
        copies: frozenset[int],
        settings: RingSettings,
        outbox: Outbox,
        chance: random.Random,
        described: Mapping[str, Any],
    ) -> None:
        """``record``: with which the node has started; ``disk``: the id of its disk.

        ``n``: N of the default bucket; ``copies``: every N that a bucket has.

        ``described``: the configuration without members, which a newcomer gets.
        """
        self._out = outbox
        self._roster = roster = Roster(node)
        self._questions = questions = Questions(node, settings.reply_timeout_s, outbox, chance)
        self._following = Following(record, lineage, questions, outbox, self._on_changed)
        following = self._following
        self._seat = Seat(disk, following, questions, settings)
        self._departure = Departure(disk, following, questions, outbox)
        self._finishing = Finishing(following, questions, settings, outbox)
        self._absence = Absence(following, roster, settings, max(copies))
        self._newcomers = Newcomers(roster, outbox)
        self._proposer = Proposer(
            following=following,
            roster=roster,
            questions=questions,
            settings=settings,
            outbox=outbox,
            chance=chance,
        )
        self._automatic = Automatic(
            following=following,
            proposer=self._proposer,
            wishes=[self._absence.wish, self._finishing.wish, self._seat.wish],
            settings=settings,
            chance=chance,
        )
        plans = PlanCommands(
            n=n,
            copies=copies,
            following=following,
            proposer=self._proposer,
            newcomers=self._newcomers,
            questions=questions,
        )
        self._joins = JoinCommand(
            disk=disk,
            described=described,
            following=following,
            newcomers=self._newcomers,
            questions=questions,
        )
        self._commands = Commands(
            n=n,
            copies=copies,
            plans=plans,
            joins=self._joins,
            following=following,
            roster=roster,
            newcomers=self._newcomers,
            questions=questions,
            outbox=outbox,
        )
        self._moving_us = record.made_us if record.moving else 0
        """Since when ranges move, by the wall clock of the node that has proposed it; or 0."""

    @property
    def record(self) -> RingRecord:
        """The newest that this node's storage has adopted."""
        return self._following.record

    @property
    def foreign(self) -> Set[bytes]:
        """The digests of records that other nodes have, and that are of another founding."""
        return self._following.foreign

    @property
    def removed(self) -> str | None:
        """Why this node is no member any more; then all its actors end but this one and storage."""
        return self._departure.reason

    @property
    def departed(self) -> bool:
        """Whether this node was removed and the members do not need it: its process should end."""
        return self._departure.over

    def receive(self, message: Message, sender: Address, now: Now) -> None:
        """Receive one message."""
        match message:
            case MembersChanged():
                self._roster.learn(message, now)
            case RingSeen():
                self._following.on_seen(message, now)
            case RingCommand():
                self._commands.receive(message, sender, now)
            case SendFailed():
                self._questions.send_failed(message, now)
            case _ if hasattr(message, "request"):
                self._questions.answered(message, now)
        self._go_on(now)

    def on_deadline(self, now: Now) -> None:
        """End the questions that are due, then do what is due."""
        self._questions.expire(now)
        self._go_on(now)

    def next_deadline(self) -> float | None:
        """When something is due."""
        due = min(
            self._following.next_deadline(),
            self._questions.next_deadline(),
            self._proposer.next_deadline(),
            self._departure.next_deadline(),
            self._joins.next_deadline(),
        )
        if self.removed is None:
            due = min(
                due,
                self._seat.next_deadline(),
                self._finishing.next_deadline(),
                self._automatic.next_deadline(),
                self._absence.next_deadline(),
            )
        return None if due == NEVER else due

    def on_failure(self, now: Now) -> None:  # noqa: ARG002 - of Machine
        """Answer every open command."""
        self._commands.on_failure()

    def _go_on(self, now: Now) -> None:
        """Let each part do what is due."""
        self._following.go_on(now)
        self._proposer.go_on(now)
        self._departure.go_on(now)
        self._joins.go_on(now)
        if self.removed is None:
            self._seat.go_on(now)
            self._finishing.go_on(now)
            self._automatic.go_on(now)

    def _on_changed(self, records: Sequence[RingRecord], now: Now) -> None:
        """This node's storage has adopted records."""
        for record in records:
            self._log_change(record)
        self._finishing.on_changed(now)
        self._seat.on_changed()
        self._departure.on_changed()
        self._proposer.on_changed(records, now)
        self._joins.on_changed(now)

    def _log_change(self, record: RingRecord) -> None:
        self._out.log(
            "ring.changed",
            epoch=record.epoch,
            members=[one.name for one in record.members],
            moving=record.moving,
            why=record.why,
        )
        if record.moving:
            self._moving_us = self._moving_us or record.made_us
        elif self._moving_us:
            took_s = round(max(0, record.made_us - self._moving_us) / 1e6, 3)
            why = record.why.removeprefix(AFTER)
            self._out.log("ring.finished", epoch=record.epoch, took_s=took_s, why=why)
            self._moving_us = 0
