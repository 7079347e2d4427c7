"""The acts: each starts a cluster, plays a load on it, does its worst, and heals.

An act that cuts off or kills more than a quorum can spare may have requests that fail;
acts that need not fail any say so with `Stage.must_serve`.  Whatever was struck, in the
end every copy is looked at and every promise checked (`Stage.must_hold_everything`).
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from tests.cluster.checks import last_acknowledged
from tests.cluster.replicas import copies
from tests.cluster.workload import LaggingClock
from tests.harness.network import HOLE, Impairment
from tests.harness.small_disk import fill
from toystore import AsyncClient, Overloaded, ToystoreError, Unavailable
from toystore.client.clock import process_clock
from toystore.core.data.record import Record
from toystore.wire import VERSION

from .ring_acts import ring_changes, ring_under_fire
from .stage import SPLITS, Stage
from .ten_nodes import TEN_NODES

Act = Callable[[Stage], None]

AN_HOUR_S = 3600
A_MINUTE_S = 60
MIB = 1024 * 1024


# --- the acts ---------------------------------------------------------------------------


def two_killed(stage: Stage) -> None:
    """Ten nodes, 32 clients: kill -9 any two, 10 s apart; then they come back"""
    with stage.cluster(10, **TEN_NODES) as cluster:
        first, second = stage.chance.sample(cluster.names, 2)
        with stage.load(cluster) as work:
            time.sleep(5)
            stage.kill(first)
            time.sleep(10)
            stage.kill(second)
            time.sleep(5)
            stage.start(first, second)
            time.sleep(3)
        stage.say(f"killed {first}, 10 s later {second}; both started again 5 s after that")
        stage.must_serve(work)
        stage.must_hold_everything(work)


def all_killed(stage: Stage) -> None:
    """Ten nodes, 32 clients: kill -9 all ten at once; start them again; and once more with hints"""
    with stage.cluster(10, **TEN_NODES) as cluster:
        with stage.load(cluster) as work:
            time.sleep(8)
            stage.kill(*cluster.names)
        stage.say("killed all ten after 8 s; the requests that failed were under way then")
        stage.tell_load(work)
        stage.start(*cluster.names)
        stage.must_hold_everything(work)

        first, *others = stage.chance.sample(cluster.names, 10)
        with stage.load(cluster, name="again") as work:
            time.sleep(3)
            stage.kill(first)
            time.sleep(3)
            stage.kill(*others)
        stage.say(f"killed {first}, and 3 s later the others, who held hints for it")
        stage.tell_load(work)
        stage.start(*cluster.names)
        stage.must_hold_everything(work)


def coordinator_stopped(stage: Stage) -> None:
    """Ten nodes: SIGSTOP a coordinator with puts in its queue; newer ones elsewhere; SIGCONT"""
    with stage.cluster(10, **TEN_NODES) as cluster, asyncio.Runner() as runner:
        stopped, other = stage.chance.sample(cluster.names, 2)
        keys = [f"queued:{number}" for number in range(500)]
        endpoints = cluster.endpoints(stopped, other)
        slow = AsyncClient(endpoints, timeout=stage.timeout_s * 10, attempt_timeout=0.5)
        before = runner.run(slow.status(endpoints[0]))["requests"]["puts"]
        with stage.load(cluster) as work:
            time.sleep(3)
            stage.pause(stopped)
            older = runner.run(slow.put_many(dict.fromkeys(keys, "older"), errors="return"))
            with cluster.client(other) as elsewhere:
                newer = elsewhere.put_many(dict.fromkeys(keys, "newer"), errors="return")
            time.sleep(2)
            stage.resume(stopped)
            # This waits behind the puts in the queue, on the same connection.
            after = runner.run(slow.status(endpoints[0]))["requests"]["puts"]
            time.sleep(2)
        runner.run(slow.close())
        stage.say(
            f"stopped {stopped} with {len(keys)} puts and a load in its queue; {other} took the "
            f"puts, and newer ones; woken, {stopped} went through {after - before} stale puts"
        )
        stage.must_serve(work)
        cluster.until_ready()
        cluster.until_drained()
        errors = [a for a in (*older.values(), *newer.values()) if isinstance(a, ToystoreError)]
        failed = [error for error in errors if not isinstance(error, Overloaded)]
        stage.must(not failed, f"{len(failed)} of those puts failed", map(repr, failed))
        stage.say(f"{len(errors) - len(failed)} of those puts were refused as too many")
        taken = [key for key in keys if not isinstance(newer[key], ToystoreError)]
        held = copies(cluster.config, taken)
        back = [f"{key} at {n}" for key in held for n, c in held[key].items() if _old(c)]
        stage.must(not back, f"nothing older came back on any replica of {len(taken)} keys", back)
        stage.must_hold_everything(work)


def clocks_apart(stage: Stage) -> None:
    """Ten nodes: one is back with its clock an hour behind, and every other put a minute"""
    with stage.cluster(10, **TEN_NODES) as cluster:
        late = stage.chance.choice(cluster.names)
        cluster.set_fault(late, clock_s=-AN_HOUR_S)
        clocks = (process_clock, LaggingClock(A_MINUTE_S))
        with stage.load(cluster, clocks=clocks, keys=500) as work:
            time.sleep(3)
            stage.kill(late)
            time.sleep(1)
            stage.start(late)
            time.sleep(6)
        refused = len(cluster.events(late, "clock.refused"))
        stage.say(f"{late} came back an hour behind, and logged so {refused} times, once a second")
        assert refused, f"no put was made through {late}: this act shows nothing"
        stage.must_serve(work)
        stage.must_hold_everything(work)


def three_nodes(stage: Stage) -> None:
    """Three nodes, N=3: one is down, then two"""
    with stage.cluster(3) as cluster:
        with stage.load(cluster, clients=8, keys=240) as work:
            time.sleep(2)
            stage.kill("n3")
            time.sleep(4)
        stage.tell_load(work)
        stage.must(not work.failures(), "one down: everything is served")
        stage.kill("n2")
        cluster.until(lambda: cluster.reachable("n1") == {"n1"}, "n1 knows that it is alone")
        last = last_acknowledged(work.rows)
        keys = sorted(last)
        with cluster.client("n1", timeout=stage.timeout_s) as store:
            began = time.monotonic()
            refused = [_error(store.put, key, "0") for key in keys]
            each_ms = (time.monotonic() - began) * 1e3 / len(keys)
            found = store.get_many(keys, r=1, errors="return")
        kinds = Counter("no error" if e is None else type(e).__name__ for e in refused)
        definite = sum(e.definite for e in refused if e is not None)
        stage.must(
            all(isinstance(error, Unavailable) for error in refused),
            f"two down: {len(keys)} puts at W=2: {dict(kinds)}, {each_ms:.1f} ms each; "
            f"{definite} of them definite",
        )
        lost = [key for key in keys if last[key].value is not None and found[key] is None]
        stage.must(not lost, f"two down: {len(keys)} gets at R=1 are served", lost)
        stage.start("n2", "n3")
        stage.must_hold_everything(work)


def split(stage: Stage) -> None:
    """Ten nodes: a two-sided split, clients on both sides, twice: unnoticed by TCP, and noticed"""
    with stage.cluster(10, proxied=True, **TEN_NODES) as cluster:
        side = stage.chance.sample(cluster.names, stage.chance.choice((3, 4, 5)))
        others = [name for name in cluster.names if name not in side]
        with (
            stage.load(cluster, *side, name="few", clients=16) as few,
            stage.load(cluster, *others, name="many", clients=16) as many,
            stage.load(cluster, name="both", clients=8) as both,
        ):
            for how in SPLITS:
                time.sleep(3)
                stage.split(how, side)
                time.sleep(8)
                stage.heal_network()
            time.sleep(3)
        stage.say(f"{', '.join(sorted(side))} were split from the others, twice for 8 s")
        for work in (few, many, both):
            stage.tell_load(work)
        stage.must_hold_everything(few, many, both)


def one_way(stage: Stage) -> None:
    """Ten nodes: one hears nobody, then another is heard by nobody, 8 s each"""
    with stage.cluster(10, proxied=True, **TEN_NODES) as cluster:
        deaf, mute = stage.chance.sample(cluster.names, 2)
        others = [name for name in cluster.names if name not in (deaf, mute)]
        with stage.load(cluster) as work:
            time.sleep(3)
            stage.impair("deaf", HOLE, _ways([*others, mute], [deaf]))
            time.sleep(8)
            stage.heal_network()
            time.sleep(3)
            stage.impair("mute", HOLE, _ways([mute], [*others, deaf]))
            time.sleep(8)
            stage.heal_network()
            time.sleep(2)
        stage.say(f"{deaf} heard nobody, then {mute} was heard by nobody")
        stage.tell_load(work)
        stage.must_hold_everything(work)


def bad_network(stage: Stage) -> None:
    """Ten nodes on slow, narrow and lossy ways, and one of them is killed"""
    with stage.cluster(10, proxied=True, **TEN_NODES) as cluster:
        killed = stage.chance.choice(cluster.names)
        ways = _ways(cluster.names, cluster.names)
        with stage.load(cluster, timeout_s=5.0) as work:
            slow = Impairment(delay_s=0.01, jitter_s=0.03, bytes_per_s=1e6)
            stage.impair("slow ways", slow, ways)
            time.sleep(8)
            stage.impair("lossy ways", replace(slow, loss=0.002), ways)
            time.sleep(5)
            stage.kill(killed)
            time.sleep(5)
            stage.launch(killed)
            time.sleep(5)
            stage.heal_network()
            time.sleep(2)
        stage.say(
            f"10 to 40 ms, 1 MB/s, then 0.2% of all chunks lost; {killed} was killed meanwhile"
        )
        stage.tell_load(work)
        stage.must_hold_everything(work)


def full_disk(stage: Stage) -> None:
    """Ten nodes: the disk of one is full, its log's too, for 10 s"""
    full = "n4"
    with stage.cluster(10, disks=[(full, 16 * MIB)], **TEN_NODES) as cluster:
        ballast = cluster.data / full / "ballast"
        with stage.load(cluster) as work:
            time.sleep(3)
            fill(ballast)
            stage.note("full disk", full)
            with cluster.client("n1", "n2") as store:
                items = {f"large{number}": bytes(8192) for number in range(1000)}
                large = store.put_many(items, errors="return")
            time.sleep(10)
            cluster.look()
            hints = sum(
                node.status.get("hints", {}).get(full, {}).get("count", 0)
                for node in cluster.running()
            )
            ballast.unlink()
            stage.note("room", full)
            time.sleep(5)
        failed = [answer for answer in large.values() if isinstance(answer, Exception)]
        stage.say(f"others kept {hints:,} hints for {full} when its disk had been full for 10 s")
        stage.must(hints > 0, f"{full} refused what it had no room for, and others took it")
        stage.must(not failed, f"{len(failed)} of {len(large):,} larger puts failed", failed)
        stage.must_serve(work)
        stage.must_not_be_called_dead(full)
        stage.must_hold_everything(work)


