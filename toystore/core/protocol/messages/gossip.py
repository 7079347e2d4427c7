"""What members say to each other of who is there (SWIM), and of whether they belong together."""

from __future__ import annotations

from typing import Any, NamedTuple


class MemberState(NamedTuple):
    """One member as SWIM knows it: what is piggybacked and exchanged."""

    name: str
    status: int
    incarnation: int
    disk: str
    """The id of the disk it runs on (32 hex digits), or "" while not known."""
    accusers: tuple[str, ...] = ()
    """The members that suspect it by their own evidence; of a suspicion only.  A suspicion has none
    if it was made of a row that says dead (`Exchanges.reprieved`)."""


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


class Nack(NamedTuple):
    """Lifeguard section IV-A: I have pinged ``target`` for you, and it has not acked."""

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
    boot: str
    """The id of this run of my node: no other process has it, and no other run."""


class ExchangeReply(NamedTuple):
    """The answer to `Exchange`."""

    request: int
    members: tuple[MemberState, ...]
    boot: str
    """The run that has asked; another process with its name ignores this."""


class DescribeNode(NamedTuple):
    """Which process is at your address?"""

    request: int
    claimant: str
    """The run of a process that says it is you, or "" if there is none.  If it is not you, I
    refuse it."""


class DescribeNodeReply(NamedTuple):
    """The answer to `DescribeNode`: I am node ``name``, in the run ``boot``."""

    request: int
    name: str
    boot: str
    disk: str
    """My disk, or "" if I do not know it yet."""


class ClaimReply(NamedTuple):
    """The answer to an `Exchange` of a process that I do not believe to be the member it says."""

    boot: str
    """The run that sent the exchange: the member itself ignores this."""
    taken: bool
    """Whether another process is the member, so that this one has to stop.  Otherwise it waits."""
    text: str


class NameTaken(NamedTuple):
    """Another process says that it is me: do not believe it."""

    boot: str
    """Its run."""
    process: str
    """My run."""


class CompareSettings(NamedTuple):
    """What I have set of what should be the same on all nodes; see where yours differ."""

    settings: dict[str, Any]


class Refused(NamedTuple):
    """This node does not belong here: another cluster's name, or another member list."""

    text: str
