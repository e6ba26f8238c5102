# Two commands on a bare machine: `make demo` and `make test`. Both set everything up first.
SHELL := /bin/bash
.DEFAULT_GOAL := help
BIN := .venv/bin
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	$$p -c 'import sys; sys.exit(not (3,11) <= sys.version_info[:2] < (3,14))' 2>/dev/null && echo $$p && break; done)
UV_VERSION := 0.13.8
export DVC_NO_ANALYTICS := 1

.PHONY: help setup demo test check lint fuzz bench bench-accuracy deps lock clean

help:  ## show this
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## */  make \1\t/' | expand -t 24

setup: .venv/ready  ## fill .venv from requirements.lock

.venv/ready: requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "Darkroom needs Python 3.11, 3.12 or 3.13; none was found. Install one, or: make PYTHON=/path/to/python"; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || { echo "$(PYTHON) cannot make a virtual environment. On Debian or Ubuntu: apt-get install python3-venv"; exit 2; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@echo "setting up .venv from requirements.lock (a few minutes, mostly the download of torch; once) …"
	@$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@$(BIN)/python -m components.tracking.store $$(mktemp -d)  # an empty MLflow database, migrated once: later ones are copies
	@touch $@

demo: setup  ## data changes, a model earns its place, bad data does not
	@$(BIN)/darkroom demo

test: check  ## every check: format, lint, types, imports, tests

check: lint
	$(BIN)/python -m pytest -n 2 --dist loadfile

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fuzz: setup  ## the property tests with inputs nobody has tried yet (`make test` tries the same ones every time)
	HYPOTHESIS_PROFILE=search $(BIN)/python -m pytest -m hypothesis

bench: setup  ## measure, side by side, and write benchmarks/RESULTS.md
	$(BIN)/python -m benchmarks

bench-accuracy: setup  ## the long measures (hours); goes on where it was stopped
	$(BIN)/python -m benchmarks --accuracy

deps: setup  ## write the code that each stage imports into dvc.yaml
	@$(BIN)/python -m flows.code_deps

lock: .venv/ready  ## resolve pyproject.toml again into requirements.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --extra dev --generate-hashes --upgrade pyproject.toml -o requirements.lock

clean:  ## delete .venv and .darkroom (local databases, runs, caches)
	rm -rf .venv .darkroom
