"""A get or a put, from its admission to its end."""
