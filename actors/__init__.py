"""The ZeroMQ shell around the core: each actor has one thread, one loop and a few sockets."""
