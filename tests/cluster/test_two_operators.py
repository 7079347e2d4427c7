"""Two operators who cannot reach each other change the ring at the same moment.

The nodes run in two network namespaces, and the link between these is cut (harness/namespaces.py).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.harness.cluster import Cluster
from tests.harness.disks import ring_records_of
from tests.harness.namespaces import Sides, two_sides
from tests.harness.small_disk import NotPermittedError
from tests.harness.waiting import PATIENCE_S, wait_until
from toystore import Client, ToystoreError

from .checks import broken
from .test_antientropy import QUICKLY
from .workload import Workload, at_work

pytestmark = pytest.mark.cluster

FEW, MANY = ("n1", "n2"), ("n3", "n4", "n5")
"""The members on each side."""
DECIDE_S = 1.0


@pytest.fixture
def sides() -> Iterator[Sides]:
    """Two namespaces."""
    try:
        with two_sides() as made:
            yield made
    except NotPermittedError as why:
        pytest.skip(str(why))


@pytest.fixture
def cluster(sides: Sides, tmp_path: Path) -> Iterator[Cluster]:
    """Two nodes on one side, three on the other."""
    side_of = dict.fromkeys(FEW, "a") | dict.fromkeys(MANY, "b")
    members = [{"name": name, "host": sides.hosts[side]} for name, side in side_of.items()]
    settings = {"antientropy": QUICKLY, "ring": {"decide_s": DECIDE_S, "poll_s": 0.3}}
    made = Cluster(tmp_path, 5, members=members, **settings)
    made.data.mkdir()
    for name, side in side_of.items():
        made.set_fault(name, namespace=sides.spaces[side])
    with made:
        yield made


def commit(store: Client, plan: dict[str, Any]) -> dict[str, Any] | ToystoreError:
    """Commit a plan; the answer, or the error."""
    try:
        return store.cluster("commit", {"plan": plan["plan"]}, timeout=PATIENCE_S)
    except ToystoreError as error:
        return error


def commit_at_once(cluster: Cluster, changes: dict[str, list[Any]], cut: Callable[[], None]) -> Any:
    """Plan a change at each of these nodes, cut, and commit all plans; what each was told."""
    with contextlib.ExitStack() as stack:
        stores = {name: stack.enter_context(cluster.client(name)) for name in changes}
        plans = {
            name: store.cluster("plan", {"changes": [changes[name]]})
            for name, store in stores.items()
        }
        cut()
        threads = stack.enter_context(ThreadPoolExecutor())
        told = {name: threads.submit(commit, stores[name], plan) for name, plan in plans.items()}
        return {name: future.result() for name, future in told.items()}


def until_agreed(cluster: Cluster) -> None:
    """Wait until nothing moves, and each node has adopted the same records."""
    cluster.until_stable()

    def agreed() -> bool:
        records = [ring_records_of(node.folder) for node in cluster.running()]
        return all(
            [one.digest for one in each] == [one.digest for one in records[0]] for each in records
        )

    wait_until(agreed, "all nodes have the same ring records")


def test_of_two_operators_on_both_sides_of_a_split_only_the_one_with_the_majority_wins(
    cluster: Cluster, sides: Sides
) -> None:
    few = Workload(cluster.endpoints(*FEW), clients=4, name="few")
    many = Workload(cluster.endpoints(*MANY), clients=4, name="many")
    changes: dict[str, list[Any]] = {"n1": ["reweigh", "n1", 2], "n4": ["reweigh", "n4", 2]}

    with at_work(few) as load, at_work(many):
        load.go_on(50)
        told = commit_at_once(cluster, changes, sides.cut)
        load.go_on(50)
        sides.heal()
        until_agreed(cluster)
        load.go_on(50)

    assert told["n4"]["epoch"] == 1, told
    assert isinstance(told["n1"], ToystoreError), told
    weights = {row["name"]: row["weight"] for row in cluster.command("status")["members"]}
    assert weights == {"n1": 1, "n2": 1, "n3": 1, "n4": 2, "n5": 1}
    cluster.until_drained()
    assert not broken(few)
    assert not broken(many)
