"""The four kinds of door through which an actor receives and sends.

    Mailbox     ROUTER, bound     for other actors; answers go back by identity
    ClientPort  ROUTER, bound     for untrusted clients; an answer echoes the whole envelope
    Link        DEALER, connects  to one mailbox or port of this node or another
    Datagrams   SUB + XPUB        gossip's lossy, UDP-like way to every node

A door has sockets to poll, a `drain` that receives what waits, up to a bound, and a `send`.
Neither blocks.  A frame that is malformed, foreign or for another node is logged once per
sender and rejected.  A door that connects has connections (toystore/net/connection.py) and
tends them when that is due: it finds addresses of hosts, and replaces connections that stay
down.  The machine receives nothing of that.

Every queue is bounded, in bytes too: a ZeroMQ pipe contains at most its high-water mark of
frames, and a frame is at most ``frame_bytes_max`` (unless it carries one larger message).  When
a queue is full, a `Link` returns `SendFailed` to its machine, a `Mailbox` drops the reply and
counts it, and a `ClientPort` buffers up to `HELD_BYTES_MAX` for a client that reads slowly.

Every socket accepts the largest frame that any node may send (`wire.FRAME_BYTES_MAX`), even if
this node's own limits are lower: a peer may have stored a record under higher limits, or
forward one.  The coordinator checks what a client may put, and answers.  A frame that is too
large for ZeroMQ closes the connection, and a node that waits for an answer gets none.
"""
