"""Every machine is replaced while clients that were told of the first ones only go on."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.harness.cluster import Cluster
from tests.harness.waiting import wait_until
from toystore.localcluster.node import State

from .checks import broken
from .test_antientropy import CALM, QUICKLY
from .workload import Workload, at_work

pytestmark = pytest.mark.cluster

PAUSE_S = 0.02
"""Between two writes: the nodes have to move ranges, too."""
OLD, NEW = ("n1", "n2", "n3"), ("n4", "n5", "n6")
IN_TURN = [[f"replace {old} {new}"] for old, new in zip(OLD, NEW, strict=True)]
AT_ONCE = [[change for [change] in IN_TURN]]


class Writer:
    """A blocking client that writes one key after the other."""

    def __init__(self, cluster: Cluster) -> None:
        self.written = 0
        self.error: Exception | None = None
        self._client = cluster.client(learn_members=True)
        self._stopped = threading.Event()

    def run(self) -> None:
        with self._client as store:
            while not self._stopped.wait(PAUSE_S) and self.error is None:
                try:
                    store.put(f"w{self.written}", "value")
                    self.written += 1
                except Exception as error:
                    self.error = error

    def go_on(self, writes: int) -> None:
        """Wait for more writes, or for the error that has ended them."""
        wanted = self.written + writes
        wait_until(lambda: self.written >= wanted or self.error is not None, "it goes on")
        assert self.error is None

    @contextmanager
    def at_work(self) -> Iterator[None]:
        thread = threading.Thread(target=self.run, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stopped.set()
            thread.join()


@pytest.mark.parametrize("plans", [IN_TURN, AT_ONCE], ids=["one by one", "all in one plan"])
def test_all_given_nodes_leave_and_no_client_notices(make_cluster, plans):
    cluster = make_cluster(3, antientropy=QUICKLY, swim=CALM)
    cluster.add(*NEW)
    work = Workload(cluster.endpoints(), clients=4, ops_per_s=100, learns=True)
    writer = Writer(cluster)

    with at_work(work) as load, writer.at_work():
        load.go_on(50)
        writer.go_on(5)
        for changes in plans:
            cluster.change(*changes)
            left = [change.split()[1] for change in changes]
            wait_until(lambda left=left: _have_left(cluster, left), "what was replaced has ended")
        load.go_on(50)
        writer.go_on(5)

    assert not work.failures()
    work.endpoints = cluster.endpoints(*NEW)
    assert not broken(work)
    with cluster.client(*NEW) as store:
        found = store.get_many([f"w{number}" for number in range(writer.written)])
    assert all(one is not None for one in found.values())


def _have_left(cluster: Cluster, names: list[str]) -> bool:
    cluster.local.reap()
    return all(cluster.nodes[name].state is State.LEFT for name in names)
