"""The numbers that the machines are given, with their defaults and what they mean.

``toystore/config/`` reads them from YAML and checks them; the machines take them as
they are.

Limits say what a node lets in: what its clients may put, and where its queues end.  They do
not say what it takes from other nodes, whose limits may be higher, or were when they stored
what they send.  What every node takes from every other follows from the ``_CAP``s alone,
above which no limit can be set.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

KEY_BYTES_CAP = 2**16 - 1
"""A record gives the length of its key two bytes."""
VALUE_BYTES_CAP = 2**30
FRAME_BYTES_CAP = 2**24
"""The same for a batch of hints, which crosses the wire as one message."""
ARRAY_ITEMS_CAP = 2**16
"""No array on the wire is longer: the messages of a frame, the hints of a batch, the members."""


@dataclass(frozen=True, slots=True)
class SwimSettings:
    """SWIM's clockwork.  Formulas stand beside the settings they use."""

    probe_period_s: float = 1.0
    """One member is probed in each period (SWIM section 3.1)."""
    probe_timeout_s: float = 0.3
    """Without an ack for this long, others are asked to ping; the rest of the period is theirs."""
    indirect_probes: int = 3
    """K: how many others are asked (SWIM section 3.1)."""
    suspicion_mult: float = 3.0
    """A suspect is dead after suspicion_mult * max(1, log10(N)) * probe_period_s."""
    retransmit_mult: float = 3.0
    """Lambda: an update is piggybacked ceil(retransmit_mult * ln(N + 1)) times at most."""
    updates_per_message_max: int = 16
    """How many updates ride on one datagram."""
    exchange_period_s: float = 10.0
    """How often all is exchanged with one random member."""
    join_retry_s: float = 0.5
    """How long to wait for a seed before the next is asked."""
    stall_s: float = 1.0
    """A deadline served this late means that this process was held up: it accuses nobody."""


@dataclass(frozen=True, slots=True)
class BucketSettings:
    """N, R and W of a bucket."""

    n: int = 3
    r: int = 2
    w: int = 2


@dataclass(frozen=True, slots=True)
class LimitSettings:
    """What is refused, and where queues end."""

    key_bytes_max: int = 1024
    value_bytes_max: int = 1024 * 1024
    frame_bytes_max: int = 1024 * 1024
    """Frames are cut at this size; a lone message may be larger."""
    requests_max: int = 1024
    """Requests that one coordinator holds at once; the next is `Overloaded`."""
    request_bytes_max: int = 64 * 1024 * 1024
    """Bytes of keys and values held by one coordinator's requests."""
    hint_bytes_max: int = 1024 * 1024 * 1024
    """Bytes of hints that one node keeps; at the bound the next fallback is asked."""


@dataclass(frozen=True, slots=True)
class CoordinatorSettings:
    """How requests are run."""

    buckets: Mapping[str, BucketSettings] = field(default_factory=dict)
    """Every bucket there is, by name; "default" is always there."""
    limits: LimitSettings = field(default_factory=LimitSettings)
    replica_timeout_s: float = 0.3
    """An owner silent for this long is replaced by a fallback, in mid-request."""
    timeout_max_s: float = 60.0
    """A request that gives itself longer is cut to this."""
    clock_ahead_max_s: float = 10.0
    """A stamp further ahead of the coordinator's wall clock is refused (`CLOCK_AHEAD`)."""
    stall_s: float = 1.0


@dataclass(frozen=True, slots=True)
class HandoffSettings:
    """How hints are delivered."""

    batch_bytes: int = 256 * 1024
    """One batch, in flight to one owner at a time."""
    reply_timeout_s: float = 5.0
    """A batch unanswered for this long is sent anew."""
    retry_s: float = 2.0
    """How often the hints are counted, and delivery tried again."""
    age_warn_s: float = 3600.0
    """Hints older than this are reported."""
    stall_s: float = 1.0
