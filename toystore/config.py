"""The YAML file as typed, checked values.

`load` reads a file once and either returns a `ClusterConfig`, on which nobody has to
check anything again, or raises a `ConfigError` that lists every fault in it:

    members[2].client_port: 70420 given; should be less than or equal to 65535
    swim.probe_perod_s: unknown key; did you mean probe_period_s?
    scenario[0].node: 'n99' is not a member; the members are n1, n2, n3

A file goes through four steps: YAML to plain values (`toystore/plain_yaml.py`), short forms
spelled out (a member's name becomes a mapping with its ports), whatever two members must
not share, and then the types, with what ties one section to another.  The faults of all
four are reported together.  Defaults are those of the dataclasses in
``toystore/core/protocol/settings.py``; docs/CONFIGURATION.md describes every key.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import ipaddress
import itertools
import json
import re
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetPydanticSchema,
    PositiveInt,
    ValidationError,
    ValidationInfo,
    create_model,
    field_validator,
    model_validator,
)
from pydantic_core import CoreSchema, ErrorDetails, core_schema

from toystore.core.data.record import HEADER_BYTES
from toystore.core.protocol.settings import (
    ARRAY_ITEMS_CAP,
    FRAME_BYTES_CAP,
    KEY_BYTES_CAP,
    VALUE_BYTES_CAP,
    BucketSettings,
    CoordinatorSettings,
    HandoffSettings,
    LimitSettings,
    SwimSettings,
)
from toystore.core.ring.ring import Member
from toystore.net.endpoint import EVERYWHERE, EndpointError, parse_host
from toystore.plain_yaml import UnreadableError, dotted, read

PORTS = ("client_port", "peer_port", "gossip_port", "exchange_port")
"""A member's ports; without being given they are counted up from the base port."""
_PORTS_APART = 10
_SEEDS = 3
_PARTITIONS_MAX = ARRAY_ITEMS_CAP  # and there are no more members than partitions
_NAME_MAX = 64
_SECONDS_MAX = 1e9
_NAMES_TOLD_MAX = 30


class ConfigError(Exception):
    """The configuration cannot be used; the text lists every fault, one to a line."""

    def __init__(self, *faults: str) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


class _FaultsError(ValueError):
    """What is wrong with a section, if that may be more than one thing."""

    def __init__(self, texts: Iterable[str]) -> None:
        self.texts = tuple(texts)
        super().__init__("; ".join(self.texts))


def load(path: str | Path) -> ClusterConfig:
    """The configuration in the YAML file at ``path``.  Raises `ConfigError`."""
    try:
        raw, faults = read(Path(path))
    except UnreadableError as error:
        raise ConfigError(str(error)) from None
    return parse(raw, faults)


def parse(raw: object, faults: Sequence[str] = ()) -> ClusterConfig:
    """The configuration in plain values; ``faults`` are already known.  Raises `ConfigError`."""
    if not isinstance(raw, dict):
        kind = "nothing" if raw is None else type(raw).__name__
        raise ConfigError(*faults, f"the file: holds {kind}; should be a mapping of keys to values")
    whole = _spelled_out(raw)
    found = [*faults, *_shared(whole["members"])]
    told = {_path_of(fault) for fault in faults}
    try:
        config = ClusterConfig.model_validate(whole, context=_names(whole["members"]))
    except ValidationError as error:
        lines = itertools.chain.from_iterable(map(_described, error.errors(include_url=False)))
        found += [line for line in lines if _path_of(line) not in told]
    if found:
        raise ConfigError(*found)
    return config


# --- what the values are ----------------------------------------------------------------


