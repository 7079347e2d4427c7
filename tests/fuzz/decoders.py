"""Fuzzing: every decoder there is, and what none of them may do, whatever it is given.

A decoder is given bytes that anybody may have written: a stranger at a port, another
toystore, a rotten disk, a hand with an editor.  It reads them or refuses them by name,
and `judge` holds it to that:

    it raises nothing but its own errors, and says in them what is wrong
    the memory it takes is bounded by the size of what it was given
    it comes to an end
    what it read obeys its law (`check_NAME`, in the fuzz_* modules)

To have another decoder fuzzed, say how it is called (as fuzz_sockets.py tells) and add its
line to `DECODERS`.  test_decoders.py judges each on its seeds, on its kept corpus
(``corpus/NAME/``) and on mutants of both, the same in every run.  search.py goes on from
there for as long as it is told to, and adds what it finds to the corpus:

    python tests/fuzz/search.py --seconds 600
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import signal
import traceback
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import fuzz_disks as disks
import fuzz_files as files
import fuzz_sockets as sockets
from fuzz_inputs import NotAnInputError
from mutations import CONTEXT, LINES, MSGPACK, PACK, RECORD, STAMP, YAML, Form

from toystore.check.history import HistoryError
from toystore.config import ConfigError
from toystore.core.data.record import CorruptRecordError
from toystore.core.storage.disk_identity import ForeignDataError
from toystore.localcluster.preflight import StartError
from toystore.wire import FrameError

CORPUS = Path(__file__).resolve().parent / "corpus"
MEMORY_BYTES_BASE = 2 * 1024 * 1024
"""What any decoder may take, however little it is given."""
CPU_S_MAX = 30.0
"""Of this process's own time, so that a busy machine accuses nobody."""


class Decoder(NamedTuple):
    """A row of `DECODERS`."""

    name: str
    form: Form
    """How its inputs come apart, to be made wrong inside."""
    errors: tuple[type[Exception], ...]
    """What it may raise."""
    read: Callable[[bytes], Any]
    check: Callable[[Any], None]
    """The law of what it reads."""
    seeds: Callable[[], Iterable[bytes]]
    """Inputs that it must read."""
    growth_max: int
    """How many bytes of memory it may take for each that it is given."""


def row(
    name: str, form: Form, *errors: type[Exception], where: ModuleType, growth_max: int = 100
) -> Decoder:
    """A decoder whose functions are found ``where`` they are, by its name."""
    read, check = getattr(where, f"read_{name}"), getattr(where, f"check_{name}")
    seeds = getattr(where, f"{name}_seeds")
    return Decoder(name, form, (*errors, NotAnInputError), read, check, seeds, growth_max)


DECODERS = (
    row("frame", MSGPACK, FrameError, where=sockets),
    row("client_port", PACK, where=sockets),
    row("full_client_port", PACK, where=sockets),
    row("mailbox", PACK, where=sockets),
    row("replies", MSGPACK, where=sockets),
    row("record", RECORD, CorruptRecordError, where=disks),
    row("stamp", STAMP, ValueError, where=disks),
    row("context", CONTEXT, ValueError, where=disks),
    row("storage", PACK, FrameError, where=disks),
    row("hints", PACK, where=disks),
    row("facts", PACK, ForeignDataError, where=disks),
    row("config", YAML, ConfigError, where=files, growth_max=700),
    row("log", LINES, where=files),
    row("lock", LINES, StartError, where=files),
    row("pid", LINES, where=files),
    row("life", LINES, where=files),
    row("history", LINES, HistoryError, where=files),
    row("scenario", LINES, ValueError, where=files),
    # Backup files, as soon as there are any.
)
"""The one table.  A decoder without errors has to cope with whatever it is given."""


class FaultError(Exception):
    """A decoder did what none may do."""

    def __init__(self, kind: str, text: str = "") -> None:
        super().__init__(f"{kind}: {text}" if text else kind)
        self.kind = kind
        """What tells this fault from others: of two inputs with one kind, one is enough."""


class EndlessError(BaseException):
    """It comes to no end.  Not an Exception, lest the decoder take it for a misfit."""


def judge(decoder: Decoder, data: bytes) -> bool:
    """Whether ``data`` is read (True) or refused by name (False).  Raises `FaultError`."""
    tracemalloc.start()
    try:
        read = _read(decoder, data)
        memory = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    bound = MEMORY_BYTES_BASE + decoder.growth_max * len(data)
    if memory > bound:
        raise FaultError("memory", f"{memory:,} bytes for {len(data):,}; at most {bound:,} are due")
    if isinstance(read, Exception):
        if not str(read):
            raise FaultError(f"{type(read).__name__} that says nothing")
        return False
    try:
        decoder.check(read)
    except Exception as error:
        raise FaultError(*_told(error)) from error
    return True


def _read(decoder: Decoder, data: bytes) -> Any:
    """What was read, or the error by which it was refused."""
    try:
        with _ending():
            return decoder.read(data)
    except decoder.errors as error:
        return error
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a panic in Rust is no Exception
        raise FaultError(*_told(error)) from error


@contextlib.contextmanager
def _ending() -> Iterator[None]:
    """Raise `EndlessError` in what takes too long."""
    signal.signal(signal.SIGVTALRM, _give_up)
    signal.setitimer(signal.ITIMER_VIRTUAL, CPU_S_MAX)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)


def _give_up(*_: object) -> None:
    raise EndlessError(f"no end in {CPU_S_MAX:g} s")


def _told(error: BaseException) -> tuple[str, str]:
    """An error's kind, which says where it was raised, and its text."""
    at = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {Path(at.filename).name} {at.name}", f"{error!s:.300}"


def inputs(decoder: Decoder) -> list[bytes]:
    """What mutants are made of: the seeds, and what was kept."""
    return [*decoder.seeds(), *(path.read_bytes() for path in kept(decoder))] or [b""]


def kept(decoder: Decoder) -> list[Path]:
    """The corpus of a decoder."""
    return sorted((CORPUS / decoder.name).glob("*"))


def keep(decoder: Decoder, data: bytes, kind: str) -> Path:
    """Add an input to the corpus, named by its fault."""
    name = re.sub(r"\W+", "-", kind)
    path = CORPUS / decoder.name / f"{name}-{hashlib.sha256(data).hexdigest()[:8]}"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return path
