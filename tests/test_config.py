"""The YAML file: what is read, what is refused, and what the documentation says of it."""

import dataclasses
import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from toystore.config import SECTIONS, ClusterConfig, ConfigError, keys_of, load, parse
from toystore.config.sections import PORTS
from toystore.core.protocol.settings import (
    LAN,
    LOCAL,
    WAN,
    BucketSettings,
    CoordinatorSettings,
    HandoffSettings,
    LimitSettings,
    SwimSettings,
)
from toystore.core.ring.digest import members_digest_of_layout_1

ROOT = Path(__file__).resolve().parent.parent


def three(**more: object) -> ClusterConfig:
    return parse({"cluster": "carts", "members": ["n1", "n2", "n3"], **more})


def faults_of(raw: object) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(raw)
    return str(caught.value).splitlines()


def written(folder: Path, text: str) -> Path:
    path = folder / "cluster.yaml"
    path.write_text(text)
    return path


# --- what is read -----------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted((ROOT / "configs").rglob("*.yaml")), ids=lambda p: p.stem)
def test_every_configuration_in_the_repository_is_sound(path):
    config = load(path)

    assert config.cluster == path.stem
    assert config.members[0].client_port == 7400
    assert len(config.members) == 1 or config.swim_settings() == LOCAL


@pytest.mark.parametrize(
    ("swim", "expected"),
    [
        ({}, LAN),
        ({"profile": "lan"}, LAN),
        ({"profile": "local"}, LOCAL),
        ({"profile": "wan"}, WAN),
        ({"profile": "wan", "stall_s": 2}, replace(WAN, stall_s=2.0)),
        (
            {"local_health_max": 0, "suspicion_max_mult": 1},
            replace(LAN, local_health_max=0, suspicion_max_mult=1.0),
        ),
    ],
)
def test_a_profile_gives_the_settings_that_the_file_does_not(swim, expected):
    assert three(swim=swim).swim_settings() == expected


@pytest.mark.parametrize(
    ("swim", "fault"),
    [
        ({"profile": "moon"}, "swim.profile: 'moon' given; should be 'local', 'lan' or 'wan'"),
        ({"profile": ["lan"]}, "swim.profile: ['lan'] given; should be 'local', 'lan' or 'wan'"),
        (
            {"suspicion_max_mult": 0.5},
            "swim: suspicion_max_mult is 0.5; should be 1 at least: "
            "a suspicion lasts up to so many times its shortest time",
        ),
        (
            {"local_health_max": -1},
            "swim.local_health_max: -1 given; should be greater than or equal to 0",
        ),
    ],
)
def test_a_wrong_profile_or_factor_is_named(swim, fault):
    raw = {"cluster": "carts", "members": ["n1", "n2", "n3"], "swim": swim}
    assert fault in faults_of(raw)


def test_the_local_swim_profile_of_ten_nodes():
    config = load(ROOT / "configs" / "ten_nodes.yaml")

    swim = config.swim_settings()

    assert len(config.members) == 10
    assert config.buckets["default"] == BucketSettings(3, 2, 2)
    assert swim == LOCAL


def test_a_short_file_means_the_defaults_of_the_core():
    config = three()

    assert config.buckets == {"default": BucketSettings()}
    assert config.swim_settings() == SwimSettings()
    assert config.coordinator_settings() == CoordinatorSettings(buckets=config.buckets)
    assert config.handoff_settings() == HandoffSettings()
    assert config.limits == LimitSettings()
    assert config.seeds == ("n1", "n2", "n3")


def test_what_all_nodes_should_share_is_named_as_in_the_file():
    config = three(
        swim={"probe_period_s": 0.7},
        durability="async",
        buckets={"default": {"n": 3, "r": 1, "w": 3}, "carts": {"n": 1, "r": 1, "w": 1}},
    )

    shared = config.shared_settings()

    wanted = {
        "swim.probe_period_s": 0.7,
        "durability": "async",
        "buckets": "carts, default",
        "buckets.default.w": 3,
        "buckets.carts.n": 1,
    }
    assert shared.items() >= wanted.items()
    assert {name for name in shared if name.startswith("swim.")} == {
        f"swim.{field.name}" for field in dataclasses.fields(SwimSettings)
    }
    assert all(type(value) in (int, float, str) for value in shared.values())


