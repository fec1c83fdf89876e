# One-word scripts. The environment (.venv) is made, and made again when its description changes, by whoever needs it.

PYTHON ?= $(firstword $(shell command -v python3.11 python3.12 python3.13 python3))
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PEERS := .venv-peers
PEERS_PYTHON ?= $(wildcard $(PEERS)/bin/python)

.PHONY: help venv demo test quick lint format docs bench speed peers constraints clean
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

bench: $(READY)  ## Time the hot paths, beside the official package if `make peers` was run (ROWS="..." chooses)
	@for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done
	@echo "== benchmarks/evaluator"; $(BIN)/python -m benchmarks.evaluator --frames 8 --repeats 2 \
	  $(if $(SAV_TOOL),--official $(SAV_TOOL))
	@echo "== benchmarks/studio"; $(BIN)/python -m benchmarks.studio --quick
	@echo "== benchmarks/train_step"; $(or $(PEERS_PYTHON),$(BIN)/python) -m benchmarks.train_step nano --repeats 3 \
	  || test $$? -eq 2  # the official package is not here, as it has said
	@echo "== benchmarks/compare"; $(or $(PEERS_PYTHON),$(BIN)/python) -m benchmarks.compare $(or $(ROWS),--quick)

speed: $(READY)  ## The whole comparison, written into docs/speed.md: 40 minutes on two free cores
	$(or $(PEERS_PYTHON),$(BIN)/python) -m benchmarks.compare --write docs/speed.md

peers: $(PEERS)/.ready  ## Make the environment with the official package and transformers (6 GB)

constraints: $(READY)  ## Write down what is installed (in a fresh environment: make clean venv)
	$(BIN)/python -m pip freeze --exclude-editable --disable-pip-version-check \
	  | grep -v ' @ ' | sed -E 's/\+[a-z0-9.]+$$//' > constraints.txt

clean:  ## Remove the environment and tools' caches; homes stay
	rm -rf $(VENV) $(PEERS) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	  || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $@

# the official package needs torch to be there before it is built, and no compiler if told so
$(PEERS)/.ready: benchmarks/peers-requirements.txt
	test -x $(PEERS)/bin/python || $(PYTHON) -m venv $(PEERS)
	grep -v '^sam2==' $< | $(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check \
	  setuptools wheel -r /dev/stdin
	SAM2_BUILD_CUDA=0 $(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check \
	  --no-build-isolation -r $<
	@touch $@
