"""Message load against the size of the group (SWIM section 5.1).

In each period a member sends one ping, and on average one ack.  Updates are attached to these
messages, so the load does not grow with the group.
"""

from __future__ import annotations

from collections.abc import Sequence

from toystore.core.protocol.settings import SwimSettings
from toystore.sim.membership.charts import Chart, Line
from toystore.sim.membership.papers.finding import Finding
from toystore.sim.membership.plan import Plan
from toystore.sim.membership.swim_run import Run

PAPER = 2.0


def load(settings: SwimSettings, *, sizes: Sequence[int], periods: int, seed: int) -> Finding:
    """Let a group of each size run for some periods, without failures."""
    rows = []
    for members in sizes:
        run = Run(Plan(members, periods * settings.probe_period_s, seed, settings))
        sent = run.traffic.datagrams
        frame_bytes = run.per_member_period(sent.bytes)
        exchanges = run.per_member_period(run.traffic.exchanges.messages)
        rows.append((members, PAPER, run.per_member_period(sent.messages), frame_bytes, exchanges))
    lines = [
        Line("toystore", [(float(row[0]), row[2]) for row in rows]),
        Line("SWIM 5.1", [(float(row[0]), PAPER) for row in rows], dashed=True),
    ]
    return Finding(
        "Message load",
        f"{periods} periods without failures; sent per member and period; seed {seed}",
        ("members", "messages\npaper", "messages\ntoystore", "bytes", "messages of\nexchanges"),
        rows,
        charts=[
            Chart("Message load", "members", "messages per member and period", lines, log_x=True)
        ],
    )
