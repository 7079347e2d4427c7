"""The whole file: a cluster, and the rules between its sections."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, Field, PositiveInt, ValidationInfo, field_validator

from toystore.config.errors import ConfigError, FaultsError
from toystore.config.sections import (
    LOAD_KEY,
    AntientropySection,
    BucketConfig,
    HandoffSection,
    LimitsSection,
    LoadConfig,
    LogConfig,
    MemberConfig,
    RequestsSection,
    RingSection,
    Section,
    SwimSection,
    ThroughConfig,
    read_as,
)
from toystore.config.steps import Step
from toystore.config.values import Host, KnownMember, Name, Port, list_names
from toystore.core.data.record import HEADER_BYTES
from toystore.core.protocol.settings import (
    ARRAY_ITEMS_CAP,
    FRAME_BYTES_CAP,
    KEY_BYTES_CAP,
    VALUE_BYTES_CAP,
    AntientropySettings,
    BucketSettings,
    CoordinatorSettings,
    HandoffSettings,
    LimitSettings,
    RingSettings,
    SwimSettings,
)
from toystore.core.ring.cluster_id import ClusterId, cluster_id, founding_digest
from toystore.core.ring.digest import members_digest
from toystore.core.ring.record import PORTS, Listed, RingRecord, founding
from toystore.core.ring.ring import Member
from toystore.core.ring.rules import NAME_MAX

SEEDS = 3
"""How many members are seeds if none is named."""
_PARTITIONS_MAX = ARRAY_ITEMS_CAP  # and there are no more members than partitions

_Batches = TypeVar("_Batches", HandoffSettings, AntientropySettings)


class ClusterConfig(Section):
    """A cluster, as its file describes it."""

    cluster: Name
    host: Host = "127.0.0.1"
    base_port: Port = 7400
    members: Annotated[tuple[MemberConfig, ...], Field(strict=False, min_length=1)]
    seeds: Annotated[tuple[KnownMember, ...], Field(strict=False)] = ()
    partitions: PositiveInt = 1024
    durability: Literal["sync", "async", "memory"] = "sync"
    sync_interval_ms: PositiveInt = 100
    buckets: dict[Name, Annotated[BucketSettings, read_as(BucketConfig)]]
    swim: Annotated[SwimSettings, read_as(SwimSection)] = SwimSettings()
    requests: Annotated[CoordinatorSettings, read_as(RequestsSection)] = CoordinatorSettings()
    limits: Annotated[LimitSettings, read_as(LimitsSection)] = LimitSettings()
    handoff: Annotated[HandoffSettings, read_as(HandoffSection)] = HandoffSettings()
    antientropy: Annotated[AntientropySettings, read_as(AntientropySection)] = AntientropySettings()
    ring: Annotated[RingSettings, read_as(RingSection)] = RingSettings()
    log: LogConfig = LogConfig()
    scenario: Annotated[tuple[Step, ...], Field(strict=False)] = ()
    load: LoadConfig | None = None

    def member(self, name: str) -> MemberConfig:
        """The member called ``name``.  Raises `ConfigError` if there is none."""
        for member in self.members:
            if member.name == name:
                return member
        names = list_names([member.name for member in self.members])
        raise ConfigError(
            f"the file of cluster {self.cluster!r} lists no member {name}; it lists {names}"
        )

    def ring_members(self) -> tuple[Member, ...]:
        """The members as the ring takes them."""
        return tuple(Member(member.name, member.weight, member.zone) for member in self.members)

    def members_digest(self) -> bytes:
        """The digest of all that decides the ring: by it the data of a disk is placed."""
        return members_digest(self.ring_members(), self.partitions)

    def digest(self) -> bytes:
        """The digest of all that makes the cluster this one, addresses included."""
        return founding_digest(self.founding())

    def founding(self) -> RingRecord:
        """The ring record of epoch 0: the members of this file."""
        return founding(
            self.cluster,
            self.partitions,
            (
                Listed(m.name, m.name, "", m.weight, m.zone, m.host, tuple(m.ports.values()))
                for m in self.members
            ),
        )

    def described(self) -> dict[str, Any]:
        """What is the same on all nodes, as plain values: `parse` takes it, with members."""
        sections = {
            key: dict(getattr(self, key)) if key == "log" else _plain(key, getattr(self, key))
            for key in SECTIONS
            if key not in ("", "members", "through", "buckets", "scenario", "load")
        }
        buckets = {name: _plain("buckets", bucket) for name, bucket in self.buckets.items()}
        plain = ("cluster", "partitions", "durability", "sync_interval_ms")
        return {key: getattr(self, key) for key in plain} | {"buckets": buckets} | sections

    def listing(self, record: RingRecord) -> ClusterConfig:
        """This configuration with the members of a ring record in the place of its own.

        A member keeps what it binds and how it is reached if its address is as it was.
        """
        own = {member.name: member for member in self.members}
        members = tuple(_member(one, own.get(one.name)) for one in record.all.values())
        names = [member.name for member in members]
        seeds = tuple(name for name in self.seeds if name in names) or tuple(names[:SEEDS])
        changes = {"members": members, "seeds": seeds, "partitions": record.partitions}
        return self.model_copy(update=changes)

    def copies(self) -> dict[str, int]:
        """N of each bucket."""
        return {name: bucket.n for name, bucket in self.buckets.items()}

    def cluster_id(self, lineage: bytes | None = None) -> ClusterId:
        """The cluster, as nodes know it from each other's frames.

        ``lineage``: what the disk of the node keeps, or None for a cluster that begins.
        """
        return cluster_id(self.founding(), lineage, self.copies())

    def swim_settings(self) -> SwimSettings:
        """The settings of the SWIM machine."""
        return self.swim

    def shared_settings(self) -> dict[str, int | float | str]:
        """The settings that should be the same on all nodes, by their names in the file.

        The member list and N are not among them: nodes in which these differ refuse each other.
        """
        shared: dict[str, Any] = {
            "durability": self.durability,
            "limits.key_bytes_max": self.limits.key_bytes_max,
            "limits.value_bytes_max": self.limits.value_bytes_max,
            "requests.replica_timeout_s": self.requests.replica_timeout_s,
            "requests.clock_ahead_max_s": self.requests.clock_ahead_max_s,
            "buckets": ", ".join(sorted(self.buckets)),
        }
        for bucket, quorum in self.buckets.items():
            shared |= _dotted_settings(f"buckets.{bucket}", quorum)
        return shared | _dotted_settings("swim", self.swim)

    def coordinator_settings(self) -> CoordinatorSettings:
        """The settings of the coordinator's machine."""
        return dataclasses.replace(
            self.requests,
            buckets=self.buckets,
            limits=self.limits,
            reap_after_s=self.antientropy.reap_after_s,
            stall_s=self.swim.stall_s,
        )

    def handoff_settings(self) -> HandoffSettings:
        """The settings of the handoff machine."""
        return dataclasses.replace(self.handoff, stall_s=self.swim.stall_s)

    def antientropy_settings(self) -> AntientropySettings:
        """The settings of the anti-entropy machine."""
        return dataclasses.replace(self.antientropy, stall_s=self.swim.stall_s)

    # Each of these sees the fields above it that are valid.

    @field_validator("partitions")
    @classmethod
    def _halves_evenly(cls, value: int, info: ValidationInfo) -> int:
        if value & (value - 1) or value > _PARTITIONS_MAX:
            raise ValueError(f"{value} given; should be a power of two, up to {_PARTITIONS_MAX}")
        if value < len(info.context.members if info.context else ()):
            raise ValueError(f"{value} given; should not be below the number of members")
        return value

    @field_validator("swim")
    @classmethod
    def _leaves_time_to_ask_and_refute(cls, value: SwimSettings) -> SwimSettings:
        if value.probe_timeout_s >= value.probe_period_s:
            raise ValueError(
                f"probe_timeout_s is {value.probe_timeout_s} and probe_period_s "
                f"{value.probe_period_s}; the timeout should be the shorter, "
                "to leave others time to ping"
            )
        if value.suspicion_max_mult < 1:
            raise ValueError(
                f"suspicion_max_mult is {value.suspicion_max_mult}; should be 1 at least: "
                "a suspicion lasts up to so many times its shortest time"
            )
        return value

    @field_validator("requests")
    @classmethod
    def _notices_silence_in_time(cls, value: CoordinatorSettings) -> CoordinatorSettings:
        if value.replica_timeout_s >= value.timeout_max_s:
            raise ValueError(
                f"replica_timeout_s is {value.replica_timeout_s} and timeout_max_s "
                f"{value.timeout_max_s}; the first should be the shorter, "
                "to leave a request time for a fallback"
            )
        return value

    @field_validator("limits")
    @classmethod
    def _let_in_what_they_allow(cls, value: LimitSettings) -> LimitSettings:
        faults = [*_beyond_caps(value), *_too_low_for_one_write(value)]
        if faults:
            raise FaultsError(faults)
        return value

    @field_validator("handoff", "antientropy")
    @classmethod
    def _fits_a_message(cls, value: _Batches) -> _Batches:
        if value.batch_bytes > FRAME_BYTES_CAP:
            raise ValueError(
                f"batch_bytes is {value.batch_bytes}; should be up to {FRAME_BYTES_CAP}, "
                "as limits.frame_bytes_max (a larger record is a batch of its own)"
            )
        return value

    @field_validator("load")
    @classmethod
    def _is_within_limits(cls, value: LoadConfig | None, info: ValidationInfo) -> LoadConfig | None:
        limits = info.data.get("limits")
        faults = list(_over_limits(value, limits)) if value and limits else []
        if faults:
            raise FaultsError(faults)
        return value


