"""The settings of the ten nodes of an act, as in configs/ten_nodes.yaml."""

from __future__ import annotations

from typing import Any

TEN_NODES: dict[str, Any] = {
    "partitions": 1024,
    "swim": {"probe_period_s": 0.5, "probe_timeout_s": 0.2, "suspicion_mult": 3},
    "handoff": {},
}
