"""The `toystore` command: against a client that never leaves this process, and a real node."""

import base64
import fcntl
import json
import os
import random
import shlex
import signal
import subprocess
import sys
import termios

import pytest
from click.testing import CliRunner

import toystore
from tests.harness.configs import client_endpoint, write_config
from tests.harness.programs import TOYSTORE, Program
from tests.harness.waiting import wait_until
from toystore import (
    BadRequest,
    Conflict,
    Found,
    Internal,
    Overloaded,
    Timeout,
    Unavailable,
    Written,
)
from toystore.cli.commands import commands
from toystore.client import Load, Placement, RingTable
from toystore.core.data.context import pack_context

STAMP = bytes(range(20))
CONTEXT = pack_context(STAMP)

ALIVE = {"name": "n1", "status": "alive", "incarnation": 2}
SUSPECT = {"name": "n2", "status": "suspect", "incarnation": 0}


def status_of(*members, joined=True):
    return {
        "node": "n1",
        "cluster": "demo",
        "joined": joined,
        "members": list(members),
        "hints": {"n2": {"count": 3, "bytes": 300, "oldest_age_s": 1.25}},
        "requests": {"held": 0},
        "storage": {"disk": "ab" * 16},
    }


class FakeClient:
    """A client whose answers a test sets beforehand, and which remembers what it was asked."""

    def __init__(self):
        self.made_with = None
        self.asked = []
        self.values = {}
        self.statuses = [status_of(ALIVE)]
        self.failure = None

    def __call__(self, endpoints, *, timeout, bucket, learn_members):
        self.made_with = {"endpoints": endpoints, "timeout": timeout, "bucket": bucket}
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def _ask(self, verb, *arguments, **options):
        if self.failure is not None:
            raise self.failure
        self.asked.append((verb, *arguments, {k: v for k, v in options.items() if v is not None}))

    def put(self, key, value, **options):
        self._ask("put", key, value, **options)
        self.values[key] = value
        return Written(CONTEXT, STAMP, 2, 1)

    def get(self, key, **options):
        self._ask("get", key, **options)
        value = self.values.get(key)
        return None if value is None else Found(value, (value,), CONTEXT, 2, 0)

    def delete(self, key, **options):
        self._ask("delete", key, **options)
        self.values.pop(key, None)
        return Written(CONTEXT, STAMP, 2, 1)

    def status(self, timeout=None):
        self._ask("status")
        answer = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def owners(self, key):
        self._ask("owners", key)
        return Placement(7, ("n1", "n2"), ("n3",))

    def ring(self):
        self._ask("ring")
        return RingTable(8, (Load("n1", 8, 5), Load("n2", 8, 3)))


@pytest.fixture
def client(monkeypatch):
    fake = FakeClient()
    monkeypatch.setattr(toystore, "Client", fake)
    monkeypatch.delenv("TOYSTORE_ENDPOINTS", raising=False)
    return fake


def run(*arguments, stdin=None):
    return CliRunner().invoke(commands, arguments, input=stdin)


# --- values -----------------------------------------------------------------------------


def test_a_value_that_was_put_is_written_back_byte_for_byte(client):
    value = bytes(range(256)) + b"\r\n\n"

    assert run("put", "k", "-", stdin=value).exit_code == 0
    found = run("get", "k")

    assert (found.exit_code, found.stdout_bytes) == (0, value)


def test_a_value_may_stand_on_the_command_line(client):
    run("put", "k", "vélo")

    assert client.values == {b"k": "vélo".encode()}


def test_a_key_that_is_not_utf8_is_taken_as_the_bytes_it_is(client):
    run("put", os.fsdecode(b"\xff\xfe"), "v")

    assert list(client.values) == [b"\xff\xfe"]


def test_an_empty_standard_input_is_an_empty_value(client):
    run("put", "k", "-", stdin=b"")

    assert client.values == {b"k": b""}


def test_what_is_not_there_exits_with_1_and_prints_nothing(client):
    missing = run("get", "k")

    assert (missing.exit_code, missing.output) == (1, "")


def test_a_get_in_json_carries_bytes_as_base64_and_text_where_they_are_text(client):
    client.values = {b"text": b"hello", b"bytes": b"\xff"}

    text, odd, missing = (json.loads(run("get", k, "--json").stdout) for k in ("text", "bytes", ""))

    assert text["values"] == [{"text": "hello", "base64": base64.b64encode(b"hello").decode()}]
    assert odd["values"] == [{"text": None, "base64": base64.b64encode(b"\xff").decode()}]
    assert missing == {"found": False}