def _dotted_settings(section: str, settings: SwimSettings | BucketSettings) -> dict[str, Any]:
    """The settings of a section by their whole names."""
    return {f"{section}.{key}": value for key, value in dataclasses.asdict(settings).items()}


def _member(listed: Listed, before: MemberConfig | None) -> MemberConfig:
    """A member as a record lists it; ``before``: as the configuration does, if it does."""
    ports = dict(zip(PORTS, listed.ports, strict=True))
    bind, through = listed.host, None
    if before is not None:
        stays = before.host == listed.host or before.bind != before.host
        bind = before.bind if stays else listed.host
        through = before.through if (before.host, before.ports) == (listed.host, ports) else None
    return MemberConfig(
        name=listed.name,
        host=listed.host,
        bind=bind,
        weight=listed.weight,
        zone=listed.zone,
        through=through,
        **ports,
    )


def _plain(section: str, settings: Any) -> dict[str, Any]:
    """The keys of a section of numbers, with their values."""
    values = dataclasses.asdict(settings)
    return {key: values[key] for key in keys_of(section) if key in values}


def _beyond_caps(limits: LimitSettings) -> Iterator[str]:
    """An error for each limit above the most that a node receives from another."""
    for name, cap in (
        ("key_bytes_max", KEY_BYTES_CAP),
        ("value_bytes_max", VALUE_BYTES_CAP),
        ("frame_bytes_max", FRAME_BYTES_CAP),
    ):
        given = getattr(limits, name)
        if given > cap:
            yield f"{name} is {given}; should be up to {cap}"


