# Everything happens in a project-local environment: .venv (Python) and .tools (a real livekit-server for the tests).
# PYTHON=python3.12 make … chooses another Python (3.11 or newer).

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

# The tests mostly wait for real servers and agents, so some files run side by side; what is measured runs alone.

.PHONY: demo test check bench screenshots clean

demo: $(VENV)/.run
	$(BIN)/lk-tui demo

test: $(VENV)/.test
	$(BIN)/pytest -n 2 --dist loadfile --ignore tests/test_bench.py $(PYTEST)
	$(BIN)/pytest tests/test_bench.py $(PYTEST) || [ $$? = 5 ]

check: $(VENV)/.test
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.test
	$(BIN)/python -m bench

screenshots: $(VENV)/.test
	$(BIN)/python screenshots/take.py

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "lk-tui needs Python 3.11 or newer: PYTHON=python3.12 make …"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: pyproject.toml | $(VENV)/bin/python
	$(PIP) install --editable .
	@touch $@

$(VENV)/.test: pyproject.toml | $(VENV)/bin/python
	$(PIP) install --editable '.[test]'
	@touch $@ $(VENV)/.run

clean:
	rm -rf $(VENV) .tools