def test_a_get_in_json_says_what_it_rests_on(client):
    client.values = {b"k": b"v"}

    found = json.loads(run("get", "k", "--json").stdout)

    assert base64.b64decode(found.pop("context")) == CONTEXT
    assert found.pop("values")
    assert found == {"found": True, "stamp": STAMP.hex(), "owners": 2, "fallbacks": 0}


def test_the_context_of_a_get_goes_with_the_put_and_the_delete_that_follow(client):
    context = base64.b64encode(b"seen").decode()

    run("put", "k", "v", "--context", context)
    run("delete", "k", "--context", context)

    assert [asked[-1] for asked in client.asked] == [{"context": b"seen"}] * 2


@pytest.mark.parametrize("command", [("put", "k", "v"), ("delete", "k")], ids=" ".join)
def test_a_write_says_in_json_only_what_it_was_acknowledged_with(client, command):
    assert run(*command).output == ""
    assert json.loads(run(*command, "--json").stdout) == {
        "done": True,
        "context": base64.b64encode(CONTEXT).decode(),
        "stamp": STAMP.hex(),
        "owners": 2,
        "fallbacks": 1,
    }


# --- options ----------------------------------------------------------------------------


def test_quorums_go_with_the_request(client):
    run("put", "k", "v", "-w", "1")
    run("get", "k", "-r", "3")

    assert [asked[-1] for asked in client.asked] == [{"w": 1}, {"r": 3}]


def test_without_options_the_first_local_node_is_asked(client):
    run("get", "k")

    assert client.made_with == {
        "endpoints": ["tcp://127.0.0.1:7400"],
        "timeout": 2.0,
        "bucket": "default",
    }


def test_shared_options_stand_before_or_after_the_commands_name(client):
    for arguments in (
        ("-e", "tcp://a:1", "-e", "tcp://b:2", "--bucket", "s", "--timeout", "9", "get", "k"),
        ("get", "k", "-e", "tcp://a:1,tcp://b:2", "--bucket", "s", "--timeout", "9"),
    ):
        run(*arguments)

        endpoints = ["tcp://a:1", "tcp://b:2"]
        assert client.made_with == {"endpoints": endpoints, "timeout": 9.0, "bucket": "s"}


@pytest.mark.parametrize("at", ["before", "after", "nowhere"])
def test_endpoints_in_the_environment_yield_to_those_given(client, monkeypatch, at):
    monkeypatch.setenv("TOYSTORE_ENDPOINTS", "tcp://c:3 tcp://d:4")
    given = ("-e", "tcp://a:1")

    run(*(given if at == "before" else ()), "get", "k", *(given if at == "after" else ()))

    expected = ["tcp://c:3", "tcp://d:4"] if at == "nowhere" else ["tcp://a:1"]
    assert client.made_with["endpoints"] == expected


# --- errors -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failure", "code", "certainty"),
    [
        (BadRequest("w is above n"), 2, "definite: nothing was done"),
        (Unavailable("two nodes are dead"), 3, "definite: nothing was done"),
        (Overloaded("try later"), 3, "definite: nothing was done"),
        (Timeout("2 s are over", definite=False), 3, "indefinite: it may have been done"),
        (Conflict("something newer is there"), 3, "definite: nothing was done"),
        (Internal("sorry", definite=False), 4, "indefinite: it may have been done"),
        (RuntimeError("a fault of ours"), 4, "indefinite: it may have been done"),
    ],
)
def test_an_error_is_one_line_and_an_exit_code_and_in_json_an_object(
    client, failure, code, certainty
):
    client.failure = failure
    kind = type(failure).__name__

    plain, as_json = run("put", "k", "v"), run("put", "k", "v", "--json")

    assert (plain.exit_code, as_json.exit_code) == (code, code)
    assert plain.stdout == ""
    assert plain.stderr == f"toystore: {kind}: {failure} ({certainty})\n"
    assert json.loads(as_json.stdout) == {
        "error": kind,
        "text": str(failure),
        "definite": certainty.startswith("definite"),
    }


@pytest.mark.parametrize(
    "arguments",
    [
        ("gett", "k"),
        ("put", "k"),
        ("get", "k", "-r", "0"),
        ("get", "k", "--timeout", "0"),
        ("put", "k", "v", "--context", "?"),
        ("status", "--all", "--wait", "1"),
        ("node", "no/such/file.yaml", "n1"),
        (),
    ],
)
def test_bad_use_exits_with_2_and_asks_nobody(client, arguments):
    refused = run(*arguments)

    assert refused.exit_code == 2
    assert refused.stderr
    assert client.asked == []


