"""Delivers the hints that this node keeps to their owners (Dynamo, section 4.6)."""
