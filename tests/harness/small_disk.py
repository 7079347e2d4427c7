"""A small disk that can be full: a tmpfs, mounted for as long as a block lasts."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_BLOCK = bytes(4096)


class NotPermittedError(Exception):
    """Nothing can be mounted here; the text says why."""


@contextmanager
def small_disk(folder: Path, size_bytes: int) -> Iterator[None]:
    """A disk of so many bytes, on a new folder.  Raises `NotPermittedError`."""
    folder.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "toystore", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise NotPermittedError("there is no mount(8) here to make a small disk with") from None
    if done.returncode:
        why = done.stderr.strip()
        raise NotPermittedError(f"a small disk must be mounted, and is refused: {why}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(ballast: Path) -> None:
    """Write a file until nothing more goes on its disk."""
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(_BLOCK)