def _too_low_for_one_write(limits: LimitSettings) -> Iterator[str]:
    """An error for each limit that is too low for a single write: none could succeed."""
    largest = limits.key_bytes_max + limits.value_bytes_max
    for name, least, why in (
        ("request_bytes_max", largest, "a put has as many"),
        ("hint_bytes_max", largest + HEADER_BYTES + NAME_MAX, "a hint has as many"),
    ):
        given = getattr(limits, name)
        if given < least:
            yield (
                f"{name} is {given}, value_bytes_max {limits.value_bytes_max} and "
                f"key_bytes_max {limits.key_bytes_max}; {name} should be at least {least}: {why}"
            )


def _over_limits(load: LoadConfig, limits: LimitSettings) -> Iterator[str]:
    """An error for each key or value of the load that is over the limits."""
    if load.value_bytes > limits.value_bytes_max:
        yield (
            f"value_bytes is {load.value_bytes}; should be up to "
            f"limits.value_bytes_max, {limits.value_bytes_max}"
        )
    longest = len(LOAD_KEY.format(load.keys - 1))
    if longest > limits.key_bytes_max:
        yield (
            f"keys is {load.keys}, and the last has {longest} bytes; should be up to "
            f"limits.key_bytes_max, {limits.key_bytes_max}"
        )


SECTIONS: dict[str, type[BaseModel]] = {
    "": ClusterConfig,
    "members": MemberConfig,
    "through": ThroughConfig,
    "buckets": BucketConfig,
    "swim": SwimSection,
    "requests": RequestsSection,
    "limits": LimitsSection,
    "handoff": HandoffSection,
    "antientropy": AntientropySection,
    "ring": RingSection,
    "log": LogConfig,
    "scenario": Step,
    "load": LoadConfig,
}
"""Every mapping that a file can have: "" is the whole file, the others have their keys."""


def keys_of(section: str) -> dict[str, Any]:
    """The keys of a section with their defaults (`...` where there is none to name)."""
    return {
        field.alias or name: ... if field.is_required() else field.default
        for name, field in SECTIONS[section].model_fields.items()
    }
