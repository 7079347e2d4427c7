"""`toystore put`, `get` and `delete`."""

from __future__ import annotations

import base64
import contextlib
import sys
from typing import Any

import click

from toystore import Found, Written
from toystore.cli.options import CONTEXT, KEY, SERVED, VALUE, Common, R, W, common_options
from toystore.cli.output import base64_of, print_json
from toystore.client.call import VALUE_BYTES_MAX
from toystore.core.data.context import unpack_context

NOT_FOUND = 1


@click.command()
@KEY
@VALUE
@CONTEXT
@W
@common_options(*SERVED)
@click.pass_obj
def put(common: Common, *, key: bytes, value: bytes, context: str | None, w: int | None) -> None:
    """Store VALUE under KEY. If VALUE is -, read it from standard input."""
    if value == b"-":
        value = _standard_input()
    with common.connect() as store:
        _print_written(common, store.put(key, value, context=_context(context), w=w))


@click.command()
@KEY
@R
@common_options(*SERVED)
@click.pass_context
def get(ctx: click.Context, key: bytes, r: int | None) -> None:
    """Write the value of KEY to standard output."""
    common: Common = ctx.obj
    with common.connect() as store:
        found = store.get(key, r=r)
    if common.as_json:
        print_json({"found": False} if found is None else _found(found))
    elif found is not None:
        output = sys.stdout.buffer
        output.write(found.value)
        output.write(b"\n" if output.isatty() else b"")
        output.flush()
    if found is None:
        ctx.exit(NOT_FOUND)


@click.command()
@KEY
@CONTEXT
@W
@common_options(*SERVED)
@click.pass_obj
def delete(common: Common, key: bytes, context: str | None, w: int | None) -> None:
    """Delete KEY. Deleting a key that does not exist succeeds."""
    with common.connect() as store:
        _print_written(common, store.delete(key, context=_context(context), w=w))


def _standard_input() -> bytes:
    """All of standard input."""
    if sys.stdin is None:
        raise click.UsageError("the value is to come from standard input, which is closed")
    try:
        # One byte more than a client sends is enough to be refused.
        return sys.stdin.buffer.read(VALUE_BYTES_MAX + 1)
    except OSError as error:
        raise click.UsageError(f"standard input cannot be read: {error.strerror}") from None


def _context(given: str | None) -> bytes | None:
    """The causal context in ``--context``."""
    try:
        return None if given is None else base64.b64decode(given, validate=True)
    except ValueError:
        raise click.BadParameter("a context is base64, as `get --json` prints it") from None


def _found(found: Found) -> dict[str, Any]:
    """The result of a get, for programs."""
    stamp = None
    with contextlib.suppress(ValueError):  # a context of a later version cannot be read here
        stamp = unpack_context(found.context).hex()
    return {
        "found": True,
        "values": [_readable(value) for value in found.values],
        "context": base64_of(found.context),
        "stamp": stamp,
        "owners": found.owners,
        "fallbacks": found.fallbacks,
    }


def _readable(value: bytes) -> dict[str, str | None]:
    """A value, for JSON."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        text = None
    return {"text": text, "base64": base64_of(value)}


def _print_written(common: Common, written: Written) -> None:
    """Print the acknowledgement for a program; people see nothing."""
    if common.as_json:
        print_json(
            {
                "done": True,
                "context": base64_of(written.context),
                "stamp": written.stamp.hex(),
                "owners": written.owners,
                "fallbacks": written.fallbacks,
            }
        )
