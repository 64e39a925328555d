# Everything runs in .venv, which is made from the locks the first time, and brought up to date when they change.
# Needs Python >= 3.11 and make. `make help` lists the targets; ARGS="..." goes on to the program that a target runs.

PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null && echo $$python && break; done)
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
SEEDS ?= 1000
FAULTS ?= 100
FLOOR := 95 # percent of branches and lines of the engine and the domain
ARGS ?=
VERSION = $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' consumer/__init__.py)

# An environment whose interpreter is gone or too old is made anew, by the rule that makes it.
ifneq ($(wildcard $(VENV)),)
ifneq ($(shell $(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' > /dev/null 2>&1 || echo broken),)
.PHONY: $(BIN)/python $(VENV)/.runtime $(VENV)/.development
endif
endif

.DEFAULT_GOAL := help
.PHONY: help install compiled demo test unit cover lint format types imports check simulate chaos bench lock image sbom audit ci clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: compiled ## the two commands, as .venv/bin/mirakl-resync-consumer and .venv/bin/mirakl-resync

compiled: $(VENV)/.runtime ## the engine as native code, where a C compiler is installed; part of install
	@$(BIN)/python -m consumer.compiled

demo: $(VENV)/.runtime ## the whole system on embedded parts, with real requests going through it
	@$(BIN)/mirakl-resync demo $(ARGS)

test: $(VENV)/.development compiled ## all tests that can run here; names at the end what could not run, and why
	@$(BIN)/python -m pytest --numprocesses auto --quiet $(ARGS)

unit: $(VENV)/.development ## the unit tests alone, on all cores: no Java, no Docker, under a minute
	@$(BIN)/python -m pytest tests/unit --numprocesses auto --quiet $(ARGS)

cover: $(VENV)/.development ## branch coverage by the unit tests, with a floor for the engine and the domain
	@$(BIN)/python -m pytest tests/unit --numprocesses auto --quiet -m "not cost" \
		--cov consumer --cov schemas --cov producer_tools --cov-branch --cov-report=
	@$(BIN)/coverage report --skip-covered --sort=cover
	@$(BIN)/coverage report --skip-covered --fail-under=$(FLOOR) --include='consumer/engine/*,consumer/domain/*'

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

chaos: $(VENV)/.development compiled ## random faults on a real broker under load: FAULTS=100
	@$(BIN)/python -m tests.chaos --faults $(FAULTS) $(ARGS)

bench: $(VENV)/.development compiled ## speed and size on a real broker: ARGS="--processes 2", "--rebalance", "--tail --dead", "--growth all"
	@$(BIN)/python -m tests.bench $(ARGS)

COMPILE = $(BIN)/python -m uv pip compile --quiet --upgrade --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-header --no-annotate
LOCKED = sed -n 's/^\([a-z0-9._-]*\)==.*/--no-emit-package \1/p' requirements.lock requirements-build.lock
OTEL_LOCKED = sed -n 's/^\([a-z0-9._-]*\)==.*/--no-emit-package \1/p' requirements-otel.lock

lock: $(VENV)/.development ## resolve the dependencies anew; locks of extra and tools hold only what the others do not
	@$(INSTALL) uv
	@$(COMPILE) --output-file requirements.lock pyproject.toml
	@$(COMPILE) --output-file requirements-build.lock --group build --constraint requirements.lock
	@$(COMPILE) --output-file requirements-otel.lock pyproject.toml --extra otel --constraint requirements.lock \
		$$($(LOCKED))
	@$(COMPILE) --output-file requirements-dev.lock pyproject.toml --extra otel --group dev \
		--constraint requirements.lock --constraint requirements-build.lock --constraint requirements-otel.lock \
		$$($(LOCKED)) $$($(OTEL_LOCKED))

image: ## the service's image, labelled with version and revision: ARGS="--build-arg PYTHON=python:3.12-slim@sha256:..."
	@docker build --tag mirakl-resync:$(VERSION) --build-arg VERSION=$(VERSION) \
		--build-arg REVISION=$$(git rev-parse HEAD) $(ARGS) .

sbom: $(VENV)/.development ## what the image contains besides its base, from the lock: CycloneDX, to sbom.json
	@$(BIN)/python -m tests.deploy.sbom > sbom.json

audit: $(BIN)/python ## known vulnerabilities of what is locked; asks the package index
	@$(INSTALL) pip-audit
	@$(BIN)/pip-audit --strict --disable-pip --require-hashes --requirement requirements.lock --requirement requirements-otel.lock

ci: ## what runs before a change lands; installs what it needs
	@bash .ci/run

clean: ## delete the environment, the caches and what was built
	@rm -rf $(VENV) consumer/compiled/made .coverage .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist *.egg-info

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "No Python >= 3.11 found. Install one, or name it: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2> /dev/null || { \
		echo "$(PYTHON) lacks ensurepip. Install it (Debian, Ubuntu: apt-get install python3-venv), or name another" \
			"Python: make PYTHON=/path/to/python3" >&2; exit 1; }
	@echo "Making $(VENV) with $$($(PYTHON) --version)" >&2
	@$(PYTHON) -m venv --clear $(VENV)

$(VENV)/.runtime: requirements.lock requirements-build.lock pyproject.toml | $(BIN)/python
	@echo "Installing the locked dependencies" >&2
	@$(INSTALL) --require-hashes -r requirements.lock -r requirements-build.lock
	@$(INSTALL) --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m compileall -q consumer schemas producer_tools # for where Python may not write it: PYTHONDONTWRITEBYTECODE
	@touch $@

$(VENV)/.development: $(VENV)/.runtime requirements-otel.lock requirements-dev.lock
	@echo "Installing the locked development tools" >&2
	@$(INSTALL) --require-hashes -r requirements.lock -r requirements-build.lock -r requirements-otel.lock \
		-r requirements-dev.lock
	@touch $@
