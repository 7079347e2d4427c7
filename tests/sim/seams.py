"""Where faults are planted into the product for the time of a test.

    hears       what a kind of machine is told
    says        what it sends
    settings    the numbers that it is given
    storage     what is done to a disk before or after storage is told something
    everywhere  a function, in whatever modules use it
    replace     one method of a class

The first four know a machine by its constructor, its settings and its messages, and survive
whatever else of it is renamed.  The others fail with a clear text when a name is gone.
"""

from __future__ import annotations

import dataclasses
import functools
import sys
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from toystore.core.protocol.address import Address
from toystore.core.protocol.machine import Outbox
from toystore.core.protocol.messages import Message
from toystore.core.storage.storage import Storage
from toystore.core.storage.store import Store

Patch = pytest.MonkeyPatch
Send = Callable[[Address, Any], None]


class GoneError(Exception):
    """The product has no such name any more; the text says what to do."""


def hears(patch: Patch, machine: type, kind: type[Any], change: Callable[[Any], Any]) -> None:
    """From now on such machines are told ``change`` of each message of this kind."""

    def receive(true: Any, self: Any, message: Message, sender: Address, now: Any) -> None:
        true(self, change(message) if type(message) is kind else message, sender, now)

    replace(patch, machine, "receive", receive)


def says(
    patch: Patch, machine: type, kind: type[Any], say: Callable[[Send, Address, Any], None]
) -> None:
    """Such machines, if made from now on, leave it to ``say`` to send messages of this kind."""

    class FaultyOutbox:
        def __init__(self, true: Outbox) -> None:
            self._true = true

        def __getattr__(self, name: str) -> Any:
            return getattr(self._true, name)

        def send(self, to: Address, message: Message) -> None:
            if type(message) is kind:
                say(self._true.send, to, message)
            else:
                self._true.send(to, message)

    def init(true: Any, self: Any, *, outbox: Outbox, **more: Any) -> None:
        true(self, outbox=FaultyOutbox(outbox), **more)

    replace(patch, machine, "__init__", init)


def settings(patch: Patch, machine: type, **changes: Any) -> None:
    """Such machines, if made from now on, have other settings."""

    def init(true: Any, self: Any, *, settings: Any, **more: Any) -> None:
        true(self, settings=dataclasses.replace(settings, **changes), **more)

    replace(patch, machine, "__init__", init)


def storage(
    patch: Patch,
    kind: type[Any],
    *,
    before: Callable[[Store, Any], None] = lambda store, message: None,
    after: Callable[[Store, Any], None] = lambda store, message: None,
) -> None:
    """Act on the disk of a storage, if made from now on, when it is told a message of this kind."""
    stores: weakref.WeakKeyDictionary[Storage, Store] = weakref.WeakKeyDictionary()

    def init(true: Any, self: Storage, *, store: Store, **more: Any) -> None:
        stores[self] = store
        true(self, store=store, **more)

    def receive(true: Any, self: Storage, message: Message, sender: Address, now: Any) -> None:
        if type(message) is not kind:
            true(self, message, sender, now)
            return
        before(stores[self], message)
        true(self, message, sender, now)
        after(stores[self], message)

    replace(patch, Storage, "__init__", init)
    replace(patch, Storage, "receive", receive)


def everywhere(
    patch: Patch, function: Callable[..., Any], faulty: Callable[..., Any], *, within: str
) -> None:
    """From now on a function is ``faulty`` in all modules of a package that use it.

    Raises `GoneError` if none does.
    """
    name = function.__name__
    users = [
        module
        for path, module in list(sys.modules.items())
        if f"{path}.".startswith(f"{within}.") and vars(module).get(name) is function
    ]
    if not users:
        raise GoneError(f"nothing in {within} uses {name} any more; {_WHAT_TO_DO}")
    for module in users:
        patch.setattr(module, name, functools.partial(faulty, function))


def replace(patch: Patch, owner: type, name: str, faulty: Callable[..., Any]) -> None:
    """From now on a method is ``faulty``, which is given the true one first.

    Raises `GoneError` if the class has no such method.
    """
    true = vars(owner).get(name)
    if true is None:
        raise GoneError(f"{owner.__name__} has no {name} any more; {_WHAT_TO_DO}")

    @functools.wraps(true)
    def replaced(*given: Any, **named: Any) -> Any:
        return faulty(true, *given, **named)

    patch.setattr(owner, name, replaced)


_WHAT_TO_DO = (
    "tests/sim/planted.py plants a fault there: look in the product for what does its work now"
)
