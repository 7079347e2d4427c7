"""How much a group sends: messages, frames and bytes; and a digest of all of it."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence

from toystore.core.protocol.messages import Message
from toystore.core.protocol.messages.gossip import Exchange, ExchangeReply
from toystore.core.ring.cluster_id import ClusterId
from toystore.sim.membership.group import Host, Observer
from toystore.wire import Header, encode

_CLUSTER = ClusterId("toystore", bytes(16), 0, bytes(16), bytes(5))
"""The cluster in a frame's header: only its length counts here."""


class Traffic(Observer):
    """Counts what is sent, each frame as `toystore.wire.encode` makes it, with its header.

    An exchange's two messages are counted apart: they go over links, and grow with the group.
    """

    def __init__(self) -> None:
        self.datagrams = Count()
        self.exchanges = Count()
        self.per_second: list[int] = []
        """The datagrams of each second."""
        self._digest = hashlib.blake2b(digest_size=16)
        self._headers: dict[str, Header] = {}

    def sent(self, at: float, host: Host, to: str, frame: Sequence[Message]) -> None:
        """Count a frame."""
        header = self._headers.get(host.name)
        if header is None:
            header = self._headers[host.name] = Header(host.peer, _CLUSTER)
        data = encode(frame, header)
        self._digest.update(struct.pack("<d", at) + to.encode() + data)
        if isinstance(frame[0], Exchange | ExchangeReply):
            self.exchanges.add(len(frame), len(data))
            return
        self.datagrams.add(len(frame), len(data))
        second = int(at)
        while len(self.per_second) <= second:
            self.per_second.append(0)
        self.per_second[second] += 1

    def digest(self) -> str:
        """A digest of all frames: their times, senders, receivers and bytes, as hex."""
        return self._digest.hexdigest()


class Count:
    """Frames, the messages in them, and their bytes."""

    def __init__(self) -> None:
        self.frames = 0
        self.messages = 0
        self.bytes = 0

    def add(self, messages: int, size: int) -> None:
        """Count a frame of this many messages and bytes."""
        self.frames += 1
        self.messages += messages
        self.bytes += size