def test_settings_reach_the_machines_that_they_are_for():
    config = three(
        buckets={"sessions": {"r": 1}},
        swim={"probe_period_s": 2, "stall_s": 3},
        requests={"replica_timeout_s": 0.1},
        limits={"requests_max": 7},
        handoff={"retry_s": 9.0},
    )

    coordinator = config.coordinator_settings()

    assert config.swim_settings() == SwimSettings(probe_period_s=2, stall_s=3)
    assert coordinator.buckets == {"default": BucketSettings(), "sessions": BucketSettings(r=1)}
    assert coordinator.replica_timeout_s == 0.1
    assert coordinator.limits == LimitSettings(requests_max=7)
    assert config.handoff_settings() == HandoffSettings(retry_s=9.0, stall_s=3)
    assert coordinator.stall_s == 3


def test_ports_are_counted_up_by_place_and_can_be_given():
    config = three(base_port=8000, members=["n1", {"name": "n2", "peer_port": 9}, "n3"])

    first, second, third = config.members

    assert (first.client_port, first.peer_port) == (8000, 8001)
    assert (first.gossip_port, first.exchange_port) == (8002, 8003)
    assert (second.client_port, second.peer_port) == (8010, 9)
    assert third.client_port == 8020


def test_what_a_member_binds_and_what_it_tells_others_can_differ():
    config = three(
        host="10.0.0.1", members=["n1", {"name": "n2", "host": "db", "bind": "0.0.0.0"}, "n3"]
    )

    assert [(m.host, m.bind) for m in config.members] == [
        ("10.0.0.1", "10.0.0.1"),
        ("db", "0.0.0.0"),
        ("10.0.0.1", "10.0.0.1"),
    ]


def test_members_on_different_hosts_may_use_the_same_ports():
    ports = {"client_port": 1, "peer_port": 2, "gossip_port": 3, "exchange_port": 4}
    members = [{"name": f"n{i}", "host": f"10.0.0.{i}", **ports} for i in (1, 2, 3)]

    assert len(three(members=members).members) == 3


def test_an_unknown_member_is_an_error_that_names_the_members():
    with pytest.raises(ConfigError) as caught:
        three().member("n99")

    assert str(caught.value) == (
        "the file of cluster 'carts' lists no member n99; it lists n1, n2, n3"
    )
    assert three().member("n2").client_port == 7410


def test_what_is_described_without_members_is_the_same_configuration_with_them():
    config = three(
        partitions=64,
        durability="async",
        buckets={"pair": {"n": 2, "r": 1, "w": 1}},
        swim={"profile": "local", "probe_period_s": 2.5},
        limits={"request_bytes_max": 10_000_000},
        antientropy={"move_bytes_per_s": 0},
        log={"level": "debug"},
    )

    assert parse(config.described() | {"members": ["n1", "n2", "n3"]}) == config


def test_a_member_is_not_removed_by_itself_after_so_short_a_time_as_a_restart_takes():
    assert three().ring.remove_after_s == 0
    assert three(ring={"remove_after_s": 300}).ring.remove_after_s == 300
    assert three(ring={"remove_after_s": 0}).ring.remove_after_s == 0
    with pytest.raises(ConfigError, match="or at least 300: a member"):
        three(ring={"remove_after_s": 299})


def test_tombstones_are_kept_for_some_seconds_at_least():
    assert three().antientropy.reap_after_s == 3600
    assert three(antientropy={"reap_after_s": 10}).antientropy.reap_after_s == 10
    with pytest.raises(ConfigError, match=r"reap_after_s: 9\.5 given; should be at least 10"):
        three(antientropy={"reap_after_s": 9.5})


def test_records_move_at_a_pace_that_ends():
    assert three(antientropy={"move_bytes_per_s": 0}).antientropy.move_bytes_per_s == 0
    assert three(antientropy={"move_bytes_per_s": 16384}).antientropy.move_bytes_per_s == 16384
    with pytest.raises(ConfigError, match=r"move_bytes_per_s: 1 given; should be 0 .* 16384"):
        three(antientropy={"move_bytes_per_s": 1})


