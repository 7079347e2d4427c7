"""What must hold of a history of requests, no matter who made it.

    history.py    rows of what clients asked and were told, and their JSON lines
    promises.py   the checks of those rows, one function for each promise

The simulator, the tests of real processes and the torture all use these two.  Checks that
look inside a simulated cluster are in ``toystore/sim/audit.py``.
"""
