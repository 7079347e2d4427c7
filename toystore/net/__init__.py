"""Connections over TCP: what nodes and clients share, and nothing of what they say.

    endpoint.py     ``tcp://host:port`` as text and as a value; numbers and names
    names.py        names to numbers, in threads of their own, with a time limit and a cache
    listening.py    what a node binds for its own host
    watch.py        when a connection is given up and replaced: a decision without I/O
    connection.py   a connecting socket, kept connected by the three above

A connecting socket of libzmq 4.3.5 cannot be trusted to come back.  After a frame over
MAXMSGSIZE, or a peer that does not speak as expected, its session ends silently and for
good; a peer that accepts and says nothing holds it for half a minute; and the name of a
peer is looked up in the process's only I/O thread, each time.
"""
