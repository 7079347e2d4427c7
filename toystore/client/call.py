"""Checks the arguments of a call and makes its requests, for both clients.

An invalid argument is a `BadRequest`; its text says what was given and what would be right.
The cluster checks what depends on its configuration: buckets, sizes, numbers of replicas.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Generic, TypeVar, cast

from toystore.client.answer import Found, Written
from toystore.client.clock import CheckedClock, Clock, process_clock
from toystore.client.errors import BadRequest, ManyFailed, ToystoreError
from toystore.client.request import (
    Answer,
    ClusterChange,
    ClusterRequest,
    DeleteRequest,
    GetRequest,
    OwnersRequest,
    PutRequest,
    RepairRequest,
    Request,
    RingRequest,
    StatusRequest,
    Terms,
)
from toystore.core.data.context import unpack_context
from toystore.core.protocol.settings import VALUE_BYTES_CAP
from toystore.net.endpoint import EndpointError, parse

Key = str | bytes
Value = str | bytes
KeyT = TypeVar("KeyT", bound=Key)

ATTEMPT_S_MIN = 0.1
VALUE_BYTES_MAX = VALUE_BYTES_CAP
"""A larger value is not sent.  The limit of a cluster is a setting, and mostly far lower."""
IN_FLIGHT_MAX = 1024
CLUSTER_QUESTIONS = frozenset({"show", "status", "join"})
"""The commands about the members that may be sent twice."""
_QUORUM_MAX = 2**16
_PARTITION_MAX = 2**32 - 1
_JOB_MAX = 2**63 - 1
_TIMEOUT_S_MAX = 1_000_000


class Many(Generic[KeyT, Answer]):
    """The requests of a call about many keys; an invalid key has an error instead of a request."""

    def __init__(
        self, keys: list[KeyT], make: Callable[[KeyT], Request[Answer]], terms: Terms, errors: str
    ) -> None:
        """``errors``: "raise" or "return"."""
        if errors not in ("raise", "return"):
            raise BadRequest(f'errors is "raise" or "return", not {errors!r:.80}')
        self.timeout_s = terms.timeout_s
        self.requests: dict[KeyT, Request[Answer]] = {}
        self._refused: dict[KeyT, ToystoreError] = {}
        self._keys = keys
        self._raises = errors == "raise"
        for key in dict.fromkeys(keys):
            try:
                self.requests[key] = make(key)
            except BadRequest as error:
                self._refused[key] = error

    def answers(self) -> dict[KeyT, Answer | ToystoreError]:
        """The answer or the error of each key, in order.  Every request must be done.

        Raises `ManyFailed` if that is an error of any, unless errors are to be returned.
        """
        refused, requests = self._refused, self.requests
        answers = {
            key: refused[key] if key in refused else requests[key].outcome for key in self._keys
        }
        if self._raises and any(isinstance(each, ToystoreError) for each in answers.values()):
            raise ManyFailed.of(answers)
        return answers


class Calls:
    """Makes the requests of calls, with the defaults of one client.  All raise `BadRequest`."""

    def __init__(
        self,
        endpoints: object,
        timeout: object,
        attempt_timeout: object,
        bucket: object,
        clock: object,
    ) -> None:
        self.endpoints = endpoint_list(endpoints)
        self.clock = process_clock if clock is None else CheckedClock(clock_like(clock))
        self._attempt_s = attempt_timeout
        self._defaults = make_terms(bucket, None, timeout, attempt_timeout)

    def terms(self, bucket: object, n: object, quorum: object, timeout: object) -> Terms:
        """A call's terms, where None means the client's default.  An ``n`` is refused."""
        refuse_n(n)
        usual = self._defaults
        if bucket is None and quorum is None and timeout is None:
            return usual
        return make_terms(
            usual.bucket if bucket is None else bucket,
            quorum,
            usual.timeout_s if timeout is None else timeout,
            self._attempt_s,
        )

    def get(self, terms: Terms, key: object) -> GetRequest:
        """Read a key."""
        return GetRequest(terms, time.monotonic(), key_bytes(key))

    def put(
        self, terms: Terms, key: object, value: object, ttl: object = None, context: object = None
    ) -> PutRequest:
        """Write a key."""
        refuse_ttl(ttl)
        named, data, seen = key_bytes(key), value_bytes(value), context_bytes(context)
        now = time.monotonic()
        return PutRequest(terms, now, named, data, context=seen, clock=self.clock)

    def delete(self, terms: Terms, key: object, context: object) -> DeleteRequest:
        """Write a tombstone."""
        named, seen = key_bytes(key), context_bytes(context)
        return DeleteRequest(terms, time.monotonic(), named, context=seen, clock=self.clock)

    def get_many(self, terms: Terms, keys: Iterable[KeyT], errors: str) -> Many[KeyT, Found | None]:
        """Read many keys."""
        return Many(key_list(keys), lambda key: self.get(terms, key), terms, errors)

    def put_many(
        self, terms: Terms, items: Mapping[KeyT, Value], ttl: object, errors: str
    ) -> Many[KeyT, Written]:
        """Write many keys."""
        refuse_ttl(ttl)
        if not isinstance(items, Mapping):
            raise BadRequest(f"items are a mapping of keys to values, not {type(items).__name__}")
        return Many(list(items), lambda key: self.put(terms, key, items[key]), terms, errors)

    def status(self, terms: Terms, endpoint: object) -> StatusRequest:
        """How the cluster looks from the node at ``endpoint``, or from any."""
        request = StatusRequest(terms, time.monotonic())
        if endpoint is not None:
            self._pin(request, endpoint)
        return request

    def repair(
        self, terms: Terms, endpoint: object, job: object, bucket: object, partition: object
    ) -> RepairRequest:
        """Begin a repair at the node at ``endpoint``, or ask how far it is."""
        number = _number(job, "job", _JOB_MAX)
        named = None if bucket is None else bucket_name(bucket)
        part = None if partition is None else _number(partition, "partition", _PARTITION_MAX)
        request = RepairRequest(terms, time.monotonic(), number, named, part)
        self._pin(request, endpoint)
        return request

    def cluster(
        self, terms: Terms, command: object, arguments: object, endpoint: object
    ) -> ClusterRequest:
        """A command about the members, of the node at ``endpoint``, or of any."""
        if not isinstance(command, str):
            raise BadRequest(f"a command is a str, not {command!r:.80}")
        if not isinstance(arguments, Mapping):
            raise BadRequest(f"arguments are a mapping, not {type(arguments).__name__}")
        kind = ClusterRequest if command in CLUSTER_QUESTIONS else ClusterChange
        request = kind(terms, time.monotonic(), command, dict(arguments))
        if endpoint is not None:
            self._pin(request, endpoint)
        return request

    def owners(self, terms: Terms, key: object) -> OwnersRequest:
        """The owners and the fallbacks of a key."""
        return OwnersRequest(terms, time.monotonic(), key_bytes(key))

    def ring(self, terms: Terms) -> RingRequest:
        """How much of the ring each member owns."""
        return RingRequest(terms, time.monotonic())

    def _pin(self, request: Request[Answer], endpoint: object) -> None:
        """Have the request sent to this endpoint only."""
        named = endpoint_text(endpoint)
        if named not in self.endpoints:
            known = ", ".join(self.endpoints)
            raise BadRequest(f"{endpoint!r:.80} is no endpoint of this client: {known} are")
        request.pinned, request.endpoint = True, self.endpoints.index(named)


# --- arguments ----------------------------------------------------------------------------


def bucket_name(bucket: object) -> str:
    """A bucket's name.  Raises `BadRequest`.  The cluster checks if it exists."""
    if not isinstance(bucket, str):
        raise BadRequest(f"a bucket is a str, not {type(bucket).__name__}")
    _as_bytes(bucket, "a bucket")
    return bucket


