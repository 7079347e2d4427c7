"""A transaction before the actors start: committed, or as if it had not been tried."""

import pytest

from actors.transaction import transaction
from toystore.engines import MapFullError, StoreFullError
from toystore.engines.memory import MemoryEngine


class Small(MemoryEngine):
    """An engine whose map is full until it has grown."""

    grown = 0

    def put(self, key: bytes, value: bytes) -> None:
        super().put(key, value)
        if not self.grown:
            raise MapFullError("full")

    def grow(self) -> int:
        self.grown += 1
        return self.grown


def stored(engine: MemoryEngine) -> dict[bytes, bytes]:
    engine.begin()
    found = dict(engine.scan(b""))
    engine.abort()
    return found


def test_a_change_that_finds_the_map_full_is_made_again_in_a_larger_one():
    engine = Small()

    def change() -> str:
        assert engine.get(b"a") is None
        engine.put(b"a", b"1")
        return "made"

    assert transaction(engine, change) == "made"
    assert (engine.grown, stored(engine)) == (1, {b"a": b"1"})


@pytest.mark.parametrize("error", [StoreFullError("no room"), ValueError("not this node's")])
def test_a_change_that_fails_is_undone(error):
    engine = MemoryEngine()

    def change() -> None:
        engine.put(b"a", b"1")
        raise error

    with pytest.raises(type(error)):
        transaction(engine, change)

    assert stored(engine) == {}
