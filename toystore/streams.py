"""Standard streams that may be closed, full, or read by nobody.

A program that is started with a standard stream closed gives that stream's number to the
next file or socket that it opens, and what it prints goes down a connection.  Streams in
Python fail where something is written and once more at the exit, where nobody can catch
it.  `take_over` closes both gaps: numbers 0 to 2 are occupied, and standard output tells of
its first failure once, after which everything that is written goes nowhere.  Standard error is
let go without a word: there is nowhere to complain of it.
"""

from __future__ import annotations

import errno
import io
import os
import select
import signal
import sys
from collections.abc import Callable
from typing import Any, TextIO

STDIN, STDOUT, STDERR = 0, 1, 2
BROKEN_PIPE = 128 + signal.SIGPIPE
"""What a shell calls the exit of a program that SIGPIPE ended."""

_Lost = Callable[[OSError], None]


class Output(io.FileIO):
    """Standard output or error, below all buffers."""

    def __init__(self, number: int, when_lost: _Lost) -> None:
        """``when_lost`` is called with the first failure, in the thread that met it."""
        super().__init__(number, "w", closefd=False)
        self.lost: OSError | None = None
        """Why nothing can be written any more."""
        self.when_lost = when_lost

    def write(self, data: Any, /) -> int:
        """Write; once that has failed, pretend to."""
        if self.lost is None:
            try:
                return super().write(data)
            except OSError as error:
                self._lose(error)
        return memoryview(data).nbytes

    def check(self) -> None:
        """Notice without writing that nobody reads any more, as of a pipe whose reader has gone."""
        poll = select.poll()
        poll.register(self, 0)
        if self.lost is None and any(
            events & (select.POLLERR | select.POLLHUP) for _, events in poll.poll(0)
        ):
            self._lose(BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE)))

    def _lose(self, error: OSError) -> None:
        self.lost = error
        self.when_lost(error)


def take_over(when_lost: _Lost) -> Output:
    """Make the standard streams safe to use; call it before anything else is opened.

    Closed standard input stays `None`, and closed standard output is lost with the first byte
    that is written to it.
    """
    _occupy()
    output = Output(STDOUT, when_lost)
    sys.stdout = _text(output, sys.stdout, line_buffering=output.isatty())
    sys.stderr = _text(Output(STDERR, lambda _: None), sys.stderr, line_buffering=True)
    return output


def _text(output: Output, before: TextIO | None, *, line_buffering: bool) -> TextIO:
    """Text over ``output``, in the encoding that was chosen at the start, if one was."""
    encoding = before.encoding if before is not None else "utf-8"
    raw = io.BufferedWriter(output)
    return io.TextIOWrapper(raw, encoding, "backslashreplace", line_buffering=line_buffering)


def _occupy() -> None:
    """Keep the numbers of closed standard streams from files and sockets, ours and children's.

    A stream that another program has made non-blocking (it is shared) is made to block again:
    Python's buffers would end a value where for a moment there is no more of it.
    """
    for number, mode in ((STDIN, os.O_WRONLY), (STDOUT, os.O_RDONLY), (STDERR, os.O_RDONLY)):
        try:
            os.set_blocking(number, True)
        except OSError:
            # The lowest number that is free is this one.  It is opened the wrong way about,
            # so that use of it fails as it would have.
            os.set_inheritable(os.open(os.devnull, mode), True)


def complain(text: str) -> None:
    """A line on standard error."""
    print(text, file=sys.stderr, flush=True)


def end_by_broken_pipe() -> int:
    """End as SIGPIPE ends a program, which Python ignores; the exit code, if that fails."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGPIPE)
    return BROKEN_PIPE
