# `make demo` and `make test` do everything on a fresh machine with Python 3.11, 3.12 or 3.13: the first that works.
PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3; do \
	$$python -c "" 2>/dev/null && break; done; echo $$python)
VENV := .venv
BIN := $(VENV)/bin
export DO_NOT_TRACK := 1
export PREFECT_SERVER_ANALYTICS_ENABLED := false
export RAY_USAGE_STATS_ENABLED := 0

# Tests of one file share its Ray, server and store, and so one process; most of a test's time is a wait for others.
PYTEST = $(BIN)/pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder
TEST_PROCESSES ?= 2

.PHONY: demo test quick test-slow lint audit docs setup setup-dev clean

demo: setup  ## the whole pipeline on drawn scenes, in a few minutes on two cores
	$(BIN)/phreg demo

test: setup-dev lint  ## linters, then the tests, but for the slow ones
	$(PYTEST) -m "not slow"

quick: setup-dev  ## the tests that start no Ray, no Prefect and no command
	$(PYTEST) -m "not slow" $(foreach room,cli demo execution faults flows infra pipeline security,--ignore tests/$(room))

test-slow: setup-dev
	$(PYTEST) -m slow

lint: setup-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive phreg flows

audit: setup-dev  ## known vulnerabilities in what we pin; asks the package index
	$(BIN)/python infra/audit.py

docs: setup-dev  ## the documentation as a site, in site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict --config-file docs/mkdocs.yml

setup: $(VENV)/.runtime
setup-dev: $(VENV)/.dev

$(VENV)/.runtime: infra/requirements.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -r infra/requirements.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

$(VENV)/.dev: $(VENV)/.runtime infra/requirements-dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -r infra/requirements-dev.txt
	touch $@

clean:
	rm -rf $(VENV) runs site .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
