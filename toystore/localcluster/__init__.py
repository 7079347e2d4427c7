"""The parts of ``run_cluster.py``: a whole cluster on this machine, one process to a node.

    preflight.py   what is checked before anything is started
    node.py        one node process, and what it last said of the cluster
    cluster.py     all node processes: start, watch, stop, and how they see each other
    scenario.py    the timed failures of the YAML file
    faults.py      what its steps do to links
    links.py       the links between nodes, if they lead through a proxy
    proxy.py       the process of the proxy; ways.py and zmtp.py: what happens to the bytes
    load.py        a small load, and whether what was acknowledged is still there
    screen.py      a live table on a terminal, plain lines elsewhere

It is a client of the nodes like any other: it starts them as processes, sends signals and
asks for their status over the client port.  What they noticed of a scenario is told from
their logs by `toystore.logs`.
"""
