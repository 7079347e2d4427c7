# `make help` lists what there is to make.  `run`, `test` and `check` set everything up
# first, once: they need Python 3.11 or newer and make, and nothing else.

USABLE := import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for each in python3.13 python3.12 python3.11 python3; do \
	$$each -c '$(USABLE)' 2>/dev/null && echo $$each && break; done)
VENV := .venv
PY := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed
CONFIG ?= configs/ten_nodes.yaml
# Four, also on fewer cores: tests of real nodes mostly wait for them.
PARALLEL := -n 4 --dist worksteal
PYTEST_ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help run test check bench overload detection rebuild moves deletes sim torture clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(INSTALLED)  ## start ten nodes on this machine (CONFIG=configs/three_nodes.yaml: others)
	@$(PY) run_cluster.py $(CONFIG)

test: $(INSTALLED)  ## run the tests (PYTEST_ARGS=...: passed on to pytest)
	@$(PY) -m pytest $(PARALLEL) $(PYTEST_ARGS)

check: $(INSTALLED)  ## lint, formatting, types and import contracts
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy
	@$(VENV)/bin/lint-imports

bench: $(INSTALLED)  ## measure three nodes and, where it is at hand, the transport floor
	@$(PY) benchmarks/compare.py

overload: $(INSTALLED)  ## offer three nodes 1, 2 and 5 times what they can carry
	@$(PY) benchmarks/overload.py

detection: $(INSTALLED)  ## measure failure detection: idle, kills, busy, resets, healing (ARGS="kills": one)
	@$(PY) benchmarks/detection.py $(ARGS)

rebuild: $(INSTALLED)  ## measure anti-entropy: wipe, rot, idle, equal, kills (ARGS="wipe": one)
	@$(PY) benchmarks/rebuild.py $(ARGS)

moves: $(INSTALLED)  ## measure ring changes under load: join, leave, replace, remove, kills (ARGS="join": one)
	@$(PY) benchmarks/moves.py $(ARGS)

deletes: $(INSTALLED)  ## measure how soon deleted keys are gone from all disks: all, away (ARGS="away": one)
	@$(PY) benchmarks/deletes.py $(ARGS)

sim: $(INSTALLED)  ## simulate: find the planted faults, then fresh seeds until stopped
	@$(PY) -m tests.sim.plant
	@$(VENV)/bin/toystore sim search $(ARGS)

torture: $(INSTALLED)  ## ten nodes under fire: each act once (ARGS="--minutes 60": an hour)
	@$(PY) -m tests.torture $(ARGS)

clean:  ## remove what was made; clusters' data stays
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .hypothesis .mypy_cache .ruff_cache \
		.import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A failed installation leaves no stamp, and is tried again.
$(INSTALLED): pyproject.toml
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or newer that can make virtual environments" \
		"was found. On Debian and Ubuntu: apt-get install python3-venv." \
		"Elsewhere: make $(MAKECMDGOALS) PYTHON=path/to/python3" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@
