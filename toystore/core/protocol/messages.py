"""Every message there is, and which actor it goes to.

Requests are imperative (`WriteReplica`), replies end in ``Reply``, news is past tense
(`MembersChanged`).  A message is an immutable NamedTuple; on the wire it is the list
``[tag, ...fields]`` (see ``toystore/wire.py``).  `WIRE` at the end of the file is the
one table that gives each its tag, its actor and its priority: shell and simulator
route by it alike.  Tags are append-only: a tag is never given a second meaning.

Field conventions: ``request`` is a number the asker chose and gets back; ``digest`` is
`record.digest_of`; ``stamp`` is 20 bytes (`stamp.py`); ``record`` is packed bytes
(`record.py`); ``timeout_ms`` is what is left of the asker's patience.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, NamedTuple

from toystore.core.protocol.address import COORDINATOR, GOSSIP, HANDOFF, STORAGE, Address


class Code(IntEnum):
    """Why a request failed; numbers are append-only, like tags."""

    BAD_REQUEST = 1
    UNAVAILABLE = 2
    OVERLOADED = 3
    TIMEOUT = 4
    CONFLICT = 5
    INTERNAL = 6
    CLOCK_AHEAD = 7
    """The stamp is too far ahead of the coordinator's clock: put again without one."""
    NOT_SERVING = 8
    """The node is starting or stopping: nothing was done, ask another."""


class ReplicaStatus(IntEnum):
    """What a replica says of one write or one read."""

    OK = 0
    SUPERSEDED = 1
    """It holds something newer: no acknowledgement."""
    NOT_FOUND = 2
    NO_VOTE = 3
    """It has nothing, but its disk was replaced, so that proves nothing."""
    REFUSED = 4
    """No room: a full disk, or hints at their byte bound.  Ask the next fallback."""
    INTERNAL = 5
    """It failed over this message: try no other with it."""


class MemberStatus(IntEnum):
    """What SWIM says of a member (SWIM section 4.2), and `LEFT` for who said goodbye."""

    ALIVE = 0
    SUSPECT = 1
    DEAD = 2
    LEFT = 3


class MemberState(NamedTuple):
    """One member as SWIM knows it: what is piggybacked and exchanged."""

    name: str
    status: int
    incarnation: int
    disk: str
    """The id of the disk it runs on (32 hex digits), or "" while not known."""


# --- clients and the coordinator --------------------------------------------------------


class Get(NamedTuple):
    """Read a key.  ``n`` and ``r`` of None mean the bucket's."""

    request: int
    bucket: str
    key: bytes
    n: int | None
    r: int | None
    timeout_ms: int


class GetReply(NamedTuple):
    """``values`` is empty if nothing was found; ``context`` is b"" if nothing is known."""

    request: int
    values: tuple[bytes, ...]
    context: bytes
    owners: int
    """How many owners the answer rests on."""
    fallbacks: int
    """How many fallbacks it rests on."""


class Put(NamedTuple):
    """Write a key.  A ``stamp`` of None asks the coordinator to mint one."""

    request: int
    bucket: str
    key: bytes
    value: bytes
    stamp: bytes | None
    context: bytes
    n: int | None
    w: int | None
    timeout_ms: int
    forwarded: bool


class Delete(NamedTuple):
    """Write a tombstone.  Fields as of `Put`."""

    request: int
    bucket: str
    key: bytes
    stamp: bytes | None
    context: bytes
    n: int | None
    w: int | None
    timeout_ms: int
    forwarded: bool


class WriteReply(NamedTuple):
    """A put or a delete is acknowledged: W replicas have it."""

    request: int
    stamp: bytes
    owners: int
    fallbacks: int


class SupersededReply(NamedTuple):
    """Not acknowledged: a replica holds ``stamp``, which is newer.  Put anew, above it."""

    request: int
    stamp: bytes


class ErrorReply(NamedTuple):
    """The request failed.  ``definite``: it certainly did not happen and will not."""

    request: int
    code: int
    text: str
    definite: bool


class Status(NamedTuple):
    """Tell how the cluster looks from this node."""

    request: int


