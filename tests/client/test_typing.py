"""A typed application is sound to both type checkers; what it holds wrong is found."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOUND = """
from collections.abc import Mapping

from toystore import AsyncClient, Client, Found, ToystoreError, Written


def blocking(store: Client, items: dict[str, bytes], names: list[str]) -> None:
    written: Mapping[str, Written] = store.put_many(items)
    found: Mapping[str, Found | None] = store.get_many(names)
    tried: Mapping[str, Found | ToystoreError | None] = store.get_many(names, errors="return")
    by_bytes: Mapping[bytes, Found | None] = store.get_many([b"a"])
    print(written, found, tried, by_bytes)


async def awaited(store: AsyncClient, items: dict[str, str], names: list[str]) -> None:
    written: Mapping[str, Written] = await store.put_many(items)
    found: Mapping[str, Found | None] = await store.get_many(names)
    tried: Mapping[str, Written | ToystoreError] = await store.put_many(items, errors="return")
    print(written, found, tried)
"""
WRONG = """
from toystore import Client


def keys_of_the_wrong_type(store: Client, names: list[str]) -> list[bytes]:
    return list(store.get_many(names))
"""


def mypy(program: Path) -> list[str]:
    return ["-m", "mypy", "--strict", "--cache-dir", str(program.parent / "cache"), str(program)]


def pyright(program: Path) -> list[str]:
    """Pyright's own engine, in the package that brings the Node.js that it needs."""
    settings = program.parent / "pyrightconfig.json"
    settings.write_text(json.dumps({"typeCheckingMode": "strict", "extraPaths": [str(ROOT)]}))
    return ["-m", "basedpyright", "--pythonpath", sys.executable, "-p", str(settings)]


@pytest.mark.parametrize("checker", [mypy, pyright])
@pytest.mark.parametrize(("text", "is_sound"), [(SOUND, True), (WRONG, False)])
def test_keys_keep_their_type_in_calls_about_many(tmp_path, checker, text, is_sound):
    program = tmp_path / "application.py"
    program.write_text(text)

    ran = subprocess.run(
        [sys.executable, *checker(program)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )

    assert (ran.returncode == 0) == is_sound, ran.stdout + ran.stderr
    if not is_sound:
        assert "bytes" in ran.stdout
