"""Standard streams that may be closed, full, or without a reader.

A program that is started with a standard stream closed gives that stream's number to the
next file or socket that it opens, and then its output is sent over a connection.  Streams in
Python fail at a write and again at the exit, where the error cannot be caught.  `take_over`
prevents both: numbers 0 to 2 are occupied, and standard output reports its first failure once;
after that all output is discarded.  A failure of standard error is ignored: there is no place
to report it.
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
"""The exit code, in a shell, of a program that SIGPIPE ended."""

_Lost = Callable[[OSError], None]


class Output(io.FileIO):
    """Standard output or error, below all buffers."""

    def __init__(self, number: int, when_lost: _Lost) -> None:
        """``when_lost`` is called with the first failure, in the thread of the write."""
        super().__init__(number, "w", closefd=False)
        self.lost: OSError | None = None
        """Why it cannot be written any more, or None."""
        self.when_lost = when_lost

    def write(self, data: Any, /) -> int:
        """Write; after the first failure, discard."""
        if self.lost is None:
            try:
                return super().write(data)
            except OSError as error:
                self._lose(error)
        return memoryview(data).nbytes

    def check(self) -> None:
        """Detect without a write that a pipe has no reader any more."""
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
    """A text stream over ``output``, in the encoding of the stream before it, if there was one."""
    encoding = before.encoding if before is not None else "utf-8"
    raw = io.BufferedWriter(output)
    return io.TextIOWrapper(raw, encoding, "backslashreplace", line_buffering=line_buffering)


def _occupy() -> None:
    """Occupy the numbers of closed standard streams, so that no file or socket gets them.

    A stream that another program has made non-blocking (it is shared) is set to block again:
    otherwise Python reads a truncated value when the input is late.
    """
    for number, mode in ((STDIN, os.O_WRONLY), (STDOUT, os.O_RDONLY), (STDERR, os.O_RDONLY)):
        try:
            os.set_blocking(number, True)
        except OSError:
            # This is the lowest free number.  It is opened in the wrong direction, so that
            # its use fails as it does for a closed stream.
            os.set_inheritable(os.open(os.devnull, mode), True)


def complain(text: str) -> None:
    """Print a line on standard error."""
    print(text, file=sys.stderr, flush=True)


def end_by_broken_pipe() -> int:
    """End by SIGPIPE, which Python ignores by default; returns the exit code if that fails."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGPIPE)
    return BROKEN_PIPE
