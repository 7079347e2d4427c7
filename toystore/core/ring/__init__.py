"""Which node owns which key."""
