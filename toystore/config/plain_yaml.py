"""A YAML file as plain values, or what is wrong with it.

YAML's versions disagree with each other and with the eye: `07400` is 3840 to one, `2:10` is
130, `no` is false, a date is no text, and `1e3` is no number.  A value that is not read as it
looks is refused, with a text that says what to write; so is a key that stands twice, of which
YAML would let the last win.  These faults are collected, as others of the file may follow.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import yaml

_FILE_BYTES_MAX = 2**20
_TOO_LARGE = f"more than {_FILE_BYTES_MAX:,} bytes"
_DEPTH_MAX = 32
_TOO_DEEP = f"nested deeper than {_DEPTH_MAX} levels"
_TAG = "tag:yaml.org,2002:"
_TEXT = _TAG + "str"

Where = tuple[str | int, ...]


class UnreadableError(Exception):
    """There are no values to be had from a file; the text names it and says why."""


class _Loader(yaml.SafeLoader):
    """Reads plain values, no deeper than any configuration is, and integers of 64 bits."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """What stands next in the file, with all that is in it."""
        self.depth += 1
        if self.depth > _DEPTH_MAX:
            raise ValueError(_TOO_DEEP)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        """An integer.  Longer ones cannot even be told, nor be made numbers with a point."""
        value: int = super().construct_yaml_int(node)
        if not -(2**63) <= value < 2**63:
            raise ValueError(f"an integer of more than 64 bits in line {node.start_mark.line + 1}")
        return value


_Loader.add_constructor(_TAG + "int", _Loader.construct_yaml_int)


def read(path: Path) -> tuple[object, list[str]]:
    """The plain values in a file, and an error for each that is not what it looks like.

    Raises `UnreadableError`.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_FILE_BYTES_MAX + 1)
        if len(data) > _FILE_BYTES_MAX:
            raise UnreadableError(f"{path}: cannot be read: it has {_TOO_LARGE}")
        text = data.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise UnreadableError(f"{path}: cannot be read: {error}") from None
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        if root is None:
            return None, []
        if _size(root, {}) > _FILE_BYTES_MAX:
            raise ValueError(f"its aliases written out, it has {_TOO_LARGE}")
        faults = list(_faults_in(root, (), loader))
        return loader.construct_document(root), faults
    except (yaml.YAMLError, ValueError) as error:
        why = " ".join(str(error).split()) + _hint(error, text)
        raise UnreadableError(f"{path}: not YAML: {why}") from None
    except RecursionError:
        raise UnreadableError(
            f"{path}: not YAML: an alias stands for what it is a part of"
        ) from None
    except Exception:  # such as a KeyError, over !!bool perhaps
        raise UnreadableError(f"{path}: not YAML: a value is not what its tag says") from None


def dotted(path: Where) -> str:
    """``("members", 2, "name")`` as ``members[2].name``."""
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return "".join(steps).removeprefix(".")


def _hint(error: Exception, text: str) -> str:
    """What to write instead of a value that is often meant as text and is not text in YAML."""
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return ""
    before, found = text[: mark.index][-1:], text[mark.index :][:1]
    if found == "\t":
        return "; indent with spaces, not with tabs"
    if found == ":" and before == "[":
        return "; an address in brackets needs quotes, as '[::1]' has them"
    if before == "*":
        return "; a lone asterisk needs quotes, as '*' has them"
    if found and found in "@`%":
        return f"; what begins with {found} needs quotes"
    return ""


def _size(node: yaml.Node, known: dict[int, int]) -> int:
    """The number of characters of a node; an alias counts as many as its anchor.

    Raises RecursionError if a node contains itself.
    """
    size = known.get(id(node), 0)
    if size:
        return size
    if isinstance(node, yaml.MappingNode):
        size = sum(_size(key, known) + _size(value, known) for key, value in node.value)
    elif isinstance(node, yaml.SequenceNode):
        size = sum(_size(item, known) for item in node.value)
    else:
        size = len(node.value)
    known[id(node)] = size + 1
    return size + 1


def _faults_in(node: yaml.Node, path: Where, loader: _Loader) -> Iterator[str]:
    """An error for each key that is twice in one mapping, and for each trap."""
    if len(path) > _DEPTH_MAX:
        raise ValueError(_TOO_DEEP)
    if isinstance(node, yaml.SequenceNode):
        for at, item in enumerate(node.value):
            yield from _faults_in(item, (*path, at), loader)
    elif isinstance(node, yaml.MappingNode):
        line_of: dict[str, int] = {}
        for key, value in node.value:
            name, line = str(key.value), key.start_mark.line + 1
            if name in line_of:
                lines = f"line {line_of[name]} and line {line}"
                yield f"{dotted((*path, name))}: given twice, in {lines}; should stand once"
            line_of[name] = line
            if isinstance(key, yaml.ScalarNode):
                yield from _trap(key, (*path, name), loader)
            yield from _faults_in(value, (*path, name), loader)
    elif isinstance(node, yaml.ScalarNode) and not _left_out(node, path):
        yield from _trap(node, path, loader)


def _left_out(node: yaml.ScalarNode, path: Where) -> bool:
    """Whether it is an empty value of the whole file's mapping, which is allowed."""
    return node.tag == _TAG + "null" and len(path) == 1


# --- traps ------------------------------------------------------------------------------

_LEADING_ZEROS = re.compile(r"([-+]?)0[0_]*([0-9][0-9_]*)")
_BASE_EIGHT = re.compile(r"[-+]?0o[0-7]+")
_POWER = re.compile(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)[eE][-+]?[0-9]+")


def _trap(node: yaml.ScalarNode, path: Where, loader: _Loader) -> Iterator[str]:
    """An error if a value is not what it looks like; from then on it is text."""
    taken_for = _taken_for(node, loader)
    if taken_for is not None:
        text = node.value
        node.tag = _TEXT
        yield f"{dotted(path)}: {text} given, {taken_for}'{text}' in quotes if it is text"


def _taken_for(node: yaml.ScalarNode, loader: _Loader) -> str | None:
    """What YAML takes a trap for, and what to write instead; None for any other value."""
    text = node.value
    kind = node.tag.removeprefix(_TAG)
    if kind == "bool":
        value = str(loader.construct_yaml_bool(node)).lower()
        return f"which YAML takes for {value}, and no key is true or false; write "
    if kind == "null" and text:
        return "which YAML takes for nothing; leave it out, or write "
    if kind == "timestamp":
        return "which YAML takes for a date; write "
    if ":" in text and kind in ("int", "float"):
        construct = loader.construct_yaml_int if kind == "int" else loader.construct_yaml_float
        seconds = construct(node)
        return f"which YAML takes for {seconds}, in base 60; write {seconds}, or "
    if kind == "int" and (zeros := _LEADING_ZEROS.fullmatch(text)):
        octal = loader.construct_yaml_int(node)
        return f"which YAML takes for {octal}, in base 8; write {''.join(zeros.groups())}, or "
    if kind == "str" and node.style is None and (number := _number(text)):
        return f"which is a number to some versions of YAML and none to others; write {number}, or "
    return None


def _number(text: str) -> str | None:
    """How to write a text that looks like a number and is not one in YAML 1.1; None otherwise."""
    text = text.replace("_", "")
    if zeros := _LEADING_ZEROS.fullmatch(text):
        return "".join(zeros.groups())
    if _BASE_EIGHT.fullmatch(text):
        return str(int(text, 8))
    if _POWER.fullmatch(text):
        number = f"{float(text):.15g}"
        return number.replace("e", ".0e") if "." not in number else number
    return None
