"""How evenly a ring places its partitions: `toystore ring --simulate`."""