def test_a_founding_member_has_no_higher_weight_than_a_plan_may_give():
    heavy = [{"name": "n1", "weight": 1000}, "n2", "n3"]
    assert three(members=heavy).members[0].weight == 1000
    heavy[0]["weight"] = 1001
    with pytest.raises(ConfigError, match=r"members\[0\]\.weight.*1000"):
        three(members=heavy)


def test_a_configuration_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        three().cluster = "other"


# --- the digest -------------------------------------------------------------------------


def test_the_digest_of_the_members_is_the_same_for_whatever_leaves_the_ring_alone():
    plain = three().members_digest()

    assert len(plain) == 16
    assert three(members=["n3", "n1", "n2"], base_port=9000).members_digest() == plain
    assert three(cluster="other", seeds=["n2"]).members_digest() == plain
    assert three(buckets={"default": {"n": 2}}).members_digest() == plain


def test_the_digests_stay_what_they_were_when_they_were_first_written_to_disks():
    config = three()
    members = config.ring_members()

    assert config.members_digest().hex() == "7b7a51cf5708c1ad4b0a638a7921c2bf"
    assert config.digest().hex() == "84218016f7ca2070cab46e83640ca682"
    assert members_digest_of_layout_1(members, 1024, 3).hex() == "8a1d7695544cc0c85370637a2aa09933"


@pytest.mark.parametrize(
    "change",
    [
        {"members": ["n1", "n2", "n4"]},
        {"members": ["n1", "n2", {"name": "n3", "weight": 2}]},
        {"members": ["n1", "n2", {"name": "n3", "zone": "z"}]},
        {"partitions": 2048},
    ],
)
def test_both_digests_differ_with_whatever_decides_the_ring(change):
    assert three(**change).members_digest() != three().members_digest()
    assert three(**change).digest() != three().digest()


@pytest.mark.parametrize(
    "change",
    [
        {"cluster": "staging"},
        {"host": "10.0.0.1"},
        {"members": ["n1", "n2", {"name": "n3", "host": "10.0.0.3"}]},
        *({"members": ["n1", "n2", {"name": "n3", port: 9000}]} for port in PORTS),
    ],
)
def test_the_digest_of_the_cluster_differs_with_its_name_and_with_each_address(change):
    assert three(**change).members_digest() == three().members_digest()
    assert three(**change).digest() != three().digest()


@pytest.mark.parametrize(
    "change",
    [
        {"members": ["n1", "n2", {"name": "n3", "bind": "0.0.0.0"}]},
        {"members": ["n1", "n2", {"name": "n3", "through": {"host": "proxy", "peer_port": 9000}}]},
        {"seeds": ["n2"], "durability": "async", "buckets": {"b": {"n": 2}}},
    ],
)
def test_the_digest_of_the_cluster_is_the_same_for_whatever_is_no_address(change):
    assert three(**change).digest() == three().digest()


def test_a_member_is_reached_at_its_address_or_through_what_the_file_names():
    through = {"host": "proxy", "peer_port": 9000}
    plain, forwarded = three(members=["n1", {"name": "n2", "through": through}, "n3"]).members[:2]

    assert plain.reached_at("peer_port") == ("127.0.0.1", 7401)
    assert forwarded.reached_at("peer_port") == ("proxy", 9000)
    assert forwarded.reached_at("gossip_port") == ("proxy", 7412)


# --- what is refused --------------------------------------------------------------------

MANY_FAULTS = """
cluster: my cluster
partitions: 1000
durability: maybe
bogus: 1
members:
  - n1
  - {name: n1, client_port: 70000}
  - {name: n3, client_port: 7400, weight: 0, colour: red}
  - {name: n4, peer_port: "7431"}
  - 7
seeds: [n1, n9]
buckets:
  default: {n: 7, r: 8}
  small: {n: 1}
swim: {probe_period_s: 0.1}
swim: {probe_period_s: 0.1, probe_perod_s: 2, exchange_period_s: .inf}
requests: {replica_timeout_s: -1}
limits: {key_bytes_max: 70000}
handoff: 5
log: {level: loud, rotate_files: yes}
scenario:
  - {at: -1, do: explode, node: n99}
  - {at: 5, do: pause, node: n1}
  - {at: 5, do: kill, node: n1, for: 2}
load: {put_share: 2}
"""

