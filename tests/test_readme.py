"""What the pages show is run, what they name exists, and their links lead somewhere."""

import importlib
import inspect
import os
import pkgutil
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import actors
import toystore
from tests.harness.configs import UNHURRIED, client_endpoint, write_config
from tests.harness.programs import ClusterRun
from toystore.check import promises
from toystore.config import load
from toystore.core.data.record import digest_of
from toystore.core.protocol.events import EVENTS
from toystore.core.ring.ring import Ring
from toystore.sim import audit

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
ARCHITECTURE = (ROOT / "docs" / "ARCHITECTURE.md").read_text()
PROMISES = (ROOT / "docs" / "PROMISES.md").read_text()
PAGES = {
    "README.md": README,
    "docs/ARCHITECTURE.md": ARCHITECTURE,
    "docs/PROMISES.md": PROMISES,
    "CONTRIBUTING.md": (ROOT / "CONTRIBUTING.md").read_text(),
}
"""The pages whose names in backticks are looked up in the code."""
LINKED = sorted(
    {*PAGES, "CHANGELOG.md"}
    | {str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md")}
)

NAMES = ("n1", "n2", "n3")
MODULES = {
    found.name: importlib.import_module(found.name)
    for package in (toystore, actors)
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
}


# --- what is shown of the simulator -----------------------------------------------------


def test_the_simulated_run_is_the_one_that_is_shown():
    shown = re.search(r"\$ \.venv/bin/toystore sim run --seed (\d+)\n(.*?)```", README, re.DOTALL)
    command = [sys.executable, "-m", "toystore", "sim", "run", "--seed", shown[1]]

    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)

    assert told.stdout == shown[2]


# --- what is shown, run on three real nodes ---------------------------------------------


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory):
    """Where n1 of a cluster listens that `run_cluster.py` has started."""
    folder = tmp_path_factory.mktemp("readme")
    guard, config = write_config(folder, 3, cluster="readme", swim=UNHURRIED)
    with guard, ClusterRun(config, folder / "data") as run:
        run.until_ready()
        yield client_endpoint(config)
        assert run.stop() == 0


@pytest.mark.cluster
def test_the_client_example_prints_what_its_comments_say(endpoint, capsys):
    (example,) = re.findall(r"^```python\n(.*?)^```", README, re.DOTALL | re.MULTILINE)

    runnable = example.replace("tcp://127.0.0.1:7400", endpoint)
    exec(compile(runnable, "README.md", "exec"), {"__name__": "example"})

    shown = re.findall(r"print\(.*\) +# (.*)$", example, re.MULTILINE)
    assert capsys.readouterr().out.splitlines() == shown
    assert len(shown) == 3


@pytest.mark.cluster
def test_the_commands_print_what_is_shown(endpoint):
    shown = [(command, output) for command, output in sessions() if " ring " not in command]
    assert len(shown) == 4

    printed = [(command, printed_by(command, endpoint)) for command, _ in shown]

    assert printed == shown


def test_the_ring_that_is_shown_is_that_of_ten_nodes():
    (shown,) = (output for command, output in sessions() if command == "toystore ring cart:7")
    config = load(ROOT / "configs" / "ten_nodes.yaml")
    n = config.buckets["default"].n
    ring = Ring(config.ring_members(), config.partitions, n)

    partition = ring.partition_of(digest_of("default", b"cart:7", 3))
    order = ring.order(partition)

    assert [line.split() for line in shown] == [
        ["key"],
        ["partition", str(partition)],
        ["owners", *order[:n]],
        ["fallbacks", *order[n:]],
    ]
    assert f"partition {partition},\nwhose owners are {', '.join(order[:2])} and {order[2]}" in (
        ARCHITECTURE
    )


def sessions():
    """The commands of the README's session at the prompt, each with the lines that it prints."""
    (block,) = re.findall(r"^```\n(\$ toystore put.*?)^```", README, re.DOTALL | re.MULTILINE)
    pairs = []
    for line in block.splitlines():
        if line.startswith("$ "):
            pairs.append((line.removeprefix("$ "), []))
        else:
            pairs[-1][1].append(line)
    return pairs


def printed_by(command, endpoint):
    # A request that is tried again is indefinite: on a busy machine the first answer takes long.
    python = f"{shlex.quote(sys.executable)} -m toystore --timeout 60"
    done = subprocess.run(
        ["bash", "-c", f'toystore() {{ {python} "$@"; }}\n{command}'],
        cwd=ROOT,
        env=os.environ | {"TOYSTORE_ENDPOINTS": endpoint},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return [line.rstrip() for line in done.stdout.splitlines()]


# --- what is named ----------------------------------------------------------------------


@pytest.mark.parametrize("page", LINKED)
def test_every_link_leads_to_a_file_and_a_heading(page):
    text = (ROOT / page).read_text()
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]

    assert [link for link in links if not leads_somewhere(link, ROOT / page)] == []