def slow_disk(stage: Stage) -> None:
    """Ten nodes: each commit of two takes 0.15 s and 0.6 s longer"""
    with stage.cluster(10, **TEN_NODES) as cluster:
        slow, slower = stage.chance.sample(cluster.names, 2)
        for name, by_s in ((slow, 0.15), (slower, 0.6)):
            cluster.set_fault(name, commit_s=by_s)
        with stage.load(cluster) as work:
            for name in (slow, slower):
                stage.stop(name)
                stage.note("slow disk", name)
                stage.launch(name)
            time.sleep(15)
        stage.say(f"{slow} and {slower} had slow disks for 15 s")
        stage.must_serve(work)
        stage.must_not_be_called_dead(slow, slower)
        for name in (slow, slower):
            cluster.set_fault(name, commit_s=None)
            stage.stop(name)
        stage.start(slow, slower)
        stage.must_hold_everything(work)


def flood(stage: Stage) -> None:
    """Ten nodes, two with 40 file descriptors to spare: 90 idle connections to each, 8 s"""
    with stage.cluster(10, **TEN_NODES) as cluster:
        few = stage.chance.sample(cluster.names, 2)
        most = max(cluster.descriptors(node.name) for node in cluster.running()) + 40
        for name in few:
            stage.stop(name)
            cluster.set_fault(name, files=most)
        stage.start(*few)
        with stage.load(cluster) as work, contextlib.ExitStack() as connections:
            time.sleep(2)
            for member in cluster.config.members:
                for _ in range(90):
                    at = (member.host, member.client_port)
                    connections.enter_context(socket.create_connection(at, timeout=10))
            stage.note("connection flood", "all")
            time.sleep(8)
            left = {name: cluster.descriptors(name) for name in few}
            connections.close()
            stage.note("flood over", "all")
            time.sleep(2)
        assert set(left.values()) == {most}, f"of {most} file descriptors they used {left}"
        stage.say(f"{' and '.join(few)} had used all {most} file descriptors that they may")
        stage.must_serve(work)
        stage.must_not_be_called_dead(*few)
        stage.must_hold_everything(work)


