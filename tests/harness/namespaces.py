"""Two network namespaces, as two data centres: nodes run in both, and the link between them breaks.

    tests ─────────┬──────────────────────┐
                   │ always up            │ always up
                 side a ── switch ── side b
                        the link

The link is broken at the switch, so that what is sent over it vanishes, as in a real network: no
process notices.  Namespaces need root and `ip` (iproute2); `NotPermittedError` says what is
missing.
"""

from __future__ import annotations

import contextlib
import random
import subprocess
from collections.abc import Iterator

from .small_disk import NotPermittedError

SIDES = ("a", "b")


class Sides:
    """The two sides; `cut` and `heal` are called as often as wanted."""

    def __init__(self, label: str, net: str) -> None:
        """``net``: the first three bytes of all addresses."""
        self.spaces = {side: f"{label}{side}" for side in SIDES}
        """The name of each side's namespace."""
        self.hosts = {"a": f"{net}.2", "b": f"{net}.6"}
        """The address of each side's nodes; tests reach it, too."""
        self._label = label
        self._net = net

    def cut(self) -> None:
        """Nothing crosses from one side to the other any more."""
        _ip("-n", f"{self._label}s", "link", "set", "to-a", "down")

    def heal(self) -> None:
        """Everything crosses again."""
        _ip("-n", f"{self._label}s", "link", "set", "to-a", "up")

    def make(self) -> None:
        """Make the namespaces and the links.  Raises `NotPermittedError`."""
        label, net = self._label, self._net
        for space in (*self.spaces.values(), f"{label}s"):
            _ip("netns", "add", space)
        switch = f"{label}s"
        _ip("-n", switch, "link", "add", "switch", "type", "bridge")
        _ip("-n", switch, "link", "set", "switch", "up")
        for side, first, own in (("a", 1, 9), ("b", 5, 10)):
            space = self.spaces[side]
            _ip("link", "add", f"{label}{side}", "type", "veth", "peer", "tests", "netns", space)
            _ip("addr", "add", f"{net}.{first}/30", "dev", f"{label}{side}")
            _ip("link", "set", f"{label}{side}", "up")
            _ip("-n", space, "addr", "add", f"{net}.{first + 1}/30", "dev", "tests")
            far = ("peer", "name", f"to-{side}", "netns", switch)
            _ip("-n", space, "link", "add", "across", "type", "veth", *far)
            _ip("-n", switch, "link", "set", f"to-{side}", "master", "switch", "up")
            _ip("-n", space, "addr", "add", f"{net}.{own}/30", "dev", "across")
            for device in ("lo", "tests", "across"):
                _ip("-n", space, "link", "set", device, "up")
        _ip("-n", self.spaces["a"], "route", "add", f"{net}.4/30", "via", f"{net}.10")
        _ip("-n", self.spaces["b"], "route", "add", f"{net}.0/30", "via", f"{net}.9")

    def end(self) -> None:
        """Delete the namespaces, and with them the links."""
        for space in (*self.spaces.values(), f"{self._label}s"):
            with contextlib.suppress(NotPermittedError):
                _ip("netns", "del", space)
        for side in SIDES:
            with contextlib.suppress(NotPermittedError):
                _ip("link", "del", f"{self._label}{side}")


@contextlib.contextmanager
def two_sides() -> Iterator[Sides]:
    """Two namespaces that can reach each other.  Raises `NotPermittedError`."""
    chance = random.SystemRandom()
    net = f"10.{chance.randrange(100, 250)}.{chance.randrange(1, 255)}"
    sides = Sides(f"toy{chance.randrange(10**6)}", net)
    try:
        sides.make()
        yield sides
    finally:
        sides.end()


def _ip(*arguments: str) -> None:
    try:
        done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise NotPermittedError("there is no ip(8) here to make network namespaces with") from None
    if done.returncode:
        why = done.stderr.strip()
        raise NotPermittedError(f"ip {' '.join(arguments)} is refused: {why}")
