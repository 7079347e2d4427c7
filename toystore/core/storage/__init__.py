"""What one node keeps: its records, its hints, and the facts about its disk."""
