"""run_cluster.py: its checks, its parts, and whole clusters of three real nodes."""
