"""Members that are dead for `remove_after_s` are removed, if that setting is not 0.

Members are removed only if at least as many remain as the largest N of a bucket, and most of those
that decide the next record afterwards are alive.
"""

from __future__ import annotations

from toystore.core.protocol.machine import Now
from toystore.core.protocol.settings import RingSettings
from toystore.core.reconfiguration.automatic import Wish
from toystore.core.reconfiguration.following import Following
from toystore.core.reconfiguration.questions import NEVER
from toystore.core.reconfiguration.roster import Roster
from toystore.core.reconfiguration.successors import without


class Absence:
    """Watches for how long members are dead."""

    def __init__(
        self, following: Following, roster: Roster, settings: RingSettings, copies_max: int
    ) -> None:
        """``copies_max``: the largest N of a bucket."""
        self._following = following
        self._roster = roster
        self._after_s = settings.remove_after_s
        self._copies_max = copies_max
        self._looked_at = 0.0

    def next_deadline(self) -> float:
        """When the next member will have been dead for long enough."""
        dues = (at for name in self._following.record.all if (at := self._due(name)) is not None)
        return min((at for at in dues if at > self._looked_at), default=NEVER)

    def wish(self, now: Now) -> Wish | None:
        """Remove the members that have been dead for long enough."""
        self._looked_at = now.monotonic
        if not self._after_s:
            return None
        names: list[str] = []
        dues = {name: self._due(name) for name in self._following.record.all}
        for name, due in sorted(dues.items(), key=lambda item: (item[1] or 0.0, item[0])):
            if due is not None and due <= now.monotonic and self._allows([*names, name]):
                names.append(name)
        if not names:
            return None
        why = f"remove {', '.join(sorted(names))}: dead for {self._after_s:g} s"
        return Wish(why, without(self._following.record, names))

    def _due(self, name: str) -> float | None:
        """When a member that is dead will have been so for long enough."""
        since = self._roster.dead_since(name)
        return since + self._after_s if self._after_s and since is not None else None

    def _allows(self, names: list[str]) -> bool:
        """Whether enough members remain without these, and most of the voters are alive."""
        record = self._following.record
        lost = {*record.lost, *names}
        remain = [one for one in record.members if one.name not in lost]
        voters = [one.name for one in record.old or record.members if one.name not in lost]
        alive = sum(map(self._roster.is_alive, voters))
        return len(remain) >= self._copies_max and alive > len(voters) // 2
