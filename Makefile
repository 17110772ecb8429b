# The only commands to remember: make run | test | check | bench | browser | outside. Each sets up what it needs first.
PYTHON ?= python3
BIN := .venv/bin
.DEFAULT_GOAL := help
.PHONY: help setup setup-dev run test check bench browser outside

help:
	@echo "make run    the roaming day, end to end, with the console on http://127.0.0.1:8080 (ARGS=--exit ends after the statement)"
	@echo "make test   every test, on a real PostgreSQL"
	@echo "make check  format, lint, types, import contracts"
	@echo "make bench  side-by-side benchmarks, JSON in build/bench.json"
	@echo "make browser  the console in a real Chromium; needs chromium and chromedriver on the PATH"
	@echo "make outside  what talks to programs of others: files to a real SSH server; needs sftp, sshd and ssh-keygen"

# A stamp is newer than its lock file when the set-up is current; a second run costs nothing.
.venv/run.stamp: requirements/run.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "gridroam needs Python 3.11 or newer; name one with: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/run.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

.venv/dev.stamp: .venv/run.stamp requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@touch $@

setup: .venv/run.stamp
setup-dev: .venv/dev.stamp

run: setup
	$(BIN)/gridroam day $(ARGS)

# Four at a time, each with a PostgreSQL of its own: most of a test's time is waiting. ARGS="-n 0 …" is one at a time.
test: setup-dev
	$(BIN)/python -m pytest -n 4 --dist worksteal $(ARGS)

check: setup-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup-dev
	$(BIN)/gridroam bench $(ARGS)

# Chromium comes from no Python registry, so these tests are not among `make test`.
browser: setup-dev
	@command -v chromium >/dev/null || command -v google-chrome >/dev/null || { echo "make browser needs chromium on the PATH; on Debian: apt-get install chromium chromium-driver" >&2; exit 1; }
	@command -v chromedriver >/dev/null || { echo "make browser needs chromedriver on the PATH; on Debian: apt-get install chromium chromium-driver" >&2; exit 1; }
	$(BIN)/python -m pytest tests/browser $(ARGS)

# Neither does OpenSSH. A server's programs are not on everybody's PATH.
outside: export PATH := $(PATH):/usr/sbin:/sbin
outside: setup-dev
	@for program in sftp sshd ssh-keygen; do command -v $$program >/dev/null || { echo "make outside needs $$program; on Debian: apt-get install openssh-client openssh-server" >&2; exit 1; }; done
	$(BIN)/python -m pytest tests/outside $(ARGS)
