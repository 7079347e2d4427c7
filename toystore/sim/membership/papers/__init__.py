"""The experiments of the SWIM and Lifeguard papers, on simulated groups of this project's `Swim`.

Each module is one experiment.  It returns a `Finding`, which stands beside the paper's figure.
docs/PAPERS.md shows all of them.
"""
