# Two commands do everything on a fresh Debian or Ubuntu with Python, git and make: `make demo` and `make test`.
# Set-up is part of each target; tools/setup says what it does and asks for nothing it doesn't need.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:

VENV ?= .venv
BIN := $(VENV)/bin
ARGS ?=
export FUZZ_SECONDS ?= 60
SOAK_SECONDS ?= 300
SETUP := VENV=$(VENV) tools/setup

.PHONY: help demo test lint format bench bench-connect bench-doctor bench-logs fuzz soak clean

help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "  Options of the command behind it: make test ARGS='-k native'"

$(VENV)/.run: pyproject.toml tools/setup
	@$(SETUP) venv
$(VENV)/.test: $(VENV)/.run
	@$(SETUP) group test
$(VENV)/.lint: $(VENV)/.run
	@$(SETUP) group lint
$(VENV)/.peers: $(VENV)/.test $(wildcard tests/peers/package-lock.json)
	@$(SETUP) peers

demo: $(VENV)/.run ## a provider, an application and the doorkeeper, ready to click
	@$(BIN)/ostiary demo $(ARGS) || [[ $$? -eq 130 ]] # Ctrl-C is how it ends, no failure

test: $(VENV)/.test $(VENV)/.peers ## all tests, with the real peers they need
	$(BIN)/python -m pytest $(ARGS)

lint: $(VENV)/.lint $(VENV)/.test ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.lint ## put the code into its form
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

$(VENV)/.bench: $(VENV)/.peers
	@$(SETUP) group bench

bench: $(VENV)/.bench ## Ostiary and its peers under the same work, as ratios
	@$(SETUP) bench
	$(BIN)/python -m bench $(ARGS)

$(VENV)/.bench-connect: $(VENV)/.test
	@$(SETUP) group bench-connect

bench-connect: $(VENV)/.bench-connect ## Ostiary's connections beside those of others, in networks that fail in every way
	PYTHONPATH=src:tests $(BIN)/python -m bench.connect $(ARGS)

bench-doctor: $(VENV)/.test ## Hundreds of admin ports, examined; BENCH_ADMIN_SAMPLES names recorded answers
	PYTHONPATH=src $(BIN)/python -m bench.doctor --write $(ARGS)

bench-logs: $(VENV)/.test ## The doctor's reading of logs beside grep -E; BENCH_LOG_BYTES sets the size of the log
	PYTHONPATH=src $(BIN)/python -m bench.logs --write $(ARGS)

$(VENV)/.fuzz: $(VENV)/.test
	$(SETUP) fuzz

fuzz: $(VENV)/.fuzz ## hostile bytes for FUZZ_SECONDS=60 a target (or TARGET=heads), then the property tests for long
	$(BIN)/python tests/fuzz $(TARGET)
ifndef TARGET
	$(BIN)/python -m pytest -m property --hypothesis-profile=fuzz --timeout=0 $(ARGS)
endif

soak: $(VENV)/.test ## reloads and deaths of workers under load for SOAK_SECONDS=300, with memory and descriptors
	PYTHONPATH=src $(BIN)/python tests/soak $(SOAK_SECONDS) 1
	PYTHONPATH=src $(BIN)/python tests/soak $(SOAK_SECONDS) 2

clean: ## remove what make made
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist \
		tests/peers/node_modules tests/peers/screenshots
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
