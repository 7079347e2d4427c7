"""Packages that nodes and the command line need, and the client library does not."""

from __future__ import annotations


def what_is_missing(error: ModuleNotFoundError) -> str:
    """How to install the package that is missing; raises ``error`` if the module is ours."""
    package = (error.name or "").partition(".")[0]
    if package in ("", "toystore", "actors"):
        raise error
    return (
        f"the package {package} is missing. In a clone, `make run` makes an environment that has "
        "it (then: . .venv/bin/activate). Elsewhere, install toystore with its extra 'node', as "
        "in pip install 'CLONE[node]' or pip install 'WHEEL[node]'; the client library needs none."
    )
