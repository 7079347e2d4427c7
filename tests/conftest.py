"""For all tests: their programs find bytecode and can be interrupted; no example is timed."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from hypothesis import settings

BYTECODE = Path(__file__).parent.parent / ".pytest_cache" / "bytecode"
"""Where bytecode is kept if the environment forbids to keep it beside the sources."""

if sys.dont_write_bytecode:
    # Workers of pytest-xdist and programs inherit the environment.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # python -B does not set it
    os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix = str(BYTECODE)
    sys.dont_write_bytecode = False

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts programs in the background so, and the programs of tests would inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("untimed", deadline=None)  # a busy machine takes any time for an example
settings.load_profile("untimed")
