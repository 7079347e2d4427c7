"""The simulator: whole clusters in one thread, on one seed, under every fault it knows."""