class StatusReply(NamedTuple):
    """See docs/PROTOCOL.md for the keys."""

    request: int
    status: dict[str, Any]


class Owners(NamedTuple):
    """Who owns a key?"""

    request: int
    bucket: str
    key: bytes


class OwnersReply(NamedTuple):
    """The key's partition, its owners in order, and the fallbacks after them."""

    request: int
    partition: int
    owners: tuple[str, ...]
    fallbacks: tuple[str, ...]


class RingLoad(NamedTuple):
    """How many partitions does each member own?"""

    request: int


class RingLoadReply(NamedTuple):
    """``load``: for each member its name, partitions owned, partitions owned first."""

    request: int
    partitions: int
    load: tuple[tuple[str, int, int], ...]


# --- coordinator and storage ------------------------------------------------------------


class WriteReplica(NamedTuple):
    """Keep this record; as a hint for ``hint_owner`` unless that is None."""

    request: int
    digest: bytes
    record: bytes
    hint_owner: str | None


class WriteReplicaReply(NamedTuple):
    """``stamp`` is what the replica holds, if it is newer (`SUPERSEDED`)."""

    request: int
    status: int
    stamp: bytes | None


class ReadReplica(NamedTuple):
    """What do you hold?  A fallback looks among its hints for ``hint_owners`` as well."""

    request: int
    digest: bytes
    hint_owners: tuple[str, ...]


class ReadReplicaReply(NamedTuple):
    """``record`` with `OK`; None with any other status."""

    request: int
    status: int
    record: bytes | None


class RepairReplica(NamedTuple):
    """Read repair: keep this record if it is newer.  Not answered."""

    digest: bytes
    record: bytes


# --- handoff and storage ----------------------------------------------------------------


class TakeHints(NamedTuple):
    """Read out the oldest hints kept for ``owner``, up to about ``bytes_max``.

    ``after``: only those behind the one with this digest; b"" for all.
    """

    owner: str
    bytes_max: int
    after: bytes = b""


class TakeHintsReply(NamedTuple):
    """``hints``: (digest, record) each, oldest first; empty if there is none."""

    owner: str
    hints: tuple[tuple[bytes, bytes], ...]


class DeliverHints(NamedTuple):
    """To the owner: these are yours, (digest, record) each."""

    request: int
    hints: tuple[tuple[bytes, bytes], ...]


class DeliverHintsReply(NamedTuple):
    """One `ReplicaStatus` for each, in order; `OK` and `SUPERSEDED` both mean it is safe."""

    request: int
    statuses: tuple[int, ...]


class DropHints(NamedTuple):
    """Forget these hints for ``owner``, (digest, stamp) each, where the stamp still is that."""

    owner: str
    delivered: tuple[tuple[bytes, bytes], ...]


class DropHintsReply(NamedTuple):
    """``dropped`` of them were still the ones delivered; ``left`` hints remain for ``owner``."""

    owner: str
    dropped: int
    left: int


class CountHints(NamedTuple):
    """How many hints are kept, and for whom?"""


class CountHintsReply(NamedTuple):
    """For each owner: name, hints, bytes, wall_us at which its oldest was stored."""

    counts: tuple[tuple[str, int, int, int], ...]


# --- storage and the rest of its node ---------------------------------------------------


class LoadDisks(NamedTuple):
    """Gossip asks which disk everyone is known to run on; later, whether that has been kept."""


class LoadDisksReply(NamedTuple):
    """``own``: this node's disk id.  ``known``: (member, disk id) each.

    ``settled``: this disk has been in the cluster before; ``votes``: it votes "not found".
    """

    own: str
    settled: bool
    votes: bool
    known: tuple[tuple[str, str], ...]


class SaveDisk(NamedTuple):
    """Remember durably which disk a member runs on.  Not answered."""

    member: str
    disk: str


class SettleDisk(NamedTuple):
    """The cluster knows this disk, or never knew another: let it vote (True), or not."""

    votes: bool


class StorageStatus(NamedTuple):
    """How is the disk?"""

    request: int


