"""The ZeroMQ shell around the core: one thread, one loop and a few sockets to an actor."""
