"""The `toystore` command: the client library at a shell's prompt.

Values come from the command line or, for ``-``, from standard input, and go to standard
output, byte for byte.  With ``--json`` everything that a program may read is one JSON
object on standard output, errors too; bytes are in it as base64, and as text where they
are UTF-8.  Endpoints, bucket, timeout and ``--json`` may stand before or after the
command's name.  An error is one line on standard error, and an exit code:

    0    done; `get` has found a value
    1    `get` has found nothing
    2    bad use: of the command line, or a request that can never succeed as it is
    3    not served: unavailable, overloaded, late or in conflict; asked again, it may be.
         The line says whether it certainly did not happen (definite) or may have
         (indefinite).  Also `status --wait`, when the wait was in vain.
    4    internal: a fault in toystore itself
    130  interrupted
"""

from __future__ import annotations

import base64
import json
import os
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.table import Table

from toystore import BadRequest, Client, Internal, Timeout, ToystoreError
from toystore.sim.command import sim

ENVIRONMENT = click.core.ParameterSource.ENVIRONMENT
NOT_FOUND, BAD_USE, NOT_SERVED, INTERNAL, INTERRUPTED = 1, 2, 3, 4, 130

POLL_S = 0.1
"""How often `status --wait` asks again."""
WIDTH_PIPED = 1000
COLOURS = {"alive": "green", "suspect": "yellow", "dead": "red", "left": "dim"}

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(slots=True)
class Common:
    """The options that every command shares."""

    endpoints: tuple[str, ...] = ("tcp://127.0.0.1:7400",)
    bucket: str = "default"
    timeout: float = 2.0
    as_json: bool = False

    def connect(self) -> Client:
        """A client made as these options say."""
        return Client(list(self.endpoints), timeout=self.timeout, bucket=self.bucket)


