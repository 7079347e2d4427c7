"""Bad input, at every port of real nodes: they stay up, serve others, and say what is wrong.

One cluster of three with lowered limits serves the whole folder.  Whatever a test sends to
n1, afterwards every process must still be there, no machine may have failed, and others
must be served as before (`conftest.unharmed`).  Tests never wait for an answer that should
*not* come: they send something after it that is answered, and look at what came first.

    target.py    the cluster, and sockets that talk to it in ways no client would
    garbage.py   bytes that are no frame, and what is not even ZeroMQ
"""
