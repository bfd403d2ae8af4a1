# The verbs of the project. `make book` and `make test` set up all they need.
PYTHON ?= python3
STUDY ?=
DATA ?=
BIN := .venv/bin
CHEXLIB := $(BIN)/chexlib

.PHONY: book test lint bench serve clean help
help:
	@echo "make book                            train study demo, run the notebooks on the published runs, build the book"
	@echo "make book STUDY=nih DATA=folder      train a study, and show it in every section"
	@echo "make test | lint | bench | serve | clean"

# The environment is made again when the lock or the package's metadata changes.
.venv/.ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "chexlib needs Python 3.11 or newer: make PYTHON=python3.12"; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

book: .venv/.ready
	$(CHEXLIB) study run $(or $(STUDY),demo) $(if $(DATA),--data "$(DATA)")
	$(CHEXLIB) notebooks run $(if $(STUDY),--study $(STUDY)) $(if $(DATA),--data "$(DATA)")
	$(CHEXLIB) book build

# Files in their order, for those that take longest come first; one worker more than cores, as some tests wait for processes.
test: .venv/.ready
	$(BIN)/python -m pytest -n $$(( $$(getconf _NPROCESSORS_ONLN) + 1 )) --maxprocesses 4 --dist loadfile --no-loadscope-reorder

lint: .venv/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

bench: .venv/.peers
	PYTHONPATH=.venv/peers $(BIN)/python -m benchmarks

.venv/.peers: benchmarks/requirements.txt .venv/.ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --upgrade --target .venv/peers -r $<
	@touch $@

serve: .venv/.ready
	$(CHEXLIB) book serve

clean:
	rm -rf _build book/executed .pytest_cache .ruff_cache .import_linter_cache
