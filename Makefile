# make repro: set up .venv, then run the whole pipeline (only what changed). make test: set up .venv, then all tests. make setup: .venv alone.
PYTHON ?= python3.11
VENV := $(CURDIR)/.venv
INSTALLED := $(VENV)/.installed
export PATH := $(VENV)/bin:$(PATH)
# waiting threads sleep: lib/workplace.py says why
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: setup repro test lab clean
repro: $(INSTALLED)
	dvc repro
	@echo "The report: reports/report.html"

setup: $(INSTALLED)

test: $(INSTALLED)
	python -m pytest

lab: $(INSTALLED)
	jupyter lab --notebook-dir notebooks

clean:
	rm -rf work .cache data/demo .dvc/cache .dvc/tmp

$(INSTALLED): requirements.txt
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) not found: install Python 3.11, or say which one: make PYTHON=python3 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	python -m pip install --quiet --requirement requirements.txt
	touch $(INSTALLED)
