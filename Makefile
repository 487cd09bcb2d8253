# Every target sets up what it needs; `make run` is the place to start.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
HELD ?= 400
WORKERS ?= 5
REACTOR ?=

.PHONY: run demo test check bench clean format

run: $(VENV)/.installed
	$(BIN)/python -m examples.demo.run

demo: $(VENV)/.installed
	$(BIN)/python -m examples.demo.show --held $(HELD) --workers $(WORKERS)

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/.dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

test: $(VENV)/.dev
	$(BIN)/python -m pytest --cov --cov-report=term

check: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.dev
	$(BIN)/python -m bench

clean:
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
