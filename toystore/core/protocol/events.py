"""The vocabulary of the log: every event, its level and what it means.

Events are dotted nouns.  Nothing per operation is logged at info level.  docs/OPERATIONS.md
shows this table.  A test checks that the table, the page and the code that logs agree.
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
        "The node runs; it may not have joined yet. `before` says how its last run ended.",
    ),
    "ports.ephemeral": EventKind(
        "warning", ("warning",), "The system may give a port of the node to an outgoing connection."
    ),
    "port.unbound": EventKind(
        "warning",
        ("port", "error"),
        "A new address of this node cannot be bound while it runs: start it at its new place.",
    ),
    "node.waiting": EventKind(
        "info",
        ("text",),
        "This node is no member yet: it waits to be taken in, or for an answer of a member.",
    ),
    "node.stopping": EventKind("info", ("reason",), "A clean stop has begun."),
    "node.stopped": EventKind("info", ("took_s",), "A clean stop has ended."),
    "node.failed": EventKind(
        "critical", ("error",), "The node stops because of an error and exits non-zero."
    ),
    "actor.failed": EventKind(
        "error",
        ("error", "traceback", "message", "restarts"),
        "A machine failed over a message, which was answered Internal and set aside.",
    ),
    "actor.stalled": EventKind(
        "warning", ("late_s",), "A deadline was served very late: this process was stalled."
    ),
    "log.lost": EventKind(
        "warning",
        ("lines",),
        "The log could not be written for some time. At most `lines` lines are lost.",
    ),
    "log.reopened": EventKind(
        "info",
        ("cause",),
        "The log continues in a new file, after SIGHUP or because the old file was moved.",
    ),
    # membership
    "member.joined": EventKind(
        "info",
        ("members", "took_s", "cause"),
        "This node has joined. `cause` names the member through which it joined.",
    ),
    "member.alive": EventKind(
        "info", ("member", "incarnation", "cause", "took_s"), "A member is alive, or alive again."
    ),
    "member.suspect": EventKind(
        "warning", ("member", "incarnation", "cause", "took_s"), "A member is suspected."
    ),
    "member.dead": EventKind(
        "warning", ("member", "incarnation", "cause", "took_s"), "A member is declared dead."
    ),
    "member.left": EventKind(
        "info", ("member", "incarnation", "cause", "took_s"), "A member has left the cluster."
    ),
    "member.removed": EventKind(
        "info",
        ("member", "epoch", "cause"),
        "A member is no longer listed in the ring: gossip has dropped all that it knew of it.",
    ),
    "member.flapping": EventKind(
        "warning",
        ("member", "times", "within_s"),
        "A member was declared dead and came back `times` times within `within_s` seconds.",
    ),
    "suspicion.confirmed": EventKind(
        "info",
        ("member", "incarnation", "accusers", "cause"),
        "More members suspect a member by their own evidence; it has less time to refute.",
    ),
    "health.changed": EventKind(
        "info",
        ("score", "before", "cause"),
        "How far this node distrusts itself: it probes and waits 1 + `score` times as long.",
    ),
    "member.refuted": EventKind(
        "warning",
        ("incarnation", "cause"),
        "Other nodes suspected this node, or declared it dead; it has contradicted them.",
    ),
    "member.refused": EventKind(
        "error",
        ("member", "reason"),
        "This node and a member differ in cluster name, lineage, N of a bucket or version of the "
        "protocol; one refused the other.",
    ),
    "name.taken": EventKind(
        "error",
        ("member", "process", "reason"),
        "A process has the name of a member that another process is. It is refused, and stops.",
    ),
    "name.unconfirmed": EventKind(
        "warning",
        ("member", "process", "reason"),
        "A process waits until it is known whether it is the member whose name it has.",
    ),
    "settings.differ": EventKind(
        "warning",
        ("member", "setting", "here", "there"),
        "A member has another value for a setting that should be the same on all nodes.",
    ),
    "gossip.sent": EventKind(
        "debug",
        ("datagrams", "bytes", "over_s"),
        "How many datagrams this node has sent in the last `over_s` seconds.",
    ),
    # the ring
    "ring.proposed": EventKind(
        "info",
        ("epoch", "why"),
        "This node asks the voters to decide the ring record of an epoch; `why` says what changes.",
    ),
    "ring.decided": EventKind(
        "info",
        ("epoch", "why", "voters", "took_s"),
        "A majority has accepted the record that this node has proposed. `voters`: who.",
    ),
    "ring.undecided": EventKind(
        "warning",
        ("epoch", "why", "reason"),
        "A proposal of this node ended without a decision; it may still be decided later.",
    ),
    "ring.changed": EventKind(
        "info",
        ("epoch", "members", "moving", "why"),
        "This node has adopted a ring record. `members`: who the members are when all has moved.",
    ),
    "ring.waits": EventKind(
        "warning",
        ("epoch", "members"),
        "The end of a change waits for members that do not answer; logged once for each of them.",
    ),
    "ring.finished": EventKind(
        "info", ("epoch", "took_s", "why"), "All ranges of a change have moved: the ring is stable."
    ),
    "ring.newcomer": EventKind(
        "info", ("member", "disk", "host"), "A node waits to be made a member."
    ),
    "ring.refused": EventKind(
        "error",
        ("epoch", "reason"),
        "This node cannot adopt the ring records of others; it stays at `epoch`.",
    ),
    "ring.file_differs": EventKind(
        "warning",
        ("epoch", "differences"),
        "The members in the file are not those of the ring record on the disk, which rules.",
    ),
    "ring.forked": EventKind(
        "error",
        ("member", "epoch", "reason"),
        "A node has ring records that are not of this node's ring, though its cluster has the same "
        "name and lineage: its data folder is of another founding. It is refused.",
    ),
    "ring.removed": EventKind(
        "error",
        ("epoch", "reason"),
        "This node is no longer a member of the cluster; its process ends with exit code 3, as "
        "soon as a majority of the members knows that.",
    ),
    "ring.stays": EventKind(
        "warning",
        ("epoch", "members", "text"),
        "This node was removed, and its process does not end yet: too few members know that. "
        "`members`: those that do not. `text`: what it waits for.",
    ),
    # links
    "link.up": EventKind("debug", ("member",), "The link to a member is up."),
    "link.lost": EventKind("info", ("member",), "The link to a member is down."),
    "link.silent": EventKind(
        "warning",
        ("member", "actors"),
        "Actors of a linked member do not answer, or it is suspected; requests no longer wait.",
    ),
    "link.replaced": EventKind(
        "warning",
        ("member", "port", "cause"),
        "A connection that would not have recovered was replaced; logged once per outage.",
    ),
    "name.unresolved": EventKind(
        "warning",
        ("host", "cause"),
        "The host name of a member has no address at present; lookups continue.",
    ),
    # frames
    "frame.rejected": EventKind(
        "warning",
        ("port", "reason", "sender"),
        "A malformed or foreign frame was rejected; logged once per sender.",
    ),
    "message.oversized": EventKind(
        "error",
        ("port", "message", "bytes"),
        "A message too large for every receiver was not sent; logged once per message type.",
    ),
    "reply.dropped": EventKind(
        "warning",
        ("port", "count"),
        "Replies could not be delivered because the client or peer does not read them.",
    ),
    # hints
    "hint.stored": EventKind(
        "info",
        ("owner", "hints", "bytes"),
        "The first hint for an owner was stored; none was kept for it before.",
    ),
    "hint.refused": EventKind(
        "warning",
        ("owner", "hints", "bytes"),
        "The hints of this node have reached their size limit.",
    ),
    "hint.aged": EventKind(
        "warning", ("owner", "hints", "bytes", "age_s"), "Hints have waited long for their owner."
    ),
    "handoff.started": EventKind(
        "info", ("owner", "hints", "bytes"), "The delivery of hints to an owner has begun."
    ),
    "handoff.finished": EventKind(
        "info", ("owner", "hints", "took_s"), "All hints for an owner are delivered."
    ),
    "handoff.paused": EventKind(
        "info",
        ("owner", "hints", "cause"),
        "The delivery stops and continues later; logged once per cause until a hint is accepted.",
    ),
    # anti-entropy
    "replicas.synchronised": EventKind(
        "info",
        ("member", "ranges", "received", "sent", "bytes"),
        "Ranges that differed from those of a member were compared; records were exchanged.",
    ),
    "comparison.failed": EventKind(
        "info",
        ("member", "cause"),
        "A comparison with a member has failed and is repeated later; logged once per cause.",
    ),
    "ranges.stray": EventKind(
        "info",
        ("ranges",),
        "Records were found in ranges that this node does not own; they are pushed to the owners.",
    ),
    "rebuild.started": EventKind(
        "warning",
        ("ranges",),
        "Ranges of this node lack records and do not vote: its disk or their owners are new.",
    ),
    "rebuild.waits": EventKind(
        "warning", ("members",), "The rebuild waits for members that cannot be reached."
    ),
    "rebuild.finished": EventKind(
        "info",
        ("ranges", "records", "bytes", "took_s"),
        "No range that this node will own lacks records any more: it votes in all of them.",
    ),
    "ranges.released": EventKind(
        "info",
        ("ranges", "took_s"),
        "This node has given away ranges: their new owners have all that it has of them.",
    ),
    "ranges.swept": EventKind(
        "info",
        ("ranges", "records", "bytes", "took_s"),
        "What was given away is deleted here, because the ring is stable.",
    ),
    "tombstones.reaped": EventKind(
        "info",
        ("ranges", "records", "age_s"),
        "Tombstones older than `age_s` are removed: all members agree that none is needed.",
    ),
    "reaping.waits": EventKind(
        "warning",
        ("members", "cause"),
        "Old tombstones cannot be removed yet, because of these members; logged once per cause.",
    ),
    "floor.refused": EventKind(
        "error",
        ("member", "late_s"),
        "A floor of this member is later than the own clock allows: one of both clocks is wrong.",
    ),
    "scrub.finished": EventKind(
        "info",
        ("records", "bytes", "rotten", "drifted", "took_s"),
        "Each record of this node was read and its checksum checked.",
    ),
    "repair.started": EventKind(
        "info", ("job", "ranges"), "A repair that was asked for has begun, or waits for another."
    ),
    "repair.finished": EventKind(
        "info",
        ("job", "ranges", "records", "bytes", "rotten", "repaired", "took_s"),
        "Each range of a repair was read, and compared with each other owner.",
    ),
    # the disk
    "lineage.adopted": EventKind(
        "info",
        ("lineage",),
        "Other nodes have an older lineage of the cluster than this disk, which now has theirs.",
    ),
    "layout.converting": EventKind(
        "info",
        ("records", "of"),
        "The data of toystore 0.1.0 are converted: `records` of `of` records and hints so far.",
    ),
    "layout.converted": EventKind(
        "info", ("records", "took_s"), "The data of toystore 0.1.0 have been converted."
    ),
    "disk.replaced": EventKind(
        "warning",
        ("disk", "before"),
        'The cluster knows another disk of this node. This disk does not vote "not found".',
    ),
    "disk.full": EventKind("error", ("refused",), "Writes are refused because the disk is full."),
    "disk.writable": EventKind("info", (), "Writes are accepted again."),
    "disk.grown": EventKind("info", ("bytes",), "The map was full and its size has been doubled."),
    "reader.lingers": EventKind(
        "warning",
        ("pid", "age_s"),
        "Another process reads an old state of data.mdb; until it ends, the file grows.",
    ),
    "record.corrupt": EventKind(
        "error",
        ("digest", "reason"),
        "The checksum of a stored record is wrong. The record is not served.",
    ),
    "record.replaced": EventKind(
        "info", ("digest",), "A sound record has taken the place of a corrupt one."
    ),
    "sums.drifted": EventKind(
        "error",
        ("n", "partition", "leaf"),
        "A scrub found other records than were summed; the ranges of the owners are compared.",
    ),
    # requests
    "coordinator.overloaded": EventKind(
        "warning", ("requests", "bytes"), "Requests are refused because there are too many."
    ),
    "clock.refused": EventKind(
        "warning",
        ("ahead_s",),
        "A stamp was too far ahead of the clock of this node; negative: too far behind.",
    ),
    # the runner of a local cluster, in DIR/run.jsonl
    "run.started": EventKind(
        "info",
        ("version", "pid", "cluster", "config", "nodes"),
        "run_cluster.py starts the nodes; `nodes` is their number.",
    ),
    "run.ready": EventKind("info", ("took_s",), "Every node sees every other node alive."),
    "run.failed": EventKind("error", ("error",), "The cluster could not be started."),
    "run.stopping": EventKind(
        "info",
        ("reason",),
        "All nodes are being stopped: after a signal, after the duration, or after the scenario.",
    ),
    "run.stopped": EventKind(
        "info",
        ("died",),
        "No process is left. `died` names the nodes that ended without being told to.",
    ),
    "scenario.step": EventKind(
        "info", ("at_s", "do", "member", "for_s"), "A step of the scenario is executed."
    ),
    "link.fault": EventKind(
        "info",
        ("kind", "links", "share", "delay_s", "jitter_s", "reset", "for_s"),
        "The scenario impairs links: `loss`, `delay`, `cut`, `reset`. `links`: which ones.",
    ),
    "link.restored": EventKind("info", ("kind", "links"), "A fault of links has ended."),
    "process.started": EventKind("info", ("member", "pid"), "The process of a node was started."),
    "process.signalled": EventKind(
        "info", ("member", "pid", "signal"), "A signal was sent to the process of a node."
    ),
    "process.ended": EventKind(
        "info",
        ("member", "pid", "exit_code", "signal"),
        "The process of a node has ended as intended.",
    ),
    "process.died": EventKind(
        "error",
        ("member", "pid", "exit_code", "signal", "last_words"),
        "The process of a node has ended without being told to.",
    ),
}
