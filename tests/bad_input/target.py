"""What the tests aim at: n1 of a cluster of three, by sockets that no client would use."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import zmq

from tests.harness.cluster import Cluster
from tests.harness.sockets import connected
from tests.harness.waiting import PATIENCE_S, wait_until
from toystore.core.data.stamp import pack_stamp
from toystore.core.protocol.address import GOSSIP, STORAGE, Peer
from toystore.core.protocol.messages import Message
from toystore.core.protocol.messages.client import Delete, Get, Put
from toystore.net.endpoint import Endpoint
from toystore.wire import Header, decode, encode

KEY_MAX = 64
VALUE_MAX = FRAME_MAX = 64 * 1024
SEED = 20240501
A_STAMP = pack_stamp(time.time_ns() // 1000, 0, b"minter__")


class Target(Cluster):
    """Three nodes with small limits, so that going beyond them is cheap."""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            folder,
            3,
            durability="async",
            buckets={"default": {"n": 3, "r": 2, "w": 2}, "pair": {"n": 2, "r": 1, "w": 1}},
            limits={
                "key_bytes_max": KEY_MAX,
                "value_bytes_max": VALUE_MAX,
                "frame_bytes_max": FRAME_MAX,
            },
            swim={"probe_period_s": 0.5, "probe_timeout_s": 0.2},
        )
        self.header = Header(Peer("n3", STORAGE), self.config.cluster_id())
        self.foreign = Header(self.header.sender, self.header.cluster._replace(name="another"))
        self._context: zmq.Context[Any] = zmq.Context()

    def __exit__(self, *_: object) -> None:
        self._context.destroy(linger=0)
        super().__exit__()

    def socket(self, kind: int, port: str = "client_port", **options: Any) -> zmq.Socket[bytes]:
        """A raw ZeroMQ socket, connected to a port of n1."""
        return connected(self._context, kind, str(Endpoint(*self._address(port))), **options)

    def connection(self, port: str = "client_port") -> socket.socket:
        """A TCP connection to a port of n1."""
        return socket.create_connection(self._address(port), PATIENCE_S)

    def _address(self, port: str) -> tuple[str, int]:
        member = self.config.member("n1")
        return member.host, getattr(member, port)

    def rejected(self, sender: object) -> list[dict[str, Any]]:
        """What n1 has logged of a sender's frames."""
        entries = self.events("n1", "frame.rejected")
        return [entry for entry in entries if entry["sender"] == str(sender)]

    def refused(self, member: str) -> list[dict[str, Any]]:
        """What n1 has logged of a foreigner."""
        entries = self.events("n1", "member.refused")
        return [entry for entry in entries if entry["member"] == member]

    @contextlib.contextmanager
    def publisher(self) -> Iterator[zmq.Socket[bytes]]:
        """An XPUB that n1's inbox has subscribed to."""
        with self.socket(zmq.XPUB, "gossip_port") as outlet:
            topics = {outlet.recv(), outlet.recv()}
            assert topics == {b"\x01n1\0", b"\x01*\0"}
            yield outlet

    def await_gossip(self, outlet: zmq.Socket[bytes]) -> None:
        """Until n1 has taken in what was published so far."""
        marker = f"marker {os.urandom(4).hex()}"
        header = self.foreign._replace(sender=Peer(marker, GOSSIP))
        outlet.send(b"n1\0" + encode([], header))
        wait_until(lambda: self.refused(marker), "n1 has refused the marker")


def served(cluster: Target, writer: str = "n2", reader: str = "n1") -> bool:
    """Whether what is put through one node is got through another."""
    value = os.urandom(8)
    with cluster.client(writer) as store:
        store.put("witness", value)
    with cluster.client(reader) as store:
        found = store.get("witness")
    return found is not None and found.value == value


def ask(port: zmq.Socket[bytes], *messages: Message, header: Header | None = None) -> list[Message]:
    """Send a frame, and take the next."""
    port.send(encode(messages, header))
    return decode(port.recv()).messages


def a_get(**changes: Any) -> Get:
    """A sound get, but for the changes."""
    return Get(7, "default", b"k", None, 2000)._replace(**changes)


def a_put(**changes: Any) -> Put:
    """A sound put, but for the changes."""
    whole = Put(7, "default", b"k", b"v", None, b"", None, 2000, False)
    return whole._replace(**changes)


def a_delete(**changes: Any) -> Delete:
    """A sound delete, but for the changes."""
    whole = Delete(7, "default", b"k", None, b"", None, 2000, False)
    return whole._replace(**changes)
