"""A bad network between the nodes of a test: the proxy of run_cluster.py's scenarios."""

from __future__ import annotations

from collections.abc import Iterable

from toystore.localcluster.links import Links
from toystore.localcluster.ways import Impairment

CLEAR = Impairment()
HOLE = Impairment(hole=True)
"""A split that TCP does not notice: what is sent is held, and arrives when it is over."""
CUT = Impairment(cut=True)
"""A split that TCP notices at once."""


class Network(Links):
    """The ways between the nodes of one cluster, from ``with`` to its end."""

    def everywhere(self, impairment: Impairment) -> None:
        """The same on every way; `CLEAR` heals whatever there was."""
        self.impair(impairment, [(a, b) for a in self.names for b in self.names if a != b])

    def split(self, impairment: Impairment, side: Iterable[str]) -> None:
        """A two-sided split, by `HOLE` or `CUT`, of some nodes from all others."""
        here = set(side)
        ways = [(a, b) for a in self.names for b in self.names if (a in here) != (b in here)]
        self.impair(impairment, ways)
