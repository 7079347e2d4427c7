"""A node that is not in any configuration: it asks a member, and waits to be taken into the ring.

    describe    the contact answers with the settings of the cluster; they are kept in the folder
    wait        every `ANNOUNCE_S` this node announces itself to all members; each of them can
                plan to take it in, and answers when the ring changes
    adopt       once a ring record lists it, the records are stored; it starts as any member

A node that was a member before starts from its folder, and needs no contact.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from actors import log
from actors.adopting import adopt, announcement, answers_in, begin_with, client_ports, records_in
from actors.asking import Asking
from actors.disk import OwnDisk, RemovedError, StartupError, say
from actors.folder import Folder
from actors.node import WakeUp
from toystore.config import ClusterConfig, ConfigError, MemberConfig, load, parse
from toystore.core.ring.record import PORTS, RingRecord
from toystore.core.ring.rules import PORT_MAX, WEIGHT_MAX
from toystore.engines import Engine
from toystore.net import listening
from toystore.net.endpoint import Endpoint
from toystore.net.names import Resolver

ANNOUNCE_S = 2.0
ANSWER_S = 1.5
"""How long members may take to answer, beside the time that they wait for a change."""
TAKEN_S = 12.0
"""How long the name must be another node's: one that has ended is taken for alive at first."""
USUAL = "tcp://127.0.0.1:7400"
"""The endpoint that `toystore` asks if none is named."""
KEPT = "cluster.yaml"
HEADER = "# The cluster that this node waits for or is a member of, as a member has described it.\n"


def newcomer(options: Any) -> MemberConfig:
    """The node that the command line describes.  Raises `ConfigError`: a line for each option."""
    member = {"name": options.name, "weight": options.weight, "zone": options.zone}
    member |= {"bind": options.bind} if options.bind else {}
    one = {"n": 1, "r": 1, "w": 1}
    raw = {"cluster": "any", "base_port": options.base_port, "buckets": {"default": one}}
    faults = dict(_out_of_range(options))
    try:
        described = parse(raw | {"members": [member | {"host": options.host}]})
    except ConfigError as error:
        for fault in error.faults:
            key, _, text = fault.removeprefix("members[0].").partition(": ")
            if key in ("name", "host") or key in member:
                faults.setdefault(f"--{key}", text)
        if not faults:
            raise
    if faults:
        raise ConfigError(*(f"{option}: {text}" for option, text in faults.items()))
    return described.members[0]


def _out_of_range(options: Any) -> Iterator[tuple[str, str]]:
    """The numbers among the options that cannot be: (option, what would be right)."""
    for option, given, most in (
        ("--base-port", options.base_port, PORT_MAX - len(PORTS) + 1),
        ("--weight", options.weight, WEIGHT_MAX),
    ):
        if not 1 <= given <= most:
            yield option, f"{given} given; should be from 1 to {most}"


