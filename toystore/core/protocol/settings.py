"""The settings of the machines: their defaults and what they mean.

``toystore/config/`` reads them from YAML and checks them; the machines do not check them
again.

Limits bound what a node admits: the sizes that its clients may put, and the length of its
queues.  They do not bound what it receives from other nodes: those may have higher limits, or
had them when they stored a record.  Only the ``_CAP``s bound what nodes receive from each
other; no limit can be set above them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

KEY_BYTES_CAP = 2**16 - 1
"""A record stores the length of its key in two bytes."""
VALUE_BYTES_CAP = 2**30
FRAME_BYTES_CAP = 2**24
"""It bounds a batch of hints, too: a batch is one message on the wire."""
N_CAP = 2**8 - 2
"""Of a bucket: a digest has one byte for N, and the last stretch ends with the next N."""
ARRAY_ITEMS_CAP = 2**16
"""The longest array on the wire: the messages of a frame, the hints of a batch, the members."""


@dataclass(frozen=True, slots=True)
class SwimSettings:
    """SWIM's periods and multipliers, each with its formula."""

    probe_period_s: float = 1.0
    """One member is probed in each period (SWIM section 3.1)."""
    probe_timeout_s: float = 0.3
    """After this long without an ack, other members are asked to ping, until the period ends."""
    indirect_probes: int = 3
    """K: how many other members are asked (SWIM section 3.1)."""
    local_health_max: int = 8
    """The worst score of a node that finds itself slow: its probe_period_s and probe_timeout_s
    are 1 + score times as long (Lifeguard IV-A).  0: no score is kept."""
    suspicion_mult: float = 3.0
    """A suspect is dead after suspicion_mult * max(1, log10(N)) * probe_period_s at least."""
    suspicion_max_mult: float = 6.0
    """It is dead after this many times as long at most: the time shrinks with each member that
    confirms the suspicion (Lifeguard IV-B).  1: the time is fixed."""
    retransmit_mult: float = 3.0
    """Lambda: an update is piggybacked ceil(retransmit_mult * ln(N + 1)) times at most."""
    updates_per_message_max: int = 16
    """How many updates are piggybacked on one datagram."""
    exchange_period_s: float = 10.0
    """The full member list is exchanged with one random member each
    exchange_period_s * max(1, N / 64)."""
    join_retry_s: float = 0.5
    """How long to wait for a seed before the next is asked."""
    stall_s: float = 1.0
    """A deadline served this late means that this process was stalled: it suspects no member."""


LAN = SwimSettings()
LOCAL = replace(LAN, probe_period_s=0.5, probe_timeout_s=0.2, suspicion_mult=2.5)
"""All nodes on one machine, where a ping takes a fraction of a millisecond."""
WAN = replace(
    LAN,
    probe_period_s=5.0,
    probe_timeout_s=3.0,
    retransmit_mult=4.0,
    exchange_period_s=60.0,
    join_retry_s=2.0,
    stall_s=5.0,
)
"""Nodes far from each other: pings take long, and more of them are lost."""

PROFILES = {"local": LOCAL, "lan": LAN, "wan": WAN}
"""The settings of SWIM by the name of the network that they suit."""


@dataclass(frozen=True, slots=True)
class BucketSettings:
    """N, R and W of a bucket."""

    n: int = 3
    r: int = 2
    w: int = 2


@dataclass(frozen=True, slots=True)
class LimitSettings:
    """What is refused, and how long queues may be."""

    key_bytes_max: int = 1024
    value_bytes_max: int = 1024 * 1024
    frame_bytes_max: int = 1024 * 1024
    """A frame is closed at this size; a frame of one message may be larger."""
    requests_max: int = 1024
    """Open requests of one coordinator; the next is answered `Overloaded`."""
    request_bytes_max: int = 64 * 1024 * 1024
    """Bytes of keys and values in one coordinator's open requests."""
    hint_bytes_max: int = 1024 * 1024 * 1024
    """Bytes of hints that one node keeps; at the bound the next fallback is asked."""


