# Two commands: `make demo` shows the main job on real files, `make test` sets up and runs the whole test suite.
# VIDEOS=/my/folder lets the demo run on your own files.

PYTHON ?= python3
VIDEOS ?=
BIN := .venv/bin
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test setup check format clean

demo: .venv/.light
	$(BIN)/python examples/demo.py $(if $(VIDEOS),--videos "$(VIDEOS)")

test: setup
	$(BIN)/python -m pytest -n 2 --dist loadfile

setup: .venv/.full

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv demo .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

# What a user installs, with matplotlib for the pictures.
.venv/.light: pyproject.toml constraints.txt
	@echo "Setting up .venv (about a minute; nothing outside this folder is touched) ..."
	@$(PYTHON) -m venv .venv
	@$(PIP) --editable '.[plots]'
	@touch $@

# All of it. torch goes first: asked for by its exact version it comes as the CPU build where one is configured.
.venv/.full: pyproject.toml constraints.txt .venv/.light
	@echo "Installing the test tools and torch ..."
	@$(PIP) torch==2.13.0
	@$(PIP) --editable '.[all,dev]'
	@touch $@