class Commands(click.Group):
    """A group that turns whatever a command raises into one line and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.Abort, click.exceptions.Exit, BrokenPipeError):
            raise
        except KeyboardInterrupt:
            ctx.exit(INTERRUPTED)
        except Exception as error:
            _report(error, ctx.ensure_object(Common).as_json)
            ctx.exit(_exit_code(error))


def _common(*names: str) -> Callable[[Command], Command]:
    """Give a command those of the shared options that it needs, and ``--json``."""

    def decorate(command: Command) -> Command:
        for name in reversed((*names, "as_json")):
            command = OPTIONS[name](command)
        return command

    return decorate


def _keep(ctx: click.Context, option: click.Parameter, value: Any) -> None:
    """Keep an option's value, given before or after the command's name.

    The environment is read before it, so that there it cannot hide what was given.
    """
    hidden = ctx.parent and ctx.get_parameter_source(str(option.name)) is ENVIRONMENT
    if value not in (None, (), False) and not hidden:
        setattr(ctx.ensure_object(Common), str(option.name), value)


def _keep_endpoints(ctx: click.Context, option: click.Parameter, value: tuple[str, ...]) -> None:
    """Keep the endpoints; one option may name several, parted by commas."""
    _keep(ctx, option, tuple(one for each in value for one in each.split(",") if one))


def _bytes(_ctx: click.Context, _option: click.Parameter, text: str | None) -> bytes | None:
    """The bytes that were typed, be they UTF-8 or not."""
    return None if text is None else os.fsencode(text)


def _shared(
    *names: str, callback: Callable[..., None] = _keep, **rest: Any
) -> Callable[[Any], Any]:
    """An option whose value is kept in `Common`."""
    return click.option(*names, expose_value=False, callback=callback, **rest)


OPTIONS: dict[str, Callable[[Any], Any]] = {
    "endpoints": _shared(
        "-e",
        "--endpoint",
        "endpoints",
        multiple=True,
        callback=_keep_endpoints,
        envvar="TOYSTORE_ENDPOINTS",
        show_envvar=True,
        metavar="ADDRESS",
        help="A node's client port; repeat it to name several. [default: tcp://127.0.0.1:7400]",
    ),
    "bucket": _shared("--bucket", metavar="NAME", help="[default: default]"),
    "timeout": _shared(
        "--timeout",
        type=click.FloatRange(min=0, min_open=True),
        metavar="SECONDS",
        help="How long a request may take. [default: 2]",
    ),
    "as_json": _shared("--json", "as_json", is_flag=True, help="Answer in JSON."),
}
COUNT = click.IntRange(min=1)
KEY = click.argument("key", callback=_bytes)
N = click.option("-n", type=COUNT, help="Replicas of the key. [default: the bucket's]")
R = click.option("-r", type=COUNT, help="Replicas that must answer. [default: the bucket's]")
W = click.option("-w", type=COUNT, help="Replicas that must have it. [default: the bucket's]")
SERVED = ("endpoints", "bucket", "timeout")


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="toystore")
@_common(*SERVED)
@click.pass_context
def main(ctx: click.Context) -> None:
    """Store, read and look into a toystore cluster."""
    ctx.ensure_object(Common)


@main.command()
@KEY
@click.argument("value", callback=_bytes)
@click.option("--context", metavar="BASE64", help="The context of the get that this answers.")
@W
@N
@_common(*SERVED)
@click.pass_obj
def put(
    common: Common, *, key: bytes, value: bytes, context: str | None, w: int | None, n: int | None
) -> None:
    """Store VALUE under KEY; a VALUE of - is read from standard input."""
    if value == b"-":
        value = sys.stdin.buffer.read()
    with common.connect() as store:
        store.put(key, value, context=_context(context), w=w, n=n)
    _done(common)


@main.command()
@KEY
@R
@N
@_common(*SERVED)
@click.pass_context
def get(ctx: click.Context, key: bytes, r: int | None, n: int | None) -> None:
    """Write the value of KEY to standard output."""
    common: Common = ctx.obj
    with common.connect() as store:
        found = store.get(key, r=r, n=n)
    if common.as_json:
        _print_json(
            {"found": False}
            if found is None
            else {
                "found": True,
                "values": [_readable(value) for value in found.values],
                "context": base64.b64encode(found.context).decode(),
            }
        )
    elif found is not None:
        output = sys.stdout.buffer
        output.write(found.value)
        output.write(b"\n" if output.isatty() else b"")
        output.flush()
    if found is None:
        ctx.exit(NOT_FOUND)


@main.command()
@KEY
@click.option("--context", metavar="BASE64", help="The context of the get that this answers.")
@W
@N
@_common(*SERVED)
@click.pass_obj
def delete(common: Common, key: bytes, context: str | None, w: int | None, n: int | None) -> None:
    """Delete KEY; to delete what is not there succeeds."""
    with common.connect() as store:
        store.delete(key, context=_context(context), w=w, n=n)
    _done(common)


@main.command()
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="Wait this long, at most, until the node sees every member alive.",
)
@_common("endpoints", "timeout")
@click.pass_obj
def status(common: Common, wait_s: float | None) -> None:
    """Show the cluster as one node sees it, and how that node is."""
    with common.connect() as store:
        seen = store.status() if wait_s is None else _all_alive(store, wait_s, common.timeout)
    if common.as_json:
        _print_json(seen)
    else:
        _show_status(seen)


@main.command()
@click.argument("key", required=False, callback=_bytes)
@_common(*SERVED)
@click.pass_obj
def ring(common: Common, key: bytes | None) -> None:
    """Show who owns KEY or, without one, each member's load."""
    with common.connect() as store:
        if key is not None:
            _show_owners(common, store.owners(key))
        else:
            _show_load(common, store.ring())


@main.command()
@click.argument("config", type=click.Path(exists=True, dir_okay=False))
@click.argument("name")
@click.option(
    "--data-dir", type=click.Path(file_okay=False), help="[default: data/ and the cluster's name]"
)
def node(config: str, name: str, data_dir: str | None) -> None:
    """Run one node in the foreground.

    CONFIG is the cluster's YAML file, NAME one of its members.
    """
    arguments = [sys.executable, "-m", "actors", config, name]
    os.execv(sys.executable, [*arguments, *(("--data-dir", data_dir) if data_dir else ())])


# --- what the commands share ------------------------------------------------------------


