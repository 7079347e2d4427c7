"""Clusters of real nodes, that end with the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.harness.cluster import Cluster
from tests.harness.configs import UNHURRIED


@pytest.fixture
def make_cluster(tmp_path) -> Iterator[Callable[..., Cluster]]:
    """Makes clusters of so many nodes, that are ready."""
    with ExitStack() as stack:

        def make(size: int, **more: Any) -> Cluster:
            return stack.enter_context(Cluster(tmp_path, size, **more))

        yield make


@pytest.fixture(scope="module")
def share_cluster(tmp_path_factory) -> Iterator[Callable[..., Cluster]]:
    """Makes clusters that the tests of a module share: those who ask for the same get the same.

    It is well again after the test before, but holds its keys, and its log tells of it.
    """
    made: dict[str, Cluster] = {}
    with ExitStack() as stack:

        def share(size: int, **more: Any) -> Cluster:
            kind = f"{size} {more}"
            if kind in made:
                made[kind].mend()
            else:
                folder = tmp_path_factory.mktemp("shared")
                made[kind] = stack.enter_context(Cluster(folder, size, **more))
            return made[kind]

        yield share


@pytest.fixture(scope="package")
def three(tmp_path_factory) -> Iterator[Cluster]:
    """Three nodes for all tests that leave them as they are.

    Nobody dies, and on a busy machine nobody must seem to.
    """
    with Cluster(tmp_path_factory.mktemp("three"), 3, swim=UNHURRIED) as cluster:
        yield cluster
