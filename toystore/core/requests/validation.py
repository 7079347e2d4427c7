"""What a request must satisfy before a coordinator takes it on.

Pure checks of the request alone.  Each fault is a text for the caller: what was given, and
what would be right.

The limits of this node apply to puts only.  A key that is stored already may have been put
under higher limits, so gets and deletes take any key that fits a record.
"""

from __future__ import annotations

from toystore.core.data.context import unpack_context
from toystore.core.data.stamp import STAMP_BYTES, TIME_US_MAX, unpack_stamp
from toystore.core.protocol.messages.client import Delete, Get, Put, Repair
from toystore.core.protocol.settings import KEY_BYTES_CAP, CoordinatorSettings


def fault_in(request: Get | Put | Delete, settings: CoordinatorSettings) -> str | None:
    """What is wrong with ``request``, or None."""
    key_bytes_max = settings.limits.key_bytes_max if type(request) is Put else KEY_BYTES_CAP
    fault = place_fault(request.bucket, request.key, settings, key_bytes_max)
    if fault is not None:
        return fault
    if request.timeout_ms <= 0:
        return f"timeout_ms is {request.timeout_ms}; it must be above 0"
    n = settings.buckets[request.bucket].n
    quorum, asked = ("r", request.r) if isinstance(request, Get) else ("w", request.w)
    if asked is not None and not 0 < asked <= n:
        return f"{quorum} is {asked}; with n={n} it can be 1 to {n}"
    return None if isinstance(request, Get) else _write_fault(request, settings)


def place_fault(
    bucket: str, key: bytes, settings: CoordinatorSettings, key_bytes_max: int = KEY_BYTES_CAP
) -> str | None:
    """What is wrong with the bucket or the key, or None."""
    fault = _bucket_fault(bucket, settings)
    if fault is not None:
        return fault
    if not 0 < len(key) <= key_bytes_max:
        return f"a key of {len(key)} bytes; 1 to {key_bytes_max} are taken"
    return None


def repair_fault(request: Repair, settings: CoordinatorSettings, partitions: int) -> str | None:
    """What is wrong with the bucket or the partition, or None."""
    partition = request.partition
    if partition is not None and not 0 <= partition < partitions:
        return f"no partition {partition}; there are 0 to {partitions - 1}"
    return None if request.bucket is None else _bucket_fault(request.bucket, settings)


def _bucket_fault(bucket: str, settings: CoordinatorSettings) -> str | None:
    if bucket in settings.buckets:
        return None
    return f"no bucket {bucket!r:.80}; there are {', '.join(sorted(settings.buckets))}"


def _write_fault(request: Put | Delete, settings: CoordinatorSettings) -> str | None:
    """What is wrong with the value, the stamp or the context, or None."""
    limit = settings.limits.value_bytes_max
    if type(request) is Put and len(request.value) > limit:
        return f"a value of {len(request.value)} bytes; at most {limit} are taken"
    if request.stamp is not None and len(request.stamp) != STAMP_BYTES:
        return f"a stamp of {len(request.stamp)} bytes; one has {STAMP_BYTES}"
    if request.context:
        try:
            seen = unpack_stamp(unpack_context(request.context))
        except ValueError as error:
            return str(error)
        if seen.time_us > TIME_US_MAX:
            # No clock could mint a stamp above this one.
            return (
                f"a context of a write at {seen.time_us} us; there is no time after {TIME_US_MAX}"
            )
    return None


def ahead_s(stamp: bytes, wall_us: int) -> float:
    """How many seconds ``stamp`` (20 bytes) is ahead of the wall clock; negative if behind."""
    return (unpack_stamp(stamp).time_us - wall_us) / 1_000_000