THEIR_PATHS = [
    "cluster",
    "partitions",
    "durability",
    "bogus",
    "members[1].name",
    "members[1].client_port",
    "members[2].client_port",
    "members[2].weight",
    "members[2].colour",
    "members[3].peer_port",
    "members[4]",
    "seeds[1]",
    "buckets.default.n",
    "buckets.small.r",
    "buckets.small.w",
    "swim",
    "swim.probe_perod_s",
    "swim.exchange_period_s",
    "requests.replica_timeout_s",
    "limits",
    "handoff",
    "log.level",
    "log.rotate_files",
    "scenario[0].at",
    "scenario[0].do",
    "scenario[0].node",
    "scenario[1]",
    "scenario[2]",
    "load.put_share",
]


def test_every_fault_of_a_file_is_told_at_once_with_its_path(tmp_path):
    path = written(tmp_path, MANY_FAULTS)

    with pytest.raises(ConfigError) as caught:
        load(path)

    lines = str(caught.value).splitlines()
    assert sorted(line.split(": ")[0] for line in lines) == sorted(THEIR_PATHS)
    assert lines == list(caught.value.faults)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (
            {"swim": {"probe_perod_s": 2}},
            "swim.probe_perod_s: unknown key; did you mean probe_period_s?",
        ),
        (
            {"members": ["n1", "N1"], "buckets": {"default": {"n": 2}}},
            "members[1].name: 'N1' is already that of members[0].name; should differ",
        ),
        (
            {"members": ["n1", "n2", {"name": "n3", "peer_port": 7400}]},
            "members[2].peer_port: 7400 is already that of members[0].client_port; should differ",
        ),
        (
            {"base_port": 65520},
            "members[2].client_port: 65540 given; should be less than or equal to 65535",
        ),
        ({"seeds": ["n4"]}, "seeds[0]: 'n4' is not a member; the members are n1, n2, n3"),
        (
            {"members": ["n1", "n2"]},
            "buckets.default.n: 3 copies need as many members, and there are 2",
        ),
        (
            {"buckets": {"default": {"n": 256}}},
            "buckets.default.n: 256 given; should be less than or equal to 254",
        ),
        (
            {"partitions": 2},
            "partitions: 2 given; should not be below the number of members",
        ),
        (
            {"swim": {"probe_timeout_s": 1}},
            "swim: probe_timeout_s is 1.0 and probe_period_s 1.0; "
            "the timeout should be the shorter, to leave others time to ping",
        ),
        (
            {"host": "0.0.0.0"},
            "host: '0.0.0.0' given, where nobody can connect to; write bind: '0.0.0.0' "
            "and, as host, the address that others are told",
        ),
        (
            {"load": {"value_bytes": 2000000}},
            "load: value_bytes is 2000000; should be up to limits.value_bytes_max, 1048576",
        ),
        (
            {"load": {"keys": 10**6}, "limits": {"key_bytes_max": 10}},
            "load: keys is 1000000, and the last has 11 bytes; should be up to "
            "limits.key_bytes_max, 10",
        ),
        (
            {"limits": {"value_bytes_max": 2**30 + 1}},
            "limits: value_bytes_max is 1073741825; should be up to 1073741824",
        ),
        (
            {"limits": {"frame_bytes_max": 2**24 + 1}},
            "limits: frame_bytes_max is 16777217; should be up to 16777216",
        ),
        (
            {"limits": {"request_bytes_max": 1000}},
            "limits: request_bytes_max is 1000, value_bytes_max 1048576 and key_bytes_max 1024; "
            "request_bytes_max should be at least 1049600: a put has as many",
        ),
        (
            {"limits": {"hint_bytes_max": 2**20}},
            "limits: hint_bytes_max is 1048576, value_bytes_max 1048576 and key_bytes_max 1024; "
            "hint_bytes_max should be at least 1049706: a hint has as many",
        ),
        (
            {"handoff": {"batch_bytes": 2**24 + 1}},
            "handoff: batch_bytes is 16777217; should be up to 16777216, as limits.frame_bytes_max",
        ),
        (
            {"requests": {"replica_timeout_s": 2, "timeout_max_s": 1}},
            "requests: replica_timeout_s is 2.0 and timeout_max_s 1.0; the first should be the ",
        ),
        ({"cluster": None}, "cluster: missing; there is no default"),
        ({"members": None}, "members: missing or empty; should list one at least"),
        ({"handoff": {"stall_s": 1}}, "handoff.stall_s: unknown key; the keys here are "),
        ({"handoff": {"retry_s": 1e10}}, "handoff.retry_s: 10000000000.0 given; should be less "),
    ],
)
def test_a_fault_says_what_was_given_and_what_would_be_right(change, fault):
    lines = faults_of({"cluster": "carts", "members": ["n1", "n2", "n3"], **change})

    assert any(line.startswith(fault) for line in lines), lines


