"""What came of all acts, as a person reads it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from toystore.check.promises import Violation


@dataclass
class Result:
    """What came of one act."""

    act: str
    seed: int
    took_s: float
    outcomes: Counter[str]
    """Operations, by outcome."""
    faults: Counter[str]
    p50_ms: float
    p99_ms: float
    keys: int
    """How many were read back."""
    checked: int
    """How often a promise was checked."""
    copies: int
    """How many were looked at, replica by replica."""
    behind: int
    """How many of them were behind for a known reason."""
    unexplained: int
    """How many were behind for none."""
    violations: list[Violation] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    cancelled: str = ""


COLUMNS = "{:<20} {:>5} {:>5} {:>9} {:>9} {:>6} {:>7} {:>6} {:>7} {:>7} {:>9} {:>6}  {}"
HEAD = COLUMNS.format(
    *("act", "seed", "s", "requests", "ok", "failed", "unknown", "faults"),
    *("p50 ms", "p99 ms", "copies", "behind", ""),
)


def summary(results: Sequence[Result], took_s: float) -> str:
    """One line to an act, and the totals."""
    lines = [HEAD, *map(_line, results), ""]
    outcomes = sum((result.outcomes for result in results), Counter[str]())
    faults = sum((result.faults for result in results), Counter[str]())
    violations = [violation for result in results for violation in result.violations]
    lost = [v for v in violations if v.promise == "nothing_lost"]
    returned = [violation for violation in lost if "came back" in violation.text]
    lines += [
        f"{len(results)} acts in {took_s / 60:.1f} min; {outcomes.total():,} requests: "
        f"{outcomes['ok']:,} ok, {outcomes['fail']:,} failed for certain, "
        f"{outcomes['unknown']:,} unknown",
        "faults: " + (", ".join(f"{n:,} {what}" for what, n in sorted(faults.items())) or "none"),
        f"promises checked {sum(r.checked for r in results):,} times, "
        f"on {sum(r.keys for r in results):,} keys read back; {len(violations)} violations",
        f"acknowledged writes lost: {len(lost) - len(returned)}; resurrections: {len(returned)}",
        f"copies looked at, replica by replica: {sum(r.copies for r in results):,}; "
        f"{sum(r.behind for r in results)} behind because their coordinator died, "
        f"{sum(r.unexplained for r in results)} for no known reason",
    ]
    for result in results:
        lines += [f"BROKEN  {result.act}, seed {result.seed}: {text}" for text in result.broken]
    broken = sum(len(result.broken) for result in results)
    lines.append(f"{broken} were BROKEN" if broken else "every promise was kept")
    return "\n".join(lines) + "\n"


def _line(result: Result) -> str:
    verdict = f"cancelled: {result.cancelled}" if result.cancelled else "kept"
    return COLUMNS.format(
        result.act,
        result.seed,
        f"{result.took_s:.0f}",
        f"{result.outcomes.total():,}",
        f"{result.outcomes['ok']:,}",
        result.outcomes["fail"],
        result.outcomes["unknown"],
        result.faults.total(),
        f"{result.p50_ms:.1f}",
        f"{result.p99_ms:.1f}",
        f"{result.copies:,}",
        result.behind + result.unexplained,
        "BROKEN" if result.broken else verdict,
    )