def little_memory(stage: Stage) -> None:
    """Ten nodes: one may have 140 MiB, and is sent 80 values of 1 MiB at once"""
    with stage.cluster(10, **TEN_NODES) as cluster:
        little = stage.chance.choice(cluster.names)
        others = [name for name in cluster.names if name != little]
        stage.stop(little)
        cluster.set_fault(little, data_bytes=140 * MIB)
        stage.start(little)
        process = cluster.nodes[little].process
        with stage.load(cluster, *others) as work:
            time.sleep(2)
            with cluster.client(little, *others[:2], timeout=10.0) as store:
                items = {f"large{number}": bytes(MIB - 1) for number in range(80)}
                store.put_many(items, errors="return")
            stage.note("little memory", little)
            ended = process is not None and process.poll() is not None
            what = cluster.nodes[little].why_it_ended() if ended else "lives"
            stage.kill(little)
            time.sleep(3)
            cluster.set_fault(little, data_bytes=None)
            stage.launch(little)
            time.sleep(3)
        stage.say(f"{little} with 140 MiB: {what}")
        stage.tell_load(work)
        stage.must_hold_everything(work)


def rolling_restart(stage: Stage) -> None:
    """Ten nodes, restarted one after the other under load"""
    with stage.cluster(10, **TEN_NODES) as cluster:
        with stage.load(cluster) as work:
            for name in stage.chance.sample(cluster.names, 10):
                stage.stop(name)
                stage.start(name)
        stage.must_serve(work)
        stage.must_hold_everything(work)


