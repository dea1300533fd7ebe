# Every target does its own set-up. Nothing is fetched when the stamps are newer than the lock files.
.DEFAULT_GOAL := help
# Hundreds of processes start from the same sources, which are compiled once.
unexport PYTHONDONTWRITEBYTECODE
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEVNET := hardhat-free-devnet
PYTHON_STAMP := $(VENV)/.stamp-requirements
INSTALL_STAMP := $(VENV)/.stamp-install
NODE_STAMP := $(DEVNET)/node_modules/.stamp-lock
PYTEST_ARGS ?= -n 4 --dist loadgroup
UV_VERSION := 0.13.9

.PHONY: help setup test coverage faults lint types format demo up bench contracts lock clean

help: ## List the targets
	@awk -F':.*## ' '/^[a-z]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(INSTALL_STAMP) $(NODE_STAMP) ## Python environment and the local chain's binaries, from the lock files

$(BIN)/python:
	@.ci/make-venv "$(PYTHON)" "$(VENV)"

# --no-deps: the lock file is the whole set, and less than what the packages with the test schemas would ask for.
$(PYTHON_STAMP): requirements.lock | $(BIN)/python
	@echo "setup: Python packages from requirements.lock"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	@touch $@

$(INSTALL_STAMP): pyproject.toml $(PYTHON_STAMP)
	@echo "setup: fenzhang itself (editable)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --no-index -e .
	@touch $@

# Without Node this is no error yet: an anvil and a solc on PATH serve as well, and the commands say what they miss.
$(NODE_STAMP): $(DEVNET)/package-lock.json
	@if command -v npm >/dev/null && command -v node >/dev/null; then \
		echo "setup: anvil, solc and OpenZeppelin from $(DEVNET)/package-lock.json"; \
		cd $(DEVNET) && npm ci --omit=dev --ignore-scripts --loglevel=error && touch node_modules/.stamp-lock; \
	else \
		echo "setup: node and npm not found, so no pinned anvil and solc. Install Node >= 20 and run make setup" \
			"again, or put anvil on PATH or its path in FENZHANG_ANVIL." >&2; \
	fi

test: setup ## The whole test suite (PYTEST_ARGS="-k name" passes through)
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

coverage: setup ## The same with coverage, of child processes too; takes twice as long
	@$(BIN)/python -m pytest --cov --cov-report=term-missing:skip-covered $(PYTEST_ARGS)

faults: setup ## Break a running system in every way there is, and see that nothing is lost (FAULTS="--only kill --seed 7")
	@$(BIN)/python scripts/faults.py $(FAULTS)

lint: setup ## Ruff: rules and formatting
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: setup ## mypy, strict
	@$(BIN)/mypy

format: setup ## Let ruff fix and format
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

demo: setup ## Fresh chain, deploy, replay a market day, verify it (SCENARIO=DIR, REPORT=FILE)
	@$(BIN)/fenzhang demo $(if $(SCENARIO),--scenario '$(SCENARIO)') $(if $(REPORT),--report '$(REPORT)')

up: setup ## Chain, API, submission and mirror until Ctrl-C
	@exec $(BIN)/fenzhang up

bench: setup ## Measure the whole system, a baseline and the ceilings (BENCH_ARGS="--quick")
	@$(BIN)/fenzhang bench $(BENCH_ARGS)

contracts: setup ## Compile contracts/ into contracts/artifacts/
	@$(BIN)/python scripts/compile_contracts.py

lock: ## Resolve pyproject.toml anew into requirements.lock (hashes, no addresses)
	@.ci/lock "$(PYTHON)" "$(UV_VERSION)"

clean: ## Remove environments, caches and reports; .fenzhang (chain and database) stays
	rm -rf $(VENV) $(DEVNET)/node_modules build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis htmlcov
	rm -f .coverage .coverage.* coverage.xml coverage.json
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
