# Every task of this repository. `make help` lists the targets.
# They create .venv and install into it themselves; only Python >= 3.11 and make are needed.

SHELL := /bin/bash
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
WORKERS ?= auto
ARGS ?=

# one numeric thread a process: the tests run in parallel processes instead
TEST_ENV := OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 MPLBACKEND=Agg
# a process that a test ended is not replaced: pytest-xdist may then wait for ever
IN_PARALLEL := -n $(WORKERS) --dist loadfile --max-worker-restart 0

.DEFAULT_GOAL := help
.PHONY: help install demo test test-slow robustness check lint format docs bench train-shipped udf constraints clean distclean

help:  ## list the targets
	@grep -hE '^[a-z][a-z-]*:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## ?/\1|/' | awk -F'|' '{printf "  make %-14s %s\n", $$1, $$2}'

install: $(STAMP)  ## create .venv and install the package with all extras (about 4 minutes, once)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python >= 3.11 is needed, $(PYTHON) is $$($(PYTHON) -V 2>&1); name another with: make PYTHON=python3.11 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: $(STAMP)  ## the whole chain on a simulated scene: outputs/demo/report.html (<= 10 min on 2 cores)
	$(BIN)/ndvi-fusion demo $(ARGS)

test: $(STAMP)  ## the test suite (<= 15 min on 2 cores); ARGS="-k name" passes options to pytest
	$(TEST_ENV) $(BIN)/python -m pytest $(IN_PARALLEL) -m "not slow" $(ARGS)

test-slow: $(STAMP)  ## the slow tests: killed runs, cold starts in fresh environments, an openEO API server, many scenes
	$(TEST_ENV) $(BIN)/python -m pytest $(IN_PARALLEL) -m slow -o faulthandler_timeout=1800 $(ARGS)

robustness: $(STAMP)  ## run the tests of bad input and the drills, and write docs/robustness.md (about 15 minutes on 2 cores)
	$(TEST_ENV) $(BIN)/python -m tests.robustness $(IN_PARALLEL) -o faulthandler_timeout=1800 $(ARGS)

check: lint test  ## lint, then the test suite

lint: $(STAMP)  ## ruff (rules, format) and mypy (types)
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy

format: $(STAMP)  ## let ruff fix rules and format
	$(BIN)/python -m ruff check --fix .
	$(BIN)/python -m ruff format .

docs: $(STAMP)  ## build the documentation site into site/ (open site/index.html); warnings are errors
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict $(ARGS)

bench: $(STAMP)  ## time every stage and print the figures; docs/benchmarks.md lists the scripts
	@set -e; for script in benchmarks/bench_*.py; do echo "== $$script"; $(BIN)/python "$$script" $(ARGS); done

train-shipped: $(STAMP)  ## train a model of the shipped kind from random weights (less than 90 minutes on 2 cores)
	$(BIN)/ndvi-fusion train experiment=shipped_cpu out=outputs/shipped/first $(ARGS)
	$(BIN)/ndvi-fusion train experiment=shipped_cpu_adversarial start_from=outputs/shipped/first/generator.pt out=outputs/shipped/second $(ARGS)

udf: $(STAMP)  ## regenerate udf/dist after a change in fusion/features, fusion/phenology, fusion/inference or the entry shells
	$(BIN)/python -m udf.bundle $(ARGS)

constraints: $(STAMP)  ## write constraints.txt from the versions in .venv
	@{ sed -n '/^#/p' constraints.txt; $(BIN)/python -m pip freeze --exclude-editable | grep '==' | sed 's/+[a-z0-9.]*$$//'; } > constraints.txt.new
	@mv constraints.txt.new constraints.txt

clean:  ## remove outputs and caches
	rm -rf outputs build site *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +

distclean: clean  ## clean, and remove .venv
	rm -rf $(VENV)
