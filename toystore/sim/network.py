"""The network between simulated hosts: links like TCP's, and datagrams.

A `Link` is one connection, from one actor or client to one port of a node, and the answers
on it.  Frames on it arrive in order, after a delay.  When it breaks, the frames in flight are
lost, and it is connected again later.  A datagram may be lost, doubled or overtaken.

    split     no frame passes from one host to another.  Frames on a link wait, because TCP
              would send them again, until the split ends or breaks the link
    clog      frames pass so slowly that a queue fills
    late      some frames between nodes arrive long after they were sent, often a second time
    wild      a link loses, doubles and reorders frames: worse than TCP, but a correct machine
              tolerates it.  Clients' links are never wild
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from functools import partial

from toystore.sim.scenario import Rates
from toystore.sim.world import World

SPLIT_BREAKS_S = 3.0
"""A split that lasts this long breaks a link; see SILENT_S_MAX of the real sockets."""
QUEUE_MAX = 8
"""How many frames a clogged link queues before it is full."""
AGAIN_S = 1.0
"""A lost host that did not refuse a connection is asked again after this time; see AGAIN_S of
toystore/net/refusal.py."""
CLOG_S = 0.4
"""How long a clogged link needs for each frame."""
LATE = 0.4
"""How many of the frames are late on a way that makes them late."""

Arrive = Callable[[bytes], None]
OnChange = Callable[[bool], None]


class Network:
    """Which hosts can reach each other, and how long frames take."""

    def __init__(self, world: World, rates: Rates) -> None:
        self.rates = rates
        self.world = world
        self.chance = world.chance("network")
        self._links: dict[str, list[Link]] = {}
        """Every link, under the host that it leads to."""
        self._split: Counter[tuple[str, str]] = Counter()
        self._clogged: Counter[tuple[str, str]] = Counter()
        self._late: dict[tuple[str, str], float] = {}
        self._up: set[str] = set()
        self._dark: set[str] = set()
        """The hosts that went down silently, and have not come up since."""

    # --- hosts --------------------------------------------------------------------------

    def is_up(self, host: str) -> bool:
        """Whether a node's process runs, so that clients and nodes can connect."""
        return host in self._up

    def host_up(self, host: str) -> None:
        """Open a node's ports: the links that wait for it connect."""
        self._up.add(host)
        self._dark.discard(host)
        for link in self._links.get(host, ()):
            link.connect_soon()

    def host_down(self, host: str, *, silently: bool = False) -> None:
        """End a process: links to it break, links from it end.

        Its system tells the peers, unless the system is ``silently`` down too, or split off.
        """
        self._up.discard(host)
        if silently:
            self._dark.add(host)
        for links in self._links.values():
            for link in [link for link in links if link.source == host]:
                link.end()
                links.remove(link)
        for link in self._links.get(host, ()):
            heard = not silently and self.passes(host, link.source)
            link.break_(None if heard else SPLIT_BREAKS_S)

    def link(
        self, source: str, to: str, on_change: OnChange, on_answer: Arrive, *, wild: bool
    ) -> Link:
        """A link that is down, and connects when it can."""
        link = Link(self, source, to, on_change, on_answer, wild=wild)
        self._links.setdefault(to, []).append(link)
        link.connect_soon()
        return link

    def close(self, link: Link) -> None:
        """End a link: its owner does not need it any more."""
        link.end()
        self._links[link.to].remove(link)

    def refuses(self, source: str, to: str) -> bool:
        """Whether a connection is refused: no process runs there, but its host is up."""
        ended = to not in self._up and to not in self._dark
        return ended and self.passes(source, to) and self.passes(to, source)

    # --- what passes --------------------------------------------------------------------

    def passes(self, source: str, to: str) -> bool:
        """Whether no split keeps frames from getting from one host to another."""
        return (source, to) not in self._split

    def is_clogged(self, source: str, to: str) -> bool:
        """Whether the way is clogged."""
        return (source, to) in self._clogged

    def late_s(self, source: str, to: str) -> float:
        """How much later than sent the next frame arrives, beside the usual time; mostly 0."""
        by_s = self._late.get((source, to), 0.0)
        return by_s if by_s and self.chance.random() < LATE else 0.0

    def latency_s(self) -> float:
        """How long one frame takes."""
        rates, chance = self.rates, self.chance
        if chance.random() < rates.delay:
            return chance.uniform(0.01, rates.delay_s)
        return chance.uniform(0.0001, 0.001)

    def datagram(self, source: str, to: str, arrive: Callable[[], None]) -> None:
        """Send what may be lost, doubled or overtaken."""
        rates, chance = self.rates, self.chance
        if not self.passes(source, to) or self.is_clogged(source, to):
            return
        copies = 0 if chance.random() < rates.loss else 1
        copies += copies and chance.random() < rates.double
        for _ in range(copies):
            self.world.after(self.latency_s(), arrive)

    # --- what is done to it -------------------------------------------------------------

    def split(self, source: str, to: str) -> None:
        """Stop all frames from one host to the other from now on."""
        self._split[source, to] += 1
        if self._split[source, to] == 1:
            for link in self._between(source, to):
                link.held_up()

    def heal(self, source: str, to: str) -> None:
        """One reason less for that."""
        self._split[source, to] -= 1
        if self._split[source, to] <= 0:
            del self._split[source, to]
            for link in self._between(source, to):
                link.let_go()

    def clog(self, source: str, to: str) -> None:
        """Clog the way from now on."""
        self._clogged[source, to] += 1

    def unclog(self, source: str, to: str) -> None:
        """One reason less for that."""
        self._clogged[source, to] -= 1
        if not self._clogged[source, to]:
            del self._clogged[source, to]

    def delay(self, source: str, to: str, by_s: float) -> None:
        """Let some frames arrive ``by_s`` late from now on; 0: none."""
        self._late[source, to] = by_s

    def reset(self, source: str, to: str) -> None:
        """Break every link between two hosts; they reconnect at once."""
        for link in self._between(source, to):
            link.break_()

    def mend(self) -> None:
        """End all splits, clogs and delays."""
        self._late.clear()
        for source, to in sorted(self._split):
            self._split[source, to] = 1
            self.heal(source, to)
        self._clogged.clear()

    def _between(self, one: str, other: str) -> list[Link]:
        return [link for link in self._links.get(other, ()) if link.source == one] + [
            link for link in self._links.get(one, ()) if link.source == other
        ]


