"""toystore.logs: recorded logs, small written ones, and what is told of them.

``python -m tests.logs`` writes the golden stories in ``golden/`` again.
"""
