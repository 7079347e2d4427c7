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


def mypy(folder: Path) -> list[str]:
    return ["-m", "mypy", "--strict", "--cache-dir", str(folder / "cache"), str(folder)]


def pyright(folder: Path) -> list[str]:
    """Pyright's own engine, in the package that brings the Node.js that it needs."""
    settings = folder / "pyrightconfig.json"
    settings.write_text(json.dumps({"typeCheckingMode": "strict", "extraPaths": [str(ROOT)]}))
    return ["-m", "basedpyright", "--pythonpath", sys.executable, "-p", str(settings)]


@pytest.fixture(scope="module", params=[mypy, pyright])
def errors(request, tmp_path_factory):
    """What a type checker says of both applications, which it looks at together."""
    folder = tmp_path_factory.mktemp("applications")
    (folder / "sound.py").write_text(SOUND)
    (folder / "wrong.py").write_text(WRONG)
    ran = subprocess.run(
        [sys.executable, *request.param(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert ran.returncode == 1, ran.stdout + ran.stderr
    return [line for line in ran.stdout.splitlines() if "error" in line]


def test_calls_about_many_keys_are_sound(errors):
    assert not [line for line in errors if "sound.py" in line]


def test_keys_keep_their_type_in_calls_about_many(errors):
    [told] = [line for line in errors if "wrong.py" in line]
    assert "bytes" in told