class _Section(BaseModel):
    """A mapping in the file: no unknown keys, nothing converted, nothing changed afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def _name(value: str) -> str:
    """Names are folders, topics and parts of log lines; this is safe in all of them."""
    if not re.fullmatch(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{_NAME_MAX - 1}}}", value):
        raise ValueError(
            f"{value!r:.80} given; a name is up to {_NAME_MAX} letters, digits, '.', '_' and '-', "
            "and begins with a letter or digit"
        )
    return value


def _address(value: str) -> str:
    """An IPv6 address may stand in brackets; it is kept without."""
    try:
        return value if value == EVERYWHERE else parse_host(value)
    except EndpointError as error:
        raise ValueError(
            f"{value!r:.80} given; should be a host name or an address, without port ({error})"
        ) from None


def _reachable(value: str) -> str:
    if _is_everywhere(value):
        raise ValueError(
            f"{value!r} given, where nobody can connect to; "
            f"write bind: {value!r} and, as host, the address that others are told"
        )
    return _address(value)


def _is_everywhere(host: str) -> bool:
    """Whether ``host`` stands for every address of a machine."""
    number = _number(host)
    return host == EVERYWHERE or (number is not None and number.is_unspecified)


def _number(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """``host`` as an address, if it is one."""
    try:
        return ipaddress.ip_address(parse_host(host))
    except ValueError:
        return None


def _known(value: str, info: ValidationInfo) -> str:
    """``value`` names a member (`parse` hands in who they are)."""
    if info.context is not None and value not in info.context:
        raise ValueError(f"{value!r:.80} is not a member; the members are {_told(info.context)}")
    return value


def _told(names: Sequence[str]) -> str:
    """Names for a fault, of which there may be as many as there are names."""
    more = len(names) - _NAMES_TOLD_MAX
    return ", ".join(names[:_NAMES_TOLD_MAX]) + (f" and {more} more" if more > 0 else "")


Name = Annotated[str, AfterValidator(_name)]
Host = Annotated[str, AfterValidator(_reachable)]
Bind = Annotated[str, AfterValidator(_address)]
KnownMember = Annotated[str, AfterValidator(_known)]
Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=_SECONDS_MAX)]


class MemberConfig(_Section):
    """One member: where it listens, and its share of the ring."""

    name: Name
    host: Host
    """What others are told to connect to."""
    bind: Bind
    """What the node binds: its host, unless that is not an address of its own machine."""
    client_port: Port
    peer_port: Port
    gossip_port: Port
    exchange_port: Port
    weight: PositiveInt = 1
    zone: str = ""

    @property
    def ports(self) -> dict[str, int]:
        """Its ports, by their names in the file."""
        return {port: getattr(self, port) for port in PORTS}


class LogConfig(_Section):
    """The structured log of a node."""

    level: Literal["debug", "info", "warning", "error", "critical"] = "info"
    rotate_bytes: PositiveInt = 16 * 1024 * 1024
    rotate_files: PositiveInt = 4


class Step(_Section):
    """One step of a scenario: at so many seconds after ready, do this to that node."""

    at: Annotated[float, Field(ge=0)]
    do: Literal["kill", "restart", "pause", "resume", "stop"]
    node: KnownMember
    for_s: Seconds | None = Field(None, alias="for")
    """How long a pause lasts; nothing else takes it."""

    @model_validator(mode="after")
    def _only_pauses_last(self) -> Self:
        if (self.do == "pause") != (self.for_s is not None):
            wanted = "needs" if self.do == "pause" else "takes no"
            raise ValueError(f"'{self.do}' {wanted} 'for', the seconds that a pause lasts")
        return self

    @property
    def ends_at(self) -> float:
        """Seconds after ready at which the step is over."""
        return self.at + (self.for_s or 0.0)


LOAD_KEY = "load:{}"
"""What the load calls its keys, from number 0 on."""


class LoadConfig(_Section):
    """The requests that run_cluster makes by itself."""

    clients: PositiveInt = 4
    keys: PositiveInt = 200
    value_bytes: Annotated[int, Field(ge=32)] = 100
    put_share: Annotated[float, Field(ge=0, le=1)] = 0.5
    ops_per_s: Seconds = 200.0


class BucketConfig(_Section):
    """N, R and W of a bucket."""

    model_config = ConfigDict(validate_default=True)

    n: PositiveInt = BucketSettings().n
    r: PositiveInt = BucketSettings().r
    w: PositiveInt = BucketSettings().w

    @field_validator("n")
    @classmethod
    def _has_members_for_it(cls, value: int, info: ValidationInfo) -> int:
        members = len(info.context or ())
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


def _numbers_of(settings: type[Any], *, without: tuple[str, ...] = ()) -> type[_Section]:
    """A section with the numbers of a dataclass, each above zero, and the dataclass's defaults."""
    types = typing.get_type_hints(settings)
    numbers: dict[str, Any] = {
        field.name: (_NUMBERS[types[field.name]], field.default)
        for field in dataclasses.fields(settings)
        if types[field.name] in _NUMBERS and field.name not in without
    }
    return create_model(settings.__name__, __base__=_Section, **numbers)