def rolling_upgrade(stage: Stage) -> None:
    """Ten nodes: three come with an older wire version, are refused, and upgraded"""
    with stage.cluster(10, **TEN_NODES) as cluster:
        with stage.load(cluster) as work:
            said = []
            for name in stage.chance.sample(cluster.names[3:], 3):  # the first three are seeds
                stage.stop(name)
                cluster.set_fault(name, wire_version=VERSION - 1)
                said.append(cluster.start_in_vain(name))
                stage.note("older version", name)
                cluster.set_fault(name, wire_version=None)
                stage.start(name)
        clear = [text for text in said if f"this node speaks {VERSION - 1}" in text]
        stage.must(len(clear) == 3, "each old node ended, and said why", said)
        stage.must_serve(work)
        stage.must_hold_everything(work)


def everything(stage: Stage) -> None:
    """Ten nodes, 45 s: kills, pauses, splits, one-way splits, bad ways, one upon the other"""
    with stage.cluster(10, proxied=True, **TEN_NODES) as cluster:
        chance, paused = stage.chance, list[str]()
        with stage.load(cluster) as work:
            end = time.monotonic() + 45
            while time.monotonic() < end:
                up = [n for n in cluster.names if n not in stage.away and n not in paused]
                victim = chance.choice(up)
                some = chance.sample(cluster.names, chance.randint(1, 4))
                rest = [name for name in cluster.names if name not in some]
                match chance.randrange(8):
                    case 0 | 1 if len(up) > 7:
                        stage.kill(victim)
                    case 2 if len(up) > 7:
                        paused.append(victim)
                        stage.pause(victim)
                    case 3:
                        stage.split(chance.choice(list(SPLITS)), some)
                    case 4:
                        stage.impair("one-way split", HOLE, _ways(some, rest))
                    case 5:
                        slow = Impairment(delay_s=0.02, jitter_s=0.05, loss=0.001)
                        stage.impair("bad ways", slow, _ways(cluster.names, cluster.names))
                    case 6:
                        stage.heal_network()
                    case _:
                        while paused:
                            stage.resume(paused.pop())
                        stage.launch(*list(stage.away))
                time.sleep(chance.uniform(0.5, 3))
            stage.heal_network()
            for name in paused:
                stage.resume(name)
            stage.launch(*list(stage.away))
            cluster.until_ready()
            time.sleep(3)
        stage.tell_load(work)
        stage.must_hold_everything(work)


ACTS: tuple[Act, ...] = (
    *(two_killed, all_killed, coordinator_stopped, clocks_apart, three_nodes),
    *(split, one_way, bad_network),
    *(full_disk, slow_disk, flood, little_memory),
    *(rolling_restart, rolling_upgrade),
    *(ring_changes, ring_under_fire),
    everything,
)


# --- what they share --------------------------------------------------------------------


def _ways(from_: Iterable[str], to: Iterable[str]) -> list[tuple[str, str]]:
    """Every way from one of these to one of those."""
    ends = list(to)
    return [(a, b) for a in from_ for b in ends if a != b]


def _old(copy: Record | None) -> bool:
    return copy is None or copy.value != b"newer"


def _error(call: Callable[..., Any], *arguments: Any) -> ToystoreError | None:
    """The error that a call ended with, if it did."""
    try:
        call(*arguments)
    except ToystoreError as error:
        return error
    return None
