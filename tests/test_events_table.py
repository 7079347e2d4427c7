"""The log's vocabulary: `EVENTS`, the table in the docs and the code that logs are one."""

import ast
import re
from pathlib import Path
from typing import NamedTuple

import pytest

from toystore.core.protocol.events import EVENTS

ROOT = Path(__file__).resolve().parent.parent
ROW = re.compile(r"^\| `([a-z]+\.[a-z_]+)` \| (\w+) \| (.*?) \| (.*?) \|$", re.MULTILINE)
LOGS = re.compile(r"_?(event|log|log_\w+)")
"""`Outbox.log` and what wraps it in the core; `actors.log.event` in the shell and the runner."""
DOTTED_NOUN = re.compile(r"[a-z]+\.[a-z_]+")


class Logged(NamedTuple):
    """A call that logs an event whose name is written out."""

    where: str
    event: str
    fields: frozenset[str]


def names_in(argument, tables):
    """The event names that an argument may be: one, one of two, or one from a table."""
    match argument:
        case ast.Constant(value=str(name)) if DOTTED_NOUN.fullmatch(name):
            return [name]
        case ast.IfExp(body=body, orelse=orelse):
            return [*names_in(body, tables), *names_in(orelse, tables)]
        case ast.Subscript(value=ast.Name(id=table)) if table in tables:
            return [name for value in tables[table] for name in names_in(value, tables)]
    return []


def tables_in(module):
    """The module's dictionaries that are written out: their values, by their names."""
    return {
        ast.unparse(target): assigned.value.values
        for assigned in module.body
        if isinstance(assigned, ast.Assign | ast.AnnAssign) and isinstance(assigned.value, ast.Dict)
        for target in (getattr(assigned, "targets", None) or [assigned.target])
    }


def logged_in(source, where):
    """Every call that logs, going by its name, and has an event's among its arguments."""
    module = ast.parse(source)
    tables = tables_in(module)
    for node in ast.walk(module):
        match node:
            case ast.Call(func=ast.Name(id=called) | ast.Attribute(attr=called)):
                if not LOGS.fullmatch(called):
                    continue
                fields = frozenset(keyword.arg for keyword in node.keywords)
                for event in (name for each in node.args for name in names_in(each, tables)):
                    yield Logged(f"{where}:{node.lineno}", event, fields)


def everything_logged():
    """What the core, the engines, the actors and the runner of a local cluster log."""
    folders = ("toystore/core", "toystore/engines", "toystore/localcluster", "actors")
    paths = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    for path in (*paths, ROOT / "run_cluster.py"):
        yield from logged_in(path.read_text(), path.relative_to(ROOT))


def test_the_scan_sees_every_way_of_logging():
    source = """
NAMES = {1: "k.l", 2: "m.n"}
out.log("a.b", x=1)
log.event(role, "c.d")
self._log_rarely("e.f" if full else "g.h", y=2, z=3)
log(NAMES[status])
math.log(2)
print("i.j")
"""

    found = {(each.event, each.fields) for each in logged_in(source, "here")}

    none, both = frozenset(), frozenset({"y", "z"})
    assert found == {
        ("a.b", frozenset("x")),
        *(("c.d", none), ("k.l", none), ("m.n", none)),
        *(("e.f", both), ("g.h", both)),
    }


def test_the_docs_show_the_vocabulary_row_by_row():
    documented = ROW.findall((ROOT / "docs/OPERATIONS.md").read_text())

    assert documented == [
        (name, kind.level, ", ".join(f"`{field}`" for field in kind.fields) or "none", kind.meaning)
        for name, kind in EVENTS.items()
    ]


@pytest.mark.parametrize("logged", list(everything_logged()), ids=lambda each: each.where)
def test_what_is_logged_is_in_the_vocabulary_with_just_its_fields(logged):
    assert logged.event in EVENTS
    assert logged.fields == set(EVENTS[logged.event].fields)


def test_every_word_of_the_vocabulary_is_used():
    assert {logged.event for logged in everything_logged()} == set(EVENTS)
