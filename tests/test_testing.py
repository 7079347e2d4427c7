"""`toystore.testing`: a real cluster for the tests of an application."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from pathlib import Path

import pytest

from toystore import AsyncClient
from toystore.testing import running

pytestmark = pytest.mark.cluster

DOC = Path(__file__).parent.parent / "docs" / "CLIENT.md"


def test_a_cluster_forgets_everything_and_its_clients_stay_good():
    with running(nodes=2) as cluster, cluster.client(timeout=60) as store:
        store.put("key", "value")
        assert store.get("key").value == b"value"

        cluster.clear()

        assert store.get("key") is None
        store.put("key", "another")
        assert store.get("key").value == b"another"
        assert len(cluster.endpoints) == 2


def test_it_is_cleared_while_an_event_loop_runs():
    async def main() -> None:
        async with AsyncClient(cluster.endpoints, timeout=60) as store:
            await store.put("key", "value")
            cluster.clear()
            assert await store.get("key") is None

    with running() as cluster:
        asyncio.run(main())


@pytest.mark.parametrize("nodes", [0, -1, 20, "3", 1.5, True])
def test_a_number_of_nodes_that_cannot_be_is_refused(nodes):
    with pytest.raises(ValueError, match="should be a whole number from 1 to"), running(nodes):
        pass


def test_the_example_in_the_documentation_passes(tmp_path):
    (example,) = re.findall(r"^```python\n(import pytest\n.*?)^```", DOC.read_text(), re.S | re.M)
    (tmp_path / "test_carts.py").write_text(example)

    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_carts.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "2 passed" in ran.stdout
