"""The blocking client, as applications call it; `BlockingShell` asks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, Self, overload

from toystore.client.answer import Found, Placement, RingTable, Written
from toystore.client.blocking_shell import BlockingShell
from toystore.client.call import Calls, Key, KeyT, Value
from toystore.client.clock import Clock
from toystore.client.errors import ToystoreError


class Client:
    """A client of a cluster with blocking calls.

    Threads may share a client; then one call runs at a time.  Better give each thread its own.
    After a fork, the client in the child opens its own sockets on its next use.
    """

    def __init__(
        self,
        endpoints: str | Sequence[str],
        *,
        timeout: float = 2.0,
        attempt_timeout: float | None = None,
        bucket: str = "default",
        clock: Clock | None = None,
        learn_members: bool = True,
    ) -> None:
        """Does not connect yet.  Raises `BadRequest` for an invalid argument.

        Args:
            endpoints: the client ports of any nodes, "tcp://host:port"; the first is
                asked first, the others when it fails.
            timeout: seconds that a request may take, with all its retries.
            attempt_timeout: seconds that one endpoint may take before the next is asked;
                by default a quarter of the request's timeout, at least 0.1.
            bucket: the bucket of requests that name none.
            clock: the clock that stamps the writes; by default that of this process.
            learn_members: whether to use the other members of the cluster, too, as they are
                listed; the endpoints are used for ever in any case.
        """
        self._calls = Calls(endpoints, timeout, attempt_timeout, bucket, clock)
        self._shell = BlockingShell(self._calls.endpoints, self._calls.clock, learns=learn_members)

    def get(
        self,
        key: Key,
        *,
        bucket: str | None = None,
        n: None = None,
        r: int | None = None,
        timeout: float | None = None,
    ) -> Found | None:
        """Read a key; None if it is not there.

        Args:
            key: bytes, or a str that is taken as UTF-8.
            bucket: instead of the client's.
            n: refused: N of the bucket decides which nodes own a key (docs/CLIENT.md).
            r: how many replicas must answer, instead of the bucket's R.
            timeout: seconds, instead of the client's.

        Raises:
            ToystoreError: see `toystore.client.errors`.
        """
        calls = self._calls
        return self._shell.ask(calls.get(calls.terms(bucket, n, r, timeout), key))

    def put(
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
        """Write a key.  Returns when W replicas have it.

        Args:
            key: bytes, or a str that is taken as UTF-8.
            value: bytes, or a str that is taken as UTF-8.
            bucket: instead of the client's.
            n: as of `get`.
            w: how many must have it, instead of the bucket's W.
            timeout: seconds, instead of the client's.
            ttl: not supported yet.
            context: of what this write follows from; it is then ordered after that.

        Raises:
            ToystoreError: see `toystore.client.errors`; with `.definite` False the write
                may have happened, or may still happen.
        """
        calls = self._calls
        return self._shell.ask(
            calls.put(calls.terms(bucket, n, w, timeout), key, value, ttl, context)
        )

    def delete(
        self,
        key: Key,
        *,
        bucket: str | None = None,
        n: None = None,
        w: int | None = None,
        timeout: float | None = None,
        context: bytes | None = None,
    ) -> Written:
        """Delete a key, there or not.  Arguments and errors as of `put`."""
        calls = self._calls
        return self._shell.ask(calls.delete(calls.terms(bucket, n, w, timeout), key, context))

    @overload
    def get_many(
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
    def get_many(
        self,
        keys: Iterable[KeyT],
        *,
        bucket: str | None = None,
        n: None = None,
        r: int | None = None,
        timeout: float | None = None,
        errors: Literal["return"],
    ) -> dict[KeyT, Found | ToystoreError | None]: ...

    def get_many(
        self,
        keys: Iterable[KeyT],
        *,
        bucket: str | None = None,
        n: None = None,
        r: int | None = None,
        timeout: float | None = None,
        errors: Literal["raise", "return"] = "raise",
    ) -> Mapping[KeyT, Found | ToystoreError | None]:
        """Read many keys at once: for each what `get` would return.

        Args:
            keys: each as of `get`; one that occurs twice is asked for once.
            bucket: as of `get`.
            n: as of `get`.
            r: as of `get`.
            timeout: seconds for each key, from when it is sent.  So many are under way at
                once, the others wait for their turn; if nothing is answered for as long as
                this, all of them end.
            errors: "raise", or "return" to have a key's error for its answer.

        Raises:
            ManyFailed: some keys failed; it holds the answers of all.
            ToystoreError: what concerns them all, such as a client that is closed.
        """
        terms = self._calls.terms(bucket, n, r, timeout)
        return self._shell.ask_many(self._calls.get_many(terms, keys, errors))

    @overload
    def put_many(
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
    def put_many(
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

    def put_many(
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
        """Write many keys at once: for each what `put` would return.

        Args:
            items: keys and values, each as of `put`.
            bucket: as of `put`.
            n: as of `put`.
            w: as of `put`.
            timeout: as of `get_many`.
            ttl: not supported yet.
            errors: as of `get_many`.

        Raises:
            ManyFailed: some keys failed; it holds the answers of all.
            ToystoreError: what concerns them all, such as a client that is closed.
        """
        terms = self._calls.terms(bucket, n, w, timeout)
        return self._shell.ask_many(self._calls.put_many(terms, items, ttl, errors))

    def status(
        self, endpoint: str | None = None, *, timeout: float | None = None
    ) -> dict[str, Any]:
        """How the cluster looks from the node at ``endpoint`` (one of the client's), or any."""
        calls = self._calls
        return self._shell.ask(calls.status(calls.terms(None, None, None, timeout), endpoint))

    def repair(
        self,
        job: int,
        endpoint: str,
        *,
        bucket: str | None = None,
        partition: int | None = None,
        timeout: float | None = None,
    ) -> dict[str, Any]:
        """Begin to repair the ranges of the node at ``endpoint``, or ask how far it is.

        Args:
            job: a number that the caller draws at random; it names the same repair in each call.
            endpoint: one of the client's.
            bucket: only the ranges of this bucket, and of all others with its N.
            partition: only the ranges of this partition of the ring.
            timeout: as of `Client`.

        Returns:
            The progress; docs/PROTOCOL.md lists its keys.
        """
        calls = self._calls
        terms = calls.terms(None, None, None, timeout)
        return self._shell.ask(calls.repair(terms, endpoint, job, bucket, partition))

    def cluster(
        self,
        command: str,
        arguments: Mapping[str, Any] | None = None,
        endpoint: str | None = None,
        *,
        timeout: float | None = None,
    ) -> dict[str, Any]:
        """Plan, show, commit or abort a change of the members, or ask how far it is.

        A plan is kept by the node that made it: name the same ``endpoint`` to commit it.

        Args:
            command: "plan", "show", "commit", "abort" or "status".
            arguments: those of the command; docs/PROTOCOL.md lists them.
            endpoint: one of the client's; None: any.
            timeout: as of `Client`.  A node takes up to 15 s for a commit or an abort, and up to
                5 s for the rest.

        Returns:
            The result; docs/PROTOCOL.md lists its keys.

        Raises:
            BadRequest: the arguments, or what is planned, cannot be; the text says what can.
            Conflict: the members have changed since the plan was made.
            Unavailable: too few members can be reached.
        """
        calls = self._calls
        terms = calls.terms(None, None, None, timeout)
        return self._shell.ask(calls.cluster(terms, command, arguments or {}, endpoint))

    def owners(
        self, key: Key, *, bucket: str | None = None, timeout: float | None = None
    ) -> Placement:
        """The owners and the fallbacks of a key."""
        calls = self._calls
        return self._shell.ask(calls.owners(calls.terms(bucket, None, None, timeout), key))

    def ring(self, *, timeout: float | None = None) -> RingTable:
        """How much of the ring each member owns."""
        calls = self._calls
        return self._shell.ask(calls.ring(calls.terms(None, None, None, timeout)))

    def close(self) -> None:
        """Close the sockets.  May be called again; any other call after it is an error."""
        self._shell.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
