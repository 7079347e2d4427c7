"""What an experiment has found: a table, the words around it, and charts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from toystore.sim.membership.charts import Chart
from toystore.sim.membership.tables import Cell, table


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one experiment."""

    title: str
    setting: str
    """What was run."""
    heading: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    notes: Sequence[str] = ()
    charts: Sequence[Chart] = ()

    def text(self) -> str:
        """For people."""
        parts = [f"{self.title}\n{self.setting}", table(self.heading, self.rows), *self.notes]
        return "\n\n".join(parts)

    def summary(self) -> dict[str, Any]:
        """For JSON: each row is an object with the columns' names as its keys."""
        names = [name.replace("\n", " ") for name in self.heading]
        return {
            "title": self.title,
            "setting": self.setting,
            "rows": [dict(zip(names, row, strict=True)) for row in self.rows],
            "notes": list(self.notes),
        }
