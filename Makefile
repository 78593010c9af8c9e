# Two commands matter: `make demo` and `make test`. Each sets up all that it needs: `.venv` and what the hashed locks name.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help demo test storm campaign lint bench chromium clean

# Debian's python3 has neither ensurepip nor venv's own pip, so the system's pip installs into a venv without one.
PYTHON = $(shell for python in python3.11 python3 python3.12 python3.13 python3.14; do \
	$$python -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$python; break; }; done)
RUN = .venv/bin/python
PIP = $(PYTHON) -m pip --python $(RUN) --disable-pip-version-check --quiet install

help:
	@echo "make demo    Holdfast, a local Stripe and an example shop, ready to click through"
	@echo "make test    everything that is checked, a real browser included"
	@echo "make storm   Stripe's news at full size, shuffled and broken while workers are killed (SEEDS=20 EVENTS=10000)"
	@echo "make campaign choices while workers die at exact moments and at any, and bugs planted (RUNS=25 PEOPLE=1000)"
	@echo "make lint    style, types and layers only"
	@echo "make bench   us and our peers side by side (QUICK=1: in under five minutes); writes bench/results.md"
	@echo "make clean   remove .venv and what was generated"

demo: .venv/.demo
	@exec $(RUN) -m sandbox.demo

test: lint chromium
	$(RUN) -m pytest -n 2 -q -m "not browser and not faults"
	$(RUN) -m pytest -q -m "browser or faults"

# What `make test` does small, at full size: 10,000 events of 50 accounts a seed, and every planted bug. Takes hours; SEED is the first.
storm: .venv/.dev
	$(RUN) -m tests.faults.storm --first $(or $(SEED),1) --seeds $(or $(SEEDS),20) --events $(or $(EVENTS),10000)

# What `make test` does small, at full size: every moment of a worker's death 25 times for each verb, a thousand choices, every planted bug.
campaign: .venv/.dev
	$(RUN) -m tests.faults.campaign --runs $(or $(RUNS),25) --people $(or $(PEOPLE),1000) --seed $(or $(SEED),7)

lint: .venv/.dev
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy --strict
	.venv/bin/lint-imports

# The peers go into var/bench, by pip and npm as this machine has them set up; nothing of theirs is in the locks.
bench: .venv/.dev
	@$(RUN) -m bench $(if $(QUICK),--quick)

# The browser tests never skip: without Chromium there is nothing to say that the pages work.
chromium:
	@command -v chromium chromium-browser google-chrome >/dev/null || { \
		echo "Chromium is missing; installing it with apt-get"; \
		{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium; } >/dev/null; \
	} || { echo "The browser tests need Chromium. Please run:  sudo apt-get install -y chromium"; exit 1; }

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "Holdfast needs Python 3.11 or newer with pip (Debian: apt-get install python3 python3-pip)"; exit 1; }
	@$(PYTHON) -m venv --without-pip .venv

# The stamps make the second run instant; .dev holds all of .demo and more.
.venv/.demo: requirements.lock pyproject.toml | .venv/bin/python
	@echo "Installing what requirements.lock names into .venv …"
	@$(PIP) --require-hashes -r requirements.lock
	@$(PIP) --no-build-isolation --no-deps --editable .
	@touch $@

.venv/.dev: requirements-dev.lock pyproject.toml | .venv/bin/python
	@echo "Installing what requirements-dev.lock names into .venv …"
	@$(PIP) --require-hashes -r requirements-dev.lock
	@$(PIP) --no-build-isolation --no-deps --editable .
	@touch $@ .venv/.demo

clean:
	rm -rf .venv var build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
