"""The protocol as plain state machines: no sockets, no threads, no clock, no disk.

Everything in this package is sans-I/O and needs the standard library alone.  The
same machines run under ZeroMQ in a node (``actors/``) and can run under a
simulator, because all they ever see is a message, its sender and the time, and all
they ever do is write to an `Outbox`.
"""
