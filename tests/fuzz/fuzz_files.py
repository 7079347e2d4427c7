"""What is in files: the configuration, a node's log, lock, pid and life, a history, a scenario.

The three functions of each decoder are described in fuzz_sockets.py.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator

from fuzz_inputs import CONFIG, file_of

from actors.folder import PID_BYTES_MAX, Folder, FolderError
from actors.life import BYTES as LIFE_BYTES
from actors.life import CLEAN, FAILED, Life
from toystore.check.history import Row, read_rows, write_rows
from toystore.config import ClusterConfig, load
from toystore.core.ring.ring import Ring
from toystore.localcluster.node import Node
from toystore.localcluster.preflight import LOCK, held
from toystore.logs.document import document
from toystore.logs.report import investigate
from toystore.logs.story import story
from toystore.sim import swarm
from toystore.sim.scenario import Scenario

# --- the configuration ------------------------------------------------------------------

PARTITIONS_TRIED = 2**14
"""A ring of more (partitions times members) takes too long to be tried each time."""


def read_config(data: bytes) -> ClusterConfig:
    return load(file_of("cluster.yaml", data))


def check_config(config: ClusterConfig) -> None:
    """Nobody has to check anything again: a node can be made of it."""
    for member in config.members:
        assert config.member(member.name) is member
    assert len(config.members_digest()) == len(config.digest()) == 16
    config.swim_settings(), config.coordinator_settings(), config.handoff_settings()
    members, n = config.ring_members(), config.buckets["default"].n
    if config.partitions * len(members) <= PARTITIONS_TRIED:
        Ring(members, config.partitions, n)


def config_seeds() -> Iterator[bytes]:
    yield b"cluster: small\nmembers: [n1, n2, n3]\npartitions: 8\n"
    yield b"cluster: alike\nmembers: [n1, &two {name: n2, weight: 2}, {<<: *two, name: n3}]\n"
    yield WHOLE_CONFIG


WHOLE_CONFIG = b"""\
cluster: whole
host: 127.0.0.1
base_port: 7400
partitions: 8
durability: async
sync_interval_ms: 50
members:
  - n1
  - {name: n2, host: localhost, bind: 0.0.0.0, weight: 2, zone: east}
  - {name: n3, client_port: 9000}
seeds: [n1, n3]
buckets: {default: {n: 3, r: 2, w: 2}, carts: {n: 1, r: 1, w: 1}}
swim: {probe_period_s: 0.5, probe_timeout_s: 0.2}
requests: {replica_timeout_s: 0.3}
limits: {key_bytes_max: 64, value_bytes_max: 1024}
handoff: {retry_s: 1.0}
log: {level: debug}
scenario: [{at: 1, do: pause, node: n2, for: 2.5}, {at: 3, do: kill, node: n1}]
load: {clients: 2, value_bytes: 32}
"""


# --- files of a local cluster -----------------------------------------------------------


def read_log(data: bytes) -> list[str]:
    """A node's log, for the story that it tells and for the last words of one that died."""
    log = file_of("n1/log.jsonl", data)
    report = investigate([str(log)])
    last_words = Node(CONFIG.member("n1"), log.parent).last_words()
    return [*story(report), "".join(document(report)), last_words]


def check_log(told: list[str]) -> None:
    """It is told in whole lines."""
    assert all(isinstance(line, str) for line in told)


def log_seeds() -> Iterable[bytes]:
    line = b'{"timestamp":"2024-05-01T12:00:0%dZ","level":"%b","event":"%b","node":"n1",%b}\n'
    lines = (
        line % (1, b"info", b"link.lost", b'"actor":"gossip","member":"n4"'),
        line % (2, b"warning", b"member.dead", b'"member":"n4","cause":"missed ping","took_s":1.5'),
        line % (3, b"info", b"hint.stored", b'"owner":"n4","hints":1,"bytes":71'),
        line % (4, b"info", b"handoff.finished", b'"owner":"n4","hints":62,"took_s":0.1'),
        line % (5, b"error", b"actor.failed", b'"error":"ValueError: no"'),
    )
    return b"".join(lines), lines[1][:-20], lines[4]


def read_lock(data: bytes) -> None:
    """The lock file of a data folder that another run_cluster.py holds."""
    lock = file_of(LOCK, data)
    with lock.open("rb") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        with held(lock.parent):
            pass


def check_lock(_: None) -> None:
    """Whatever is in the file, the folder is not held twice."""
    raise AssertionError("the folder was held twice")


def lock_seeds() -> Iterable[bytes]:
    return ()


def read_pid(data: bytes) -> tuple[bytes, bool, str]:
    """The pid file of a node's folder: whether a node that ends left it there, and what a
    second one is told that finds the folder in use."""
    file = file_of("pid", data)
    with Folder(file.parent) as folder:
        told = ""
        try:
            Folder(folder.path).__enter__()
        except FolderError as error:
            told = str(error)
    return data, file.exists(), told


def check_pid(read: tuple[bytes, bool, str]) -> None:
    """It removes its own, and no other; and the second is kept out."""
    data, left, told = read
    assert left == (_pid_in(data) != os.getpid())
    assert "is in use by " in told


def _pid_in(data: bytes) -> int | None:
    try:
        return int(data[:PID_BYTES_MAX])
    except ValueError:
        return None


def pid_seeds() -> Iterable[bytes]:
    return b"1\n", b"%d\n" % os.getpid()


def read_life(data: bytes) -> str:
    """How the last life of a node ended, by a file that may be anything."""
    return Life(file_of("life", data)).begin()


def check_life(told: str) -> None:
    """It is one of the things that it can be, in a few words."""
    assert told.startswith(("first start", CLEAN, FAILED, "killed or crashed", "not known: "))
    assert len(told) <= LIFE_BYTES


def life_seeds() -> Iterable[bytes]:
    return b"new\n", b"running\n", f"{CLEAN}\n".encode(), f"{FAILED}gossip: no\n".encode()


# --- the simulator's files --------------------------------------------------------------


def read_history(data: bytes) -> list[Row]:
    return list(read_rows(file_of("history.jsonl", data)))


def check_history(rows: list[Row]) -> None:
    """What was read is kept as it was, but in order."""
    again = file_of("again.jsonl", b"")
    write_rows(again, rows)
    assert sorted(map(repr, read_rows(again))) == sorted(map(repr, rows))


def history_seeds() -> Iterator[bytes]:
    file = file_of("history.jsonl", b"")
    put = Row("c1", "put", "default/k", "v1", 0.5, 0.75, "ok", stamp="00" * 20, owners=2, n=3)
    read = Row("c2", "get", "default/k", None, 1, 2, "unknown", error="Timeout")
    write_rows(file, [put, read, Row("nemesis", "kill", "n3", None, 3, 3, "ok")])
    yield file.read_bytes()


def read_scenario(data: bytes) -> Scenario:
    return swarm.read_scenario(data.decode())


def check_scenario(scenario: Scenario) -> None:
    """It is one.  What its numbers are is not checked: the simulator alone writes them."""
    assert isinstance(scenario, Scenario)


def scenario_seeds() -> Iterator[bytes]:
    for seed in range(3):
        yield swarm.draw(seed).to_json().encode()
