"""One cluster for all of it, which nothing harms."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .target import Target, served


@pytest.fixture(scope="package")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """Ready, and at the end every node must stop cleanly."""
    with pytest.MonkeyPatch.context() as environment:
        # What is freed goes back to the system at once, so that what is resident is held.
        environment.setenv("MALLOC_MMAP_THRESHOLD_", "16384")
        environment.setenv("MALLOC_TRIM_THRESHOLD_", "65536")
        with Target(tmp_path_factory.mktemp("bad_input")) as target:
            yield target
            target.stop(*target.names)


@pytest.fixture(autouse=True)
def unharmed(cluster: Target) -> Iterator[None]:
    """Nobody died, nothing raised that should not, and others are served."""
    yield
    cluster.assert_all_run()
    assert not [e["error"] for name in cluster.names for e in cluster.events(name, "actor.failed")]
    for writer, reader in (("n1", "n2"), ("n3", "n1")):
        assert served(cluster, writer, reader)
