# Everything runs in .venv, which is made from the locks the first time, and brought up to date when they change.
# Needs Python >= 3.11 and make. `make help` lists the targets; ARGS="..." goes on to the program that a target runs.

PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null && echo $$python && break; done)
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
SEEDS ?= 1000
FAULTS ?= 100
ARGS ?=

# An environment whose interpreter is gone, or too old, is made anew.
ifneq ($(wildcard $(VENV)),)
ifneq ($(shell $(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' > /dev/null 2>&1 || echo broken),)
$(shell rm -rf $(VENV))
endif
endif

.DEFAULT_GOAL := help
.PHONY: help install demo test lint format types imports check simulate chaos bench lock ci clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(VENV)/.runtime ## the two commands, as .venv/bin/mirakl-resync-consumer and .venv/bin/mirakl-resync

demo: $(VENV)/.runtime ## the whole system on embedded parts, with real requests going through it
	@$(BIN)/mirakl-resync demo $(ARGS)

test: $(VENV)/.development ## all tests that can run here; names at the end what could not run, and why
	@$(BIN)/python -m pytest $(ARGS)

lint: $(VENV)/.development ## style: the linter with all its rules, and the formatter
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

format: $(VENV)/.development ## bring the code into the house's format
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

types: $(VENV)/.development ## strict types, tests included
	@$(BIN)/mypy

imports: $(VENV)/.development ## who may import whom
	@$(BIN)/lint-imports

check: lint types imports test ## lint, types, imports and test

simulate: $(VENV)/.development ## hostile schedules through the engine: SEEDS=1000
	@$(BIN)/python -m tests.simulation --seeds $(SEEDS) $(ARGS)

chaos: $(VENV)/.development ## random faults on a real broker under load: FAULTS=100
	@$(BIN)/python -m tests.chaos --faults $(FAULTS) $(ARGS)

bench: $(VENV)/.development ## speed and size on a real broker: ARGS="--tail", "--dead", "--clients 64", "--no-key"
	@$(BIN)/python -m tests.bench $(ARGS)

COMPILE = $(BIN)/python -m uv pip compile --quiet --upgrade --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-header --no-annotate

lock: $(VENV)/.development ## resolve the dependencies anew
	@$(INSTALL) uv
	@$(COMPILE) --output-file requirements.lock pyproject.toml
	@$(COMPILE) --output-file requirements-build.lock --group build
	@$(COMPILE) --output-file requirements-dev.lock pyproject.toml --group dev \
		--constraint requirements.lock --constraint requirements-build.lock

ci: ## what runs before a change lands; installs what it needs
	@bash .ci/run

clean: ## delete the environment, the caches and what was built
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist *.egg-info

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "No Python >= 3.11 found. Install one, or name it: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2> /dev/null || { \
		echo "$(PYTHON) lacks ensurepip. Install it (Debian, Ubuntu: apt-get install python3-venv), or name another" \
			"Python: make PYTHON=/path/to/python3" >&2; exit 1; }
	@echo "Making $(VENV) with $$($(PYTHON) --version)" >&2
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: requirements.lock requirements-build.lock pyproject.toml | $(BIN)/python
	@echo "Installing the locked dependencies" >&2
	@$(INSTALL) --require-hashes -r requirements.lock -r requirements-build.lock
	@$(INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.development: $(VENV)/.runtime requirements-dev.lock
	@echo "Installing the locked development tools" >&2
	@$(INSTALL) --require-hashes -r requirements-dev.lock
	@touch $@