def test_every_limit_that_contradicts_another_is_told_at_once():
    lines = faults_of(
        {
            "cluster": "carts",
            "members": ["n1", "n2", "n3"],
            "limits": {"key_bytes_max": 70000, "value_bytes_max": 2**28, "hint_bytes_max": 1},
            "handoff": {"batch_bytes": 2**30},
            "load": {"value_bytes": 64, "keys": 1},
        }
    )

    told = [line.partition(" is ")[0] for line in lines]
    assert told == [
        "limits: key_bytes_max",
        "limits: request_bytes_max",
        "limits: hint_bytes_max",
        "handoff: batch_bytes",
    ]


def test_limits_at_their_edges_are_sound():
    limits = {
        "key_bytes_max": 65535,
        "value_bytes_max": 2**30,
        "frame_bytes_max": 2**24,
        "request_bytes_max": 2**30 + 65535,
        "hint_bytes_max": 2**30 + 65535 + 42 + 64,
    }

    assert three(limits=limits, handoff={"batch_bytes": 2**24}).limits == LimitSettings(**limits)


@pytest.mark.parametrize("name", ["..", ".lock", "", "a/b", "n 1", "n\0", "*", "x" * 65, "ä"])
def test_names_that_would_harm_folders_or_topics_are_refused(name):
    lines = faults_of({"cluster": "carts", "members": ["n1", "n2", name]})

    assert len(lines) == 1
    assert lines[0].startswith(f"members[2].name: {name!r} given; a name is ")


@pytest.mark.parametrize("raw", [None, [], "text", 7])
def test_a_file_that_is_no_mapping_is_refused(raw):
    assert "should be a mapping of keys to values" in faults_of(raw)[0]


def chain_of(links):
    """Lists nested in one another by their aliases."""
    return "a0: &a0 []\n" + "".join(f"a{at}: &a{at} [*a{at - 1}]\n" for at in range(1, links))


def bomb_of(links, link):
    """Each value ten of the one before."""
    values = (f"a{at}: &a{at} {link.format(f'*a{at - 1}, ' * 10)}\n" for at in range(1, links))
    return "a0: &a0 {x: 1}\n" + "".join(values)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("members: [n1", "not YAML"),
        ("cluster: \0", "not YAML"),
        ("? [a]\n: b", "not YAML"),
        ("cluster: !!bool x", "not YAML: a value is not what its tag says"),
        ("cluster: !!int ''", "not YAML: a value is not what its tag says"),
        ("members: &a [*a]", "not YAML: an alias stands for what it is a part of"),
        ("members: " + "[" * 40, "not YAML: nested deeper than 32 levels"),
        (chain_of(40), "not YAML: nested deeper than 32 levels"),
        (bomb_of(10, "[{}]"), "not YAML: its aliases written out, it has more than 1,048,576"),
        (bomb_of(10, "{{<<: [{}]}}"), "not YAML: its aliases written out, it has more than"),
        (f"members: '{'x' * 2**20}'", "cannot be read: it has more than 1,048,576 bytes"),
        (f"base_port: 0x{'f' * 5000}", "not YAML: an integer of more than 64 bits in line 1"),
    ],
    ids=lambda text: text[:30],
)
def test_what_is_not_yaml_is_one_clear_line(tmp_path, text, told):
    path = written(tmp_path, text)

    with pytest.raises(ConfigError) as caught:
        load(path)

    assert str(caught.value).startswith(f"{path}: {told}")
    assert "\n" not in str(caught.value)