def _all_alive(store: Client, wait_s: float, timeout_s: float) -> dict[str, Any]:
    """The status, once it says that every member is alive.

    Raises:
        Timeout: they were not within ``wait_s``; the text says who was missing.
    """
    give_up = time.monotonic() + wait_s
    while True:
        left_s = max(POLL_S, give_up - time.monotonic())
        try:
            seen = store.status(timeout=min(timeout_s, left_s))
            missing = [f"{m['name']} is {m['status']}" for m in seen["members"]]
            missing = [each for each in missing if not each.endswith(" is alive")]
            if seen["joined"] and not missing:
                return seen
            what = ", ".join(missing) or f"{seen['node']} has not joined"
        except (BadRequest, Internal):
            raise
        except ToystoreError as error:
            what = str(error)
        if time.monotonic() + POLL_S > give_up:
            raise Timeout(f"not every member is alive after {wait_s:g} s: {what}")
        time.sleep(POLL_S)


def _context(given: str | None) -> bytes | None:
    """The causal context in ``--context``."""
    try:
        return None if given is None else base64.b64decode(given, validate=True)
    except ValueError:
        raise click.BadParameter("a context is base64, as `get --json` prints it") from None


def _readable(value: bytes) -> dict[str, str | None]:
    """Bytes as JSON can carry them."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        text = None
    return {"text": text, "base64": base64.b64encode(value).decode()}


def _done(common: Common) -> None:
    """Tell a program, and leave people in peace."""
    if common.as_json:
        _print_json({"done": True})


# --- errors -----------------------------------------------------------------------------


def _exit_code(error: Exception) -> int:
    """See the table at the top."""
    if isinstance(error, BadRequest):
        return BAD_USE
    if isinstance(error, ToystoreError) and not isinstance(error, Internal):
        return NOT_SERVED
    return INTERNAL


def _report(error: Exception, as_json: bool) -> None:
    """One line for people and, if asked for, an object for programs."""
    kind = type(error).__name__
    definite = isinstance(error, ToystoreError) and error.definite
    certainty = "definite: nothing was done" if definite else "indefinite: it may have been done"
    click.echo(f"toystore: {kind}: {error} ({certainty})", err=True)
    if as_json:
        _print_json({"error": kind, "text": str(error), "definite": definite})


# --- what is printed --------------------------------------------------------------------


def _print_json(value: Any) -> None:
    """One line of JSON; bytes that hide in it are shown as hexadecimal digits."""
    click.echo(json.dumps(value, default=lambda odd: odd.hex()))


def _print_table(columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
    """A table for people, as wide as it needs to be where there is no terminal to fit."""
    table = Table(*columns, box=None, header_style="bold", padding=(0, 2, 0, 0))
    for row in rows:
        cells = [str(cell) for cell in row]
        table.add_row(*cells, style=next((COLOURS[c] for c in cells if c in COLOURS), None))
    width = None if sys.stdout.isatty() else WIDTH_PIPED
    Console(markup=False, highlight=False, width=width).print(table)


def _show_status(seen: dict[str, Any]) -> None:
    """A status for people."""
    joined = "joined" if seen["joined"] else "not joined"
    click.echo(f"{seen['node']} of {seen['cluster']}, {joined}\n")
    members = seen["members"]
    _print_table(
        ("member", "status", "incarnation"),
        ((member["name"], member["status"], member["incarnation"]) for member in members),
    )
    if seen["hints"]:
        click.echo()
        _print_table(
            ("hints for", "count", "bytes", "oldest, s"),
            (
                (owner, kept["count"], kept["bytes"], f"{kept['oldest_age_s']:.1f}")
                for owner, kept in seen["hints"].items()
            ),
        )
    for part in ("requests", "storage"):
        click.echo()
        _print_table((part, ""), (seen[part] or {"": "too busy to say"}).items())


def _show_owners(common: Common, placed: Any) -> None:
    """Where a key lives."""
    owners, fallbacks = list(placed.owners), list(placed.fallbacks)
    if common.as_json:
        _print_json({"partition": placed.partition, "owners": owners, "fallbacks": fallbacks})
        return
    rows = (("partition", placed.partition), ("owners", " ".join(owners)))
    _print_table(("key", ""), (*rows, ("fallbacks", " ".join(fallbacks))))


def _show_load(common: Common, ring: Any) -> None:
    """How the partitions are shared out."""
    load = [{"name": name, "owned": owned, "first": first} for name, owned, first in ring.load]
    if common.as_json:
        _print_json({"partitions": ring.partitions, "load": load})
        return
    click.echo(f"{ring.partitions} partitions\n")
    _print_table(("member", "owned", "owned first"), (row.values() for row in load))


main.add_command(sim)

if __name__ == "__main__":
    main()
