"""The vocabulary of the log: every event there is, its level and what it means.

Events are dotted nouns.  Nothing per operation is logged at info level.  docs/OPERATIONS.md
shows this table, and a test holds the two and the code that logs together.
"""

from __future__ import annotations

from typing import NamedTuple


class EventKind(NamedTuple):
    """A row of the vocabulary."""

    level: str
    """debug, info, warning, error or critical."""
    fields: tuple[str, ...]
    """The fields it carries besides timestamp, level, event, node and actor."""
    meaning: str


EVENTS: dict[str, EventKind] = {
    # the node and its actors
    "node.started": EventKind(
        "info",
        ("version", "before", "pid", "disk", "client_port", "members"),
        "The node runs; it may not have joined.  before says how its last life ended.",
    ),
    "ports.ephemeral": EventKind(
        "warning", ("warning",), "A port of the node may be taken by a connection that goes out."
    ),
    "node.stopping": EventKind("info", ("reason",), "A clean stop has begun."),
    "node.stopped": EventKind("info", ("took_s",), "A clean stop has ended."),
    "node.failed": EventKind("critical", ("error",), "The node gives up and exits non-zero."),
    "actor.failed": EventKind(
        "error",
        ("error", "traceback", "message", "restarts"),
        "A machine raised; the message that did it was answered Internal and set aside.",
    ),
    "actor.stalled": EventKind(
        "warning", ("late_s",), "A deadline was served very late: this process was held up."
    ),
    "log.lost": EventKind(
        "warning",
        ("lines",),
        "The log could not be written for a while; at most so many lines are gone.",
    ),
    "log.reopened": EventKind(
        "info", ("cause",), "The log goes on in this file: SIGHUP, or the one before was moved."
    ),
    # membership
    "member.joined": EventKind(
        "info", ("members", "took_s", "cause"), "This node has joined; cause says through whom."
    ),
    "member.alive": EventKind(
        "info", ("member", "incarnation", "cause", "took_s"), "A member is (again) alive."
    ),
    "member.suspect": EventKind(
        "warning", ("member", "incarnation", "cause", "took_s"), "A member is under suspicion."
    ),
    "member.dead": EventKind(
        "warning", ("member", "incarnation", "cause", "took_s"), "A member is given up as dead."
    ),
    "member.left": EventKind(
        "info", ("member", "incarnation", "cause", "took_s"), "A member said goodbye."
    ),
    "member.refuted": EventKind(
        "warning", ("incarnation", "cause"), "Others doubted this node; it has contradicted them."
    ),
    "member.refused": EventKind(
        "error", ("member", "reason"), "A node with another cluster's name or member list."
    ),
    "settings.differ": EventKind(
        "warning",
        ("member", "setting", "here", "there"),
        "A member has another value for what should be the same on all nodes.",
    ),
    # links
    "link.up": EventKind("debug", ("member",), "The link to a member is there."),
    "link.lost": EventKind("info", ("member",), "The link to a member is gone."),
    "link.silent": EventKind(
        "warning",
        ("member", "actors"),
        "Actors of a member owe answers and say nothing; until they do, nobody waits for them.",
    ),
    "link.replaced": EventKind(
        "warning",
        ("member", "port", "cause"),
        "A connection that would not have come back by itself; once in an outage.",
    ),
    "name.unresolved": EventKind(
        "warning",
        ("host", "cause"),
        "A member's host has no address for now; lookups go on.",
    ),
    # frames
    "frame.rejected": EventKind(
        "warning", ("port", "reason", "sender"), "A malformed or foreign frame; logged once."
    ),
    "message.oversized": EventKind(
        "error",
        ("port", "message", "bytes"),
        "A message was too large for any receiver, and not sent; logged once per kind.",
    ),
    "reply.dropped": EventKind(
        "warning", ("port", "count"), "Replies could not be delivered: somebody does not read."
    ),
    # hints
    "hint.stored": EventKind(
        "info", ("owner", "hints", "bytes"), "The first hint kept for an owner since none was."
    ),
    "hint.refused": EventKind(
        "warning", ("owner", "hints", "bytes"), "The hints are at their byte bound."
    ),
    "hint.aged": EventKind(
        "warning", ("owner", "hints", "bytes", "age_s"), "Hints have waited long for their owner."
    ),
    "handoff.started": EventKind("info", ("owner", "hints", "bytes"), "Delivery has begun."),
    "handoff.finished": EventKind(
        "info", ("owner", "hints", "took_s"), "Every hint for the owner is delivered."
    ),
    "handoff.paused": EventKind(
        "info",
        ("owner", "hints", "cause"),
        "Delivery stopped short; it goes on later. Said once while nothing is taken for one cause.",
    ),
    # the disk
    "disk.replaced": EventKind(
        "warning",
        ("disk", "before"),
        'This disk is not the one known; it does not vote "not found".',
    ),
    "disk.full": EventKind("error", ("refused",), "Writes are refused for want of room."),
    "disk.writable": EventKind("info", (), "Writes are accepted again."),
    "disk.grown": EventKind("info", ("bytes",), "The map was full and has been doubled."),
    "reader.lingers": EventKind(
        "warning",
        ("pid", "age_s"),
        "Another process reads an old state of data.mdb, which grows with each write meanwhile.",
    ),
    "record.corrupt": EventKind(
        "error", ("digest", "reason"), "A stored record failed its checksum; it is not served."
    ),
    # requests
    "coordinator.overloaded": EventKind(
        "warning", ("requests", "bytes"), "Requests are refused for want of room."
    ),
    "clock.refused": EventKind(
        "warning", ("ahead_s",), "A client's stamp was too far ahead of this node's clock."
    ),
    # the runner of a local cluster, in DIR/run.jsonl
    "run.started": EventKind(
        "info", ("version", "pid", "config", "nodes"), "run_cluster.py starts so many nodes."
    ),
    "run.ready": EventKind("info", ("took_s",), "Every node sees every other alive."),
    "run.failed": EventKind("error", ("error",), "The cluster could not be started."),
    "run.stopping": EventKind(
        "info",
        ("reason",),
        "All are stopped: by a signal, as the duration is over, or all is done.",
    ),
    "run.stopped": EventKind(
        "info", ("died",), "No process is left; died names those that nobody here had ended."
    ),
    "scenario.step": EventKind(
        "info", ("at_s", "do", "member", "for_s"), "A step of the scenario is taken."
    ),
    "process.started": EventKind("info", ("member", "pid"), "A node's process was started."),
    "process.signalled": EventKind(
        "info", ("member", "pid", "signal"), "A node's process is sent a signal."
    ),
    "process.ended": EventKind(
        "info", ("member", "pid", "exit_code", "signal"), "A node's process has ended as wanted."
    ),
    "process.died": EventKind(
        "error",
        ("member", "pid", "exit_code", "signal", "last_words"),
        "A node's process has ended, and nobody here had wanted it to.",
    ),
}
