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
def three(tmp_path_factory) -> Iterator[Cluster]:
    """Three nodes for the tests of a module that leave them as they are.

    Nobody dies, and on a busy machine nobody must seem to.
    """
    with Cluster(tmp_path_factory.mktemp("three"), 3, swim=UNHURRIED) as cluster:
        yield cluster
