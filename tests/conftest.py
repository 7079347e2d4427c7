"""For all tests: the programs that they start find bytecode, and need not compile the package."""

from __future__ import annotations

import os
import sys
from pathlib import Path

BYTECODE = Path(__file__).parent.parent / ".pytest_cache" / "bytecode"
"""Where bytecode is kept if the environment forbids to keep it beside the sources."""

if sys.dont_write_bytecode:
    # Workers of pytest-xdist and programs inherit the environment.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # python -B does not set it
    os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix = str(BYTECODE)
    sys.dont_write_bytecode = False
