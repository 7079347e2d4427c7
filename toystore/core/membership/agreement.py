"""Whether the members have the same values for the settings that should be the same on all.

Each node sends its own to each other as soon as they are linked.  A difference is logged on
both sides, once for each value.  It is not refused: nodes that are restarted one by one with
a new configuration differ until all have been restarted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeGuard

from toystore.core.protocol.machine import Outbox
from toystore.core.protocol.messages.gossip import CompareSettings

Setting = int | float | str

_TEXT_MAX = 1024
"""How many characters a setting can have that is text; no node has a longer one."""


class Agreement:
    """This node's settings, and what the others have in their place."""

    __slots__ = ("_outbox", "_own", "_theirs")

    def __init__(self, own: Mapping[str, Setting], outbox: Outbox) -> None:
        """``own``: by their names in the configuration, ``swim.probe_period_s`` for one."""
        self._own = dict(own)
        self._outbox = outbox
        self._theirs: dict[tuple[str, str], Setting] = {}
        """What was last logged, by member and setting."""

    def message(self) -> CompareSettings:
        """What each other member is sent."""
        return CompareSettings(dict(self._own))

    def forget(self, member: str) -> None:
        """A member was removed."""
        for name in self._own:
            self._theirs.pop((member, name), None)

    def compare(self, member: str, settings: Mapping[str, object]) -> None:
        """Log the settings of a member that differ from this node's.

        A setting that only one of the two has belongs to another version of toystore.
        """
        for name, here in self._own.items():
            there = settings.get(name)
            if not _is_setting(there) or there == here:
                self._theirs.pop((member, name), None)
            elif repr(self._theirs.get((member, name))) != repr(there):
                self._theirs[member, name] = there
                self._outbox.log(
                    "settings.differ", member=member, setting=name, here=here, there=there
                )


def _is_setting(value: object) -> TypeGuard[Setting]:
    return type(value) in (int, float) or (isinstance(value, str) and len(value) <= _TEXT_MAX)
