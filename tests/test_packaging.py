"""What is installed: from a clone, as a wheel, and with the client's packages alone."""

import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from toystore import __version__

ROOT = Path(__file__).resolve().parent.parent
APP = "from toystore import Client\nprint(Client.__name__)\n"
BUILD = (
    "import sys, setuptools.build_meta as backend; wheel, editable = sys.argv[1:];"
    "backend.build_wheel(wheel); backend.build_editable(editable)"
)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with a clone called toystore, what is built of it, and a program beside it."""
    folder = tmp_path_factory.mktemp("home")
    clone = folder / "toystore"
    for package in ("toystore", "actors"):
        leave_out = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, clone / package, ignore=leave_out)
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, clone)
    arguments = [folder / "wheel", folder / "editable"]
    for made in arguments:
        made.mkdir()
    subprocess.run(
        [sys.executable, "-c", BUILD, *arguments], cwd=clone, capture_output=True, check=True
    )
    (folder / "app.py").write_text(APP)
    return folder


def installed(home: Path, kind: str, into: Path) -> Path:
    """A folder of packages: toystore, and what its client needs."""
    (wheel,) = (home / kind).glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(into)
    for package in ("zmq", "msgpack"):
        origin = Path(importlib.util.find_spec(package).origin).parent
        for path in (origin, origin.with_name("pyzmq.libs")):
            if path.exists() and not (into / path.name).exists():
                (into / path.name).symlink_to(path)
    return into


def python(packages: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Python with these packages and no others; their path entries count, as in a real place."""
    start = (
        "import runpy, site, sys;"
        f"sys.path[0] = {str(cwd)!r}; site.addsitedir({str(packages)!r}); sys.argv = sys.argv[1:];"
        "run = runpy.run_path if sys.argv[0].endswith('.py') else runpy.run_module;"
        "run(sys.argv[0], run_name='__main__')"
    )
    return subprocess.run(
        [sys.executable, "-S", "-c", start, *arguments],
        cwd=cwd,
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_program_beside_the_clone_finds_the_package_and_not_the_folder(home, tmp_path):
    done = python(installed(home, "editable", tmp_path), "app.py", cwd=home)

    assert (done.stdout, done.stderr) == ("Client\n", "")


def test_the_client_works_from_a_wheel_without_extras(home, tmp_path):
    done = python(installed(home, "wheel", tmp_path), "app.py", cwd=home)

    assert (done.stdout, done.stderr) == ("Client\n", "")


def test_a_wheel_has_the_version_that_nodes_log(home):
    (wheel,) = (home / "wheel").glob("*.whl")

    assert wheel.name.startswith(f"toystore-{__version__}-")


@pytest.mark.parametrize("arguments", [("--help",), ("get", "k"), ("sim", "run", "--seed", "7")])
def test_the_command_line_without_its_packages_says_how_to_come_by_them(home, tmp_path, arguments):
    done = python(installed(home, "wheel", tmp_path), "toystore", *arguments, cwd=tmp_path)

    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("toystore: the package click is missing. ")
    assert "pip install 'WHEEL[node]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_nodes_and_clusters_without_their_packages_say_how_to_come_by_them(home, tmp_path):
    shutil.copy(ROOT / "run_cluster.py", tmp_path)
    packages = installed(home, "wheel", tmp_path)

    told = [python(packages, name, "--help", cwd=tmp_path) for name in ("actors", "run_cluster.py")]

    assert [each.returncode for each in told] == [2, 2]
    for each in told:
        assert " is missing. In a clone, `make run` makes an environment" in each.stderr
        assert len(each.stderr.splitlines()) == 1
