"""The mappings in the file: members, log, load, buckets, and each machine's numbers."""

from __future__ import annotations

import dataclasses
import typing
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetPydanticSchema,
    NonNegativeInt,
    PositiveInt,
    ValidationInfo,
    create_model,
    field_validator,
    model_validator,
)
from pydantic_core import CoreSchema, core_schema

from toystore.config.values import Bind, Host, Name, Port, Seconds, Weight
from toystore.core.protocol.settings import (
    MOVE_LEAST_BYTES_PER_S,
    N_CAP,
    PROFILES,
    REAP_AFTER_LEAST_S,
    REMOVE_AFTER_LEAST_S,
    AntientropySettings,
    BucketSettings,
    CoordinatorSettings,
    HandoffSettings,
    LimitSettings,
    RingSettings,
    SwimSettings,
)
from toystore.core.ring.record import PORTS
from toystore.net.endpoint import Endpoint


class Section(BaseModel):
    """A mapping in the file: no unknown keys, nothing converted, nothing changed afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class ThroughConfig(Section):
    """Where a member is reached, if something that forwards connections is in between."""

    host: Host
    client_port: Port | None = None
    peer_port: Port | None = None
    gossip_port: Port | None = None
    exchange_port: Port | None = None


class MemberConfig(Section):
    """One member: where it listens, and its share of the ring."""

    name: Name
    host: Host
    """The host that nodes and clients connect to."""
    bind: Bind
    """What the node binds; by default its host."""
    client_port: Port
    peer_port: Port
    gossip_port: Port
    exchange_port: Port
    weight: Weight = 1
    zone: str = ""
    through: ThroughConfig | None = None
    """Where the node that reads this file connects instead."""

    def reached_at(self, port: str) -> Endpoint:
        """Where to connect for one of its ports."""
        own: int = getattr(self, port)
        if self.through is None:
            return Endpoint(self.host, own)
        return Endpoint(self.through.host, getattr(self.through, port) or own)

    @property
    def ports(self) -> dict[str, int]:
        """Its ports, by their names in the file."""
        return {port: getattr(self, port) for port in PORTS}


class LogConfig(Section):
    """The structured log of a node."""

    level: Literal["debug", "info", "warning", "error", "critical"] = "info"
    rotate_bytes: PositiveInt = 16 * 1024 * 1024
    rotate_files: PositiveInt = 4


LOAD_KEY = "load:{}"
"""The keys of the load, from number 0 on."""


class LoadConfig(Section):
    """The requests that run_cluster sends."""

    clients: PositiveInt = 4
    keys: PositiveInt = 200
    value_bytes: Annotated[int, Field(ge=32)] = 100
    put_share: Annotated[float, Field(ge=0, le=1)] = 0.5
    ops_per_s: Seconds = 200.0


class BucketConfig(Section):
    """N, R and W of a bucket."""

    model_config = ConfigDict(validate_default=True)

    n: Annotated[PositiveInt, Field(le=N_CAP)] = BucketSettings().n
    r: PositiveInt = BucketSettings().r
    w: PositiveInt = BucketSettings().w

    @field_validator("n")
    @classmethod
    def _has_members_for_it(cls, value: int, info: ValidationInfo) -> int:
        members = len(info.context.members if info.context else ())
        if 0 < members < value:
            raise ValueError(f"{value} copies need as many members, and there are {members}")
        return value

    @field_validator("r", "w")
    @classmethod
    def _can_be_met(cls, value: int, info: ValidationInfo) -> int:
        if value > info.data.get("n", value):
            raise ValueError(f"{value}, with n: {info.data['n']}; should not be above n")
        return value


_NUMBERS = {int: PositiveInt, float: Seconds}


def _numbers_of(
    settings: type[Any], *, without: tuple[str, ...] = (), base: type[Section] = Section
) -> type[Section]:
    """A section with the numbers of a dataclass, each above zero, and the dataclass's defaults.

    ``base``: has the other keys of the section, and those numbers that may be zero.
    """
    types = typing.get_type_hints(settings)
    numbers: dict[str, Any] = {
        field.name: (_NUMBERS[types[field.name]], field.default)
        for field in dataclasses.fields(settings)
        if types[field.name] in _NUMBERS and field.name not in (*without, *base.model_fields)
    }
    return create_model(settings.__name__, __base__=base, **numbers)


class _SwimBase(Section):
    """What the section ``swim`` has beside its numbers."""

    profile: Literal["local", "lan", "wan"] = "lan"
    local_health_max: NonNegativeInt = SwimSettings().local_health_max

    @model_validator(mode="before")
    @classmethod
    def _follow_profile(cls, given: Any) -> Any:
        """What is not given is as the profile has it."""
        if not isinstance(given, dict):
            return given
        profile = PROFILES.get(str(given.get("profile", "lan")))
        return given if profile is None else dataclasses.asdict(profile) | given


class _AntientropyBase(Section):
    """What the section ``antientropy`` has that may be zero, or has another lower limit."""

    move_bytes_per_s: NonNegativeInt = AntientropySettings().move_bytes_per_s
    reap_after_s: Seconds = AntientropySettings().reap_after_s

    @field_validator("move_bytes_per_s")
    @classmethod
    def _is_no_standstill(cls, value: int) -> int:
        if 0 < value < MOVE_LEAST_BYTES_PER_S:
            raise ValueError(
                f"{value} given; should be 0 (no limit) or at least {MOVE_LEAST_BYTES_PER_S}: "
                "at that a node takes 17 hours for each gigabyte"
            )
        return value

    @field_validator("reap_after_s")
    @classmethod
    def _leaves_time_for_late_writes(cls, value: float) -> float:
        if value < REAP_AFTER_LEAST_S:
            raise ValueError(
                f"{value:g} given; should be at least {REAP_AFTER_LEAST_S:g}: writes with stamps "
                "older than half of it are refused, and clocks differ"
            )
        return value


class _RingBase(Section):
    """What the section ``ring`` has that may be zero."""

    remove_after_s: Annotated[float, Field(ge=0)] = RingSettings().remove_after_s

    @field_validator("remove_after_s")
    @classmethod
    def _is_longer_than_a_restart(cls, value: float) -> float:
        if 0 < value < REMOVE_AFTER_LEAST_S:
            raise ValueError(
                f"{value:g} given; should be 0 (no member is removed) or at least "
                f"{REMOVE_AFTER_LEAST_S:g}: a member that is restarted must not be removed"
            )
        return value


SwimSection = _numbers_of(SwimSettings, base=_SwimBase)
LimitsSection = _numbers_of(LimitSettings)
# A stall delays the whole process, so swim.stall_s is for every machine.
RequestsSection = _numbers_of(CoordinatorSettings, without=("stall_s", "reap_after_s"))
HandoffSection = _numbers_of(HandoffSettings, without=("stall_s",))
AntientropySection = _numbers_of(AntientropySettings, without=("stall_s",), base=_AntientropyBase)
RingSection = _numbers_of(RingSettings, base=_RingBase)


def read_as(section: type[Section]) -> GetPydanticSchema:
    """Annotates a dataclass of settings: validate ``section``, and make the dataclass from it."""

    def schema(settings: type[Any], handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(
            lambda read: settings(**read.model_dump(exclude={"profile"})),
            handler.generate_schema(section),
        )

    return GetPydanticSchema(schema)
