PYTHON ?= python3
VENV ?= .venv
PRESET ?= quickstart
# Installed first and by exact version: any other choice lets pip replace it by a build for another device.
TORCH ?= torch==2.13.0

BIN = $(VENV)/bin
export OMP_NUM_THREADS ?= 1
export HF_HUB_OFFLINE ?= 1

.PHONY: help setup quickstart soak test lint types benchmark clean

help:  ## show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(VENV)/.installed  ## make the virtual environment with everything in it

$(VENV)/.installed: pyproject.toml infra/constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet "$(TORCH)"
	$(BIN)/python -m pip install --quiet -c infra/constraints.txt -e ".[dev]"
	touch $@

lint: setup  ## ruff: errors, imports, format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

quickstart: setup  ## the main job on a laptop: DATA=folder for your own videos, PRESET=laptop, ARGS=... for more options
	$(BIN)/python orchestration/run_all.py --preset "$(PRESET)" $(if $(DATA),--data "$(DATA)") $(ARGS)

types: setup  ## mypy over the packages
	$(BIN)/mypy

# Groups of tests that share a cluster are handed out in the order of tests/conftest.py, the longest first, not by count.
test: setup  ## the whole suite that needs no GPU: about 20 minutes on two idle cores
	$(BIN)/python -m pytest -n 2 --dist loadgroup --no-loadscope-reorder --durations=10

# Beside the chain's killings, the 2x2 sweep over the real chain whose driver is killed; `make test` has an undisturbed 1x2.
soak: setup  ## kill the chain at twelve seeded moments, the chain on real clips twice, and a sweep: the results must be the same
	$(BIN)/python -m pytest -m soak tests/e2e tests/orchestration/sweeps -p no:cacheprovider

benchmark: setup  ## speed of sampling, preprocessing and loading, each against the plain way
	OMP_NUM_THREADS= $(BIN)/python experiments/benchmarks/sampling.py
	$(BIN)/python experiments/benchmarks/preprocess.py
	$(BIN)/python experiments/benchmarks/loading.py

clean:  ## remove the environment and caches
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis
