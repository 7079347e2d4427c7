"""A client that tells what each answer rests on, also when the answer is "not found".

Applications are told ``None`` then; but a write that was lost shows as "not found", and
whether that answer owed it to anybody is decided by the owners that gave it.
"""

from __future__ import annotations

import time
from typing import NamedTuple

from toystore import AsyncClient, Found
from toystore.client.clock import Clock
from toystore.client.request import GetRequest
from toystore.core.data.context import unpack_context
from toystore.core.protocol.messages.client import GetReply


class Told(NamedTuple):
    """What a client was told; the fields are those of a history's row."""

    value: str | None
    stamp: str
    """Of what was read or written, be it a tombstone, as hex; "" if there was nothing."""
    owners: int
    fallbacks: int


class TellingClient(AsyncClient):
    """An `AsyncClient` with two calls more."""

    async def read(self, key: str) -> Told:
        """What the cluster says of a key."""
        terms = self._calls.terms(None, None, None, None)
        request = _GetAll(terms, time.monotonic(), key.encode())
        await self._shell.ask(request)
        return request.told

    async def write(self, key: str, value: str | None) -> Told:
        """Put a value, or delete the key."""
        written = await (self.delete(key) if value is None else self.put(key, value))
        return Told(value, written.stamp.hex(), written.owners, written.fallbacks)


class _GetAll(GetRequest):
    """A get that keeps the whole of its reply."""

    __slots__ = ("told",)
    told: Told

    def answer(self, reply: GetReply, clock: Clock, /) -> Found | None:
        """As of any get, and noted."""
        value = reply.values[0].decode() if reply.values else None
        stamp = unpack_context(reply.context).hex() if reply.context else ""
        self.told = Told(value, stamp, reply.owners, reply.fallbacks)
        return super().answer(reply, clock)
