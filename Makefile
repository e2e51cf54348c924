# Two commands for a machine that has Python 3.11+, git and make: `make repro` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: repro test lint env check
repro: env
	slt check
	dvc repro
	slt times

test: env
	pytest

lint: env
	ruff check .
	ruff format --check .
	mypy

env: $(BIN)/.ready

# uv installs the pinned environment in half a minute where pip takes several
$(BIN)/.ready: requirements.txt requirements-dev.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check uv==0.13.9
	$(BIN)/uv pip install --quiet --python $(BIN)/python -r requirements.txt -r requirements-dev.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	touch $@
