# Every target sets up what it needs: a virtual environment in .venv, made anew when pyproject.toml changes.
PYTHON ?= python3
VENV ?= .venv
HELD ?= 400
WORKERS ?= 5
SECONDS ?= 60

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet

.PHONY: help run demo test check docs format bench fuzz dist clean

help:
	@echo "make run      serve the demo on 127.0.0.1:8080, its status on 127.0.0.1:8081, until Ctrl-C"
	@echo "make demo     hold $(HELD) long requests on $(WORKERS) workers and count (HELD=4000, WORKERS=2)"
	@echo "make test     every test on every core, with coverage"
	@echo "make check    format, lint, types, import contracts, documentation"
	@echo "make docs     the documentation, in build/docs; warnings are errors"
	@echo "make format   mend what of it can be mended"
	@echo "make bench    compare with nginx, Apache httpd and twisted.web.proxy; takes minutes"
	@echo "make fuzz     look for bytes that break it, guided by coverage, for a while (SECONDS=600)"
	@echo "make dist     sdist and wheel, in dist/"
	@echo "make clean    remove what the others made"

run: $(VENV)/.installed
	@$(BIN)/python -m examples.demo.run

demo: $(VENV)/.installed
	@$(BIN)/python -m examples.demo.show --held $(HELD) --workers $(WORKERS)

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n auto --maxprocesses 8 --cov --cov-report=term

check: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@$(MAKE) --no-print-directory docs

docs: $(VENV)/.dev
	$(BIN)/sphinx-build --fresh-env --fail-on-warning --keep-going --nitpicky --quiet docs build/docs

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.dev
	$(BIN)/python -m bench

fuzz: $(VENV)/.fuzz
	$(BIN)/python -m fuzz --seconds $(SECONDS)

dist: $(VENV)/.dev
	$(BIN)/python -m hatchling build -d dist

clean:
	rm -rf $(VENV) dist build .coverage .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

$(VENV)/.installed: pyproject.toml
	@echo "Installing asyncproxy into $(VENV), once"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) --editable .
	@touch $@

$(VENV)/.dev: pyproject.toml
	@echo "Installing asyncproxy, its checks and its tests into $(VENV), once"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) --editable '.[dev]'
	@touch $(VENV)/.installed $@

$(VENV)/.fuzz: $(VENV)/.dev
	@$(PIP) --editable '.[dev,fuzz]'
	@touch $@
