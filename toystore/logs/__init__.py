"""Reads logs: which nodes failed, which nodes noticed and when (``toystore detect``).

    sources.py    finds and reads files and pipes
    entry.py      parses one line
    spool.py      sorts millions of entries by time, in bounded memory
    hearsay.py    derives bounds on clock differences from membership messages
    clocks.py     estimates the offset of each clock from these bounds
    casebook.py   collects the entries about each member into episodes
    episode.py    one episode: what was logged about a member until it was well again
    away.py       when each member was away
    split.py      the sides of a network split
    verdict.py    decides what an episode was: a failure, or false accusations
    failure.py    a failure, a false accusation
    names.py      the order of names
    report.py     all of them, and the totals
    story.py      the report as text        document.py   as JSON        page.py   as a page
    tail.py       reads files that grow     steps.py      each step as a line
    follow.py     prints what happens while it happens

It needs nothing of a cluster but its logs.
"""