def test_an_interruption_is_not_taken_for_an_answer(client):
    client.failure = KeyboardInterrupt()

    assert run("get", "k").exit_code == 130


# --- the cluster ------------------------------------------------------------------------


def test_a_status_shows_members_and_hints(client):
    client.statuses = [status_of(ALIVE, SUSPECT)]

    shown = run("status")
    rows = [line.split() for line in shown.stdout.splitlines()]

    assert shown.exit_code == 0
    assert rows[0] == ["n1", "of", "demo,", "joined"]
    assert ["n2", "suspect", "0"] in rows
    assert ["n2", "3", "300", "1.2"] in rows


def test_a_disk_that_is_too_busy_to_answer_does_not_keep_the_rest_from_being_shown(client):
    client.statuses = [status_of(ALIVE) | {"storage": None, "hints": {}}]

    shown = run("status")

    assert shown.exit_code == 0
    assert "too busy to say" in shown.stdout


def test_a_status_in_json_is_the_nodes_own(client):
    assert json.loads(run("status", "--json").stdout) == client.statuses[0]


def test_a_waiting_status_asks_until_every_member_is_alive(client):
    client.statuses = [
        Unavailable("nobody there yet"),
        status_of(ALIVE, joined=False),
        status_of(ALIVE, SUSPECT),
        status_of(ALIVE, ALIVE),
    ]

    waited = run("status", "--wait", "60", "--json")

    assert waited.exit_code == 0
    assert json.loads(waited.stdout) == status_of(ALIVE, ALIVE)
    assert len(client.asked) == 4


def test_a_wait_in_vain_exits_with_3_and_says_who_was_missing(client):
    client.statuses = [status_of(ALIVE, SUSPECT)]

    waited = run("status", "--wait", "0")

    assert waited.exit_code == 3
    assert "n2 is suspect" in waited.stderr


# --- every node at once -----------------------------------------------------------------


def endpoint_of(name):
    return f"tcp://{name}:7400"


def view_of(node, **seen):
    """What a node tells of a cluster whose other members it sees like this."""
    members = [
        {"name": name, "status": status, "incarnation": 0, "endpoint": endpoint_of(name)}
        for name, status in seen.items()
    ]
    life = {"node": node, "version": "0.1.0", "uptime_s": 200.0}
    latencies = {"count": 9, "p50_ms": 1.5, "p99_ms": 20.0}
    storage = {"keys": 1200, "disk_bytes": 3 * 2**20}
    none = {"count": 0, "p50_ms": None, "p99_ms": None}
    told = {"latencies": {"gets": latencies, "puts": none}, "storage": storage, "hints": {}}
    return status_of() | life | told | {"members": members}


@pytest.fixture
def nodes(client, monkeypatch):
    """What is answered at each endpoint; nothing at any other."""
    answers = {}

    class FakeAsyncClient:
        def __init__(self, endpoints, *, timeout, learn_members):
            assert timeout == 2.0

        async def __aenter__(self):
            return self

        async def __aexit__(self, *_):
            pass

        async def status(self, endpoint):
            if endpoint not in answers:
                raise Timeout("nobody there")
            return answers[endpoint]

    monkeypatch.setattr(toystore, "AsyncClient", FakeAsyncClient)
    return answers


def test_all_nodes_are_asked_though_only_one_is_named(nodes):
    for name in ("n1", "n2", "n3"):
        nodes[endpoint_of(name)] = view_of(name, n1="alive", n2="alive", n3="alive")

    told = run("status", "--all", "-e", endpoint_of("n2"))
    rows = [line.split() for line in told.stdout.splitlines()]

    assert told.exit_code == 0
    assert rows[0] == ["3", "of", "3", "nodes", "of", "demo", "answer"]
    for name in ("n1", "n2", "n3"):
        assert [name, "0.1.0", "3", "min", "1,200", "3", "MiB", "0", "1.5/20"] in rows
        assert [name, "alive", "alive", "alive"] in rows
    assert "not what most nodes say" not in told.stdout


