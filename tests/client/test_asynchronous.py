"""What is the asynchronous client's own: one frame a turn, bounds, cancellation, loops."""

from __future__ import annotations

import asyncio
import multiprocessing

import pytest
import zmq

from tests.harness.waiting import wait_until
from toystore import AsyncClient, Found, Overloaded, ToystoreError, Written
from toystore.client import async_shell, sockets
from toystore.core.protocol.messages.client import ErrorReply
from toystore.core.protocol.messages.codes import Code

from .fake import HOLD

FORK = multiprocessing.get_context("fork")


async def when(condition) -> None:
    """Wait for a condition without holding up the loop."""
    await asyncio.to_thread(wait_until, condition)


def test_what_is_asked_in_one_turn_leaves_in_one_frame(fake):
    async def main() -> None:
        async with AsyncClient(fake.endpoint, timeout=60) as store:
            await store.get("warm up")
            fake.frames.clear()
            await asyncio.gather(*(store.put(f"key{number}", "value") for number in range(100)))

    asyncio.run(main())

    assert fake.frames == [100]


def test_a_connection_made_while_the_socket_is_asked_is_not_missed(fake, monkeypatch):
    looks = []

    def ready_for(socket) -> int:
        """The first time, look just before the connection; its news is taken all the same."""
        looks.append(socket)
        if len(looks) == 1:
            wait_until(lambda: sockets.ready_for(socket) & zmq.POLLOUT)
            return 0
        return sockets.ready_for(socket)

    monkeypatch.setattr(async_shell, "ready_for", ready_for)

    async def main() -> Written:
        async with AsyncClient(fake.endpoint, timeout=60) as store:
            return await store.put("key", "value")

    assert isinstance(asyncio.run(main()), Written)


def test_thousands_in_flight_are_all_answered(fake):
    async def main() -> list:
        async with AsyncClient(fake.endpoint, timeout=60) as store:
            await asyncio.gather(*(store.put(str(key), str(key)) for key in range(6000)))
            return await asyncio.gather(*(store.get(str(key)) for key in range(6000)))

    found = asyncio.run(main())

    assert [each.value for each in found] == [str(key).encode() for key in range(6000)]


def test_no_more_than_the_bound_is_in_flight(fake):
    fake.script = lambda message: HOLD

    async def main() -> None:
        async with AsyncClient(fake.endpoint, max_in_flight=4, timeout=60) as store:
            tasks = [asyncio.create_task(store.get(str(key))) for key in range(10)]
            for so_far in (4, 8, 10):
                await when(lambda so_far=so_far: len(fake.seen) >= so_far)
                assert len(fake.seen) == so_far
                fake.release()
            await asyncio.gather(*tasks)

    asyncio.run(main())


def test_a_cancelled_request_makes_room_and_its_late_reply_harms_nobody(fake):
    fake.script = lambda message: HOLD if message.key == b"held" else fake.usual(message)

    async def main() -> None:
        async with AsyncClient(fake.endpoint, max_in_flight=1, timeout=60) as store:
            held = asyncio.create_task(store.get("held"))
            other = asyncio.create_task(store.put("key", "value"))
            await when(lambda: fake.seen)
            held.cancel()
            assert isinstance(await other, Written)
            fake.release()
            assert isinstance(await store.get("key"), Found)
            with pytest.raises(asyncio.CancelledError):
                await held

    asyncio.run(main())


def test_cancelling_many_abandons_them_all(fake):
    fake.script = lambda message: HOLD

    async def main() -> None:
        async with AsyncClient(fake.endpoint, timeout=60, max_in_flight=2) as store:
            many = asyncio.create_task(store.get_many(["a", "b", "c", "d"]))
            await when(lambda: len(fake.seen) == 2)
            many.cancel()
            with pytest.raises(asyncio.CancelledError):
                await many
            fake.script = fake.usual
            assert await store.get("key") is None

    asyncio.run(main())

    assert [message.key for message in fake.seen] == [b"a", b"b", b"key"]


def test_closing_ends_what_is_awaited(fake):
    fake.script = lambda message: HOLD

    async def main() -> list:
        store = AsyncClient(fake.endpoint, timeout=60, attempt_timeout=20)
        tasks = [asyncio.create_task(store.put(str(key), "value")) for key in range(3)]
        await when(lambda: len(fake.seen) == 3)
        await store.close()
        return await asyncio.gather(*tasks, return_exceptions=True)

    errors = asyncio.run(main())

    assert [type(error) for error in errors] == [ToystoreError] * 3
    assert not any(error.definite for error in errors)


def test_spread_uses_the_endpoints_in_turn(make_fake):
    fakes = [make_fake() for _ in range(3)]

    async def main() -> None:
        endpoints = [fake.endpoint for fake in fakes]
        async with AsyncClient(endpoints, spread=True, timeout=60) as store:
            for key in range(30):
                await store.get(str(key))

    asyncio.run(main())

    assert sum(len(fake.seen) for fake in fakes) == 30
    assert all(fake.seen for fake in fakes)


def test_spread_goes_on_without_an_endpoint_that_is_dead(make_fake, dead_endpoint):
    fakes = [make_fake() for _ in range(2)]

    async def main() -> None:
        endpoints = [fakes[0].endpoint, dead_endpoint, fakes[1].endpoint]
        async with AsyncClient(endpoints, spread=True, timeout=60) as store:
            await asyncio.gather(*(store.put(str(key), "value") for key in range(50)))
            for key in range(20):
                await store.put(str(key), "value")

    asyncio.run(main())

    assert sum(len(fake.seen) for fake in fakes) == 70


def test_overload_reaches_the_callers_it_concerns(fake):
    fake.script = lambda message: (
        ErrorReply(message.request, Code.OVERLOADED, "full", True)
        if message.key == b"unlucky"
        else fake.usual(message)
    )

    async def main() -> list:
        async with AsyncClient(fake.endpoint, timeout=60) as store:
            calls = (store.put(key, "value") for key in ("lucky", "unlucky"))
            return await asyncio.gather(*calls, return_exceptions=True)

    assert [type(answer) for answer in asyncio.run(main())] == [Written, Overloaded]


def test_a_client_moves_on_when_its_event_loop_is_gone(fake):
    store = AsyncClient(fake.endpoint, timeout=60, attempt_timeout=20)

    async def main() -> object:
        return await store.get("key")

    assert asyncio.run(main()) is None
    assert asyncio.run(main()) is None
    asyncio.run(store.close())


def test_a_client_belongs_to_one_event_loop(fake):
    store = AsyncClient(fake.endpoint, timeout=60, attempt_timeout=20)
    with asyncio.Runner() as first, asyncio.Runner() as second:
        first.run(store.get("key"))
        with pytest.raises(ToystoreError, match="event loop"):
            second.run(store.get("key"))
        first.run(store.close())


def test_a_forked_child_talks_through_sockets_of_its_own(fake):
    store = AsyncClient(fake.endpoint, timeout=60, attempt_timeout=20)
    ours, theirs = FORK.Pipe()
    with asyncio.Runner() as runner:
        runner.run(store.put("key", "value"))
        child = FORK.Process(target=lambda: theirs.send(asyncio.run(store.get("key"))))
        child.start()
        try:
            assert ours.poll(20)
            assert ours.recv().value == b"value"
        finally:
            child.terminate()
            child.join()
        assert runner.run(store.get("key")).value == b"value"
        runner.run(store.close())
    assert fake.envelopes[0] == fake.envelopes[2] != fake.envelopes[1]