class Joining:
    """The way of one node into a cluster.  Methods raise `StoppedError` if it is to stop."""

    def __init__(
        self, me: MemberConfig, contact: Endpoint, folder: Folder, watched: list[int]
    ) -> None:
        """``watched``: the node stops when one of these descriptors ends."""
        self.me = me
        self._contact = contact
        self._kept = folder.path / KEPT
        self._watched = watched
        self._resolver = Resolver()
        self._asking = Asking(self._resolver, self._stopped)
        self._told = ""
        self._taken_since: float | None = None
        self.disk = os.urandom(16).hex()
        """The id that the disk gets if it is new."""

    def __enter__(self) -> Joining:
        self._wake_up = WakeUp().__enter__()
        self._asking.watch([self._wake_up.fileno(), *self._watched])
        return self

    def __exit__(self, *_: object) -> None:
        """From now on a signal ends the process, until the actors start."""
        self._wake_up.__exit__()
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)

    def described(self) -> ClusterConfig:
        """The cluster: as the folder keeps it, or as the contact describes it.

        Raises `StartupError` if what it says is not a configuration, or a port is taken.
        """
        if self._kept.exists():
            try:
                return load(self._kept)
            except ConfigError as error:
                raise StartupError(f"{self._kept}: {error}") from None
        self._check_ports()
        while True:
            request = announcement(self.me, self.disk, -1)
            for answer in self._asking.ask([self._contact], request, ANSWER_S):
                config = _configuration(answer)
                self._keep(answer)
                return config
            self._tell(f"{self.me.name} waits for an answer of {self._contact}", logs=False)
            self._asking.pause(ANNOUNCE_S / 4)

    def listing(self, config: ClusterConfig, disk: OwnDisk) -> ClusterConfig:
        """The configuration of a member: with the members of the record, and what it binds."""
        members = (*(m for m in config.members if m.name != self.me.name), self.me)
        return config.model_copy(update={"members": members}).listing(disk.record)

    def wait(self, config: ClusterConfig, engine: Engine, disk: OwnDisk) -> OwnDisk:
        """Wait until this node is a member; what is on the disk then.

        Raises `RemovedError` if it cannot be one, `StartupError` if a port is taken.
        """
        self._check_ports()
        records: dict[int, RingRecord] = {}
        wait_s = 0.0  # at first the state of this node is shown at once
        while True:
            newest = records[max(records)] if records else disk.record
            asked = dict.fromkeys((self._contact, *client_ports(config, newest, self.me.name)))
            request = announcement(self.me, disk.id, newest.epoch, wait_s)
            again_at = time.monotonic() + wait_s
            answers = self._asking.ask(asked, request, ANNOUNCE_S + ANSWER_S)
            seen = answers_in(answers)
            records = records_in(seen) | records
            states = {str(answer.get("state")): str(answer.get("text")) for answer in answers}
            if "gone" in states:
                raise RemovedError(states["gone"])
            self._look_if_taken(states)
            newest = records[max(records)] if records else disk.record
            if any(one.epoch > newest.epoch for one in seen):
                continue  # there are more records than are in one answer
            if "member" in states and self.me.name in newest.all:
                return self._adopt(config, engine, disk, records)
            self._tell_state(states)
            self._asking.pause(max(0.0, again_at - time.monotonic()))
            wait_s = ANNOUNCE_S

    def _adopt(
        self, config: ClusterConfig, engine: Engine, disk: OwnDisk, records: dict[int, RingRecord]
    ) -> OwnDisk:
        """Store the records, if there are any: in epoch 0 the founding members are the members."""
        later = [records[epoch] for epoch in sorted(records) if epoch > 0]
        if not later:
            return disk
        begin_with(engine, later[0])
        lineage = later[0].parent if later[0].epoch == 1 else later[0].lineage
        return adopt(config, self.me, engine, disk._replace(lineage=lineage), later)

    def _check_ports(self) -> None:
        """Raise `StartupError` if this node could not listen: no ring record shall list it then."""
        try:
            listening.check_free(self.me.bind, self.me.ports.values(), self._resolver)
        except listening.ListenError as error:
            raise StartupError(str(error)) from None

    def _look_if_taken(self, states: Mapping[str, str]) -> None:
        """Give up once another node has had the name for long enough."""
        if "taken" not in states:
            self._taken_since = None
        elif self._taken_since is None:
            self._taken_since = time.monotonic()
        elif time.monotonic() - self._taken_since >= TAKEN_S:
            raise RemovedError(states["taken"])

    def _tell_state(self, states: Mapping[str, str]) -> None:
        name = self.me.name
        if "taken" in states:
            self._tell(f"{name} waits: {states['taken']}")
        elif "waiting" in states:
            at = "" if str(self._contact) == USUAL else f" -e {self._contact}"
            self._tell(f"{name} waits to be taken in: toystore cluster plan join {name}{at}")
        elif not states:
            self._tell(f"{name} waits for an answer of any member, such as {self._contact}")

    def _tell(self, line: str, *, logs: bool = True) -> None:
        """Print and log a line, unless it was the last one; ``logs``: whether the log is open."""
        if line != self._told:
            self._told = line
            say(line)
            if logs:
                log.event("node", "node.waiting", text=line)

    def _keep(self, answer: Mapping[str, Any]) -> None:
        """Keep the description in the folder, so that a start needs no contact."""
        text = HEADER + yaml.safe_dump(_raw(answer), sort_keys=False)
        _write(self._kept, text)

    def _stopped(self, ready: int) -> bool:
        """Whether a signal has come, or a watched descriptor has ended."""
        if ready == self._wake_up.fileno():
            return os.read(ready, 1)[0] != signal.SIGHUP
        return not os.read(ready, 4096)


def _raw(answer: Mapping[str, Any]) -> dict[str, Any]:
    """A description as the plain values of a file."""
    settings, members = answer.get("settings"), answer.get("members")
    if not isinstance(settings, dict) or not isinstance(members, list | tuple):
        raise StartupError("the contact is no member of a cluster that describes itself")
    return settings | {"members": list(members)}


def _configuration(answer: Mapping[str, Any]) -> ClusterConfig:
    """Raises `StartupError` if the description is not a configuration."""
    try:
        return parse(_raw(answer))
    except ConfigError as error:
        raise StartupError(f"the contact describes no cluster: {error}") from None


def _write(path: Path, text: str) -> None:
    """Write a file that is whole or not there.  Raises `StartupError`."""
    new = path.with_suffix(".new")
    try:
        new.write_text(text)
        new.replace(path)
    except OSError as error:
        raise StartupError(f"cannot write {path}: {error.strerror}") from None