def test_what_nodes_see_differently_is_marked_and_who_is_silent_is_named(nodes):
    nodes[endpoint_of("n1")] = view_of("n1", n1="alive", n2="dead", n3="alive", n4="dead")
    nodes[endpoint_of("n2")] = view_of("n2", n1="alive", n2="alive", n3="alive", n4="dead")
    nodes[endpoint_of("n3")] = view_of("n3", n1="alive", n2="alive", n3="alive", n4="dead")

    named = ("-e", endpoint_of("n1"), "-e", endpoint_of("n2"), "-e", "tcp://elsewhere:1")
    told, as_json = run("status", "--all", *named), run("status", "--all", "--json", *named)
    rows = [line.split() for line in told.stdout.splitlines()]

    assert (told.exit_code, as_json.exit_code) == (3, 3)
    assert ["n1", "alive", "dead*", "alive", "dead"] in rows
    assert ["n2", "alive", "alive", "alive", "dead"] in rows
    assert "* not what most nodes say" in told.stdout
    assert "n4 does not answer: nobody there" in told.stdout
    assert "tcp://elsewhere:1 does not answer: nobody there" in told.stdout
    whole = json.loads(as_json.stdout)
    assert list(whole["nodes"]) == ["n1", "n2", "n3"]
    assert whole["silent"].keys() == {"n4", "tcp://elsewhere:1"}
    assert whole["differences"] == {"n2": {"n1": "dead", "n2": "alive", "n3": "alive"}}


def test_where_opinions_are_evenly_divided_all_are_marked(nodes):
    nodes[endpoint_of("n1")] = view_of("n1", n1="alive", n2="alive", n3="dead")
    nodes[endpoint_of("n2")] = view_of("n2", n1="alive", n2="alive", n3="suspect")

    told = run("status", "--all", "-e", endpoint_of("n1"))
    rows = [line.split() for line in told.stdout.splitlines()]

    assert ["n1", "alive", "alive", "dead*"] in rows
    assert ["n2", "alive", "alive", "suspect*"] in rows


def test_a_node_that_tells_neither_addresses_nor_figures_is_shown_as_far_as_it_does(nodes):
    nodes[endpoint_of("n1")] = status_of(ALIVE, SUSPECT) | {"storage": None}

    told = run("status", "--all", "-e", endpoint_of("n1"))

    assert told.exit_code == 0
    assert ["n1", "alive", "suspect"] in [line.split() for line in told.stdout.splitlines()]


def test_nobody_at_all_is_an_error_as_of_any_request(nodes):
    told = run("status", "--all", "-e", endpoint_of("n1"), "--json")

    assert told.exit_code == 3
    assert json.loads(told.stdout)["error"] == "Timeout"


def test_a_ring_without_a_key_shows_the_load(client):
    rows = [line.split() for line in run("ring").stdout.splitlines()]

    assert rows[0] == ["8", "partitions"]
    assert ["n2", "8", "3"] in rows
    assert json.loads(run("ring", "--json").stdout) == {
        "partitions": 8,
        "load": [
            {"name": "n1", "owned": 8, "first": 5},
            {"name": "n2", "owned": 8, "first": 3},
        ],
    }


def test_a_ring_with_a_key_shows_its_owners_and_marks_who_is_not_alive(client):
    client.statuses = [status_of(ALIVE, SUSPECT)]

    rows = [line.split() for line in run("ring", "k").stdout.splitlines()]

    assert ["owners", "n1", "n2(suspect)"] in rows
    assert ["fallbacks", "n3(unknown)"] in rows
    assert json.loads(run("ring", "k", "--json").stdout) == {
        "partition": 7,
        "owners": ["n1", "n2"],
        "fallbacks": ["n3"],
        "not_alive": {"n2": "suspect", "n3": "unknown"},
    }


def test_a_table_that_is_piped_is_not_cut_at_any_width(client, monkeypatch):
    owners = tuple(f"a-long-name-of-a-node-{number}" for number in range(20))
    client.statuses = [status_of(*(ALIVE | {"name": owner} for owner in owners))]
    monkeypatch.setattr(client, "owners", lambda key: Placement(7, owners, ()), raising=False)

    assert " ".join(owners) in run("ring", "k").stdout


def test_node_becomes_the_node_program(monkeypatch, tmp_path):
    config = tmp_path / "cluster.yaml"
    config.write_text("cluster: demo\n")
    became = []
    monkeypatch.setattr(os, "execv", lambda path, arguments: became.append((path, arguments)))

    run("node", str(config), "n1")
    run("node", str(config), "n1", "--data-dir", str(tmp_path))

    program = [sys.executable, "-m", "actors", str(config), "n1"]
    assert became == [
        (sys.executable, program),
        (sys.executable, [*program, f"--data-dir={tmp_path}"]),
    ]


# --- a real node ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lone_node(tmp_path_factory):
    """A cluster of one, run by `toystore node`; the other commands ask it by default."""
    folder = tmp_path_factory.mktemp("lone")
    guard, config = write_config(folder, 1, buckets={"default": {"n": 1, "r": 1, "w": 1}})
    command = (*TOYSTORE, "node", config, "n1", "--data-dir", folder)
    with pytest.MonkeyPatch.context() as environment, guard, Program(command) as node:
        environment.setenv("TOYSTORE_ENDPOINTS", client_endpoint(config))
        assert run("status", "--wait", "30").exit_code == 0
        yield node
        assert node.stop() == 0


