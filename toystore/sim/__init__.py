"""The simulator: runs whole clusters in one thread, from one seed, with every kind of fault."""
