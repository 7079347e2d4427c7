"""How the members of the ring change: plans, their decision, and how far a change is."""
