"""The door of an actor: other actors send to it, and answers go back by identity."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import zmq

from actors.doors.door import Door
from actors.doors.sockets import PEER_FRAMES_MAX, bound_router, received, sent
from actors.surroundings import Surroundings
from toystore.core.protocol.address import Address, Peer
from toystore.core.protocol.messages import Delivery, Message
from toystore.core.protocol.messages.gossip import Refused
from toystore.core.protocol.messages.ring import FetchRings, OfferRings
from toystore.core.protocol.routes import taken_by
from toystore.wire import FrameError, Header, VersionError, decode

_NONE: frozenset[type[Any]] = frozenset()
_NEWS: frozenset[type[Any]] = frozenset((FetchRings, OfferRings))


class Mailbox(Door):
    """A ROUTER for actors: always inproc, and a TCP port if other nodes send to it."""

    def __init__(self, surroundings: Surroundings, actor: str, *addresses: str) -> None:
        super().__init__(actor, surroundings, actor)
        self.socket = bound_router(surroundings, PEER_FRAMES_MAX, addresses)
        self._accepts = taken_by(actor)
        self._routes: dict[Peer, bytes] = {}

    def sockets(self) -> Iterable[zmq.Socket[bytes]]:
        """The one socket."""
        return (self.socket,)

    def drain(self) -> list[Delivery]:
        """Receive messages from actors of this cluster; answer foreign nodes with `Refused`."""
        inbox: list[Delivery] = []
        for parts in received(self.socket):
            if len(parts) != 2:
                self.reject(f"{len(parts)} frames, not an identity and a body", parts[0])
                continue
            identity, body = parts
            try:
                frame = decode(body)
            except FrameError as error:
                self.reject_frame(error, identity)
                if isinstance(error, VersionError):
                    self._post(identity, [Refused(str(error))])
                continue
            if frame.header is None:
                self.reject("no header: clients go to the client port", identity)
                continue
            sender, messages = frame.header.sender, frame.messages
            refusal, still_taken = self._objection(frame.header)
            if refusal is not None:
                messages = [message for message in messages if type(message) in still_taken]
                if len(messages) < len(frame.messages):
                    self.refuse_unlisted(sender.node, refusal)
                    self._post(identity, [Refused(refusal)])
                if not messages:
                    continue
            self._routes[sender] = identity
            for message in messages:
                if type(message) in self._accepts:
                    inbox.append((message, sender))
                else:
                    self.reject(f"{type(message).__name__} is not for {self.actor}", identity)
        return inbox

    def _objection(self, header: Header) -> tuple[str | None, frozenset[type[Any]]]:
        """Why a sender is refused, or None, and what is taken from it all the same.

        A node that was removed may fetch the record that says so, and offer it.  A node of another
        lineage may not know yet that this cluster has begun a new one, or may know that of a later
        one; and a node of another founding finds out so that it is that.  Storage adopts only
        records that follow its own.
        """
        reason = self.refusal(header)
        if reason is not None:
            own, other = self.header.cluster, header.cluster
            return reason, _NEWS if own.epoch and other.name == own.name else _NONE
        return self._unlisted(header), _NEWS

    def send(self, to: Address, messages: list[Message]) -> list[Delivery]:
        """Answer an actor that has sent before; drop what cannot be sent.

        An actor of this node whose socket is closed has stopped, and needs no answer.
        """
        identity = self._routes.get(to) if isinstance(to, Peer) else None
        if identity is None:
            self.drop(len(messages))
        else:
            is_own = isinstance(to, Peer) and to.node == self.surroundings.me.name
            self._post(identity, messages, gone=is_own)
        return []

    def follow(self, surroundings: Surroundings) -> None:
        """Forget the ways back to nodes that are no longer listed, until they send again."""
        super().follow(surroundings)
        listed = {surroundings.me.name, *(node.name for node in surroundings.others())}
        self._routes = {to: way for to, way in self._routes.items() if to.node in listed}

    def _post(self, identity: bytes, messages: list[Message], *, gone: bool = False) -> None:
        """``gone``: whether an answer to an actor that is gone counts as sent."""
        for body, carried in self.frames(messages):
            if not sent(self.socket, (identity, body), gone=gone):
                self.drop(len(carried))