SOUND = "cluster: c\nmembers: [n1, n2, n3]\n"
EITHER = "which is a number to some versions of YAML and none to others"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (
            "base_port: 07400",
            "base_port: 07400 given, which YAML takes for 3840, in base 8; write 7400",
        ),
        (
            "base_port: !!int '0100'",
            "base_port: 0100 given, which YAML takes for 64, in base 8; write 100",
        ),
        (
            "base_port: 2:10",
            "base_port: 2:10 given, which YAML takes for 130, in base 60; write 130",
        ),
        (
            "swim: {stall_s: 1:30.5}",
            "swim.stall_s: 1:30.5 given, which YAML takes for 90.5, in base 60",
        ),
        ("base_port: 0o17", f"base_port: 0o17 given, {EITHER}; write 15"),
        ("base_port: 08", f"base_port: 08 given, {EITHER}; write 8"),
        ("log: {rotate_bytes: 1e6}", f"log.rotate_bytes: 1e6 given, {EITHER}; write 1000000"),
        ("swim: {stall_s: 2.5E1}", f"swim.stall_s: 2.5E1 given, {EITHER}; write 25"),
        ("handoff: {retry_s: 1e20}", f"handoff.retry_s: 1e20 given, {EITHER}; write 1.0e+20"),
        (
            "host: no",
            "host: no given, which YAML takes for false, and no key is true or false; write 'no'",
        ),
        ("log: {rotate_files: Yes}", "log.rotate_files: Yes given, which YAML takes for true"),
        ("seeds: [n1, off]", "seeds[1]: off given, which YAML takes for false"),
        (
            "seeds: [n1, ~]",
            "seeds[1]: ~ given, which YAML takes for nothing; leave it out, or write '~'",
        ),
        (
            "swim: {stall_s: null}",
            "swim.stall_s: null given, which YAML takes for nothing; leave it out",
        ),
        ("buckets: {no: {}}", "buckets.no: no given, which YAML takes for false"),
        ("on: {}", "on: on given, which YAML takes for true"),
        (
            "zone: 2026-01-01",
            "zone: 2026-01-01 given, which YAML takes for a date; write '2026-01-01'",
        ),
        ("zone: 2024-99-99", "zone: 2024-99-99 given, which YAML takes for a date"),
        ("host: 5", "host: 5 given; should be text: write it in quotes"),
        ("buckets: {7: {}}", "buckets[7]: 7 given; should be text: write it in quotes"),
        ("host: [fe80::1]", "host: ['fe80::1'] given, as brackets make it a list; should be text"),
        ("load: {keys: }", "load.keys: nothing given; should be a valid integer"),
    ],
    ids=lambda text: text[:30],
)
def test_what_is_not_read_as_it_looks_is_refused_with_what_to_write(tmp_path, line, told):
    with pytest.raises(ConfigError) as caught:
        load(written(tmp_path, SOUND + line))

    (fault,) = caught.value.faults
    assert fault.startswith(told)


@pytest.mark.parametrize("name", ["no", "On", "1", "007", "~", "1e3", "2026-01-01", "0x1F"])
def test_a_members_name_that_yaml_takes_for_something_else_is_told_and_can_be_quoted(
    tmp_path, name
):
    with pytest.raises(ConfigError) as caught:
        load(written(tmp_path, f"cluster: c\nmembers: [{name}, n2, n3]"))

    assert caught.value.faults[0].startswith("members[0]: ")
    assert "in quotes" in caught.value.faults[0]
    if name != "~":
        path = written(tmp_path, f"cluster: c\nmembers: ['{name}', n2, n3]")
        assert load(path).members[0].name == name


def test_what_yaml_reads_as_it_looks_is_taken(tmp_path):
    path = written(
        tmp_path,
        "cluster: c\nmembers: [y, n, v1.0]\nbase_port: 7_500\nload: ~\nscenario:\n"
        "partitions: 0x400\nswim: {exchange_period_s: .5}\nhost: ::1\nseeds: [n]\n",
    )

    config = load(path)

    assert [member.name for member in config.members] == ["y", "n", "v1.0"]
    assert (config.base_port, config.partitions, config.host) == (7500, 1024, "::1")
    assert config.swim.exchange_period_s == 0.5
    assert (config.load, config.scenario) == (None, ())


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("host: [::1]", "an address in brackets needs quotes, as '[::1]' has them"),
        ("host: *", "a lone asterisk needs quotes, as '*' has them"),
        ("log:\n\tlevel: info", "indent with spaces, not with tabs"),
        ("host: @home", "what begins with @ needs quotes"),
    ],
)
def test_what_is_text_to_people_and_none_to_yaml_is_told_with_what_to_write(tmp_path, line, hint):
    with pytest.raises(ConfigError) as caught:
        load(written(tmp_path, SOUND + line))

    assert str(caught.value).endswith(f"; {hint}")


