"""Second processes beside nodes that crash, restart, stall and are cut off, from one seed each."""

import random

import pytest
from swim_network import OVER_A_LINK, Disk, Network

from toystore.core.protocol.address import GOSSIP, Peer
from toystore.core.protocol.messages.local import LinkUp

SECOND = "*"
"""At the end of the name of a host that runs a second process."""


class Doubled(Network):
    """A network with second processes, which listen at addresses that no other node knows.

    As in a mailbox, an answer goes to the process of a name that has last sent something.
    """

    def __init__(self, count, **more):
        super().__init__(count, **more)
        self.ended = []
        """The hosts whose process was refused."""
        self._answers_go_to = {}

    def start_second(self, name, disk):
        """Start a second process as a node that already has a host."""
        host = name + SECOND
        self.disks[host] = Disk(disk)
        self._host(host, name)
        for other in self.hosts:
            if other not in (name, host):
                self._report_link(host, LinkUp(other))

    def _send(self, sender, to, message):
        if type(message).__name__.endswith("Reply"):
            to = self._answers_go_to.get((sender, to), to)
        elif isinstance(message, OVER_A_LINK):
            self._answers_go_to[to, sender.rstrip(SECOND)] = sender
        super()._send(sender, to, message)

    def _put(self, at, to, message, sender):
        super()._put(at, to, message, Peer(sender.node.rstrip(SECOND), GOSSIP))

    def _receive(self, name, message, sender):
        super()._receive(name, message, sender)
        host = self.hosts.get(name)
        if host is not None and host.machine.refused is not None:
            self.ended.append(name)
            del self.hosts[name]


@pytest.mark.parametrize("seed", range(30))
def test_a_second_process_is_refused_and_the_member_keeps_its_vote(seed):
    chance = random.Random(seed)
    network = Doubled(5, seed=seed, seeds=("n1", "n2"), loss=chance.choice((0.0, 0.1)))
    network.start()
    network.run_until(network.converged, 30)
    network.run(chance.uniform(0, 20))
    for _ in range(6):
        name, troubled = chance.sample(network.names, 2)
        trouble(network, chance, troubled)
        network.start_second(name, chance.choice((f"disk-of-{name}", "another disk")))
        network.run(chance.uniform(0, 3))
        restore(network, troubled)
        network.run_until(lambda: not seconds(network) and network.converged(), 200)
        assert network.converged()
        assert seconds(network) == []

    assert [host for host in network.ended if not host.endswith(SECOND)] == []
    assert len(network.ended) == 6
    assert network.events("disk.replaced") == []
    assert all(network.disks[name].votes for name in network.names)
    for event in network.events("name.taken"):
        assert event.fields["process"].partition(":")[0] == event.fields["member"] + SECOND


def seconds(network):
    """The second processes that run."""
    return [host for host in network.hosts if host.endswith(SECOND)]


def trouble(network, chance, name):
    """Something that happens to another node, or nothing."""
    match chance.randrange(5):
        case 0:
            network.crash(name)
        case 1:
            network.pause(name)
        case 2:
            network.split(name)
        case 3:
            network.reset(name)


def restore(network, name):
    network.heal()
    if name not in network.hosts:
        network.start(name, linked_in_s=0.1)
    elif network.hosts[name].paused:
        network.resume(name)


@pytest.mark.parametrize("seed", range(10))
def test_a_second_process_with_an_empty_disk_that_comes_while_the_member_is_down_gets_no_vote(seed):
    network = Doubled(4, seed=seed, seeds=("n1", "n3"))
    network.start()
    network.run_until(network.converged, 30)
    network.crash("n3")
    network.start_second("n3", "another disk")
    network.run(2 * seed)
    waited = not network.joined("n3" + SECOND)
    network.start("n3", linked_in_s=0.1)
    network.run_until(lambda: not seconds(network), 60)
    network.run_until(network.converged, 60)

    assert waited
    assert network.ended == ["n3" + SECOND]
    assert network.converged()
    assert network.events("disk.replaced") == []
