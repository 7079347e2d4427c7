"""What ``toystore cluster status`` shows: the record, and how far each member is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from toystore.core.protocol.messages.ring import DescribeMovesReply
from toystore.core.reconfiguration.known import Totals
from toystore.core.reconfiguration.roster import Roster
from toystore.core.reconfiguration.sizes import mean_range, owned_ranges
from toystore.core.ring.record import Listed
from toystore.core.ring.view import RingView


def describe_ring(
    view: RingView,
    lineage: bytes,
    copies: Iterable[int],
    roster: Roster,
    reports: Mapping[str, DescribeMovesReply],
    waiting: Iterable[Listed],
) -> dict[str, Any]:
    """The keys of the answer but ``plan``; docs/PROTOCOL.md lists them.

    ``copies``: every N that a bucket has.
    """
    record = view.record
    listed = {one.name: one for one in (*record.old, *record.members)}
    shares = view.shares()
    mean = _mean_range(view, copies, reports) if record.moving else Totals(0, 0)
    return {
        "epoch": record.epoch,
        "state": state_of(view.record.moving),
        "lineage": lineage.hex(),
        "why": record.why,
        "moving_since_us": record.made_us if record.moving else None,
        "members": [
            {
                **_place(one),
                "status": "lost" if name in record.lost else roster.status(name),
                "disk": one.disk or roster.disks.get(name, ""),
                "ranges": shares.get(name, (0, 0))[0],
                **_progress(reports.get(name), mean),
            }
            for name, one in sorted(listed.items())
        ],
        "waiting": [{**_place(one), "disk": one.disk} for one in waiting if one.name not in listed],
        "gone": [one._asdict() for one in record.gone],
        "lost": list(record.lost),
    }


def state_of(moving: bool) -> str:
    """ "stable" or "moving"."""
    return "moving" if moving else "stable"


def _place(one: Listed) -> dict[str, Any]:
    return {
        "name": one.name,
        "weight": one.weight,
        "zone": one.zone,
        "host": one.host,
        "ports": list(one.ports),
    }


def _mean_range(
    view: RingView, copies: Iterable[int], reports: Mapping[str, DescribeMovesReply]
) -> Totals:
    """About how much a range has, by what the old members have stored."""
    totals = {name: Totals(one.keys, one.bytes) for name, one in reports.items()}
    return mean_range(owned_ranges(view.before, copies), totals)


def _progress(report: DescribeMovesReply | None, mean: Totals) -> dict[str, Any]:
    """How far a member is; None for each figure if it did not answer.

    ``mean``: how much a range has.  A member that has no whole range yet cannot estimate that.
    """
    if report is not None and report.behind and not report.bytes_left:
        keys_left, bytes_left = (round(report.behind * each) for each in mean)
        report = report._replace(keys_left=keys_left, bytes_left=bytes_left)
    keys = ("epoch", "behind", "unreleased", "bytes_left", "keys_left", "keys", "bytes", "hints")
    return {key: None if report is None else getattr(report, key) for key in keys}
