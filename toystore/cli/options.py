"""The options that commands share, which may stand before or after a command's name."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import click

import toystore
from toystore import Client

ENVIRONMENT = click.core.ParameterSource.ENVIRONMENT

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(slots=True)
class Common:
    """The options that every command shares."""

    endpoints: tuple[str, ...] = ("tcp://127.0.0.1:7400",)
    bucket: str | None = None
    """None if no bucket is named: the one called "default", or all."""
    timeout: float = 2.0
    as_json: bool = False

    def connect(self) -> Client:
        """A client with these options.  It asks the named nodes only."""
        return toystore.Client(
            list(self.endpoints),
            timeout=self.timeout,
            bucket=self.bucket or "default",
            learn_members=False,
        )


def common_options(*names: str) -> Callable[[Command], Command]:
    """Give a command those of the shared options that it needs, and ``--json``."""

    def decorate(command: Command) -> Command:
        for name in reversed((*names, "as_json")):
            command = OPTIONS[name](command)
        return command

    return decorate


def _keep(ctx: click.Context, option: click.Parameter, value: Any) -> None:
    """Keep an option's value, given before or after the command's name.

    The environment is read first, so that an option replaces its value.
    """
    hidden = ctx.parent and ctx.get_parameter_source(str(option.name)) is ENVIRONMENT
    if value not in (None, (), False) and not hidden:
        setattr(ctx.ensure_object(Common), str(option.name), value)


def _keep_endpoints(ctx: click.Context, option: click.Parameter, value: tuple[str, ...]) -> None:
    """Keep the endpoints; one option may have several, separated by commas."""
    _keep(ctx, option, tuple(one for each in value for one in each.split(",") if one))


def _bytes(_ctx: click.Context, _option: click.Parameter, text: str | None) -> bytes | None:
    """The bytes that were typed, even if they are not UTF-8."""
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
        help="A node's client port; may be repeated. [default: tcp://127.0.0.1:7400]",
    ),
    "bucket": _shared("--bucket", metavar="NAME", help="The bucket of the key. [default: default]"),
    "one_bucket": _shared(
        "--bucket", metavar="NAME", help="Only the ranges of this bucket. [default: of all]"
    ),
    "timeout": _shared(
        "--timeout",
        type=click.FloatRange(min=0, min_open=True),
        metavar="SECONDS",
        help="The time limit of a request. [default: 2]",
    ),
    "longer": _shared(
        "--timeout",
        type=click.FloatRange(min=0, min_open=True),
        metavar="SECONDS",
        help="The time limit of a request, if this is longer than the command's own.",
    ),
    "as_json": _shared("--json", "as_json", is_flag=True, help="Print JSON."),
}
COUNT = click.IntRange(min=1)
KEY = click.argument("key", callback=_bytes)
KEY_OR_NONE = click.argument("key", required=False, callback=_bytes)
VALUE = click.argument("value", callback=_bytes)
R = click.option("-r", type=COUNT, help="Replicas that must answer. [default: the bucket's]")
W = click.option("-w", type=COUNT, help="Replicas that must store it. [default: the bucket's]")
CONTEXT = click.option(
    "--context", metavar="BASE64", help="The context of the get that this write follows from."
)
SERVED = ("endpoints", "bucket", "timeout")
