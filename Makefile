# Everything happens in .venv; `make help` lists the targets.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.DEFAULT_GOAL := help
MATRIX := 3.5 4.0 4.1
OLDEST := 3.5
# Long, and all of it has tests of its own here: `make test-oldest` takes it whole.
PATH_OF_USERS := tests/test_user_path.py
# Two parts at a time, the longest first: one alone leaves a core idle while Spark plans or Python waits.
SIDE_BY_SIDE := --jobs 2 --keep-going --output-sync=line
BACK := tests/inbound tests/vendors

DIST := dist

.PHONY: help install install-oldest wheel demo test test-plain test-classic test-classic-back test-connect test-ci test-quick test-quick-plain test-quick-spark test-long test-oldest test-matrix coverage soak check format bench docs clean

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

install: $(INSTALLED)  ## set .venv up: this package, Spark, Delta and what the tests need

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(INSTALLED): pyproject.toml requirements.lock | $(BIN)/python
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --constraint requirements.lock --editable ".[demo]" --group dev
	touch $@

wheel: | $(BIN)/python  ## the package as a file to install elsewhere, in dist
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir $(DIST) .

demo: install  ## photographs -> tasks -> labels -> Delta tables, on this machine
	$(BIN)/sama-spark demo

test: install  ## the whole suite: on a classic session, without Spark, and on a Connect session
	$(MAKE) $(SIDE_BY_SIDE) test-classic test-classic-back test-connect test-plain

test-quick: install  ## for a first look: what is quick without Spark, and rows out and back through Spark
	$(MAKE) $(SIDE_BY_SIDE) test-quick-plain test-quick-spark

test-quick-plain: install
	$(BIN)/pytest -m "not jvm and not slow"

test-quick-spark: install
	$(BIN)/pytest $(PATH_OF_USERS)::test_out $(PATH_OF_USERS)::test_back

test-plain: install
	$(BIN)/pytest -m "not jvm"

test-classic: install
	$(BIN)/pytest -m jvm --ignore $(PATH_OF_USERS) $(BACK:%=--ignore %)

test-classic-back: install
	$(BIN)/pytest -m jvm $(BACK)

test-connect: install
	$(BIN)/pytest --session connect -m spark

test-ci: install install-oldest  ## what continuous integration runs: the whole suite, and its core on the oldest Spark
	$(MAKE) $(SIDE_BY_SIDE) test-classic test-classic-back test-connect test-plain test-oldest

test-long: install  ## what make test leaves out for its length, some 10 minutes
	$(BIN)/pytest --long -m long

# Each Spark has an environment of its own: .venv/matrix-3.5 and its kin, by the lists of what goes together.
# They lie in $(VENV), which two targets must not make at once.
$(VENV)/matrix-%/.installed: tests/matrix/%.txt pyproject.toml | $(BIN)/python
	test -d $(@D) || $(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --upgrade "pip>=25.1"
	$(@D)/bin/python -m pip install --quiet --requirement $< --editable ".[sandbox,pictures]" --group dev
	touch $@

install-oldest: $(VENV)/matrix-$(OLDEST)/.installed

test-oldest: install-oldest  ## the core of the suite on the oldest Spark
	$(VENV)/matrix-$(OLDEST)/bin/python -m pytest --ignore tests/demo -m core

test-matrix: $(MATRIX:%=$(VENV)/matrix-%/.installed)  ## all that needs Spark on each older Spark, some 25 minutes each
	for version in $(MATRIX); do for part in "classic -m jvm" "connect -m spark"; do \
		echo "Spark $$version, $$part"; \
		$(VENV)/matrix-$$version/bin/python -m pytest --quiet --ignore tests/demo --session $$part || failed=1; \
	done; done; test -z "$$failed"

coverage: install  ## which lines of the package the whole suite runs, in some 25 minutes
	$(BIN)/python -m pip install --quiet --constraint requirements.lock --group coverage
	$(BIN)/coverage erase
	for part in "-m 'not jvm'" "-m jvm" "--session connect -m spark"; do \
		eval "$(BIN)/coverage run -m pytest $$part" || failed=1; \
	done; $(BIN)/coverage combine --quiet && $(BIN)/coverage report --skip-covered --sort=cover; test -z "$$failed"

soak: install  ## an outbox under a thousand faults and deaths, some 10 to 20 minutes; SEED=n for the same again
	$(BIN)/python tests/soak/soak.py $(if $(SEED),--seed $(SEED))

check: install  ## lint and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: install  ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: install  ## beside sama 0.5.12 and dlt, which are installed for this alone
	$(BIN)/python -m pip install --quiet --constraint requirements.lock --group bench
	test -d $(VENV)/dlt || $(PYTHON) -m venv $(VENV)/dlt
	$(VENV)/dlt/bin/pip install --quiet "dlt[deltalake,filesystem]==1.31.0"
	$(BIN)/python tests/bench/compare.py --dlt $(VENV)/dlt/bin/python
	$(BIN)/python tests/bench/wide.py
	$(BIN)/python tests/bench/cold.py
	$(BIN)/python tests/bench/million.py
	$(BIN)/python tests/bench/cluster.py

docs: install  ## the reference of all functions and their options, in dist/docs
	$(BIN)/python -m pip install --quiet --constraint requirements.lock --group docs
	$(BIN)/python tests/docs/reference.py dist/docs

clean:  ## remove .venv and what tools left
	rm -rf $(VENV) dist .coverage* .pytest_cache .mypy_cache .ruff_cache .hypothesis spark-warehouse
