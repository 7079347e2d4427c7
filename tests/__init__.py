"""The tests.  ``tests/harness`` runs real processes for all of them."""
