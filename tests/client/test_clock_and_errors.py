"""The process's clock, the errors, and what importing the client brings in."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading

import pytest

import toystore
from toystore.client.clock import ProcessClock
from toystore.core.data.stamp import pack_stamp, unpack_stamp

ERRORS = ("BadRequest", "Unavailable", "Overloaded", "Timeout", "Conflict", "Internal")


def test_threads_that_share_a_clock_never_get_the_same_stamp():
    clock, stamps = ProcessClock(), [[] for _ in range(4)]

    def mint(into: list[bytes]) -> None:
        into.extend(clock.mint() for _ in range(2000))

    threads = [threading.Thread(target=mint, args=(into,)) for into in stamps]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert all(each == sorted(each) for each in stamps)
    assert len({stamp for each in stamps for stamp in each}) == 8000


def test_a_clock_mints_above_what_it_was_shown():
    clock, shown = ProcessClock(), pack_stamp(2**60, 5, b"stranger")
    clock.merge(shown)
    assert clock.mint() > shown


def test_a_redrawn_clock_is_another_minter_above_the_last_stamp():
    clock = ProcessClock()
    clock.merge(pack_stamp(2**60, 5, b"stranger"))
    before = clock.mint()

    clock.redraw()
    after = clock.mint()

    assert after > before
    assert unpack_stamp(after).minter != unpack_stamp(before).minter


@pytest.mark.parametrize("name", ERRORS)
def test_every_error_is_a_toystore_error_and_survives_pickling(name):
    kind = getattr(toystore, name)
    error = pickle.loads(pickle.dumps(kind("text", definite=False)))
    assert isinstance(error, toystore.ToystoreError)
    assert (type(error), str(error), error.definite) == (kind, "text", False)


def test_everything_that_is_exported_is_there():
    assert all(hasattr(toystore, name) for name in toystore.__all__)
    with pytest.raises(AttributeError, match="nothing"):
        _ = toystore.nothing


def imported_by(statement: str) -> set[str]:
    """The packages outside the standard library that a fresh process has after it."""
    script = f"{statement}\nimport sys; print(*{{name.partition('.')[0] for name in sys.modules}})"
    environment = {**os.environ, "PYTHONSAFEPATH": "1"}
    shown = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment
    ).stdout.split()
    return set(shown) - set(sys.stdlib_module_names)


def test_the_client_needs_pyzmq_and_msgpack_only():
    added = imported_by("from toystore import Client, AsyncClient") - imported_by("pass")
    assert {name for name in added if "cython" not in name} == {"toystore", "zmq", "msgpack"}


def test_the_core_needs_the_standard_library_only():
    assert imported_by("import toystore.core.data.stamp") - imported_by("pass") == {"toystore"}
