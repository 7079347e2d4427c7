"""Fakes to talk to, and both clients behind one face."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from toystore import AsyncClient, Client
from toystore.localcluster.ports import reserve_ports

from .fake import Fake


@pytest.fixture
def make_fake() -> Iterator[Callable[..., Fake]]:
    """Makes fakes that end with the test."""
    fakes: list[Fake] = []

    def make(*args: Any, **named: Any) -> Fake:
        fakes.append(Fake(*args, **named))
        return fakes[-1]

    yield make
    for fake in fakes:
        fake.die()


@pytest.fixture
def fake(make_fake: Callable[..., Fake]) -> Fake:
    """One fake coordinator."""
    return make_fake()


@pytest.fixture
def free_port() -> Iterator[int]:
    """A port that nobody takes, also while nobody listens there."""
    guard, port = reserve_ports(1)
    with guard:
        yield port


@pytest.fixture
def dead_endpoint(free_port: int) -> str:
    """An endpoint where nobody listens."""
    return f"tcp://127.0.0.1:{free_port}"


class Awaited:
    """An `AsyncClient` that is called like a `Client`."""

    def __init__(self, *args: Any, **named: Any) -> None:
        self._runner = asyncio.Runner()
        self._client = AsyncClient(*args, **named)

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any, **named: Any) -> Any:
            async def awaited() -> Any:
                return await getattr(self._client, name)(*args, **named)

            return self._runner.run(awaited())

        return call

    def end(self) -> None:
        self.close()
        self._runner.close()


@pytest.fixture(params=[Client, Awaited], ids=["blocking", "asynchronous"])
def connect(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """Makes clients of either kind; every rule that holds for one holds for the other.

    They have time, lest a fake that a busy machine keeps waiting should pass for a silent one.
    """
    clients: list[Any] = []

    def make(*args: Any, **named: Any) -> Any:
        endpoints = [end.endpoint if isinstance(end, Fake) else end for end in args]
        clients.append(request.param(endpoints, **{"timeout": 60} | named))
        return clients[-1]

    yield make
    for client in clients:
        getattr(client, "end", client.close)()
