# Every habit of this project is a target here. `make help` lists them.
SHELL := /bin/sh
BIN := .venv/bin
# The first Python that is 3.11 or newer; override with `make PYTHON=...`.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.14; do \
  $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
PIP_INSTALL := $(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --require-hashes

.DEFAULT_GOAL := help
.PHONY: help run demo check test lint checkov mutants bench screenshots lock filter installation image clean chromium

help: ## list these targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1 | /p' $(MAKEFILE_LIST) | column -t -s '|' 2>/dev/null || grep '##' $(MAKEFILE_LIST)

run: $(BIN)/.service ## see a failed deploy being remediated, on this machine; stays up for your own commands
	@$(BIN)/python -m sandbox story

demo: $(BIN)/.service ## the whole story, unattended: deploy fails, two proposals, two approvals, deploy succeeds
	@$(BIN)/python -m sandbox story --unattended

check: $(BIN)/.development ## within a minute: linters, types, and the tests that are neither slow nor need other programs
	@$(MAKE) --no-print-directory lint
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow and not external"

test: $(BIN)/.development chromium ## set up and run everything that has to pass: linters, types, checks of deploy/, tests
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory checkov
	$(BIN)/python -m pytest -n 3 --dist worksteal

lint: $(BIN)/.development ## ruff, mypy --strict, and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo --no-cache

checkov: .venv-checkov/.ready ## check deploy/ against known misconfigurations; what is left out has its reason beside it
	@.venv-checkov/bin/checkov --config-file deploy/checks/checkov.yaml

mutants: $(BIN)/.development .venv-mutants/.ready ## change what decides and writes, bit by bit: do its tests notice? MODULES="policy error_text" for some
	@$(BIN)/python -m bench.mutants $(MODULES)

bench: $(BIN)/.development ## measure: cold start, events a second, one grant beside gcloud
	$(BIN)/python -m bench

screenshots: $(BIN)/.development chromium ## take the pictures of the review pages that README shows
	$(BIN)/python -m docs.screenshots.make

lock: $(BIN)/.development ## compile requirements*.in to hash-locked requirements*.txt
	for name in requirements requirements-dev deploy/checks/requirements bench/requirements; do \
	  $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	    --no-emit-find-links --no-header $$name.in -o $$name.txt; done

filter: $(BIN)/.service ## print the log filters of denials and of the trail into deploy/
	@$(BIN)/python -c 'import sys; from remediate.entries.log_filter import DENIALS; sys.stdout.write(DENIALS)' > deploy/denials.filter
	@$(BIN)/python -c 'import sys; from remediate.log_lines import TRAIL_FILTER; sys.stdout.write(TRAIL_FILTER)' > deploy/trail.filter

installation: $(BIN)/.development ## write what install.sh and the doctor have of deploy/installation.yaml
	@$(BIN)/python -m deploy.generate

image: ## build a container image of the functions, by pack, docker, podman or buildah; IMAGE=NAME:TAG names it
	@deploy/image.sh $(IMAGE)

clean: ## remove the environment and everything that a run left behind
	rm -rf .venv .venv-checkov .venv-mutants .mutants .run .pytest_cache .mypy_cache .ruff_cache .hypothesis

# The browser tests need a Chromium; without one they are skipped, and say so.
chromium:
	@for name in chromium chromium-browser google-chrome google-chrome-stable; do \
	  command -v $$name >/dev/null && exit 0; done; \
	echo "Installing Chromium, which the browser tests drive ..." >&2; \
	{ test "$$(id -u)" = 0 && apt-get -qq update && apt-get -qq install -y chromium >/dev/null; } || \
	  echo "Could not: the browser tests will be skipped. To have them: sudo apt-get install chromium" >&2

# Debian's python3 comes without ensurepip until python3-venv is installed; a half-made environment is no use.
$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or newer found. Debian: apt-get install python3 python3-venv" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { \
	  echo "Installing python3-venv, which Debian's Python needs to make an environment ..." >&2; \
	  { test "$$(id -u)" = 0 && apt-get -qq update && apt-get -qq install -y python3-venv >/dev/null; } || { \
	    echo "Could not. Please run: sudo apt-get install python3-venv" >&2; exit 1; }; }
	@echo "Making .venv with $(PYTHON) ..." >&2
	@$(PYTHON) -m venv .venv || { rm -rf .venv; exit 1; }

# The command of this checkout, which works in every folder. Nothing is built for it, and nothing is fetched.
$(BIN)/remediate: Makefile | $(BIN)/python
	@printf '%s\n' '#!/bin/sh' '# `make` wrote this: the command line of one checkout.' \
	  'code="import sys; sys.path.insert(0, sys.argv.pop(1)); from remediate.__main__ import main; main()"' \
	  "exec '$(abspath $(BIN))/python' -P -c \"\$$code\" '$(CURDIR)' \"\$$@\"" > $@
	@chmod +x $@

# checkov pins what it needs so tightly that it gets an environment of its own.
.venv-checkov/.ready: deploy/checks/requirements.txt | $(BIN)/python
	@echo "Installing checkov ..." >&2
	@$(BIN)/python -m venv .venv-checkov
	@.venv-checkov/bin/python -m pip install --quiet --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

# mutmut brings a terminal interface along, which neither the service nor its tests need.
.venv-mutants/.ready: bench/requirements.txt | $(BIN)/python
	@echo "Installing mutmut ..." >&2
	@$(BIN)/python -m venv .venv-mutants
	@.venv-mutants/bin/python -m pip install --quiet --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

$(BIN)/.service: requirements.txt | $(BIN)/python $(BIN)/remediate
	@echo "Installing the locked requirements ..." >&2
	@$(PIP_INSTALL) -r requirements.txt
	@touch $@

$(BIN)/.development: requirements-dev.txt | $(BIN)/python $(BIN)/remediate
	@echo "Installing the locked requirements of tests and linters ..." >&2
	@$(PIP_INSTALL) -r requirements-dev.txt
	@touch $@ $(BIN)/.service
