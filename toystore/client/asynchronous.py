"""The asynchronous client, as applications call it; `AsyncShell` asks."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Literal, Self, overload

from toystore.client.answer import Found, Placement, RingTable, Written
from toystore.client.async_shell import AsyncShell
from toystore.client.call import IN_FLIGHT_MAX, Calls, Key, KeyT, Value, in_flight
from toystore.client.clock import Clock
from toystore.client.errors import ToystoreError


class AsyncClient:
    """A client of a cluster with awaitable calls, for the tasks of one event loop."""

    def __init__(
        self,
        endpoints: str | Sequence[str],
        *,
        timeout: float = 2.0,
        attempt_timeout: float | None = None,
        bucket: str = "default",
        clock: Clock | None = None,
        max_in_flight: int = IN_FLIGHT_MAX,
        spread: bool = False,
        learn_members: bool = True,
    ) -> None:
        """Connects to nothing yet.  Arguments as of `Client`, and two more.

        Args:
            endpoints: as of `Client`.
            timeout: as of `Client`.
            attempt_timeout: as of `Client`.
            bucket: as of `Client`.
            clock: as of `Client`.
            max_in_flight: the most open requests; more wait in the client.
            spread: use the endpoints in turn, rather than the first until it fails.
            learn_members: as of `Client`.
        """
        self._calls = Calls(endpoints, timeout, attempt_timeout, bucket, clock)
        self._shell = AsyncShell(
            self._calls.endpoints,
            self._calls.clock,
            in_flight(max_in_flight),
            spread=spread,
            learns=learn_members,
        )

    async def get(
        self,
        key: Key,
        *,
        bucket: str | None = None,
        n: None = None,
        r: int | None = None,
        timeout: float | None = None,
    ) -> Found | None:
        """As `Client.get`."""
        calls = self._calls
        return await self._shell.ask(calls.get(calls.terms(bucket, n, r, timeout), key))

    async def put(
        self,
        key: Key,
        value: Value,
        *,
        bucket: str | None = None,
        n: None = None,
        w: int | None = None,
        timeout: float | None = None,
        ttl: float | None = None,
        context: bytes | None = None,
    ) -> Written:
        """As `Client.put`."""
        calls = self._calls
        terms = calls.terms(bucket, n, w, timeout)
        return await self._shell.ask(calls.put(terms, key, value, ttl, context))

    async def delete(
        self,
        key: Key,
        *,
        bucket: str | None = None,
        n: None = None,
        w: int | None = None,
        timeout: float | None = None,
        context: bytes | None = None,
    ) -> Written:
        """As `Client.delete`."""
        calls = self._calls
        return await self._shell.ask(calls.delete(calls.terms(bucket, n, w, timeout), key, context))

    @overload
    async def get_many(
        self,
        keys: Iterable[KeyT],
        *,
        bucket: str | None = None,
        n: None = None,
        r: int | None = None,
        timeout: float | None = None,
        errors: Literal["raise"] = "raise",
    ) -> dict[KeyT, Found | None]: ...

    @overload
    async def get_many(
        self,
        keys: Iterable[KeyT],
        *,
        bucket: str | None = None,
        n: None = None,
        r: int | None = None,
        timeout: float | None = None,
        errors: Literal["return"],
    ) -> dict[KeyT, Found | ToystoreError | None]: ...

    async def get_many(
        self,
        keys: Iterable[KeyT],
        *,
        bucket: str | None = None,
        n: None = None,
        r: int | None = None,
        timeout: float | None = None,
        errors: Literal["raise", "return"] = "raise",
    ) -> Mapping[KeyT, Found | ToystoreError | None]:
        """As `Client.get_many`."""
        terms = self._calls.terms(bucket, n, r, timeout)
        return await self._shell.ask_many(self._calls.get_many(terms, keys, errors))

    @overload
    async def put_many(
        self,
        items: Mapping[KeyT, Value],
        *,
        bucket: str | None = None,
        n: None = None,
        w: int | None = None,
        timeout: float | None = None,
        ttl: float | None = None,
        errors: Literal["raise"] = "raise",
    ) -> dict[KeyT, Written]: ...

    @overload
    async def put_many(
        self,
        items: Mapping[KeyT, Value],
        *,
        bucket: str | None = None,
        n: None = None,
        w: int | None = None,
        timeout: float | None = None,
        ttl: float | None = None,
        errors: Literal["return"],
    ) -> dict[KeyT, Written | ToystoreError]: ...

    async def put_many(
        self,
        items: Mapping[KeyT, Value],
        *,
        bucket: str | None = None,
        n: None = None,
        w: int | None = None,
        timeout: float | None = None,
        ttl: float | None = None,
        errors: Literal["raise", "return"] = "raise",
    ) -> Mapping[KeyT, Written | ToystoreError]:
        """As `Client.put_many`."""
        terms = self._calls.terms(bucket, n, w, timeout)
        return await self._shell.ask_many(self._calls.put_many(terms, items, ttl, errors))

    async def status(
        self, endpoint: str | None = None, *, timeout: float | None = None
    ) -> dict[str, Any]:
        """As `Client.status`."""
        calls = self._calls
        return await self._shell.ask(calls.status(calls.terms(None, None, None, timeout), endpoint))

    async def repair(
        self,
        job: int,
        endpoint: str,
        *,
        bucket: str | None = None,
        partition: int | None = None,
        timeout: float | None = None,
    ) -> dict[str, Any]:
        """As `Client.repair`."""
        calls = self._calls
        terms = calls.terms(None, None, None, timeout)
        return await self._shell.ask(calls.repair(terms, endpoint, job, bucket, partition))

    async def cluster(
        self,
        command: str,
        arguments: Mapping[str, Any] | None = None,
        endpoint: str | None = None,
        *,
        timeout: float | None = None,
    ) -> dict[str, Any]:
        """As `Client.cluster`."""
        calls = self._calls
        terms = calls.terms(None, None, None, timeout)
        return await self._shell.ask(calls.cluster(terms, command, arguments or {}, endpoint))

    async def owners(
        self, key: Key, *, bucket: str | None = None, timeout: float | None = None
    ) -> Placement:
        """As `Client.owners`."""
        calls = self._calls
        return await self._shell.ask(calls.owners(calls.terms(bucket, None, None, timeout), key))

    async def ring(self, *, timeout: float | None = None) -> RingTable:
        """As `Client.ring`."""
        calls = self._calls
        return await self._shell.ask(calls.ring(calls.terms(None, None, None, timeout)))

    async def close(self) -> None:
        """Close the sockets; open requests end with an error.  May be called again."""
        self._shell.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __del__(self) -> None:
        """Release the sockets of a client that was not closed."""
        shell = getattr(self, "_shell", None)
        if shell is None or not shell.is_open:
            return
        warnings.warn(f"unclosed {self!r}", ResourceWarning, source=self, stacklevel=2)
        with suppress(Exception):  # the interpreter may be on its way out
            shell.release()