@dataclass(frozen=True, slots=True)
class CoordinatorSettings:
    """How requests are run."""

    buckets: Mapping[str, BucketSettings] = field(default_factory=dict)
    """Every bucket by its name; "default" always exists."""
    limits: LimitSettings = field(default_factory=LimitSettings)
    replica_timeout_s: float = 0.3
    """An owner that has owed an answer for this long is replaced by a fallback."""
    timeout_max_s: float = 60.0
    """The longest timeout of a request; a longer one is cut to this."""
    clock_ahead_max_s: float = 10.0
    """A stamp further ahead of the coordinator's wall clock is refused (`CLOCK_AHEAD`)."""
    reap_after_s: float = 3600.0
    """`AntientropySettings.reap_after_s`: no write is sent to a replica later than half of this
    after the time of its stamp."""
    stall_s: float = 1.0


@dataclass(frozen=True, slots=True)
class AntientropySettings:
    """How replicas are compared and rebuilt."""

    move_bytes_per_s: int = 8 * 1024 * 1024
    """How many bytes a second a node moves, received and sent together; 0: no limit."""
    pause_factor: float = 5.0
    """How long the pause after a batch is at least, in times of what the batch has taken."""
    batch_bytes: int = 64 * 1024
    """The size of a batch of records.  One batch at a time is under way with a peer."""
    compare_s: float = 10.0
    """A peer is asked once in this time at most which ranges differ."""
    rest_s: float = 2.0
    """A range that was written to is compared once it has not changed for this long..."""
    rest_max_s: float = 60.0
    """...or this long after it was written to at the latest."""
    follow_s: float = 0.5
    """A new ring is followed after a random time up to this: all nodes adopt it at the same moment,
    and requests would wait on all of them."""
    visit_s: float = 0.5
    """How soon an owner that must be compared with is asked again if it was not ready."""
    young_s: float = 5.0
    """Records with younger stamps are left to their writers, unless their range has not changed
    for this long."""
    reply_timeout_s: float = 5.0
    """A question without an answer for this long is asked again later."""
    scrub_s: float = 7 * 24 * 3600.0
    """Each record is read and checked once in this time."""
    reap_after_s: float = 3600.0
    """Tombstones older than this are deleted once no node can bring the deleted value back."""
    stall_s: float = 1.0


MOVE_LEAST_BYTES_PER_S = 16 * 1024
"""The least `AntientropySettings.move_bytes_per_s`, if it is not 0.  While a node refuses requests,
a tenth is left, and a record of 1 MiB takes ten minutes."""
REAP_AFTER_LEAST_S = 10.0
"""The least `AntientropySettings.reap_after_s`.  Half of it is how old the stamp of a write may be,
and how far clocks may differ."""


@dataclass(frozen=True, slots=True)
class RingSettings:
    """How the members of the ring change."""

    remove_after_s: float = 0.0
    """A member that has been dead for this long is removed; 0: no member is."""
    poll_s: float = 2.0
    """While ranges move, each member is asked once in this time how far it is."""
    reply_timeout_s: float = 1.0
    """How long a storage may take to answer; the node's own three times as long."""
    decide_s: float = 5.0
    """A proposal that is not decided within this time is given up."""
    takeover_s: float = 5.0
    """An accepted record that is not decided for this long, or up to twice as long, is proposed
    again."""


REMOVE_AFTER_LEAST_S = 300.0
"""The least `RingSettings.remove_after_s`, if it is not 0: a restart must not look like a loss."""


@dataclass(frozen=True, slots=True)
class HandoffSettings:
    """How hints are delivered."""

    batch_bytes: int = 256 * 1024
    """The size of a batch.  One batch at a time is in flight to an owner."""
    reply_timeout_s: float = 5.0
    """A batch without an answer for this long is sent again."""
    retry_s: float = 2.0
    """How often the hints are counted and delivery is tried again."""
    age_warn_s: float = 3600.0
    """Hints older than this are reported."""
    stall_s: float = 1.0
