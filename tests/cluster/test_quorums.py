"""Three nodes, N=3, R=2, W=2: what is served when one is down, and when two are."""

import threading
import time

import pytest

from toystore import ToystoreError, Unavailable

from .replicas import copies

pytestmark = pytest.mark.cluster

PROMPT_S = 15.0
"""Far below the patience of the clients here: what is known to be impossible is not waited for."""


def test_with_one_of_three_down_everything_is_served(share_cluster):
    cluster = share_cluster(3)
    store = cluster.client()
    store.put("before", b"1")
    store.put("doomed", b"1")

    cluster.kill("n2")
    for name in ("n1", "n3"):
        left = cluster.client(name)
        left.put("before", f"2 from {name}")
        left.put(f"after from {name}", b"1")

        assert left.get("before").value == f"2 from {name}".encode()
        assert left.get(f"after from {name}").value == b"1"
        assert left.get("never written") is None
    cluster.client("n1").delete("doomed")
    assert cluster.client("n3").get("doomed") is None

    cluster.start("n2")
    cluster.until_drained()
    held = {key: copy["n2"] for key, copy in copies(cluster.config, KEYS).items()}
    assert held["before"].value == b"2 from n3"
    assert held["after from n1"].value == held["after from n3"].value == b"1"
    assert held["doomed"].tombstone


KEYS = ("before", "after from n1", "after from n3", "doomed")


def test_with_two_of_three_down_puts_fail_at_once_and_single_reads_are_served(share_cluster):
    cluster = share_cluster(3)
    cluster.client().put("k", b"1", w=3)
    cluster.kill("n2", "n3")
    cluster.until(lambda: cluster.reachable("n1") == {"n1"}, "n1 knows that it is alone")
    store = cluster.client("n1")
    began = time.monotonic()

    with pytest.raises(Unavailable) as put:
        store.put("k", b"2")
    with pytest.raises(Unavailable) as deleted:
        store.delete("k")
    with pytest.raises(Unavailable) as read:
        store.get("k")

    assert time.monotonic() - began < PROMPT_S
    assert put.value.definite
    assert deleted.value.definite
    assert read.value.definite
    assert "only 1 of the 2 replicas needed can be reached" in str(put.value)
    assert store.get("k", r=1).value == b"1"
    assert store.get("never written either", r=1) is None
    store.put("k", b"3", w=1)
    assert store.get("k", r=1).value == b"3"

    cluster.start("n2", "n3")
    cluster.until_drained()
    assert {copy.value for copy in copies(cluster.config, ["k"])["k"].values()} == {b"3"}


def test_a_put_that_one_replica_has_taken_when_the_others_die_is_unavailable_and_indefinite(
    share_cluster,
):
    cluster = share_cluster(3)
    store = cluster.client("n1", attempt_timeout=PROMPT_S)
    cluster.pause("n2", "n3")
    failures = []

    def put():
        with pytest.raises(ToystoreError) as caught:
            store.put("taken", b"1")
        failures.append(caught.value)

    putting = threading.Thread(target=put)
    putting.start()
    one = cluster.client("n1")
    cluster.until(lambda: one.get("taken", r=1) is not None, "n1 has taken its own copy")
    cluster.kill("n2", "n3")
    putting.join(PROMPT_S)

    assert not putting.is_alive()
    assert isinstance(failures[0], Unavailable)
    assert not failures[0].definite
