# One-word scripts. The environment (.venv) is made, and made again when its description changes, by whoever needs it.

PYTHON ?= $(firstword $(shell command -v python3.11 python3.12 python3.13 python3))
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help venv demo test quick lint format docs bench constraints clean
.DEFAULT_GOAL := help

help:  ## Say what there is
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

venv: $(READY)  ## Make the environment

demo: $(READY)  ## Rounds in phases 1, 2 and 3 on sample data, with simulated people; leaves ./demo-home
	$(BIN)/engine demo

test: $(READY)  ## Every test
	$(BIN)/pytest

quick: $(READY)  ## The tests that take seconds
	$(BIN)/pytest -m "not slow and not browser and not postgres and not s3"

lint: $(READY)  ## Style, types, and who imports whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY)  ## Lay out the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(READY)  ## Write the tables of commands and settings into the pages
	$(BIN)/python docs/generate.py

bench: $(READY)  ## Time the hot paths
	@for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

constraints: $(READY)  ## Write down what is installed (in a fresh environment: make clean venv)
	$(BIN)/python -m pip freeze --exclude-editable --disable-pip-version-check \
	  | grep -v ' @ ' | sed -E 's/\+[a-z0-9.]+$$//' > constraints.txt

clean:  ## Remove the environment and tools' caches; homes stay
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	  || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $@
