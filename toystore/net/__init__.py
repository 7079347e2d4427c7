"""TCP connections, for nodes and for clients.  Messages are not known here.

    endpoint.py     ``tcp://host:port`` as text and as a value; addresses and names
    names.py        looks up names in separate threads, with a time limit and a cache
    listening.py    what a node binds for its own host
    watch.py        decides when a connection is replaced; no I/O
    connection.py   a connecting socket that is kept connected, by endpoint, names and watch
    refusal.py      finds out whether a port refuses connections

A connecting socket of libzmq 4.3.5 does not always reconnect.  After a frame over
MAXMSGSIZE, or a peer with another protocol, its session ends permanently and without an
error.  A peer that accepts and sends nothing blocks it for half a minute.  And libzmq looks
up the name of a peer each time, in the process's only I/O thread.
"""
