"""Checks of a history of requests against the promises (docs/PROMISES.md).

    history.py    rows of requests and their answers, and their JSON lines
    promises.py   the checks of those rows, one function for each promise

The simulator, the tests of real processes and the torture all use these two.  Checks that
look inside a simulated cluster are in ``toystore/sim/audit.py``.
"""
