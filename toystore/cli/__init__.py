"""The `toystore` command: the client library at a shell's prompt.

Values come from the command line or, for ``-``, from standard input, and go to standard
output, byte for byte.  With ``--json`` everything that a program may read is one JSON
object on standard output, errors too; bytes are in it as base64, and as text where they
are UTF-8.  Endpoints, bucket, timeout and ``--json`` may stand before or after the
command's name.  An error is one line on standard error, and an exit code:

    0    done; `get` has found a value
    1    `get` has found nothing
    2    bad use: of the command line, of standard input, or a request that can never
         succeed as it is; nothing was done
    3    not served: unavailable, overloaded, late or in conflict; a second try may succeed.
         The line says whether it certainly did not happen (definite) or may have
         (indefinite).  Also `status --wait`, if its time was over first, and `status --all`,
         if a node did not answer, and `repair`, if not all is repaired.
    4    internal: a bug in toystore
    5    what was asked for was done (a put is stored), but standard output could not be
         written
    130  interrupted
    141  as 5, because standard output has no reader any more; the process ends by SIGPIPE

    commands.py   every command's name, and what errors become
    options.py    the options that commands share
    output.py     JSON and tables
    values.py     put, get, delete
    status.py     status        census.py   status --all
    rebuild.py    what both say of a node that rebuilds its ranges; status --watch
    repair.py     repair        follow.py   asks nodes repeatedly, and draws bars
    ring.py       ring          node.py     node
    cluster.py    cluster       cluster_plan.py, cluster_watch.py   what it shows
"""

from __future__ import annotations

import signal
import sys

from toystore import streams
from toystore.extras import what_is_missing

BAD_USE = 2


class OutputLostError(BaseException):
    """Standard output cannot be written.

    Any print can raise it, and as with an interruption, code that runs at that time (such as
    the simulator's machines) must not take it for its own failure.
    """

    def __init__(self, why: OSError) -> None:
        super().__init__(str(why))
        self.why = why


def main() -> None:
    """Run the command line that this process was given."""
    streams.take_over(_lose)
    try:
        from toystore.cli.commands import commands  # noqa: PLC0415 - its packages may be missing

        code = commands.main()
    except ModuleNotFoundError as error:
        streams.complain(f"toystore: {what_is_missing(error)}")
        code = BAD_USE
    except KeyboardInterrupt:
        code = 130
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # what remains is to exit with this code
    sys.exit(code)


def _lose(why: OSError) -> None:
    raise OutputLostError(why)
