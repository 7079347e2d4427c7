"""The part that all doors share: sockets, receiving, sending, and rejected senders."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import zmq

from actors import log
from actors.surroundings import Surroundings
from toystore.core.protocol.address import Address
from toystore.core.protocol.failures import error_instead
from toystore.core.protocol.messages import Delivery, Message
from toystore.core.ring.cluster_id import (
    ClusterId,
    is_fork,
    older_lineage,
    why_foreign,
    why_unlisted,
)
from toystore.wire import (
    FRAME_BYTES_MAX,
    Frame,
    FrameError,
    Header,
    VersionError,
    decode,
    encode,
    encode_bounded,
)

LOGGED_SENDERS_MAX = 256
TABLE_BYTES_MAX = 4096
"""A header with a larger table of buckets is judged anew each time."""
NAME_TOLD_MAX = 64
"""How much of a foreign node's name is logged; no member's name is longer."""


class Door:
    """The part that all doors share: sockets, receiving, sending, and rejected senders."""

    def __init__(self, port: str, surroundings: Surroundings, actor: str) -> None:
        self.port = port
        self.surroundings = surroundings
        self.actor = actor
        self.header: Header = surroundings.header(actor)
        self.is_signed = True
        """Whether the frames of this door have a header; those for clients name the epoch only."""
        self._listed = _names(surroundings)
        self.on_newer: Callable[[str, int], None] = lambda _node, _epoch: None
        """Called with each node of this cluster that has a newer ring record, and its epoch."""
        self.on_older: Callable[[bytes], None] = self.adopt
        """Called with an older lineage of this cluster, from a frame that was accepted."""
        self.dropped = 0
        self._logged: set[object] = set()
        self._refused: set[object] = set()
        self._judged: set[ClusterId] = set()
        """Other headers of this cluster that were accepted."""

    def sockets(self) -> Iterable[zmq.Socket[bytes]]:
        """The sockets to poll."""
        raise NotImplementedError

    def drain(self) -> list[Delivery]:
        """Receive what waits, up to a bound, without blocking."""
        raise NotImplementedError

    def send(self, to: Address, messages: list[Message]) -> list[Delivery]:
        """Send without blocking; return the messages about it that the machine must receive."""
        raise NotImplementedError

    def close(self) -> None:
        """Close the sockets."""
        for socket in self.sockets():
            socket.close()

    def frames(self, messages: list[Message]) -> Iterable[tuple[bytes, list[Message]]]:
        """The frames that carry ``messages``, each with those that it carries.

        A message too large for any receiver, which no limits allow, is left out, or an error
        replaces it.
        """
        header = self.header if self.is_signed else None
        epoch = None if self.is_signed else self.header.cluster.epoch
        most = self.surroundings.frame_bytes_max
        for body, carried in encode_bounded(messages, header, most, epoch):
            if len(body) <= FRAME_BYTES_MAX:
                yield body, carried
            elif (error := self._oversized(carried[0], len(body))) is not None:
                yield encode([error], header, epoch), carried

    def _oversized(self, message: Message, size: int) -> Message | None:
        """Log a message that cannot be sent; return the error that replaces it, if any."""
        kind = type(message).__name__
        if kind not in self._logged:
            self._logged.add(kind)
            log.event(self.actor, "message.oversized", port=self.port, message=kind, bytes=size)
        return error_instead(message, f"the answer has {size} bytes; at most {FRAME_BYTES_MAX}")

    def opened(self, body: bytes, sender: object) -> Frame | None:
        """Decode a frame; log a malformed or foreign one, and return None."""
        try:
            return decode(body)
        except FrameError as error:
            self.reject_frame(error, sender)
            return None

    def reject_frame(self, error: FrameError, sender: object) -> None:
        """Log a frame that cannot be decoded; a node of another version by its name."""
        if isinstance(error, VersionError) and error.sender is not None:
            self.refuse(error.sender[:NAME_TOLD_MAX], str(error))
        else:
            self.reject(str(error), sender)

    def reject(self, reason: str, sender: object) -> None:
        """Log the first rejected frame of each sender."""
        if sender not in self._logged and len(self._logged) < LOGGED_SENDERS_MAX:
            self._logged.add(sender)
            log.event(
                self.actor, "frame.rejected", port=self.port, reason=reason, sender=str(sender)
            )

    def refusal(self, header: Header) -> str | None:
        """Why a header is foreign, or None."""
        own, other = self.header.cluster, header.cluster
        if other == own:
            return None
        if other not in self._judged:
            around = self.surroundings
            reason = why_foreign(own, other, around.config.copies(), around.history)
            if reason is not None:
                # Only as much of a foreign node's name is kept as identifies it.
                node = header.sender.node[:NAME_TOLD_MAX]
                self.refuse(node, reason, is_fork=self.is_forked(header))
                return reason
            self._accept(other)
        self.learn(header)
        return None

    def is_forked(self, header: Header) -> bool:
        """Whether a node of this cluster's lineage is of another founding."""
        return is_fork(self.header.cluster, header.cluster, self.surroundings.history)

    def _accept(self, other: ClusterId) -> None:
        """Remember that other headers of this cluster are accepted."""
        if len(other.buckets) <= TABLE_BYTES_MAX and len(self._judged) < LOGGED_SENDERS_MAX:
            self._judged.add(other)

    def unlisted(self, header: Header) -> str | None:
        """As `_unlisted`; log the node, from which nothing is accepted then."""
        reason = self._unlisted(header)
        if reason is not None:
            self.refuse_unlisted(header.sender.node, reason)
        return reason

    def _unlisted(self, header: Header) -> str | None:
        """Why an accepted sender is no member by this node's record; None if it may be one."""
        return why_unlisted(self.header.cluster, header.cluster, header.sender.node, self._listed)

    def learn(self, header: Header) -> None:
        """Learn of an older lineage of this cluster, or of a newer ring record, from its sender."""
        own, other = self.header.cluster, header.cluster
        if other.lineage != own.lineage:
            lineage = older_lineage(own, other)
            if lineage is not None:
                self.on_older(lineage)
        # Also of another lineage: the cluster may have begun a new one.
        if other.name == own.name and other.epoch > own.epoch:
            self.on_newer(header.sender.node, other.epoch)

    def adopt(self, lineage: bytes) -> None:
        """From now on the frames of this door have another lineage."""
        cluster = self.header.cluster._replace(lineage=lineage)
        self.header = self.header._replace(cluster=cluster)
        self._judged.clear()

    def follow(self, surroundings: Surroundings) -> None:
        """The ring has changed: from now on frames of this door have the new record's header."""
        self.surroundings = surroundings
        self.header = surroundings.header(self.actor)
        self._listed = _names(surroundings)
        self._judged.clear()

    def refuse_unlisted(self, node: str, reason: str) -> None:
        """Log a node that is no member, unless the newest record has removed it.

        Such a node may not have that record yet; once it has, it ends.
        """
        record = self.surroundings.record
        gone = (
            [] if record is None else [one.name for one in record.gone if one.epoch == record.epoch]
        )
        if node not in gone:
            self.refuse(node[:NAME_TOLD_MAX], reason)

    def refuse(self, node: str, reason: str, *, is_fork: bool = False) -> None:
        """Log a foreign node, once for each reason."""
        if (node, reason) in self._refused or len(self._refused) >= LOGGED_SENDERS_MAX:
            return
        self._refused.add((node, reason))
        if is_fork:
            epoch = self.header.cluster.epoch
            log.event(self.actor, "ring.forked", member=node, epoch=epoch, reason=reason)
        else:
            log.event(self.actor, "member.refused", member=node, reason=reason)

    def drop(self, count: int) -> None:
        """Count replies that could not be delivered; log at 1, 10, 100, ..."""
        before, self.dropped = self.dropped, self.dropped + count
        if len(str(self.dropped)) > len(str(before)) or before == 0:
            log.event(self.actor, "reply.dropped", port=self.port, count=self.dropped)


def _names(surroundings: Surroundings) -> frozenset[str]:
    """The members, and this node, which may have been removed."""
    return frozenset((surroundings.me.name, *(one.name for one in surroundings.config.members)))
