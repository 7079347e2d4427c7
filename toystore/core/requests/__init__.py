"""One get or put from its admission to its answer."""
