# Two commands: `make demo` and `make test`. Each target installs what it needs into .venv, once.
PYTHON ?= python3
VENV   := .venv
PY     := $(VENV)/bin/python
BASE   := $(VENV)/.installed
DEV    := $(VENV)/.installed-dev
JS     := node_modules/.installed
LISTS  := settings.ini setup.py pyproject.toml tools/install.sh
SHELL  := /bin/sh
# The networks here are small: with more threads they only wait for one another
export OMP_NUM_THREADS ?= 1

.PHONY: help demo test docs slides classroom bench study release-check clean
.DELETE_ON_ERROR:

help:
	@echo 'make demo               the main job on data that ships with scikit-learn: a table, and out/demo.png'
	@echo 'make test               everything that CI runs'
	@echo 'make docs               the site, in _docs/'
	@echo 'make slides             slides of each lesson, in _slides/'
	@echo 'make classroom          out/classroom.zip for a room without network: wheels (WHEELS=no: none), notebooks, site, slides'
	@echo 'make bench              every benchmark in bench/, results in bench/results/'
	@echo 'make study NAME=digits  the slow cells of one notebook too, outputs stored in it'
	@echo 'make release-check      would a release work? builds it and installs it where nothing is'
	@echo 'make clean              remove what was built (.venv, data and results stay)'

demo: $(BASE)
	$(PY) bench/demo.py

test: $(DEV) $(JS)
	$(PY) tools/check_sync.py
	$(PY) -m ruff check
	$(PY) tools/make_readme.py --check
	@if $(PY) -c 'import smalldocs' 2>/dev/null; then set -x; $(PY) tools/build_docs.py; \
	else echo 'left out: the site, for smalldocs needs Python 3.11'; rm -rf _docs; fi
	$(PY) -m pytest -n 2 --dist loadgroup

docs: $(DEV) $(JS)
	$(PY) tools/build_docs.py

slides: docs
	$(PY) tools/slides.py _docs _slides

classroom: docs
	$(PY) tools/classroom.py --wheels $(or $(WHEELS),yes) $(if $(TORCH),--torch $(TORCH))

bench: $(DEV)
	@set -e; for f in $(filter-out bench/demo.py bench/looks.py bench/recipe.py bench/what_d_knows.py, $(wildcard bench/[a-z]*.py)); do echo "$$f"; $(PY) $$f; done

study: $(DEV)
	$(PY) tools/run_nbs.py --flags slow $(or $(NAME),--list)

release-check: $(DEV)
	$(PY) tools/check_sync.py
	$(PY) tools/release_check.py

clean:
	rm -rf _docs _slides _proc _proc_site out build dist *.egg-info .pytest_cache .ruff_cache .hypothesis .coverage
	find asal_nb bench nbs tests tools -name __pycache__ -o -name .ipynb_checkpoints | xargs rm -rf

$(PY):
	@sh tools/install.sh venv $(VENV) "$(PYTHON)"

$(BASE): $(LISTS) | $(PY)
	@sh tools/install.sh packages $(VENV) . $@

$(DEV): $(LISTS) | $(PY)
	@sh tools/install.sh packages $(VENV) '.[dev]' $@
	@cp $@ $(BASE)

$(JS): package-lock.json | $(PY)
	@sh tools/install.sh scripts $(VENV)
	@touch $@
