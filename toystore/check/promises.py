"""The promises of toystore to its clients, as checks of a history.

Each check takes rows (history.py) and returns the violations it finds.  None of them
knows where the rows come from: a simulated and a real cluster are checked against the same
promises, after any faults.  All are checked *during* faults, except the last two, which are
about the time after.

`nothing_invented`      a read gives a value only if it was put to that key
`refusals_are_final`    what certainly did not happen is never read
`one_stamp_one_value`   a stamp names one write: every read of it gives the same value
`acknowledged_once`     a write that was acknowledged never rises above its stamp again
`quorums_are_met`       an answer has R or W replicas at least
`quorums_overlap`       R+W>N, by the numbers of owners in the answers
`writes_follow`         a process's write is above what it wrote and read before
`nothing_hangs`         no operation outlasts its timeout
`nothing_lost`          after healing: every read gives the last acknowledged write or a later
`everything_is_served`  after healing: every operation succeeds

What is *not* promised, and so not checked: that a read sees a write with which it shares no
owner (a sloppy quorum, R+W<=N), that two reads never go back in time (a read of a write
that is under way may see it or not, as in any register that does not write back), and any
order between keys.

Stamps order all writes, and an answer contains its stamp; so "later" is decided
by comparing stamps, not by guessing from times.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from toystore.check.history import FAIL, GET, OK, PUT, Row, by_key
from toystore.core.data.stamp import MINTER_BYTES

_MINTER_HEX = 2 * MINTER_BYTES


class Violation(NamedTuple):
    """A broken promise, and the rows that show it."""

    promise: str
    """The check that found it."""
    text: str
    rows: tuple[Row, ...] = ()
    """The operations that show it."""

    def __str__(self) -> str:
        lines = [f"{self.promise}: {self.text}"]
        return "\n    ".join(lines + [_told(row) for row in self.rows])


class Loss(NamedTuple):
    """A node lost data that it had acknowledged."""

    node: str
    at_s: float | None = None
    """When; None if that is not known."""
    knowing: bool = False
    """Whether the node knows of it, and so does not vote "not found" until it is whole."""
    whole_s: float | None = None
    """From when on the node has again whatever any other owner had; None if that is not known."""


def _told(row: Row) -> str:
    """An operation on one line."""
    value = "" if row.value is None and row.operation != GET else f" {row.value!r}"
    told = f"{row.invoke_s:.3f}..{row.return_s:.3f} {row.process} {row.operation} {row.key}{value}"
    if row.outcome != OK:
        return f"{told}: {row.outcome}, {row.error}"
    return f"{told}: {row.owners} owners, {row.fallbacks} fallbacks, stamp {row.stamp}"


# --- at any time ------------------------------------------------------------------------


def nothing_invented(rows: Iterable[Row]) -> list[Violation]:
    """A read value was put to that key, by a put invoked before the end of the read."""
    found = []
    for key, operations in by_key(rows).items():
        put_at = {row.value: row.invoke_s for row in reversed(operations) if row.operation == PUT}
        for row in _reads(operations):
            if row.value is not None and put_at.get(row.value, row.return_s) >= row.return_s:
                text = f"{key} gave {row.value!r}, which nobody had put"
                found.append(Violation("nothing_invented", text, (row,)))
    return found


def refusals_are_final(rows: Iterable[Row]) -> list[Violation]:
    """A write whose error was definite is never read."""
    found = []
    for operations in by_key(rows).values():
        refused = [row for row in operations if row.writes and row.outcome == FAIL]
        values = {write.value: write for write in refused if write.operation == PUT}
        stamps = {write.stamp: write for write in refused if write.stamp}
        for row in _reads(operations):
            if (write := values.get(row.value) or stamps.get(row.stamp)) is not None:
                text = f"the {write.operation} was refused for certain, and read"
                found.append(Violation("refusals_are_final", text, (write, row)))
    return found


def one_stamp_one_value(rows: Iterable[Row]) -> list[Violation]:
    """All reads of a stamp at a key give the same value; for a delete it is None."""
    found = []
    for key, operations in by_key(rows).items():
        seen: dict[str, Row] = {}
        for row in operations:
            if row.outcome == OK and row.stamp:
                first = seen.setdefault(row.stamp, row)
                if first.value != row.value:
                    text = f"{key} has two values under one stamp"
                    found.append(Violation("one_stamp_one_value", text, (first, row)))
    return found


def acknowledged_once(rows: Iterable[Row]) -> list[Violation]:
    """A value that was acknowledged under a stamp is not read under a higher one.

    A retry is the same write.  If it got a new stamp, it would return above a later write.
    """
    found = []
    for operations in by_key(rows).values():
        written = {r.value: r for r in operations if r.operation == PUT and r.outcome == OK}
        for row in _reads(operations):
            write = written.get(row.value)
            if write is not None and write.stamp and row.stamp > write.stamp:
                text = f"{row.value!r} is read under a higher stamp than it was written with"
                found.append(Violation("acknowledged_once", text, (write, row)))
    return found


def quorums_are_met(rows: Iterable[Row]) -> list[Violation]:
    """No answer has fewer replicas than the request asked for."""
    return [
        Violation("quorums_are_met", f"{row.quorum} replicas were asked for", (row,))
        for row in rows
        if row.outcome == OK and (row.copies < row.quorum or 0 < row.n < row.copies)
    ]


def quorums_overlap(rows: Iterable[Row], losses: Sequence[Loss] = ()) -> list[Violation]:
    """An answer that shares an owner with an earlier write is not older than that write.

    An acknowledgement by W owners and a later answer from R owners have one owner in common if
    R+W>N, and that owner had the write on its disk (Gifford 1979).  The answers contain their
    numbers of owners, so this is true in every split and crash.
    A later acknowledged write must be *above* it as well.

    The owner in common may be a node that has lost data since.  If it knows of the loss it
    does not vote "not found" until it is whole again, so it is in the quorum of no such answer.
    Once it is whole it has the write again, if another owner that lost nothing had it before.
    """
    found = []
    for operations in by_key(rows).values():
        answered = [row for row in operations if row.outcome == OK and row.owners]
        returned = sorted((row for row in answered if row.writes), key=lambda row: row.return_s)
        newest: dict[int, Row] = {}
        at = 0
        for row in answered:
            while at < len(returned) and returned[at].return_s < row.invoke_s:
                write = returned[at]
                at += 1
                best = newest.get(write.owners)
                if best is None or best.stamp < write.stamp:
                    newest[write.owners] = write
            for owners, write in newest.items():
                gone = _may_lack(write, row, losses)
                shared = owners + row.owners - max(row.n, write.n) - gone
                if shared > 0 and row.stamp < write.stamp:
                    text = f"the {row.operation} shares {shared} owners with a newer write"
                    found.append(Violation("quorums_overlap", text, (write, row)))
    return found


def writes_follow(rows: Iterable[Row], minters: Mapping[str, str]) -> list[Violation]:
    """A write is above all that its process had written and read at that key.

    ``minters``: the minter of each process's clock, as hex.  A write stamped by another,
    because the process's clock had been refused, is not checked.
    """
    found = []
    for operations in by_key(rows).values():
        known: dict[str, Row] = {}
        for row in operations:
            if row.outcome != OK or not row.stamp:
                continue
            before = known.get(row.process)
            own = row.writes and row.stamp[-_MINTER_HEX:] == minters.get(row.process)
            if own and before is not None and before.stamp >= row.stamp:
                text = f"{row.process} wrote below what it knew"
                found.append(Violation("writes_follow", text, (before, row)))
            if before is None or before.stamp < row.stamp:
                known[row.process] = row
    return found


def nothing_hangs(rows: Iterable[Row], timeout_s: float, slack_s: float) -> list[Violation]:
    """No operation takes longer than its timeout and ``slack_s``, for a busy machine.

    ``timeout_s``: for rows without one.
    """
    late = (
        row for row in rows if row.return_s - row.invoke_s > (row.timeout_s or timeout_s) + slack_s
    )
    return [
        Violation("nothing_hangs", f"it took {row.return_s - row.invoke_s:.3f} s", (row,))
        for row in late
    ]


# --- after healing ----------------------------------------------------------------------


def nothing_lost(
    rows: Iterable[Row], healed_s: float, losses: Sequence[Loss] = (), *, equal: bool = False
) -> list[Violation]:
    """A read invoked after ``healed_s`` gives the last acknowledged write or a later one.

    To be called once every hint has been delivered: from then on all copies of a write are
    at its owners, so that a read of R of them sees it if R and its copies are above N,
    however many of these were hints at first.  ``equal``: anti-entropy has found all replicas
    equal, too, so every owner has what any other has, and each read of an owner sees it.

    A write may be lost if it had at most as many copies as nodes have lost data since.
    """
    found = []
    for key, operations in by_key(rows).items():
        written = [row for row in operations if row.writes and row.outcome == OK]
        for row in _reads(operations):
            if row.invoke_s < healed_s:
                continue
            owed = [
                write
                for write in written
                if write.return_s < row.invoke_s
                and _copies_read(write, row, equal) > len(_lost_between(write, row, losses))
            ]
            last = max(owed, key=lambda write: write.stamp, default=None)
            if last is not None and row.stamp < last.stamp:
                what = "came back" if row.stamp else "is lost"
                text = f"{key}: the last acknowledged {last.operation} {what}"
                found.append(Violation("nothing_lost", text, (last, row)))
    return found


def everything_is_served(rows: Iterable[Row], healed_s: float) -> list[Violation]:
    """An operation invoked after ``healed_s`` succeeds."""
    return [
        Violation("everything_is_served", "it failed in a healthy cluster", (row,))
        for row in rows
        if row.invoke_s >= healed_s and row.outcome != OK
    ]


ALWAYS: Sequence[Callable[[Iterable[Row]], list[Violation]]] = (
    nothing_invented,
    refusals_are_final,
    one_stamp_one_value,
    acknowledged_once,
    quorums_are_met,
)
"""The checks that need only the rows."""


def _copies_read(write: Row, row: Row, equal: bool) -> int:
    """How many copies of a write a read must see; ``equal``: all owners have each of them."""
    if equal and row.owners:
        return write.copies
    return write.copies + row.owners - max(row.n, write.n)


def _lost_between(write: Row, row: Row, losses: Iterable[Loss]) -> set[str]:
    """The nodes that may have lost a write before ``row`` was answered."""
    return {
        loss.node
        for loss in losses
        if loss.at_s is None or write.invoke_s <= loss.at_s <= row.return_s
    }


def _may_lack(write: Row, row: Row, losses: Sequence[Loss]) -> int:
    """How many owners may vote in ``row`` without a write that they had.

    If no owner is left that had the write and lost nothing, a node becomes whole without it.
    """
    lost = _lost_between(write, row, losses)
    survives = write.owners > len(lost)
    return len(
        {
            loss.node
            for loss in losses
            if loss.node in lost and not (survives and _has_again(loss, write, row))
        }
    )


def _has_again(loss: Loss, write: Row, row: Row) -> bool:
    """Whether a node that votes in ``row`` has what it had lost, and another owner had not.

    The other owner may have stored a write that was still open at the loss after it was compared.
    """
    if loss.at_s is not None and loss.at_s <= write.return_s:
        return False
    if loss.whole_s is not None and loss.whole_s <= row.invoke_s:
        return True
    return loss.knowing and not row.stamp


def _reads(rows: Iterable[Row]) -> Iterable[Row]:
    return (row for row in rows if row.operation == GET and row.outcome == OK)