def test_a_file_that_cannot_be_read_is_a_clear_error(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot be read: .*No such file"):
        load(tmp_path / "none.yaml")


def test_of_many_members_a_fault_names_the_first():
    members = [f"n{at}" for at in range(100)]
    (fault,) = faults_of({"cluster": "carts", "members": members, "seeds": ["x"]})

    assert fault.endswith("the members are " + ", ".join(members[:30]) + " and 70 more")


def test_a_member_may_be_like_another(tmp_path):
    path = written(
        tmp_path,
        "cluster: c\nmembers: [n1, &n2 {name: n2, weight: 2}, {<<: *n2, name: n3}]\n",
    )

    assert [member.weight for member in load(path).members] == [1, 2, 2]


def test_a_key_given_twice_is_told_with_both_lines(tmp_path):
    path = written(
        tmp_path, "cluster: c\nmembers: [n1, n2, n3]\nlog:\n  level: info\n  level: debug\n"
    )

    with pytest.raises(ConfigError) as caught:
        load(path)

    assert str(caught.value) == "log.level: given twice, in line 4 and line 5; should stand once"


# --- what the documentation says --------------------------------------------------------


def documented() -> dict[str, dict[str, str]]:
    """Section -> key -> default, as docs/CONFIGURATION.md has them."""
    tables: dict[str, dict[str, str]] = {}
    section = ""
    for line in (ROOT / "docs" / "CONFIGURATION.md").read_text().splitlines():
        if line.startswith("## "):
            section = line.removeprefix("## ")
            section = "" if section not in SECTIONS else section
        if row := re.match(r"\| `(\w+)` \| (.*?) \|", line):
            tables.setdefault(section, {})[row[1]] = row[2]
    return tables


@pytest.mark.parametrize("section", SECTIONS)
def test_the_documentation_lists_every_key_with_its_default(section):
    table = documented()[section]
    keys = keys_of(section)

    assert list(table) == list(keys)
    for key, default in keys.items():
        if table[key].startswith("`") and " " not in table[key]:
            assert yaml.safe_load(table[key].strip("`")) == default, key
        elif table[key] == "needed":
            assert default is ..., key
        else:
            assert default is ... or not isinstance(default, int | float | str), key


def test_ipv6_members_are_written_with_brackets_or_without():
    n2 = {"name": "n2", "host": "fd00::2", "bind": "::"}
    config = parse(
        {"cluster": "c", "host": "[::1]", "members": ["n1", n2], "buckets": {"default": {"n": 2}}}
    )

    assert [(m.host, m.bind) for m in config.members] == [("::1", "::1"), ("fd00::2", "::")]


@pytest.mark.parametrize(
    "host", ["[n1]", "::g", "1::2::3", "127.0.0.256", "n1:7400", "[::1]:7400", "a b", "tcp://n1"]
)
def test_what_is_neither_a_name_nor_an_address_is_no_host(host):
    n2 = {"name": "n2", "host": host, "bind": "127.0.0.1"}
    (fault,) = faults_of({"cluster": "c", "members": ["n1", n2, "n3"]})

    assert fault.startswith(f"members[1].host: {host!r} given; should be a host name or an address")


def test_one_address_written_in_two_ways_is_one_address():
    n1 = {"name": "n1", "host": "::1"}
    n2 = {"name": "n2", "host": "[0::1]", "client_port": 7400}
    faults = faults_of({"cluster": "c", "members": [n1, n2, "n3"]})

    assert "members[1].client_port: 7400 is already that of members[0].client_port" in faults[0]


@pytest.mark.parametrize("host", ["*", "0.0.0.0", "::", "[::]", "0::0"])
def test_everywhere_is_to_bind_and_not_to_connect_to(host):
    (fault,) = faults_of({"cluster": "c", "host": host, "members": ["n1", "n2", "n3"]})

    assert "where nobody can connect to" in fault
