# Every target sets up what it needs: a virtual environment in .venv, from pyproject.toml alone.

PYTHON ?= python3
BIN := .venv/bin
RUN := PATH="$(CURDIR)/$(BIN):$$PATH"
SNAKEMAKE := $(RUN) snakemake --profile workflow/profiles/local

.PHONY: demo test fast lint bench slurm science real picture references clean help
.DEFAULT_GOAL := help

help:  ## Show what can be made.
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

demo: .venv/.run  ## Install, then run the whole workflow on a simulated survey.
	$(SNAKEMAKE)
	@$(RUN) astroml summary results/demo catalogs/demo

test: .venv/.test  ## Run the whole test suite.
	$(RUN) pytest -n auto --dist loadfile

fast: .venv/.test  ## Run all tests but the slow ones: some two minutes on two cores.
	$(RUN) pytest -n auto --dist loadfile -m "not slow"

lint: .venv/.test .venv/.lint  ## Check style, formats and the workflow.
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) snakefmt --check Snakefile workflow
	$(RUN) snakemake --lint

bench: .venv/.test  ## Measure each stage beside its bound, and write the record and the plan anew.
	$(RUN) python tests/bench.py --record

slurm: .venv/.run .venv/.slurm  ## Run the workflow through a real SLURM and kill its jobs (root on Debian).
	$(RUN) python tests/slurm.py

science: .venv/.test  ## Evaluate a task in full (TASK=photoz) and write its record in tests/science.
	$(RUN) python tests/science/run.py $(TASK)

real: .venv/.run  ## Run the examples on real files (ASTROML_REALDATA, else ../shared/data).
	for run in euclid cfhtls des; do \
	  $(SNAKEMAKE) --configfile config/examples/$$run.yaml || exit 1; \
	  $(RUN) astroml summary results/$$run catalogs/$$run; \
	done

picture: .venv/.run  ## Draw the README's pictures from the demo's and the examples' results.
	$(RUN) python tests/picture.py

references: .venv/.run  ## Write the schema, the references and the README's tables anew.
	$(RUN) astroml config --write
	$(RUN) python tests/science/table.py

clean:  ## Remove what runs have made; the environment stays.
	rm -rf results catalogs/*/ .snakemake

# Debian splits venv off its Python; root on Debian gets it installed, others are told.
.venv/.made:
	$(PYTHON) -m venv .venv \
	|| { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
	     && apt-get update -q && apt-get install -qy python3-venv && $(PYTHON) -m venv .venv; } \
	|| { echo "ERROR: $(PYTHON) cannot make virtual environments; on Debian: apt install python3-venv" >&2; rm -rf .venv; exit 1; }
	$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11) and "ERROR: Python 3.11 or newer is needed, found " + sys.version.split()[0] + "; name one: make PYTHON=python3.12 demo")'
	$(BIN)/python -m pip install -q --upgrade pip
	@touch $@

.venv/.run: .venv/.made pyproject.toml
	$(BIN)/python -m pip install -q -e '.[notebooks]'
	@touch $@

.venv/.test: .venv/.run
	$(BIN)/python -m pip install -q -e '.[notebooks,test]'
	@touch $@

.venv/.slurm: .venv/.run
	$(BIN)/python -m pip install -q -e '.[slurm]'
	@touch $@

.venv/.lint: .venv/.run
	$(BIN)/python -m pip install -q -e '.[lint]'
	@touch $@
