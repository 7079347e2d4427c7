"""structlog without rich: a node draws nothing, and importing rich takes a fifth of its start.

structlog imports rich for its tracebacks in colour, if rich is there.
"""

from __future__ import annotations

import sys

_LACKS = "rich" not in sys.modules
if _LACKS:
    sys.modules["rich"] = None  # type: ignore[assignment]

import structlog  # noqa: E402

if _LACKS:
    del sys.modules["rich"]

__all__ = ["structlog"]
