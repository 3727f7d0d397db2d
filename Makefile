# Two commands set everything up: `make demo` and `make test`. Each makes .venv once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CONSTRAINTS := configs/constraints.txt
# The pinned versions are for Python 3.11 and newer; several of them have no release for 3.10.
PINNED = $$($(BIN)/python -c 'import sys; print("-c $(CONSTRAINTS)" if sys.version_info >= (3, 11) else "")')
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check $(PINNED)
# More than the two cores of a small machine: tests wait for servers and processes most of the time.
XDIST ?= 3
# What make coverage runs: paths and options of pytest.
COVERED ?= tests/cache tests/config tests/fingerprint tests/cli

.PHONY: help demo test test-unit test-integration test-e2e test-all test-values nightly soak fuzz coverage matrix dist prefect-suite check-tools lint bench bench-report docs docs-serve pictures clean

## Show this.
help:
	@awk '/^## / { said = substr($$0, 4) } \
	  /^[a-z][a-z0-9 -]*:/ && said { split($$0, parts, ":"); gsub(" ", ", ", parts[1]); \
	    printf "make %s\n    %s\n", parts[1], said; said = "" }' $(firstword $(MAKEFILE_LIST))

## Run the example flow twice, the second time from the cache.
demo: $(VENV)/.demo
	$(BIN)/python -m flows.demo

## Lint, type check and the whole suite.
test: check-tools $(VENV)/.node lint
	$(BIN)/python -m pytest -n $(XDIST)

## One level of the suite: without servers, with servers, with flows in processes of their own.
test-unit test-integration test-e2e: test-%: $(VENV)/.dev
	$(BIN)/python -m pytest -n $(XDIST) -m '$* and not nightly and not values'

## The suite, with the end-to-end tests on every combination of backends.
test-all: check-tools $(VENV)/.node lint
	$(BIN)/python -m pytest -n $(XDIST) --backends local-local,local-gcs,gcp-local,gcp-gcs,redis-gcs,local-s3,redis-s3,redis-azure

## Fingerprints of objects of many libraries, which are installed for it.
test-values: check-tools
	$(PIP) -e '.[values]'
	$(BIN)/python -m pytest -m values -n 0

## What takes minutes: ExpOps' large template, clusters of Ray, every single fault, kills, outages, load. Prints figures.
nightly: check-tools $(VENV)/.node
	$(PIP) -e '.[ray,values]'
	$(BIN)/python -m pytest -m 'nightly or values' -s

## Half an hour of flow runs in one process: memory, open files, threads and the outbox must not grow.
soak: $(VENV)/.dev
	$(BIN)/python -m tests.soak $(MINUTES)

## Every parser against made-up bytes, a minute each.
fuzz: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check atheris
	$(BIN)/python -m tests.fuzz

## Lines and branches that tests reach, also in the flow processes that they start: make coverage COVERED=tests/cache
coverage: $(VENV)/.dev
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -q -n $(XDIST) $(COVERED)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

## Build the wheel and the source distribution, look into both, and use the wheel in an environment of its own.
dist: $(VENV)/.dev
	$(BIN)/python -m tests.dist

## Tests on each Python and Prefect that is allowed, on the lowest and newest libraries: make matrix CELLS='--only lowest'
matrix: $(VENV)/.dev
	$(BIN)/python -m tests.matrix $(CELLS)

## Prefect's own tests, plain and with our flow and task: make prefect-suite PREFECT_CHECKOUT=path. Fetches no sources.
prefect-suite: $(VENV)/.prefect-suite
	@test -n '$(PREFECT_CHECKOUT)' || { echo "name a checkout of Prefect's sources: PREFECT_CHECKOUT=path"; exit 1; }
	$(BIN)/python -m tests.prefect_suite '$(PREFECT_CHECKOUT)'

## Programs outside Python that the suite starts: install what may be installed, name what is missing.
check-tools: $(VENV)/.dev
	@$(BIN)/python -m tests.support.tools

## Style, spelling, types and layers.
lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

## Compare with peers; prints ratios.
bench: $(VENV)/.bench
	$(BIN)/python -m tests.benchmarks

## The same, and write the table and the raw samples into the documents.
bench-report: $(VENV)/.bench
	$(BIN)/python -m tests.benchmarks --report docs/benchmarks.md --json docs/benchmarks.json

## Build the site into site/; a broken link, a public name without docstring and every other warning fail it.
docs: $(VENV)/.dev
	$(BIN)/python -m tests.documents
	$(BIN)/zensical build --strict --clean

## Show the site on this machine, and build it anew when a page changes.
docs-serve: $(VENV)/.dev
	$(BIN)/zensical serve

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' || { \
	  echo "Python 3.10 to 3.13 is needed; name one: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "Python's venv module is missing or incomplete; on Debian: apt-get install python3-venv"; exit 1; }

$(VENV)/.demo: pyproject.toml $(CONSTRAINTS) | $(VENV)/bin/python
	$(PIP) -e '.[demo,expops]'
	@touch $@

$(VENV)/.dev: pyproject.toml $(CONSTRAINTS) | $(VENV)/bin/python
	$(PIP) -e '.[dev]'
	@touch $@ $(VENV)/.demo

# Peers that nothing else needs. MLflow wants older versions of libraries than the ones that are pinned.
$(VENV)/.bench: $(VENV)/.dev
	$(PIP) -e '.[bench]' 'xgboost>=1.7'
	$(BIN)/python -m venv $(VENV)/peers
	$(VENV)/peers/bin/python -m pip install --quiet --disable-pip-version-check \
	  mlflow-skinny==3.10.1 'sqlalchemy<3' 'alembic<2' sqlparse
	@touch $@

# What only Prefect's tests need, beside the packages of this one's.
$(VENV)/.prefect-suite: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade --no-deps --target $(VENV)/prefect-suite \
	  'pytest-asyncio>=1.1' pytest-env respx asgiref opentelemetry-test-utils
	@touch $@

# For node: ExpOps' listener SDK, and Azurite, a server that speaks Azure's protocol.
$(VENV)/.node: tests/interop/package.json | check-tools
	@mkdir -p $(VENV)/node
	@cp $< $(VENV)/node/package.json
	npm install --prefix $(VENV)/node --loglevel=error --no-audit --no-fund >/dev/null
	@touch $@

## The pictures of the README, made by the test that opens both UIs.
pictures: check-tools $(VENV)/.node
	MAKE_PICTURES=1 $(BIN)/python -m pytest tests/browser

## Remove what the other targets made.
clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage .coverage.* dist site .cache test-output