class StorageStatusReply(NamedTuple):
    """See docs/PROTOCOL.md for the keys."""

    request: int
    status: dict[str, Any]


# --- gossip -----------------------------------------------------------------------------


class Ping(NamedTuple):
    """SWIM 3.1: are you there?"""

    sequence: int
    updates: tuple[MemberState, ...]


class PingReq(NamedTuple):
    """SWIM 3.1: ping ``target`` for me."""

    sequence: int
    target: str
    updates: tuple[MemberState, ...]


class Ack(NamedTuple):
    """SWIM 3.1: ``target`` is there (for a plain ping, that is me)."""

    sequence: int
    target: str
    updates: tuple[MemberState, ...]


class Gossip(NamedTuple):
    """Updates that wait for no ping: of a leave, or a refutation."""

    updates: tuple[MemberState, ...]


class Exchange(NamedTuple):
    """Push-pull: all I know of the members; tell me all you know."""

    request: int
    members: tuple[MemberState, ...]


class ExchangeReply(NamedTuple):
    """The answer to `Exchange`."""

    request: int
    members: tuple[MemberState, ...]


class CompareSettings(NamedTuple):
    """What I have set of what should be the same on all nodes; see where yours differ."""

    settings: dict[str, Any]


class Refused(NamedTuple):
    """This node does not belong here: another cluster's name, or another member list."""

    text: str


class MembersChanged(NamedTuple):
    """Gossip tells its node's other actors what it now knows; ``joined`` once it is one of us."""

    joined: bool
    members: tuple[MemberState, ...]


# --- from the shell: what became of links and sends, and when to end --------------------


class LinkUp(NamedTuple):
    """The link to a node's port is there."""

    node: str


class LinkLost(NamedTuple):
    """The link to a node's port is gone."""

    node: str


class Leave(NamedTuple):
    """Say goodbye (to gossip), or finish what you hold and take no more (to the coordinator).

    Made by a shell for its own machine, like `SendFailed`; never on the wire.
    """


class SendFailed(NamedTuple):
    """``message`` could not be sent to ``to``: its link is down, or its queue is full.

    Made by a shell for its own machine; never on the wire.
    """

    node: str
    actor: str
    message: Any
    overloaded: bool


Message = (
    Get
    | GetReply
    | Put
    | Delete
    | WriteReply
    | SupersededReply
    | ErrorReply
    | Status
    | StatusReply
    | Owners
    | OwnersReply
    | RingLoad
    | RingLoadReply
    | WriteReplica
    | WriteReplicaReply
    | ReadReplica
    | ReadReplicaReply
    | RepairReplica
    | TakeHints
    | TakeHintsReply
    | DeliverHints
    | DeliverHintsReply
    | DropHints
    | DropHintsReply
    | CountHints
    | CountHintsReply
    | LoadDisks
    | LoadDisksReply
    | SaveDisk
    | SettleDisk
    | StorageStatus
    | StorageStatusReply
    | Ping
    | PingReq
    | Ack
    | Gossip
    | Exchange
    | ExchangeReply
    | CompareSettings
    | Refused
    | MembersChanged
    | LinkUp
    | LinkLost
    | Leave
    | SendFailed
)

Delivery = tuple[Message, Address]
"""A message and who sent it."""

CLIENT = "client"
"""In `Route.to`: the message is a client's."""
ANYONE = "anyone"
"""In `Route.to`: any actor may be told."""


class Priority(IntEnum):
    """Foreground messages are served before background ones (hand-off and repair)."""

    FOREGROUND = 0
    BACKGROUND = 1


class Route(NamedTuple):
    """A row of `WIRE`: tag, type, the actor that takes it, and its priority there."""

    tag: int
    type: type[Any]
    to: str
    priority: Priority = Priority.FOREGROUND