_SWIM = _numbers_of(SwimSettings)
_LIMITS = _numbers_of(LimitSettings)
# Being held up is the whole process's misfortune, so swim.stall_s speaks for every machine.
_REQUESTS = _numbers_of(CoordinatorSettings, without=("stall_s",))
_HANDOFF = _numbers_of(HandoffSettings, without=("stall_s",))


def _read_as(section: type[_Section]) -> GetPydanticSchema:
    """Annotates a dataclass of settings: read ``section``, and make the dataclass of it."""

    def schema(settings: type[Any], handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(
            lambda read: settings(**read.model_dump()), handler.generate_schema(section)
        )

    return GetPydanticSchema(schema)


class ClusterConfig(_Section):
    """A cluster, as its file describes it."""

    cluster: Name
    host: Host = "127.0.0.1"
    base_port: Port = 7400
    members: Annotated[tuple[MemberConfig, ...], Field(strict=False, min_length=1)]
    seeds: Annotated[tuple[KnownMember, ...], Field(strict=False)] = ()
    partitions: PositiveInt = 1024
    durability: Literal["sync", "async", "memory"] = "sync"
    sync_interval_ms: PositiveInt = 100
    buckets: dict[Name, Annotated[BucketSettings, _read_as(BucketConfig)]]
    swim: Annotated[SwimSettings, _read_as(_SWIM)] = SwimSettings()
    requests: Annotated[CoordinatorSettings, _read_as(_REQUESTS)] = CoordinatorSettings()
    limits: Annotated[LimitSettings, _read_as(_LIMITS)] = LimitSettings()
    handoff: Annotated[HandoffSettings, _read_as(_HANDOFF)] = HandoffSettings()
    log: LogConfig = LogConfig()
    scenario: Annotated[tuple[Step, ...], Field(strict=False)] = ()
    load: LoadConfig | None = None

    def member(self, name: str) -> MemberConfig:
        """The member called ``name``.  Raises `ConfigError` if there is none."""
        for member in self.members:
            if member.name == name:
                return member
        names = _told([member.name for member in self.members])
        raise ConfigError(
            f"{name} is not a member of cluster {self.cluster!r}; its members are {names}"
        )

    def ring_members(self) -> tuple[Member, ...]:
        """The members as the ring takes them."""
        return tuple(Member(member.name, member.weight, member.zone) for member in self.members)

    def members_digest(self) -> bytes:
        """16 bytes over whatever decides the ring: who differs in them must not be talked to.

        The order in which the members are listed decides nothing, nor do their addresses.
        """
        ring = [self.partitions, self.buckets["default"].n, sorted(self.ring_members())]
        return hashlib.blake2b(json.dumps(ring).encode(), digest_size=16).digest()

    def swim_settings(self) -> SwimSettings:
        """What the SWIM machine is given."""
        return self.swim

    def shared_settings(self) -> dict[str, int | float | str]:
        """What should be the same on all nodes, by its name in the file.

        The member list is not among it: nodes that differ in that refuse each other.
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
        """What the coordinator's machine is given."""
        return dataclasses.replace(
            self.requests, buckets=self.buckets, limits=self.limits, stall_s=self.swim.stall_s
        )

    def handoff_settings(self) -> HandoffSettings:
        """What the handoff machine is given."""
        return dataclasses.replace(self.handoff, stall_s=self.swim.stall_s)

    # Each of these sees the fields above it, as far as they are sound.

    @field_validator("partitions")
    @classmethod
    def _halves_evenly(cls, value: int, info: ValidationInfo) -> int:
        if value & (value - 1) or value > _PARTITIONS_MAX:
            raise ValueError(f"{value} given; should be a power of two, up to {_PARTITIONS_MAX}")
        if value < len(info.context or ()):
            raise ValueError(f"{value} given; should not be below the number of members")
        return value

    @field_validator("swim")
    @classmethod
    def _leaves_time_to_ask_others(cls, value: SwimSettings) -> SwimSettings:
        if value.probe_timeout_s >= value.probe_period_s:
            raise ValueError(
                f"probe_timeout_s is {value.probe_timeout_s} and probe_period_s "
                f"{value.probe_period_s}; the timeout should be the shorter, "
                "to leave others time to ping"
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
            raise _FaultsError(faults)
        return value

    @field_validator("handoff")
    @classmethod
    def _fits_a_message(cls, value: HandoffSettings) -> HandoffSettings:
        if value.batch_bytes > FRAME_BYTES_CAP:
            raise ValueError(
                f"batch_bytes is {value.batch_bytes}; should be up to {FRAME_BYTES_CAP}, "
                "as limits.frame_bytes_max (a larger hint is a batch of its own)"
            )
        return value

    @field_validator("load")
    @classmethod
    def _is_within_limits(cls, value: LoadConfig | None, info: ValidationInfo) -> LoadConfig | None:
        limits = info.data.get("limits")
        faults = list(_over_limits(value, limits)) if value and limits else []
        if faults:
            raise _FaultsError(faults)
        return value


def _dotted_settings(section: str, settings: SwimSettings | BucketSettings) -> dict[str, Any]:
    """The settings of a section by their whole names."""
    return {f"{section}.{key}": value for key, value in dataclasses.asdict(settings).items()}


def _beyond_caps(limits: LimitSettings) -> Iterator[str]:
    """A fault for each limit above what no node takes from another."""
    for name, cap in (
        ("key_bytes_max", KEY_BYTES_CAP),
        ("value_bytes_max", VALUE_BYTES_CAP),
        ("frame_bytes_max", FRAME_BYTES_CAP),
    ):
        given = getattr(limits, name)
        if given > cap:
            yield f"{name} is {given}; should be up to {cap}"


def _too_low_for_one_write(limits: LimitSettings) -> Iterator[str]:
    """A fault for each limit below what a single write needs: that could never succeed."""
    largest = limits.key_bytes_max + limits.value_bytes_max
    for name, least, why in (
        ("request_bytes_max", largest, "a put has as many"),
        ("hint_bytes_max", largest + HEADER_BYTES + _NAME_MAX, "a hint has as many"),
    ):
        given = getattr(limits, name)
        if given < least:
            yield (
                f"{name} is {given}, value_bytes_max {limits.value_bytes_max} and "
                f"key_bytes_max {limits.key_bytes_max}; {name} should be at least {least}: {why}"
            )


def _over_limits(load: LoadConfig, limits: LimitSettings) -> Iterator[str]:
    """A fault for each thing that the load puts and no node takes."""
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
    "buckets": BucketConfig,
    "swim": _SWIM,
    "requests": _REQUESTS,
    "limits": _LIMITS,
    "handoff": _HANDOFF,
    "log": LogConfig,
    "scenario": Step,
    "load": LoadConfig,
}
"""Every mapping that a file can hold: "" is the whole, the others are named by their key."""


def keys_of(section: str) -> dict[str, Any]:
    """The keys of a section with their defaults (`...` where there is none to name)."""
    return {
        field.alias or name: ... if field.is_required() else field.default
        for name, field in SECTIONS[section].model_fields.items()
    }


# --- the file -----------------------------------------------------------------------------


def _spelled_out(raw: Mapping[str, Any]) -> dict[str, Any]:
    """``raw`` with its short forms at length; what is of the wrong type is left to be refused."""
    whole = {key: value for key, value in raw.items() if value is not None}
    members = whole.setdefault("members", ())
    if isinstance(members, list):
        whole["members"] = [_member(whole, at, member) for at, member in enumerate(members)]
    if whole.get("seeds", []) == []:
        whole["seeds"] = _names(whole["members"])[:_SEEDS]
    buckets = whole.setdefault("buckets", {})
    if isinstance(buckets, dict):
        whole["buckets"] = {"default": {}, **buckets}
    return whole


def _member(raw: Mapping[str, Any], at: int, member: object) -> object:
    """A member, the ``at``-th, as a mapping with all that follows from its place in the list."""
    if isinstance(member, str):
        member = {"name": member}
    if not isinstance(member, dict):
        return member
    host, base = keys_of("")["host"], keys_of("")["base_port"]
    # What is wrong with these two is told once, and not of every member.
    if isinstance(raw.get("host"), str) and not _is_everywhere(raw["host"]):
        host = raw["host"]
    if type(raw.get("base_port")) is int:
        base = raw["base_port"]
    host = member.get("host", host)
    whole = {"host": host, "bind": host, **member}
    for offset, port in enumerate(PORTS):
        whole.setdefault(port, base + _PORTS_APART * at + offset)
    return whole


def _names(members: object) -> tuple[str, ...]:
    """What to call the members: by their names, or by their places if they have none."""
    listed = members if isinstance(members, list) else ()
    return tuple(
        str(member["name"]) if isinstance(member, dict) and "name" in member else f"members[{at}]"
        for at, member in enumerate(listed)
    )


def _shared(members: object) -> Iterator[str]:
    """A fault for each name or port that two members claim."""
    taken: dict[tuple[str, str], str] = {}
    for at, member in enumerate(members if isinstance(members, list) else ()):
        if not isinstance(member, dict):
            continue
        # Names are folders, and some file systems do not tell N1 from n1.
        claims = {"name": ("name", str(member.get("name", f"[{at}]")).lower())}
        host = str(member["host"])
        at_host = str(_number(host) or host.lower())  # an address can be written in several ways
        claims |= {port: (at_host, str(member[port])) for port in PORTS}
        for key, claim in claims.items():
            here = dotted(("members", at, key))
            if taken.setdefault(claim, here) != here:
                yield f"{here}: {member[key]!r} is already that of {taken[claim]}; should differ"


# --- how faults are told ----------------------------------------------------------------


def _described(fault: ErrorDetails) -> list[str]:
    """A line for a fault that pydantic found, or some if our own check found several."""
    path = tuple(part for part in fault["loc"] if part != "[key]")
    value = fault["input"]
    given = "nothing given" if value is None else f"{value!r:.60} given"
    match fault["type"]:
        case "missing":
            text = "missing; there is no default (null and ~ are nothing, unless in quotes)"
        case "extra_forbidden":
            text = f"unknown key; {_advice(path)}"
        case "value_error" if isinstance(fault["ctx"]["error"], _FaultsError):
            return [f"{dotted(path)}: {text}" for text in fault["ctx"]["error"].texts]
        case "value_error":
            text = str(fault["ctx"]["error"])
        case "too_short":
            text = "missing or empty; should list one at least"
        case "string_type" | "invalid_key" if isinstance(value, int | float):
            text = f"{given}; should be text: write it in quotes"
        case "string_type" if isinstance(value, list):
            text = f"{given}, as brackets make it a list; should be text: write it in quotes"
        case "model_type" if path[0] == "members" and isinstance(value, int | float):
            text = f"{given}; should be a name, so write it in quotes, or a mapping"
        case "model_type" | "model_attributes_type" | "dict_type":
            text = f"{given}; should be a mapping of keys to values"
        case "tuple_type":
            text = f"{given}; should be a list"
        case _:
            text = f"{given}; {fault['msg'].removeprefix('Input ')}"
    return [f"{dotted(path)}: {text}"]


def _path_of(fault: str) -> str:
    """Where a fault is."""
    return fault.partition(": ")[0]


def _advice(path: Sequence[str | int]) -> str:
    """Which key may have been meant by the last one of ``path``."""
    section = str(path[0]) if len(path) > 1 else ""
    keys = list(keys_of(section))
    close = difflib.get_close_matches(str(path[-1]), keys, n=1)
    return f"did you mean {close[0]}?" if close else f"the keys here are {', '.join(keys)}"