def leads_somewhere(link, page):
    """Whether the file is there, and in it the heading that follows the ``#``."""
    path, _, anchor = link.partition("#")
    target = page.parent / path if path else page
    if not anchor:
        return target.exists()
    headings = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE)
    return anchor in {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings}


def test_every_path_that_is_named_exists():
    paths = [name for name in quoted() if re.fullmatch(r"[\w./-]+(/|\.(py|yaml|toml))", name)]

    assert len(paths) > 20
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_every_make_target_that_is_named_exists():
    named = set(re.findall(r"(?:`|\$ )make ([a-z]+)", README))
    makefile = (ROOT / "Makefile").read_text()

    assert named >= {"run", "test"}
    assert named <= set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))


def test_every_name_that_is_cited_is_in_the_code():
    functions = [found[1] for name in quoted() if (found := re.fullmatch(r"([\w.]+)\(.*\)", name))]
    functions = [name for name in functions if name not in dict(IN_TESTS)]
    events = [name for name in quoted() if re.fullmatch(r"[a-z]+\.(?!toml)[a-z]+", name)]
    words = [name for name in quoted() if re.fullmatch(r"\w*([A-Z]|[a-z]_)\w*", name)]
    source = "\n".join(Path(module.__file__).read_text() for module in MODULES.values())

    assert min(map(len, (functions, events, words))) > 5
    assert [name for name in functions if not is_defined(name, *MODULES.values())] == []
    assert [name for name in events if name not in EVENTS] == []
    assert [name for name in words if not re.search(rf"\b{name}\b", source)] == []


def test_a_journey_names_the_file_in_which_a_function_is_found():
    steps = re.findall(r"^\|[^|]*\| `([\w/]+)\.py` \|(.*)\|$", ARCHITECTURE, re.MULTILINE)
    cited = [
        (path, name) for path, text in steps for name in re.findall(r"`([\w.]+)\([^`]*\)`", text)
    ]

    assert len(cited) > 30
    assert [
        (path, name)
        for path, name in cited
        if not is_defined(name, MODULES[path.replace("/", ".")])
    ] == []


IN_TESTS = re.findall(r"`(\w+)\(\)` in `(tests/[\w/]+\.py)`", PROMISES)
"""Functions that are cited with their file."""


def test_every_test_that_is_cited_is_in_its_file():
    assert len(IN_TESTS) > 5
    assert [
        (name, path) for name, path in IN_TESTS if f"def {name}(" not in (ROOT / path).read_text()
    ] == []


def test_every_check_of_a_promise_is_on_the_page_of_promises():
    checks = {
        name
        for module in (promises, audit)
        for name, value in vars(module).items()
        if inspect.isfunction(value)
        and value.__module__ == module.__name__
        and value.__annotations__.get("return") == "list[Violation]"
    }

    assert len(checks) > 15
    assert [name for name in sorted(checks) if f"| `{name}()`" not in PROMISES] == []


def test_the_list_of_folders_is_complete():
    listed, outer = set(), ""
    (block,) = re.findall(r"^```\n(run_cluster\.py.*?)^```", README, re.DOTALL | re.MULTILINE)
    for line in block.splitlines():
        name = line.split()[0]
        if not line.startswith(" "):
            outer = name
        listed.add(outer + name if line.startswith(" ") else name)

    packages = {
        f"{path.parent.relative_to(ROOT)}/"
        for folder in ("toystore", "actors")
        for path in (ROOT / folder).rglob("__init__.py")
    }
    others = {"run_cluster.py", "benchmarks/", "configs/", "docs/", "tests/"}
    assert listed == packages | others


def quoted():
    """What stands in backticks on these pages, code blocks left out."""
    block = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
    return [
        name for page in PAGES.values() for name in re.findall(r"`([^`\n]+)`", block.sub("", page))
    ]


def is_defined(name, *modules):
    """Whether a function, a method (``Class.method``) or a bare method is to be found there."""
    owner, _, function = name.rpartition(".")
    for module in modules:
        classes = [value for value in vars(module).values() if isinstance(value, type)]
        if owner:
            found = any(cls.__name__ == owner and hasattr(cls, function) for cls in classes)
        else:
            found = hasattr(module, name) or any(hasattr(cls, name) for cls in classes)
        if found:
            return True
    return False
