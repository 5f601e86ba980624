# Each target sets up .venv from the lock by itself: `make demo` is one command on a fresh machine.
PYTHON ?= python3
BIN := .venv/bin

# Where this is set, every process that a test starts would compile the whole program anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test test-all coverage check bench docs pictures format lock clean

help:
	@echo 'make demo      a week of a community in under a minute, with stand-ins for every service'
	@echo 'make test      every test; make test-all with more random examples, make coverage with coverage'
	@echo 'make check     ruff and mypy; make format lets ruff mend what it can'
	@echo 'make bench     every benchmark that needs no data of others'
	@echo 'make docs      docs/commands.md and docs/settings.md anew; make pictures takes those of docs/pictures'
	@echo 'make lock      the locks anew (needs uv); make clean removes .venv, builds and caches'

demo: .venv/.installed
	$(BIN)/recollect demo

test: .venv/.installed
	$(BIN)/pytest -n auto --dist worksteal

# The same, with four times as many examples where a test draws them at random.
test-all: .venv/.installed
	$(BIN)/pytest -n auto --dist worksteal --hypothesis-profile=thorough

coverage: .venv/.installed
	$(BIN)/pytest -n auto --dist worksteal --cov --cov-report=term

check: .venv/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/.installed
	$(BIN)/recollect bench idle
	$(BIN)/recollect bench capture
	$(BIN)/recollect bench extraction
	$(if $(IRC),$(BIN)/recollect bench windows $(IRC))
	$(BIN)/recollect bench index
	$(BIN)/recollect bench backlog
	$(BIN)/recollect bench commands
	$(BIN)/recollect bench erase
	$(BIN)/recollect bench chaos

docs: .venv/.installed
	$(BIN)/recollect commands > docs/commands.md.new
	mv docs/commands.md.new docs/commands.md
	$(BIN)/recollect settings > docs/settings.md.new
	mv docs/settings.md.new docs/settings.md

# Needs Chromium (apt-get install chromium fonts-noto-core fonts-noto-color-emoji): docs/pictures.py says more.
pictures: .venv/.installed
	$(BIN)/python docs/pictures.py

format: .venv/.installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.venv/.installed: requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Recollect needs Python 3.11 or newer; name one with: make PYTHON=python3.12 ...")'
	@echo 'Setting up .venv from the lock, which takes a minute or two.'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

# Needs uv. Names, versions and hashes only: where packages come from is the installer's business.
UV_COMPILE = uv pip compile pyproject.toml --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header --no-annotate
lock:
	$(UV_COMPILE) --output-file requirements.lock
	$(UV_COMPILE) --extra dev --output-file requirements-dev.lock
	echo setuptools | uv pip compile - --quiet --upgrade --generate-hashes --no-header --no-annotate > build.lock.new
	(head -1 deploy/build.lock; cat build.lock.new) > deploy/build.lock.new
	rm build.lock.new
	mv deploy/build.lock.new deploy/build.lock

clean:
	rm -rf .venv build dist *.egg-info .coverage* .pytest_cache .mypy_cache .ruff_cache .hypothesis