WIRE: tuple[Route, ...] = (
    Route(1, Get, COORDINATOR),
    Route(2, GetReply, CLIENT),
    Route(3, Put, COORDINATOR),
    Route(4, Delete, COORDINATOR),
    Route(5, WriteReply, CLIENT),
    Route(6, SupersededReply, CLIENT),
    Route(7, ErrorReply, CLIENT),
    Route(8, Status, COORDINATOR),
    Route(9, StatusReply, CLIENT),
    Route(10, Owners, COORDINATOR),
    Route(11, OwnersReply, CLIENT),
    Route(12, RingLoad, COORDINATOR),
    Route(13, RingLoadReply, CLIENT),
    Route(20, WriteReplica, STORAGE),
    Route(21, WriteReplicaReply, COORDINATOR),
    Route(22, ReadReplica, STORAGE),
    Route(23, ReadReplicaReply, COORDINATOR),
    Route(24, RepairReplica, STORAGE, Priority.BACKGROUND),
    Route(30, TakeHints, STORAGE, Priority.BACKGROUND),
    Route(31, TakeHintsReply, HANDOFF),
    Route(32, DeliverHints, STORAGE, Priority.BACKGROUND),
    Route(33, DeliverHintsReply, HANDOFF),
    Route(34, DropHints, STORAGE, Priority.BACKGROUND),
    Route(35, DropHintsReply, HANDOFF),
    Route(36, CountHints, STORAGE, Priority.BACKGROUND),
    Route(37, CountHintsReply, HANDOFF),
    Route(40, LoadDisks, STORAGE),
    Route(41, LoadDisksReply, GOSSIP),
    Route(42, SaveDisk, STORAGE),
    Route(43, SettleDisk, STORAGE),
    Route(44, StorageStatus, STORAGE),
    Route(45, StorageStatusReply, COORDINATOR),
    Route(50, Ping, GOSSIP),
    Route(51, PingReq, GOSSIP),
    Route(52, Ack, GOSSIP),
    Route(53, Gossip, GOSSIP),
    Route(54, Exchange, GOSSIP),
    Route(55, ExchangeReply, GOSSIP),
    Route(56, Refused, ANYONE),
    Route(57, MembersChanged, ANYONE),
    Route(58, LinkUp, ANYONE),
    Route(59, LinkLost, ANYONE),
    Route(60, CompareSettings, GOSSIP),
)

ROUTE_OF: dict[type[Any], Route] = {route.type: route for route in WIRE}
ROUTE_BY_TAG: dict[int, Route] = {route.tag: route for route in WIRE}

# A coordinator that forwards a put is a client of the one it forwards to.
FORWARD_REPLIES: frozenset[type[Any]] = frozenset({WriteReply, SupersededReply, ErrorReply})

EXCHANGED: tuple[type[Any], ...] = (Exchange, CompareSettings)
"""What gossip says to gossip over a link, for it wants an answer or is said only once."""


def takes(actor: str, message_type: type[Any]) -> bool:
    """Whether ``actor`` is where messages of this type go."""
    to = ROUTE_OF[message_type].to
    return to in (actor, ANYONE) or (actor == COORDINATOR and message_type in FORWARD_REPLIES)


def error_instead(message: Message, text: str) -> Message | None:
    """What to answer in the place of a reply that cannot be sent; None if it has no errors."""
    match message:
        case GetReply() | StatusReply() | OwnersReply() | RingLoadReply():
            return ErrorReply(message.request, Code.INTERNAL, text, True)
        case ReadReplicaReply():
            return ReadReplicaReply(message.request, ReplicaStatus.INTERNAL, None)
        case _:
            return None


def internal_reply(message: Message, text: str) -> Message | None:
    """What to answer to a message over which a machine failed; None if it wants no answer."""
    match message:
        case Get() | Put() | Delete() | Status() | Owners() | RingLoad():
            return ErrorReply(message.request, Code.INTERNAL, text, isinstance(message, Get))
        case WriteReplica():
            return WriteReplicaReply(message.request, ReplicaStatus.INTERNAL, None)
        case ReadReplica():
            return ReadReplicaReply(message.request, ReplicaStatus.INTERNAL, None)
        case DeliverHints():
            statuses = (int(ReplicaStatus.INTERNAL),) * len(message.hints)
            return DeliverHintsReply(message.request, statuses)
        case StorageStatus():
            return StorageStatusReply(message.request, {"error": text})
        case _:
            return None
