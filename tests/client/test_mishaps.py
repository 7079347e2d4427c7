"""Whatever goes wrong in the process, a request ends in time with an error that says what."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import textwrap

import pytest
import zmq

from toystore import AsyncClient, Client, ToystoreError
from toystore.client import async_shell, attempts, blocking_shell, machine, sockets


class OddError(Exception):
    pass


def fails(*_: object, **__: object) -> None:
    raise OddError("by surprise")


def is_out_of_memory(*_: object, **__: object) -> None:
    raise zmq.ZMQError(12)


@pytest.mark.parametrize(
    ("where", "what"),
    [
        (async_shell, "Line"),
        (async_shell, "ready_for"),
        (async_shell, "drain"),
        (async_shell, "offer"),
        (machine, "decode"),
        (attempts, "encode"),
    ],
)
@pytest.mark.parametrize("how", [fails, is_out_of_memory])
def test_a_callback_that_fails_ends_what_is_awaited(fake, monkeypatch, where, what, how):
    async def main() -> None:
        async with AsyncClient(fake.endpoint, timeout=60) as store:
            if what != "Line":
                await store.get("warm up")
            with monkeypatch.context() as patch:
                patch.setattr(where, what, how)
                many = [store.put(str(key), "value") for key in range(3)]
                errors = await asyncio.gather(*many, return_exceptions=True)
            assert all(isinstance(error, ToystoreError) for error in errors)
            assert "surprise" in str(errors[0]) or "memory" in str(errors[0])
            assert await store.put("key", "value"), "the client is none the worse for it"

    asyncio.run(main())


@pytest.mark.parametrize("call", ["get", "get_many"])
@pytest.mark.parametrize("what", ["offer", "Line", "drain"])
def test_a_blocking_client_raises_no_error_of_its_sockets(fake, monkeypatch, what, call):
    with Client(fake.endpoint, timeout=60) as store:
        with monkeypatch.context() as patch:
            patch.setattr(blocking_shell, what, is_out_of_memory)
            if what != "drain":
                with pytest.raises(ToystoreError, match="memory") as raised:
                    getattr(store, call)(["key"] if call == "get_many" else "key")
                assert raised.value.definite
        assert store.get("key") is None
        assert store.get_many(["key"]) == {"key": None}


def in_a_process(script: str) -> None:
    """Run a script of its own, which may take all descriptors there are."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr[-2000:]


TAKE_ALL = """
    import asyncio, os, resource, time
    from toystore import AsyncClient, Client, ToystoreError

    def take_all():
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        taken = []
        try:
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            return taken

    def refused(call):
        began = time.monotonic()
        try:
            call()
        except ToystoreError as error:
            assert "too many files" in str(error), error
            assert error.definite and time.monotonic() - began < 10
        else:
            raise AssertionError("it cannot have succeeded")
"""


@pytest.mark.parametrize("first", [True, False], ids=["at first", "later"])
def test_a_process_without_descriptors_is_told_so(fake, first):
    in_a_process(
        TAKE_ALL
        + f"""
    # What is closed gives its descriptors back in its own time: until the end nothing is.
    earlier = Client({fake.endpoint!r}, timeout=20)
    if not {first}:
        earlier.put("key", "value")
    taken = take_all()
    store = Client({fake.endpoint!r}, timeout=20)
    refused(lambda: store.put("key", "value"))
    refused(lambda: store.get_many(["key"]))
    for each in taken:
        os.close(each)
    store.put("key", "value")

    async def main():
        async with AsyncClient({fake.endpoint!r}, timeout=20) as store:
            taken = take_all()
            error, = await asyncio.gather(store.put("key", "value"), return_exceptions=True)
            refused(lambda: (_ for _ in ()).throw(error))
            for each in taken:
                os.close(each)
            await store.put("key", "value")

    asyncio.run(main())
    store.close()
    earlier.close()
    """
    )


def test_more_clients_than_a_process_has_descriptors_are_told_so(fake):
    in_a_process(
        TAKE_ALL
        + f"""
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, 512))
    stores = [Client({fake.endpoint!r}, timeout=20) for _ in range(600)]
    with_room = 0
    try:
        for store in stores:
            store.get("key")
            with_room += 1
    except ToystoreError as error:
        assert "too many files" in str(error), error
        assert with_room > 50
    else:
        raise AssertionError("it cannot have succeeded")
    """
    )


def test_a_context_that_was_ended_is_replaced(fake):
    with Client(fake.endpoint, timeout=60) as store:
        store.put("key", "value")
        sockets._contexts[os.getpid()].destroy(linger=0)
        with pytest.raises(ToystoreError):
            store.get("key")
        assert store.get("key").value == b"value"