class Link:
    """One connection, and its answers.  ``up`` is the state that its owner knows."""

    def __init__(
        self,
        network: Network,
        source: str,
        to: str,
        on_change: OnChange,
        on_answer: Arrive,
        *,
        wild: bool,
    ) -> None:
        """``on_change``: called when the link comes up (True) or is lost (False)."""
        self.source = source
        self.to = to
        self.up = False
        self.on_refused: Callable[[], None] | None = None
        """Called after a loss if the host then refuses a connection; None: it is not asked."""
        self._network = network
        self._on_change = on_change
        self._on_answer = on_answer
        self._wild = wild
        self._life = 0
        """The number of this connection: frames of earlier connections are lost."""
        self._connected = False
        self._ended = False
        self._ways = (_Way(source, to), _Way(to, source))

    # --- frames -------------------------------------------------------------------------

    @property
    def full(self) -> bool:
        """Whether its queue is full."""
        return len(self._ways[0].queue) >= QUEUE_MAX

    def send(self, frame: bytes, arrive: Arrive) -> None:
        """Send a frame along the link; ``arrive`` gets it at the other end."""
        self._post(self._ways[0], frame, arrive)

    def answer(self, frame: bytes) -> None:
        """Send a frame back; it is lost if the connection that asked is."""
        self._post(self._ways[1], frame, self._on_answer)

    def _post(self, way: _Way, frame: bytes, arrive: Arrive) -> None:
        if not self._connected:
            return
        network, chance = self._network, self._network.chance
        copies = 1
        if self._wild and chance.random() < network.rates.wild:
            copies = chance.choice((0, 2))
        if self._wild and (late_s := network.late_s(way.source, way.to)):
            copies = chance.choice((0, 1))
            network.world.after(late_s, partial(arrive, frame))
        for _ in range(copies):
            delay_s = network.latency_s()
            if network.is_clogged(way.source, way.to):
                delay_s += CLOG_S
            at = max(network.world.now + delay_s, way.busy_until)
            if not (self._wild and chance.random() < network.rates.wild):
                way.busy_until = at
            way.queue.append(partial(arrive, frame))
            network.world.at(at, partial(self._pass, way, self._life, way.queue[-1]))

    def _pass(self, way: _Way, life: int, arrival: Callable[[], None]) -> None:
        """Deliver a frame, or queue it if a split stops it."""
        if life != self._life or not self._connected:
            return
        if not self._network.passes(way.source, way.to):
            way.held.append(arrival)
            return
        way.queue.remove(arrival)
        arrival()

    # --- the connection -----------------------------------------------------------------

    def connect_soon(self) -> None:
        """Try to connect after a short random time, as a client that retries would."""
        delay_s = self._network.chance.uniform(0.002, 0.2)
        self._network.world.after(delay_s, partial(self._connect, self._life))

    def _connect(self, life: int) -> None:
        network = self._network
        can = network.passes(self.source, self.to) and network.passes(self.to, self.source)
        if self._ended or self._connected or life != self._life:
            return
        if can and network.is_up(self.to):
            self._life += 1
            self._connected = True
            self._tell(False)  # the owner may not know yet that the last one was lost
            self._tell(True)

    def break_(self, heard_in_s: float | None = None) -> None:
        """Break the connection; its owner is told after ``heard_in_s``; None: very soon."""
        if not self._connected:
            return
        self._drop()
        network = self._network
        if heard_in_s is None:
            heard_in_s = network.chance.uniform(0.0005, 0.01)
        network.world.after(heard_in_s, partial(self._lost, self._life))

    def _lost(self, life: int) -> None:
        if life == self._life and not self._ended:
            self._tell(False)
            self.connect_soon()
            self._ask_if_refused(life, 0.0, AGAIN_S)

    def _ask_if_refused(self, life: int, wait_s: float, *more_s: float) -> None:
        """Ask the host in ``wait_s`` whether it refuses a connection, and if not, ask again."""
        on_refused = self.on_refused
        if on_refused is None:
            return

        def ask() -> None:
            if life != self._life or self._ended:
                return
            if self._network.refuses(self.source, self.to):
                on_refused()
            elif more_s:
                self._ask_if_refused(life, *more_s)

        self._network.world.after(wait_s + self._network.latency_s(), ask)

    def end(self) -> None:
        """End the link: its owner's process has ended."""
        self._ended = True
        self._drop()

    def _drop(self) -> None:
        self._connected = False
        self._life += 1
        for way in self._ways:
            way.clear()

    def held_up(self) -> None:
        """A split has begun; if it lasts, it breaks the connection."""
        if self._connected:
            breaks = partial(self._break_if_held_up, self._life)
            self._network.world.after(SPLIT_BREAKS_S, breaks)

    def _break_if_held_up(self, life: int) -> None:
        passes = self._network.passes
        if life == self._life and not (
            passes(self.source, self.to) and passes(self.to, self.source)
        ):
            self.break_()

    def let_go(self) -> None:
        """A split has ended: the waiting frames arrive late, or the link reconnects."""
        if not self._connected:
            self.connect_soon()
            return
        for way in self._ways:
            if self._network.passes(way.source, way.to):
                held, way.held = way.held, []
                for arrival in held:
                    self._network.world.at(
                        self._network.world.now, partial(self._pass, way, self._life, arrival)
                    )

    def _tell(self, up: bool) -> None:
        if self.up != up:
            self.up = up
            self._on_change(up)


class _Way:
    """One direction of a link."""

    __slots__ = ("busy_until", "held", "queue", "source", "to")

    def __init__(self, source: str, to: str) -> None:
        self.source = source
        self.to = to
        self.busy_until = 0.0
        self.queue: deque[Callable[[], None]] = deque()
        """The frames in flight."""
        self.held: list[Callable[[], None]] = []
        """The frames that a split has stopped."""

    def clear(self) -> None:
        """Lose all frames."""
        self.busy_until = 0.0
        self.queue.clear()
        self.held.clear()
