"""How a node ends: whatever moment its actors choose."""

from __future__ import annotations

import threading

import zmq
from shell_scene import config

from actors.folder import Folder
from actors.node import Node


def test_an_actor_that_has_said_its_last_word_but_still_closes_its_doors_is_waited_for(tmp_path):
    """Its end of the control socket is closed, so nothing can be sent to it any more."""
    node = Node(config("n1"), config("n1").member("n1"), Folder(tmp_path))
    doors_closed = threading.Event()
    actor = threading.Thread(target=doors_closed.wait)
    actor.start()
    control = node.context.socket(zmq.PAIR)
    control.bind("inproc://storage.control")
    node.actors["storage"] = actor
    node.controls["storage"] = control
    threading.Timer(0.2, doors_closed.set).start()

    node._end()

    assert not actor.is_alive()
    assert control.closed
