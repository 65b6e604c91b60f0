# make demo: everything set up, then a whole search on this machine.  make test: everything set up, then all tests.
# Both work on a fresh Debian or Ubuntu with Python 3.11+; see CONTRIBUTING.md for the single parts.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest
# Test processes side by side, each with a Slurm and folders of its own; WORKERS=0: all in one process.
# Trainings keep two cores busy, the others wait more than they compute.
WORKERS = 2
quick unit cluster: WORKERS = 3
SPREAD = -n $(WORKERS) --dist worksteal
# Two threads on two busy cores make generation 30 times slower than one (docs/performance.md).
export OMP_NUM_THREADS = 1
export PIP_DISABLE_PIP_VERSION_CHECK = 1
export PIP_ROOT_USER_ACTION = ignore

.PHONY: help demo test install system lint types quick unit local cluster docs format clean
help: ## what can be made
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 18

demo: install ## set up, then run a whole search with no option at all
	HPC_TREX_KNOWLEDGE=off $(BIN)/hpc-trex launch

test: install system lint types unit local cluster ## set up (a real Slurm included), then all tests

install: $(VENV)/.ready ## virtual environment with everything pinned

# torch first and by its exact pin: so pip takes a build that it finds locally, where there is one.
$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "HPC-TREX needs Python 3.11 or newer: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { [ "$$(id -u)" = 0 ] && apt-get update -q && apt-get install -y -q python3-venv; } || { echo "Python lacks venv: install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q "$$(grep '^torch==' constraints.txt)"
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[train,optuna,chem,law,serve,dev]'
	@touch $@

system: ## Slurm, bubblewrap and Chromium for the tests, where this is root on Debian or Ubuntu
	slurm/testcluster/install.sh
	@command -v bwrap >/dev/null || \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo "installing bubblewrap for the tests of the sandbox"; \
	    get() { DEBIAN_FRONTEND=noninteractive apt-get "$$@" >/dev/null; }; \
	    get install -y -q --no-install-recommends bubblewrap 2>/dev/null || { get update -q && get install -y -q --no-install-recommends bubblewrap; }; \
	  else echo "bubblewrap is missing: install it, the sandbox's tests run the real one" >&2; exit 1; fi
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo "installing Chromium for the report's tests"; \
	    get() { DEBIAN_FRONTEND=noninteractive apt-get "$$@" >/dev/null; }; \
	    get install -y -q --no-install-recommends chromium 2>/dev/null || { get update -q && get install -y -q --no-install-recommends chromium; }; \
	  else echo "Chromium is missing: install it, the report's tests open a real browser" >&2; exit 1; fi

lint: install ## ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install ## mypy --strict on the package
	$(BIN)/mypy

# worksteal: whoever is through takes tests from the others, and neighbours, which share what they set up, stay together.
quick: install ## unit tests without those that take several seconds each
	$(PYTEST) tests/unit $(SPREAD) -q -m "not slow"

unit: install ## all unit tests
	$(PYTEST) tests/unit $(SPREAD) -q

local: install ## real searches and trainings as local processes
	$(PYTEST) tests/local $(SPREAD) -q

cluster: install ## real searches on real Slurms, one a worker, that the tests start
	$(PYTEST) tests/cluster $(SPREAD) -q

docs: install ## refresh the generated pages
	$(BIN)/python -m hpc_trex.cli.reference > docs/cli.md

format: install ## write as ruff wants it
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## remove the environment and the caches, never a search
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist
