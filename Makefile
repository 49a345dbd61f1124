# Every target does its own set-up; `make up` and `make test` work on a fresh clone.
.DEFAULT_GOAL := help
.PHONY: help up down reset status test quick fuzz check bench docs format clean
PY := .venv/bin/python

help: ## This list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

.venv/.installed: pyproject.toml tools/setup
	@sh tools/setup

up: .venv/.installed ## Set everything up, start a cluster, wait until it is ready
	@.venv/bin/pynetes up $(ARGS)

down: .venv/.installed ## Stop the cluster; its state stays
	@.venv/bin/pynetes down $(ARGS)

reset: .venv/.installed ## Stop the cluster and remove all of it
	@.venv/bin/pynetes reset --yes $(ARGS)

status: .venv/.installed ## What runs, and how it is
	@.venv/bin/pynetes status $(ARGS)

test: .venv/.installed ## Every test; those with containers need root
	@sh tools/test

quick: .venv/.installed ## The tests that need neither root nor network
	@$(PY) -m pytest -m "not root and not e2e" -n 2

fuzz: .venv/.installed ## Input that nobody has thought of: other requests and texts each time, some minutes of them
	@$(PY) -m pytest --hypothesis-profile=explore $$(grep -rl "^from hypothesis" tests --include='test_*.py')

check: .venv/.installed ## ruff, mypy strict, import-linter, the size caps
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports --no-cache
	@$(PY) tools/sizes.py
	@$(PY) tools/pins.py

format: .venv/.installed ## Let ruff lay the code out
	@.venv/bin/ruff check --fix .
	@.venv/bin/ruff format .

bench: .venv/.installed ## Measure, each figure beside its limit
	@$(PY) -m bench

docs: .venv/.installed ## Generate the reference pages of docs/
	@$(PY) tools/reference.py

clean: ## Remove what the tools left behind
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache build *.egg-info
