"""The faults that a simulated cluster can meet, each with how it is drawn, begun and ended.

To add one, write a class with those three methods and put it into `KINDS`.  Faults of
several kinds may strike a node at once.  If two do the same to it, the first to end ends
both.  At the end of a run every fault is ended.

Some faults lose what a node had acknowledged: a new disk, a corrupt record, a power cut
without waiting for the disk.  W nodes store an acknowledged write, so fewer than W may lose
data; all such faults of a scenario strike the same W-1 nodes.
"""

from __future__ import annotations

from toystore.sim.faults.clocks import ClockDrift, ClockJump
from toystore.sim.faults.disks import FullDisk, Rot, SlowDisk
from toystore.sim.faults.kind import Kind, may_lose
from toystore.sim.faults.links import Clog, Cut, Flap, Reset, Split
from toystore.sim.faults.processes import Failure, Kill, Leave, LostDisk, Pause, PowerCut, Relapse
from toystore.sim.faults.reaping import Away, LateFrames, ReapKill, WrongClock
from toystore.sim.faults.rebuilds import Rebuild, RotInComparison
from toystore.sim.faults.ring_beside import LateHints, RingCut, StaleKeeper
from toystore.sim.faults.ring_moments import Outcast, RingBeside, RingDuel, RingKill
from toystore.sim.faults.rings import HostLost, RingAbort, RingChange

__all__ = ["CLOCKS", "KINDS", "REAPING", "REBUILDS", "RINGS", "RINGS_BESIDE", "Kind", "may_lose"]

KINDS: dict[str, Kind] = {
    "kill": Kill(),
    "relapse": Relapse(),
    "power cut": PowerCut(),
    "lost disk": LostDisk(),
    "leave": Leave(),
    "pause": Pause(),
    "failure": Failure(),
    "split": Split(),
    "cut": Cut(),
    "flap": Flap(),
    "clog": Clog(),
    "reset": Reset(),
    "slow disk": SlowDisk(),
    "full disk": FullDisk(),
    "rot": Rot(),
    "clock jump": ClockJump(),
    "clock drift": ClockDrift(),
    "rebuild": Rebuild(),
    "rot in comparison": RotInComparison(),
    "ring change": RingChange(),
    "ring abort": RingAbort(),
    "host lost": HostLost(),
    "outcast": Outcast(),
    "ring kill": RingKill(),
    "ring duel": RingDuel(),
    "ring beside": RingBeside(),
    "away": Away(),
    "late frames": LateFrames(),
    "reap kill": ReapKill(),
    "wrong clock": WrongClock(),
    "ring cut": RingCut(),
    "late hints": LateHints(),
    "stale keeper": StaleKeeper(),
}
RINGS_BESIDE = ("ring cut", "late hints", "stale keeper")
"""Of the kinds of ring changes, those that swarm.py draws from a random stream of their own."""
RINGS = (
    "ring change",
    "ring abort",
    "host lost",
    "outcast",
    "ring kill",
    "ring duel",
    "ring beside",
    *RINGS_BESIDE,
)
"""The kinds of ring changes; swarm.py draws them for some of the seeds."""
CLOCKS = ("clock jump", "clock drift")
"""The kinds that make any clock very wrong: with these, the removal of tombstones is not safe."""
REAPING = ("away", "late frames", "reap kill", "wrong clock")
"""The kinds that aim at the removal of tombstones; swarm.py draws them for some of the seeds."""
REBUILDS = ("rebuild", "rot in comparison")
"""The kinds that aim at anti-entropy; swarm.py draws them from a random stream of their own."""
