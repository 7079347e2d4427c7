"""What the tests of the shell share: a node's surroundings, a tiny machine, a supervisor.

The sockets are real, inproc and TCP; the machine is a `Puppet` that notes what it is told
and does what a test says.
"""

from __future__ import annotations

import contextlib
import random
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import zmq

from actors import log
from actors.actor import Actor, Command
from actors.surroundings import Surroundings, inproc, now
from tests.harness.sockets import connected
from tests.harness.waiting import PATIENCE_S
from toystore.config import ClusterConfig, parse
from toystore.core.protocol.address import GOSSIP, Address, Peer
from toystore.core.protocol.machine import Now, Outbox
from toystore.core.protocol.messages import Message
from toystore.core.protocol.messages.codes import MemberStatus
from toystore.core.protocol.messages.gossip import MemberState
from toystore.core.protocol.messages.local import MembersChanged
from toystore.core.protocol.settings import BucketSettings, CoordinatorSettings, LimitSettings
from toystore.core.requests.coordinator import Coordinator
from toystore.core.ring.ring import Member
from toystore.core.ring.view import fixed_ring
from toystore.localcluster.ports import reserve_ports
from toystore.wire import Header, decode, encode

FRAME_MAX = 64 * 1024


def config(*names: str, **limits: int) -> ClusterConfig:
    """Members on ports of their own; small limits, so that going beyond them is cheap."""
    guard, base_port = reserve_ports(len(names))
    small = {"key_bytes_max": 64, "value_bytes_max": FRAME_MAX, "frame_bytes_max": FRAME_MAX}
    copies = min(3, len(names))
    made = parse(
        {
            "cluster": "shell",
            "base_port": base_port,
            "members": list(names),
            "buckets": {"default": {"n": copies, "r": 1, "w": 1}},
            "limits": small | limits,
        }
    )
    weakref.finalize(made, guard.close)
    return made


def surroundings(settings: ClusterConfig, name: str, context: zmq.Context[Any]) -> Surroundings:
    return Surroundings(settings, settings.member(name), context, "boot0001")


def coordinator(requests_max: int = 1024) -> Coordinator:
    """The coordinator of a cluster of one, which serves."""
    limits = LimitSettings(requests_max=requests_max)
    machine = Coordinator(
        node="n1",
        cluster="shell",
        version="1",
        started_s=0.0,
        ring=fixed_ring([Member("n1")], 8, 1),
        members={"n1": "tcp://n1:7400"},
        settings=CoordinatorSettings({"default": BucketSettings(1, 1, 1)}, limits),
        outbox=Outbox(),
        chance=random.Random(1),
    )
    alive = MemberState("n1", int(MemberStatus.ALIVE), 0, "")
    machine.receive(MembersChanged(True, (alive,)), Peer("n1", GOSSIP), now())
    return machine


@contextlib.contextmanager
def logging_to(path: Path) -> Iterator[Path]:
    log.configure(path, node="n1", level="debug", rotate_bytes=2**20, rotate_files=1)
    try:
        yield path
    finally:
        log.close()


class Puppet:
    """A machine that notes what it is told, and does what a test put into ``do``."""

    def __init__(self, outbox: Outbox) -> None:
        self.outbox = outbox
        self.heard: list[tuple[Message, Address]] = []
        self.served: list[float] = []
        self.failures = 0
        self.deadline: float | None = None
        self.do: Callable[[Puppet, Message, Address], None] = lambda *_: None
        self.on_due: Callable[[Puppet], None] = lambda _: None
        self.on_fail: Callable[[Puppet], None] = lambda _: None

    def receive(self, message: Message, sender: Address, now: Now) -> None:
        self.heard.append((message, sender))
        self.do(self, message, sender)

    def on_deadline(self, now: Now) -> None:
        self.served.append(now.monotonic)
        self.deadline = None
        self.on_due(self)

    def next_deadline(self) -> float | None:
        return self.deadline

    def on_failure(self, now: Now) -> None:
        self.failures += 1
        self.on_fail(self)

    @property
    def messages(self) -> list[Message]:
        return [message for message, _ in self.heard]


class Supervised:
    """Runs an actor as a node does, and hears its reports."""

    def __init__(self, actor: Actor) -> None:
        self.actor = actor
        self.control: zmq.Socket[bytes] = actor.surroundings.context.socket(zmq.PAIR)
        self.control.rcvtimeo = int(PATIENCE_S * 1000)
        self.control.linger = 0
        self.control.bind(inproc(f"{actor.role}.control"))
        actor.start()

    def report(self) -> str:
        """The next one, waited for."""
        return self.control.recv_string()

    def tell(self, command: Command) -> None:
        self.control.send_string(command)

    def __enter__(self) -> Supervised:
        assert self.report() == "ready"
        return self

    def __exit__(self, *_: object) -> None:
        if self.actor.is_alive():
            self.tell(Command.STOP)
        self.actor.join(PATIENCE_S)
        self.control.close()
        assert not self.actor.is_alive()


class OtherActor:
    """Somebody of the same cluster who comes to a mailbox: a raw DEALER with a header."""

    def __init__(
        self,
        around: Surroundings,
        sender: Peer,
        address: str,
        identity: bytes | None = None,
    ) -> None:
        self.peer = sender
        self.header = Header(sender, around.cluster_id)
        options = {} if identity is None else {"ROUTING_ID": identity}
        self.socket = connected(around.context, zmq.DEALER, address, **options)

    def send(self, *messages: Message) -> None:
        self.socket.send(encode(messages, self.header))

    def frame(self) -> list[Message]:
        """The messages of the next frame, waited for."""
        return decode(self.socket.recv()).messages

    def take(self, count: int) -> list[Message]:
        """So many messages, waited for, in however many frames."""
        taken: list[Message] = []
        while len(taken) < count:
            taken += self.frame()
        return taken
