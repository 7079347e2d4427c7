"""The four kinds of door through which an actor hears and speaks.

    Mailbox     ROUTER, bound     other actors come to it; answers go back by identity
    ClientPort  ROUTER, bound     strangers come to it; their whole envelope is echoed
    Link        DEALER, connects  to one mailbox or port of one node, here or elsewhere
    Datagrams   SUB + XPUB        gossip's lossy, UDP-like way to everyone

A door has sockets to poll, a `drain` that takes in what waits, up to a bound, and never
blocks, and a `send` that never blocks either.  What arrives malformed, foreign or for
somebody else is logged once per sender and dropped.  A door that connects has
connections (toystore/net/connection.py), which it tends when that is due: names are found,
and connections that stay down are replaced, without the machine hearing of it.

Every queue is bounded, in bytes too: a ZeroMQ pipe holds at most its high-water mark of
frames, and a frame is at most ``frame_bytes_max`` (one large message aside).  When one is
full, a `Link` says `SendFailed` to its machine, a `Mailbox` drops the reply and counts it,
and a `ClientPort` holds up to `HELD_BYTES_MAX` for a client that reads slowly.

Every socket takes the largest frame that any node may send (`wire.FRAME_BYTES_MAX`), whatever
this node's own limits are: a peer may have stored under higher ones, or forward what it took
under them.  What a client may put is for the coordinator to judge, which answers; a frame that
ZeroMQ finds too large cuts the connection, and whoever waits for an answer learns nothing.
"""
