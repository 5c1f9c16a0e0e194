# Everything that a person or CI runs. Each target sets up first; set-up costs nothing when nothing changed.
PYTHON ?= python3
BIN := .venv/bin
PROCESSES ?= 3
QUICK := $(addprefix tests/,architecture hsu_core/spec hsu_core/data hsu_core/models hsu_core/test_energies.py \
	hsu_core/test_authors_values.py hsu_jobs/test_states.py hsu_jobs/test_spec.py hsu_jobs/test_outcomes.py \
	hsu_jobs/test_lifecycle.py hsu_jobs/test_attempts.py hsu_jobs/test_leases.py hsu_jobs/test_retries.py \
	hsu_jobs/test_resuming.py hsu_jobs/cluster/test_waiting.py \
	api/routes/test_jobs.py api/routes/test_actions.py api/dependencies/test_authorization.py \
	worker/test_dispatch.py worker/test_devices.py hsu_client/cli/test_render.py)
TRAINERS := lightning==2.6.6 transformers==5.24.0 accelerate==1.15.0
YARDSTICK := mlflow==3.17.0 psycopg2-binary

.DEFAULT_GOAL := help
.PHONY: help setup demo up down test quick chaos conformance slow bench check format docs clean

help:  ## show this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 13

setup: .venv/.ready  ## create .venv with everything (seconds when nothing changed)

.venv/.ready: pyproject.toml constraints.txt scripts/setup
	@PYTHON=$(PYTHON) scripts/setup && touch $@

demo: setup  ## run one real job end to end on embedded Postgres and Redis, and print its result
	@$(BIN)/python -m embedded demo

up: setup  ## start everything and stay (Ctrl-C stops it); prints the address and a key
	@$(BIN)/python -m embedded up

down: setup  ## stop what `make up` started, wherever it runs
	@$(BIN)/python -m embedded down

test: check  ## every check and every test; needs no Docker and no services
	@$(BIN)/python -m pytest -m "not slow" -n $(PROCESSES) --dist worksteal --cov --cov-report=term

quick: check  ## the checks and the fast half of the tests, for between two edits (2 minutes)
	@$(BIN)/python -m pytest -q -m "not slow" -n 2 --dist worksteal $(QUICK)

chaos: setup  ## break a cluster, a tracked run, a study of 30 jobs and a search of 40 trials at random moments (70 minutes)
	@$(BIN)/python tests/chaos/suite.py
	@HSU_TEST_FAULTS=60 HSU_TEST_STUDY_SEEDS=10 HSU_TEST_SEARCH_TRIALS=40 $(BIN)/python -m pytest -q -s --timeout 3600 \
		tests/hsu_client/tracking/test_faults.py tests/chaos/test_studies.py

conformance: setup  ## ask the API thousands of generated questions, and look whether it answers as it documents
	@$(BIN)/python tests/conformance/suite.py

slow: setup  ## the tests that take too long for `make test`: a job with every regularizer, the real data sets, a plug-in
	@$(BIN)/python -m pytest -m "slow or dataset"

bench: setup .bench/.ready  ## measure the service beside MLflow, which gets an environment of its own (15 minutes)
	@$(BIN)/python benchmarks/service.py --mlflow .bench/bin/python

.bench/.ready: Makefile
	@$(PYTHON) -m venv .bench && .bench/bin/pip install --quiet --quiet --disable-pip-version-check $(YARDSTICK) && touch $@

check: setup  ## format, lint, types, dependency rule
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: setup  ## format and fix what can be fixed
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

clean: down  ## remove the environment (the data in .hsu/ stay)
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .coverage*