def key_bytes(key: object) -> bytes:
    """A key as bytes.  Raises `BadRequest`.  The cluster checks its length."""
    data = _as_bytes(key, "a key")
    if not data:
        raise BadRequest("the key is empty; a key has at least one byte")
    return data


def value_bytes(value: object) -> bytes:
    """A value as bytes.  Raises `BadRequest`."""
    data = _as_bytes(value, "a value")
    if len(data) > VALUE_BYTES_MAX:
        raise BadRequest(f"the value has {len(data)} bytes; at most {VALUE_BYTES_MAX} are sent")
    return data


def context_bytes(context: object) -> bytes:
    """A context as bytes, b"" for None.  Raises `BadRequest` if it is not a context."""
    if context is None:
        return b""
    if not isinstance(context, bytes):
        raise BadRequest(f"a context is bytes, not {type(context).__name__}")
    try:
        unpack_context(context)
    except ValueError as error:
        raise BadRequest(str(error)) from None
    return context


def key_list(keys: Iterable[KeyT]) -> list[KeyT]:
    """The keys of a call about many; each is checked later.  Raises `BadRequest`."""
    if isinstance(keys, (str, bytes)) or not isinstance(keys, Iterable):
        raise BadRequest(f"keys come as a list or another iterable, not {type(keys).__name__}")
    listed = list(keys)
    for key in listed:
        try:
            hash(key)
        except TypeError:
            raise BadRequest(f"a key is str or bytes, not {type(key).__name__}") from None
    return listed


