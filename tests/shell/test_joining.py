"""How a node asks many others at once, and when a newcomer gives up its name."""

from __future__ import annotations

import os
import time
from types import SimpleNamespace

import pytest
import zmq
from shell_scene import config

from actors import joining
from actors.adopting import announcement
from actors.asking import Asking, StoppedError
from actors.disk import RemovedError
from actors.folder import Folder
from tests.harness.sockets import bound
from tests.harness.waiting import PATIENCE_S
from toystore.config import ConfigError
from toystore.core.protocol.messages.client import Cluster, ClusterReply
from toystore.net.endpoint import Endpoint
from toystore.net.names import Resolver
from toystore.wire import decode, encode

ME = config("n4").member("n4")


def test_ports_that_refuse_are_not_waited_for():
    began = time.monotonic()
    ports = [Endpoint("127.0.0.1", port) for port in ME.ports.values()]

    answers = Asking(Resolver()).ask(ports, announcement(ME, "0" * 32, 0), PATIENCE_S)

    assert answers == []
    assert time.monotonic() - began < PATIENCE_S / 2


def test_answers_are_taken_from_those_that_answer(context):
    port = bound(context, zmq.ROUTER, f"tcp://127.0.0.1:{ME.client_port}")
    silent = bound(context, zmq.ROUTER, f"tcp://127.0.0.1:{ME.peer_port}")
    asked = [Endpoint("127.0.0.1", port) for port in (ME.client_port, ME.peer_port)]

    class Answering(Asking):
        def _answers(self, *arguments):
            who, body = port.recv_multipart()
            [message] = decode(body).messages
            assert isinstance(message, Cluster)
            assert message.arguments["ports"] == tuple(ME.ports.values())
            port.send_multipart([who, encode([ClusterReply(1, {"state": "waiting"})])])
            return super()._answers(*arguments)

    answers = Answering(Resolver()).ask(asked, announcement(ME, "0" * 32, 0), PATIENCE_S)

    assert answers == [{"state": "waiting"}]
    port.close()
    silent.close()


def test_a_wait_ends_when_a_watched_descriptor_says_so():
    reading, writing = os.pipe()
    asking = Asking(Resolver(), lambda ready: ready == reading)
    asking.watch([reading])
    os.write(writing, b"x")

    with pytest.raises(StoppedError):
        asking.pause(PATIENCE_S)

    os.close(reading)
    os.close(writing)


def test_a_name_is_given_up_once_it_has_been_taken_for_long_enough(tmp_path, monkeypatch):
    one = joining.Joining(ME, Endpoint("127.0.0.1", 1), Folder(tmp_path), [])
    one._look_if_taken({"taken": "a member is called n4"})
    one._look_if_taken({"taken": "a member is called n4"})  # it may have ended just now
    one._look_if_taken({"waiting": ""})
    monkeypatch.setattr(joining, "TAKEN_S", 0.0)
    one._look_if_taken({"taken": "a member is called n4"})

    with pytest.raises(RemovedError, match="a member is called n4"):
        one._look_if_taken({"taken": "a member is called n4"})


RIGHT = {"name": "n4", "base_port": 7500, "host": "127.0.0.1", "bind": "", "weight": 1, "zone": ""}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"base_port": 99999}, "--base-port: 99999 given; should be from 1 to 65532"),
        ({"base_port": 65533}, "--base-port: 65533 given; should be from 1 to 65532"),
        ({"weight": 1001}, "--weight: 1001 given; should be from 1 to 1000"),
        ({"name": "a/b"}, "--name: 'a/b' given; a name is "),
        ({"host": "a_b!"}, "--host: 'a_b!' given; should be a host name"),
        ({"host": "0.0.0.0"}, "--host: '0.0.0.0' given, where nobody can connect to"),
        ({"bind": "a_b!"}, "--bind: 'a_b!' given; should be a host name"),
    ],
)
def test_a_wrong_option_of_a_newcomer_is_one_line_that_names_the_option(wrong, said):
    with pytest.raises(ConfigError) as refused:
        joining.newcomer(SimpleNamespace(**RIGHT | wrong))

    [line] = str(refused.value).splitlines()
    assert line.startswith(said)


def test_the_options_of_a_newcomer_are_a_member():
    made = joining.newcomer(SimpleNamespace(**RIGHT))

    assert (made.name, made.client_port, made.bind) == ("n4", 7500, "127.0.0.1")


@pytest.mark.parametrize(
    ("contact", "rest"), [("127.0.0.1:7400", ""), ("10.0.0.1:7400", " -e tcp://10.0.0.1:7400")]
)
def test_a_node_that_waits_says_how_to_take_it_in_from_here(tmp_path, monkeypatch, contact, rest):
    said = []
    monkeypatch.setattr(joining, "say", said.append)
    host, port = contact.split(":")
    one = joining.Joining(ME, Endpoint(host, int(port)), Folder(tmp_path), [])

    one._tell("n4 waits for an answer", logs=False)
    monkeypatch.setattr(joining.log, "event", lambda *_, **__: None)
    one._tell_state({"waiting": ""})

    assert said[1] == f"n4 waits to be taken in: toystore cluster plan join n4{rest}"
