"""How a replica gets what it has missed."""
