"""How far a change of the members is: `toystore cluster status`, and `--wait`."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import click

import toystore
from toystore import BadRequest, Internal, Timeout, ToystoreError
from toystore.cli import follow
from toystore.cli.cluster_plan import endpoint_of, words_of
from toystore.cli.follow import Nothing, Step, make_view
from toystore.cli.options import Common
from toystore.cli.output import by_name, duration, print_table, size
from toystore.cli.pace import Pace

ANSWER_S = 8.0
"""How long a node may take to tell how far the members are."""
SILENT_S = 30.0
"""How long no node may answer until the watching ends."""
SAY_AFTER_S = 5.0
"""How long a member has not answered until the watching says that it waits for it."""
SAY_AGAIN_S = 30.0
"""How often that is said."""

ABORT = "abort: "
"""Begins the reason of a ring record in which a change moves back."""
SILENT = {"alive": "does not report", "unknown": "has not started yet"}
"""What is said of a member that does not report, by its status."""

State = Mapping[str, Any]
"""The answer to the command `status`."""


def wait_until_stable(common: Common, epoch: int) -> dict[str, Any]:
    """Show how far each member is until the ring is stable, in ``epoch`` or a later one.

    Returns:
        The last state.

    Raises:
        Timeout: no node has answered for `SILENT_S`.
    """
    with Nothing() if common.as_json else make_view() as view:
        asking = _Asking(common.endpoints, max(common.timeout, ANSWER_S), view)
        watch = Watch(view)
        while True:
            now = asking.state()
            watch.look(now)
            if now["state"] == "stable" and now["epoch"] >= epoch:
                watch.end()
                return now
            time.sleep(follow.POLL_S)


class _Asking:
    """Asks one node for the state; another one once that does not answer, or may leave."""

    def __init__(self, endpoints: Iterable[str], timeout_s: float, view: Nothing) -> None:
        self._endpoints = list(endpoints)
        """The first is asked first."""
        self._timeout_s = timeout_s
        self._view = view

    def state(self) -> dict[str, Any]:
        """The state, as soon as a node tells it."""
        give_up = time.monotonic() + SILENT_S
        with toystore.Client(
            self._endpoints, timeout=self._timeout_s, learn_members=False
        ) as store:
            while True:
                asked = self._endpoints[0]
                try:
                    now = store.cluster("status", endpoint=asked)
                except (BadRequest, Internal):
                    raise
                except ToystoreError as error:
                    if time.monotonic() >= give_up:
                        text = f"no node has answered for {SILENT_S:g} s: {error}"
                        raise Timeout(text) from None
                    self._turn(asked)
                else:
                    known = [*self._endpoints, *map(endpoint_of, now["members"])]
                    self._endpoints = list(dict.fromkeys(known))
                    return now
                time.sleep(follow.POLL_S)

    def _turn(self, asked: str) -> None:
        """Ask the next one first from now on."""
        others = self._endpoints[1:]
        self._view.note(f"no answer from {asked}" + ("; trying others" if others else ""))
        self._endpoints = [*others, asked]


class Watch:
    """What the members have reported until now, as bars."""

    def __init__(self, view: Nothing) -> None:
        self._view = view
        self._totals: Counter[str] = Counter()
        """How many ranges each member has or had to receive or to give away."""
        self._progress: dict[str, Progress] = {}
        self._steps: dict[str, Step] = {}
        self._say_at: dict[str, float] = {}
        """When to say next that the ring waits for a member that does not answer."""

    def look(self, now: State) -> None:
        """Show how far each member is."""
        if now["state"] == "moving":  # otherwise nothing is awaited of any member
            self._look_at_members(now)
        for name in self._steps.keys() - {member["name"] for member in now["members"]}:
            self._left(name)
        self._view.show(self._steps)
        self._say_who_is_awaited(now, time.monotonic())

    def _look_at_members(self, now: State) -> None:
        """Take in what each member of a moving ring reports."""
        planned = _planned(now)
        for member in by_name(now["members"]):
            name = member["name"]
            if name in now.get("lost", ()):
                self._steps.pop(name, None)  # nothing is awaited of it
            elif member.get("behind") is None:
                before = self._steps.get(name) or Step(name, 0, planned[name], "", ended=False)
                text = SILENT.get(member["status"], member["status"])
                self._steps[name] = before._replace(text=text, ended=False)
            else:
                left = member["behind"] + member["unreleased"]
                self._totals[name] = max(self._totals[name], left, planned[name])
                progress = self._progress.setdefault(name, Progress())
                progress.note(member["bytes_left"], time.monotonic())
                self._steps[name] = _step(member, left, self._totals[name], progress)

    def _say_who_is_awaited(self, now: State, now_s: float) -> None:
        """Say which members the ring waits for that do not answer, now and then."""
        silent = _silent(now)
        self._say_at = {name: self._say_at.get(name, now_s + SAY_AFTER_S) for name in silent}
        for name, at_s in self._say_at.items():
            if at_s <= now_s:
                self._view.note(_waits_for(name, now))
                self._say_at[name] = now_s + SAY_AGAIN_S

    def end(self) -> None:
        """The ring is stable: each member has all that it should have, or has left."""
        self._steps = {
            name: step._replace(done=step.ranges, text=step.text if step.ended else "", ended=True)
            for name, step in self._steps.items()
        }
        self._view.show(self._steps)

    def _left(self, name: str) -> None:
        """It is no member any more."""
        total = self._totals[name]
        self._steps[name] = Step(name, total, total, "no member any more", True, "ranges moved")


class Progress:
    """How fast a member is, from what it has reported."""

    def __init__(self) -> None:
        self._received = Pace()

    def note(self, bytes_left: int, now_s: float) -> None:
        """So much is left now."""
        self._left = bytes_left
        self._received.note(-bytes_left, now_s)

    def text(self) -> str:
        """For people: what is left, and how long that will take."""
        if not self._left:
            return ""
        parts = [f"about {size(self._left)} to come"]
        if per_s := self._received.per_s:
            parts += [f"{size(per_s)}/s", f"about {duration(self._left / per_s)} left"]
        return ", ".join(parts)


def _planned(now: State) -> Counter[str]:
    """How many ranges each member gives and receives by the plan that the state was made from."""
    planned: Counter[str] = Counter()
    plan = now.get("plan")
    if plan and now["state"] == "moving" and plan["base"] + 1 == now["epoch"]:
        for move in plan["moves"]:
            planned.update(dict.fromkeys({move["from"], move["to"]} - {None}, move["partitions"]))
    return planned


def _step(member: State, left: int, total: int, progress: Progress) -> Step:
    alive = member["status"] in ("alive", "unknown")  # it has reported, so it runs
    texts = ["" if alive else str(member["status"]), progress.text()]
    text = ", ".join(text for text in texts if text)
    return Step(member["name"], total - left, total, text, not left and alive, "ranges moved")


# --- status -----------------------------------------------------------------------------


def show_status(now: State, at: str = "") -> None:
    """The state for people; ``at``: the option that commands need to ask the same node."""
    why = f": {now['why']}" if now.get("why") else ""
    click.echo(f"epoch {now['epoch']}, {now['state']}{why}\n")
    print_table(
        (
            "member",
            "status",
            "weight",
            "zone",
            "ranges",
            "behind",
            "to give away",
            "to come",
            "has",
        ),
        map(_row, by_name(now["members"])),
    )
    for line in _notes(now, at):
        click.echo(line)


def _row(member: State) -> Iterator[str]:
    yield member["name"]
    yield member["status"]
    yield str(member["weight"])
    yield member["zone"]
    for key in ("ranges", "behind", "unreleased"):
        yield _count(member.get(key))
    for key in ("bytes_left", "bytes"):
        yield "?" if member.get(key) is None else size(member[key])


def _count(figure: int | None) -> str:
    """A figure; a member that does not answer has none."""
    return "?" if figure is None else f"{figure:,}"


def _silent(now: State) -> list[str]:
    """The members that a moving ring waits for and that do not answer."""
    if now["state"] != "moving":
        return []
    lost = now.get("lost") or ()
    silent = [one["name"] for one in now["members"] if one.get("behind") is None]
    return [name for name in silent if name not in lost]


def _waits_for(name: str, now: State) -> str:
    """That the ring waits for a member, and what can be done; an abort waits for newcomers, too."""
    is_abort = str(now.get("why", "")).startswith(ABORT)
    needed = " and may have what moves back" if is_abort else ""
    return (
        f"waits for {name}, which does not answer{needed}: start it; if it has failed permanently: "
        f"toystore cluster plan remove {name}"
    )


def _notes(now: State, at: str) -> Iterator[str]:
    """What else there is to know, and what can be done."""
    yield ""
    if now["state"] == "moving":
        yield f"how far it is: toystore cluster status --wait{at}"
        yield f"to go back: toystore cluster abort{at}"
        for name in _silent(now):
            yield _waits_for(name, now) + at
    for node in now.get("waiting") or ():
        name = node["name"]
        yield f"{name} ({endpoint_of(node)}) waits to join: toystore cluster plan join {name}{at}"
    if plan := now.get("plan"):
        words = words_of(plan["changes"])
        if plan["base"] == now["epoch"]:
            number = plan["plan"]
            yield f"plan {number} is kept ({words}): toystore cluster commit {number}{at}"
        elif words != now.get("why"):
            yield f"plan {plan['plan']} ({words}) is for an earlier ring: plan again"
    if lost := now.get("lost"):
        yield f"failed permanently: {', '.join(lost)}"
    members = {one["name"] for one in now["members"]}
    gone = {one["name"]: one["epoch"] for one in now.get("gone") or ()}  # the last epoch of each
    if left := {name: epoch for name, epoch in gone.items() if name not in members}:
        names = (f"{name} (since epoch {epoch})" for name, epoch in left.items())
        yield f"no members any more: {', '.join(names)}"