def clock_like(clock: object) -> Clock:
    """A clock for stamps.  Raises `BadRequest` if it is not a clock."""
    methods = (getattr(clock, method, None) for method in ("mint", "merge"))
    if isinstance(clock, type) or not all(map(callable, methods)):
        raise BadRequest(f"a clock is an object with the methods mint and merge, not {clock!r:.80}")
    return cast(Clock, clock)


def in_flight(bound: object) -> int:
    """The most requests that may be open at once.  Raises `BadRequest`."""
    if not isinstance(bound, int) or isinstance(bound, bool) or bound < 1:
        raise BadRequest(f"max_in_flight is a number of requests from 1 up, not {bound!r:.80}")
    return bound


def refuse_ttl(ttl: object) -> None:
    """Raises `BadRequest` if there is one: records do not expire yet."""
    if ttl is not None:
        raise BadRequest("ttl is not supported yet: leave it out")


def refuse_n(n: object) -> None:
    """Raises `BadRequest` if there is one: N belongs to a bucket, not to a request."""
    if n is not None:
        raise BadRequest(
            f"n is {n!r:.80}, and a request has none: N of a bucket decides which nodes own a key, "
            "and is fixed in the configuration; give r= or w="
        )


def make_terms(
    bucket: object, quorum: object, timeout_s: object, attempt_s: object = None
) -> Terms:
    """The terms of a call.  Raises `BadRequest`."""
    named = bucket_name(bucket)
    patience_s = _seconds(timeout_s, "timeout")
    if attempt_s is None:
        each_s = max(patience_s / 4, ATTEMPT_S_MIN)
    else:
        each_s = _seconds(attempt_s, "attempt_timeout")
    return Terms(named, _count(quorum), patience_s, each_s)


def endpoint_list(endpoints: object) -> tuple[str, ...]:
    """The endpoints, each once, in the order given.  Raises `BadRequest`."""
    listed = [endpoints] if isinstance(endpoints, str) else endpoints
    if not isinstance(listed, (list, tuple)) or not listed:
        raise BadRequest(
            f'endpoints are a non-empty list of "tcp://host:port", not {endpoints!r:.80}'
        )
    return tuple(dict.fromkeys(map(endpoint_text, listed)))


def endpoint_text(endpoint: object) -> str:
    """An endpoint in its normal form, "tcp://host:port".  Raises `BadRequest`."""
    if not isinstance(endpoint, str):
        raise BadRequest(f'an endpoint is a str, "tcp://host:port", not {endpoint!r:.80}')
    try:
        return str(parse(endpoint))
    except EndpointError as error:
        raise BadRequest(str(error)) from None


def _as_bytes(given: object, what: str) -> bytes:
    """Bytes as they are, a str as UTF-8."""
    if isinstance(given, bytes):
        return given
    if not isinstance(given, str):
        raise BadRequest(f"{what} is str or bytes, not {type(given).__name__}")
    try:
        return given.encode()
    except UnicodeEncodeError as error:
        raise BadRequest(f"{what} given as str must be encodable as UTF-8: {error}") from None


def _count(given: object) -> int | None:
    """A number of replicas, or None.  The cluster checks its upper limit."""
    if given is None:
        return None
    if not isinstance(given, int) or isinstance(given, bool) or not 0 < given < _QUORUM_MAX:
        raise BadRequest(
            f"r or w is a number of replicas from 1 to {_QUORUM_MAX - 1:,}, not {given!r:.80}"
        )
    return given


def _number(given: object, what: str, highest: int) -> int:
    """A whole number from 0.  The cluster checks if it has such a partition."""
    if not isinstance(given, int) or isinstance(given, bool) or not 0 <= given <= highest:
        raise BadRequest(f"{what} is a number from 0 to {highest:,}, not {given!r:.80}")
    return given


def _seconds(given: object, what: str) -> float:
    """A span of time in seconds."""
    if (
        not isinstance(given, (int, float))
        or isinstance(given, bool)
        or not math.isfinite(given)
        or not 0 < given <= _TIMEOUT_S_MAX
    ):
        raise BadRequest(
            f"{what} is a number of seconds above 0 and up to {_TIMEOUT_S_MAX:,}, not {given!r:.80}"
        )
    return float(given)
