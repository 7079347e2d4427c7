"""The coordinator machine: it takes requests on and gives each its one answer.

    client ── Get ──────────▶ `Read`     asks R of the replicas        reading.py
           ── Put, Delete ──▶ `Write`    if this node owns the key     writing.py
                              `Forward`  to an owner otherwise         forwarding.py
           ── Status ───────▶ `StatusQuery`                            status.py
           ── Repair ───────▶ `RepairQuery`                            repairing.py
           ── Cluster ──────▶ `ClusterQuery`                           cluster_query.py

`Admission` decides which requests are taken on (admission.py).  The `Desk` holds them by
number, and a reply names the number of its request (desk.py).  `Reachability` and `Nodes`
follow the news of members and links (reachability.py, nodes.py).  `Layouts` are the slots of the
present ring (place.py); when it changes, open requests are planned again.  This module passes
each message on to the part that it concerns.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from toystore.core.data.context import unpack_context
from toystore.core.data.record import digest_of
from toystore.core.protocol.address import GOSSIP, Address, Peer
from toystore.core.protocol.machine import Now, Outbox
from toystore.core.protocol.messages import Message
from toystore.core.protocol.messages.client import (
    Cluster,
    Delete,
    DescribeMembers,
    DescribeMembersReply,
    Get,
    Owners,
    OwnersReply,
    Put,
    Repair,
    RingLoad,
    RingLoadReply,
    Status,
)
from toystore.core.protocol.messages.codes import Code, MemberStatus
from toystore.core.protocol.messages.local import (
    Leave,
    LinkLost,
    LinkUp,
    MembersChanged,
    SendFailed,
)
from toystore.core.protocol.messages.ring import RingChanged
from toystore.core.protocol.settings import CoordinatorSettings
from toystore.core.requests.admission import Admission
from toystore.core.requests.cluster_query import ClusterQuery, wait_s
from toystore.core.requests.desk import Desk, Ticket
from toystore.core.requests.forwarding import Forward
from toystore.core.requests.mutation import Mutation
from toystore.core.requests.place import Layouts
from toystore.core.requests.reachability import Reachability
from toystore.core.requests.reading import Read
from toystore.core.requests.repairing import REPAIR_WAIT_S, RepairQuery
from toystore.core.requests.serving import Input, Phase, Serving
from toystore.core.requests.status import STATUS_WAIT_S, Process, StatusQuery, picture_of
from toystore.core.requests.validation import place_fault, repair_fault
from toystore.core.requests.writing import Write
from toystore.core.ring.record import endpoint_of, unpack_ring
from toystore.core.ring.view import RingView, ring_view

_REPLIES = frozenset(
    (
        *Write.hears,
        *Read.hears,
        *Forward.hears,
        *StatusQuery.hears,
        *RepairQuery.hears,
        *ClusterQuery.hears,
    )
)


class Coordinator:
    """Coordinates the requests that reach one node."""

    def __init__(
        self,
        *,
        node: str,
        cluster: str,
        version: str,
        started_s: float,
        ring: RingView,
        members: Mapping[str, str],
        settings: CoordinatorSettings,
        outbox: Outbox,
        chance: random.Random,
    ) -> None:
        """``members``: each node of the ring, ``node`` too, and where clients reach it.

        ``started_s``: the monotonic second at which the node's process began; it and the
        ``version`` are reported in a status.
        """
        assert node in members
        self._node = node
        self._process = Process(node, cluster, version, started_s)
        self._layouts = Layouts(ring)
        self._settings = settings
        self._out = outbox
        self._desk = Desk(node, members, settings, outbox, chance)
        self._nodes = self._desk.nodes
        self._around = Reachability(node, members)
        self._serving = Serving()
        self.admission = Admission(self._desk, self._serving, settings)

    # --- the machine --------------------------------------------------------------------

    def receive(self, message: Message, sender: Address, now: Now) -> None:
        """Take in one message; a client may only send requests."""
        if type(sender) is not Peer:
            self._receive_request(message, sender, now)
        elif type(message) in _REPLIES:
            self._replied(message, sender, now)
        else:
            self._receive_from_actor(message, sender, now)

    def on_deadline(self, now: Now) -> None:
        """Serve what is due.  If that is very late, this process stalled: no node is doubted."""
        due = self._desk.next_deadline()
        if due is not None and now.monotonic - due > self._settings.stall_s:
            self._out.log("actor.stalled", late_s=round(now.monotonic - due, 3))
            self._desk.rearm(now)
        self._desk.expire(now)
        self._consider_serving(now)

    def next_deadline(self) -> float | None:
        """When the next request is due, or the node serves without all links."""
        due, links_due = self._desk.next_deadline(), self._serving.links_due_s
        if links_due is None:
            return due
        return links_due if due is None else min(due, links_due)

    def on_failure(self, now: Now) -> None:
        """Answer each open request with an error."""
        for request in self._desk.each():
            request.on_failure(now)

    @property
    def idle(self) -> bool:
        """Whether each request is complete."""
        return not self._desk.requests

    def _receive_from_actor(self, message: Message, sender: Peer, now: Now) -> None:
        match message:
            case SendFailed():
                self._send_failed(message, now)
            case MembersChanged():
                self._members_changed(message, now)
            case LinkUp():
                self._link_up(message.node, now)
            case LinkLost():
                self._link_lost(message.node, now)
            case Leave():
                self._serving.move(Input.LEAVE)
            case RingChanged():
                record = unpack_ring(message.record)
                self.follow(ring_view(record, self._settings.buckets["default"].n), now)
            case _:
                self._receive_request(message, sender, now)

    def _receive_request(self, message: Message, sender: Address, now: Now) -> None:
        match message:
            case Get():
                self._get(message, sender, now)
            case Put() | Delete():
                self._put(message, sender, now)
            case Status():
                self._status(message, sender, now)
            case Repair():
                self._repair(message, sender, now)
            case Cluster():
                self._cluster(message, sender, now)
            case Owners():
                self._owners(message, sender)
            case DescribeMembers():
                epoch = self._layouts.ring.epoch
                reply = DescribeMembersReply(message.request, epoch, self._around.endpoints)
                self._out.send(sender, reply)
            case RingLoad():
                ring = self._layouts.ring
                load = tuple((name, *counts) for name, counts in ring.shares().items())
                self._out.send(sender, RingLoadReply(message.request, ring.partitions, load))

    # --- requests -----------------------------------------------------------------------

    def _get(self, message: Get, sender: Address, now: Now) -> None:
        size = len(message.key)
        if not self.admission.admit(message, size, sender, now):
            return
        bucket = self._settings.buckets[message.bucket]
        place = self._layouts.place(message.bucket, message.key, bucket.n)
        timeout_s = min(message.timeout_ms / 1000, self._settings.timeout_max_s)
        ticket = Ticket(sender, message.request, now, timeout_s, size, self._desk.read_latencies)
        Read(self._desk, ticket, message, place, message.r or bucket.r).start(now)

    def _put(self, message: Put | Delete, sender: Address, now: Now) -> None:
        value = message.value if type(message) is Put else b""
        size = len(message.key) + len(value)
        if not self.admission.admit(message, size, sender, now):
            return
        desk = self._desk
        bucket = self._settings.buckets[message.bucket]
        place = self._layouts.place(message.bucket, message.key, bucket.n)
        stamp = self._stamped(message, now)
        w = message.w or bucket.w
        mutation = Mutation(message, stamp, message.stamp is None, place, w)
        latencies = None if message.forwarded else desk.write_latencies
        left_s = self.admission.time_left_s(stamp, now)
        timeout_s = min(message.timeout_ms / 1000, self._settings.timeout_max_s, left_s)
        ticket = Ticket(sender, message.request, now, timeout_s, size, latencies)
        if message.forwarded or self._node in place.layout.sides:
            Write(desk, ticket, mutation).start(now)
        else:
            desk.counts["forwarded"] += 1
            Forward(desk, ticket, mutation).start(now)

    def _stamped(self, message: Put | Delete, now: Now) -> bytes:
        """The stamp of a write; the clock follows the stamps that it is shown."""
        clock = self._desk.clock
        if message.context:
            clock.merge(unpack_context(message.context))
        if message.stamp is None:
            return clock.mint(now.wall_us)
        clock.merge(message.stamp)
        return message.stamp

    # --- replies ------------------------------------------------------------------------

    def _replied(self, reply: Any, sender: Peer, now: Now) -> None:
        """Give a reply to its request, unless that has ended."""
        if self._nodes.doubts.note_message(sender, now.monotonic):
            self._nodes.weigh()
        request = self._desk.requests.get(reply.request)
        if request is not None and type(reply) in request.hears:
            request.on_reply(reply, sender.node, now)

    def _send_failed(self, failed: SendFailed, now: Now) -> None:
        """Tell the request that has sent it.  A repair has no number: no reply to it is awaited."""
        number = getattr(failed.message, "request", None)
        if number is not None and (request := self._desk.requests.get(number)):
            request.on_unsent(failed.node, failed.overloaded, now)

    # --- members and links --------------------------------------------------------------

    def _members_changed(self, message: MembersChanged, now: Now) -> None:
        news = self._around.learn(message)
        if message.joined:
            self._serving.joined(now.monotonic)
        self._look_around(now)
        for state in news:
            if state.status == MemberStatus.SUSPECT:
                self._nodes.suspect(state.name, now)
            elif state.status == MemberStatus.ALIVE:
                self._nodes.trust(state.name)

    def _link_up(self, node: str, now: Now) -> None:
        if self._around.link_up(node):
            self._out.log("link.up", member=node)
            self._look_around(now)

    def _link_lost(self, node: str, now: Now) -> None:
        """Tell gossip too, which starts a probe at once."""
        if self._around.link_lost(node):
            self._out.log("link.lost", member=node)
            self._out.send(Peer(self._node, GOSSIP), LinkLost(node))
            self._look_around(now)

    def follow(self, ring: RingView, now: Now) -> None:
        """Follow the ring of a newer epoch: its members, and the nodes of each range."""
        if ring.epoch <= self._layouts.ring.epoch:
            return
        self._layouts = Layouts(ring)
        self._around.follow({name: endpoint_of(one) for name, one in ring.members.items()})
        if self._node not in ring.members:
            self._serving.move(Input.REMOVED)
            self._desk.give_up(now)
        self._desk.follow(self._layouts, self._around.reachable(), now)
        self._consider_serving(now)

    def _look_around(self, now: Now) -> None:
        self._desk.reach(self._around.reachable(), now)
        self._consider_serving(now)

    def _consider_serving(self, now: Now) -> None:
        """Serve once the node has joined and its links are up or overdue."""
        due = self._serving.links_due_s
        if due is not None and (now.monotonic >= due or self._around.all_linked()):
            self._serving.move(Input.READY)

    # --- reports ------------------------------------------------------------------------

    def _status(self, message: Status, sender: Address, now: Now) -> None:
        if not self.admission.has_room(0):
            self.admission.refuse_for_room(message.request, sender, now)
            return
        serving = self._serving.phase is Phase.SERVING
        picture = picture_of(self._process, self._around, self._desk, now, serving=serving)
        ticket = Ticket(sender, message.request, now, STATUS_WAIT_S, 0, None)
        StatusQuery(self._desk, ticket, picture).start()

    def _repair(self, message: Repair, sender: Address, now: Now) -> None:
        fault = repair_fault(message, self._settings, self._layouts.ring.partitions)
        if fault is not None:
            self.admission.refuse(message.request, Code.BAD_REQUEST, fault, sender)
            return
        if not self.admission.has_room(0):
            self.admission.refuse_for_room(message.request, sender, now)
            return
        n = None if message.bucket is None else self._settings.buckets[message.bucket].n
        ticket = Ticket(sender, message.request, now, REPAIR_WAIT_S, 0, None)
        RepairQuery(self._desk, ticket).start(message.job, n, message.partition)

    def _cluster(self, message: Cluster, sender: Address, now: Now) -> None:
        if not self.admission.has_room(0):
            self.admission.refuse_for_room(message.request, sender, now)
            return
        ticket = Ticket(sender, message.request, now, wait_s(message.command), 0, None)
        ClusterQuery(self._desk, ticket, message.command).start(message)

    def _owners(self, message: Owners, sender: Address) -> None:
        fault = place_fault(message.bucket, message.key, self._settings)
        if fault is not None:
            self.admission.refuse(message.request, Code.BAD_REQUEST, fault, sender)
            return
        n = self._settings.buckets[message.bucket].n
        ring = self._layouts.ring
        partition = ring.partition_of(digest_of(message.bucket, message.key, n))
        owners = ring.owners(partition, n)
        fallbacks = tuple(name for name in ring.order(partition) if name not in owners)
        self._out.send(sender, OwnersReply(message.request, partition, owners, fallbacks))
