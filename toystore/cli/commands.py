"""Every command by name, and the handling of errors.

A command's module is imported when the command is used: a `get` at a prompt should not wait
for the simulator.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click

from toystore import BadRequest, Internal, ToystoreError, streams
from toystore.cli import BAD_USE, OutputLostError
from toystore.cli.options import SERVED, Common, common_options
from toystore.cli.output import print_json

NOT_SERVED, INTERNAL, OUTPUT_LOST, INTERRUPTED = 3, 4, 5, 130

MODULES = {
    "put": "toystore.cli.values",
    "get": "toystore.cli.values",
    "delete": "toystore.cli.values",
    "status": "toystore.cli.status",
    "ring": "toystore.cli.ring",
    "repair": "toystore.cli.repair",
    "cluster": "toystore.cli.cluster",
    "node": "toystore.cli.node",
    "detect": "toystore.cli.detect",
    "sim": "toystore.sim.command",
}
"""The module of each command, which has the command under its own name."""


class Commands(click.Group):
    """A group that turns each exception of a command into one line and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """The names, in the order in which `--help` shows them."""
        return list(MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """A command; imports its module."""
        module = MODULES.get(cmd_name)
        return None if module is None else getattr(import_module(module), cmd_name)

    def main(self, args: Sequence[str] | None = None, *rest: Any, **extra: Any) -> Any:
        """Run a command line and exit."""
        raise SystemExit(self._run(args, *rest, **extra))

    def _run(self, args: Sequence[str] | None, *rest: Any, **extra: Any) -> int:
        """Run a command line; the exit code."""
        try:
            return super().main(args, *rest, **extra | {"standalone_mode": False}) or 0
        except click.ClickException as error:
            error.show()
            return error.exit_code
        except (click.Abort, KeyboardInterrupt):
            return INTERRUPTED
        except OutputLostError as lost:
            return _report_lost(lost.why)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was named."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.Abort, click.exceptions.Exit, ModuleNotFoundError):
            raise
        except Exception as error:
            _report(error, ctx.ensure_object(Common).as_json)
            ctx.exit(_exit_code(error))


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="toystore")
@common_options(*SERVED)
@click.pass_context
def commands(ctx: click.Context) -> None:
    """Write to, read from and inspect a toystore cluster."""
    ctx.ensure_object(Common)


def _exit_code(error: Exception) -> int:
    """See the table in the package's docstring."""
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
    streams.complain(f"toystore: {kind}: {error} ({certainty})")
    if as_json:
        # The line above has reported it, and the exit code will.
        with contextlib.suppress(OutputLostError):
            print_json({"error": kind, "text": str(error), "definite": definite})


def _report_lost(why: OSError) -> int:
    """The exit code if the command was done but its outcome could not be written."""
    if why.errno == errno.EPIPE:
        return streams.end_by_broken_pipe()
    streams.complain(
        f"toystore: standard output cannot be written: {why.strerror} "
        "(what was asked for was done; it is the outcome that could not be told)"
    )
    return OUTPUT_LOST