@pytest.mark.cluster
def test_the_commands_work_on_a_real_node_which_stops_when_told(lone_node):
    value = bytes(range(256))

    waited = run("status", "--wait", "30", "--json")
    stored = run("put", "k", "-", stdin=value)
    found = run("get", "k")
    refused = run("put", "k", "v", "-w", "2")
    deleted = run("delete", "k")
    missing = run("get", "k")
    placed = run("ring", "k", "--json")

    assert [member["status"] for member in json.loads(waited.stdout)["members"]] == ["alive"]
    assert (stored.exit_code, found.exit_code, found.stdout_bytes) == (0, 0, value)
    assert (refused.exit_code, deleted.exit_code, missing.exit_code) == (2, 0, 1)
    assert json.loads(placed.stdout)["owners"] == ["n1"]


def test_a_get_does_not_wait_for_what_it_does_not_need():
    code = (
        "import sys; from toystore.cli.commands import commands; commands.get_command(None, 'get');"
        "print(*sorted({'.'.join(name.split('.')[:2]) for name in sys.modules}))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    loaded = set(told.stdout.split())
    heavy = {"pydantic", "yaml", "lmdb", "rich", "toystore.sim", "toystore.engines"}
    assert "toystore.cli" in loaded
    assert loaded & heavy == set()


# --- standard streams that are closed, full, or read by nobody --------------------------


def shell(command):
    """What a shell says of ``toystore`` with these arguments and redirections."""
    return subprocess.run(
        ["bash", "-c", f"exec {shlex.join(TOYSTORE)} {command}"],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.cluster
@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("put k v --json > /dev/full", 5),
        ("get k > /dev/full", 5),
        ("--json get k > /dev/full", 5),
        ("--json get nothing > /dev/full", 5),
        ("status > /dev/full", 5),
        ("--help > /dev/full", 5),
        ("get k >&-", 5),
        ("put k v --json <&- >&- 2>&-", 5),
        ("put k v >&-", 0),
        ("get k 2>&-", 0),
        ("put k - <&-", 2),
        ("gett 2> /dev/full", 2),
        ("--json put k v -w 2 > /dev/full", 2),
        ("--json get k -e tcp://127.0.0.1:1 --timeout 0.1 > /dev/full", 3),
    ],
)
def test_a_stream_that_cannot_be_used_has_an_exit_code_of_its_own(lone_node, command, code):
    run("put", "k", "value")

    told = shell(command)

    assert told.returncode == code
    assert "Traceback" not in told.stderr
    assert "Exception ignored" not in told.stderr
    if code == 5 and "2>&-" not in command:
        assert told.stderr.startswith("toystore: standard output cannot be written: ")


@pytest.mark.cluster
@pytest.mark.parametrize(
    "arguments",
    [
        ("get", "k"),
        ("put", "k", "v", "--json"),
        ("ring",),
        ("sim", "run", "--seed", "7", "--trace"),
    ],
    ids=" ".join,
)
def test_who_writes_to_a_pipe_that_nobody_reads_ends_by_sigpipe(lone_node, arguments):
    run("put", "k", "value")
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "wb") as nobody:
        told = subprocess.run(
            [*TOYSTORE, *arguments], stdout=nobody, stderr=subprocess.PIPE, check=False
        )

    assert (told.returncode, told.stderr) == (-signal.SIGPIPE, b"")


@pytest.mark.cluster
def test_a_value_is_whole_though_its_streams_are_non_blocking(lone_node):
    """A parent that shares its terminal or pipe with us may have made it so."""
    first, rest = random.Random(1).randbytes(1000), random.Random(2).randbytes(300_000)
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    with (
        open(writer, "wb", buffering=0) as feed,
        subprocess.Popen([*TOYSTORE, "put", "large", "-"], stdin=reader) as storing,
    ):
        feed.write(first)
        wait_until(lambda: waiting_in(reader) == 0)
        os.close(reader)
        feed.write(rest)
        feed.close()
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with subprocess.Popen([*TOYSTORE, "get", "large"], stdout=writer) as finding:
        os.close(writer)
        wait_until(lambda: waiting_in(reader) >= 60_000)
        with open(reader, "rb") as output:
            found = output.read()

    assert (storing.returncode, finding.returncode) == (0, 0)
    assert found == first + rest


def waiting_in(pipe):
    """How many bytes wait to be read."""
    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)
