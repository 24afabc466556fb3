# Every target sets up what it needs: a virtual environment, the package, its extras.
# The package is installed as users install it, not linked to src/, so that the tests
# see what a wheel holds.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
PARITY := .venv-parity
BENCH := .venv-bench
PY := $(VENV)/bin/python
PYTEST_FLAGS := -q --durations=10
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export MPLBACKEND := Agg

# What an installed package depends on.
SOURCES := pyproject.toml CMakeLists.txt README.md LICENSE \
	$(shell find src cpp -type f -not -path '*/__pycache__/*' 2>/dev/null)

.PHONY: help demo test parity check bench bench-quick clean

help:
	@echo 'make demo    run examples/sine.py; errors here, pictures in demo/'
	@echo 'make test    the test suite (minutes, light packages only)'
	@echo 'make parity  compare with Keras and PyTorch (installs both)'
	@echo 'make check   ruff, mypy, clang-format'
	@echo 'make bench   time Kurve beside its rivals, write docs/benchmarks (installs all)'
	@echo 'make bench-quick  a few points beside PyTorch, under 5 minutes'
	@echo 'make clean   remove what these made'

demo: $(VENV)/installed
	@mkdir -p demo
	@cd demo && ../$(PY) ../examples/sine.py

test: $(VENV)/installed
	$(PY) -m pytest $(PYTEST_FLAGS)

parity: $(PARITY)/installed
	KERAS_BACKEND=torch $(PARITY)/bin/python -m pytest $(PYTEST_FLAGS) tests/parity

check: $(VENV)/check-tools $(VENV)/installed
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	find cpp tests -name '*.cpp' -o -name '*.h' | xargs $(VENV)/bin/clang-format --dry-run -Werror

bench: $(BENCH)/rivals $(BENCH)/installed
	$(BENCH)/bin/python -m bench

bench-quick: $(BENCH)/quick-rivals $(BENCH)/installed
	$(BENCH)/bin/python -m bench --quick

clean:
	rm -rf $(VENV) $(PARITY) $(BENCH) build dist demo
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PRECIOUS: %/bin/python

# A version manager may put a python3.12 on the path that refuses to start, so each
# candidate is run.
%/bin/python:
	@for python in $(PYTHON) python3 python3.13 python3.12 python3.11 python3.14 python; do \
	    if $$python -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' \
	        2>/dev/null; then \
	        echo "$$python -m venv $*"; $$python -m venv --clear $*; exit 0; \
	    fi; \
	done; \
	echo 'Kurve needs Python 3.11 or newer with venv (Debian: apt-get install' \
	    'python3-venv). Name one with: make PYTHON=/path/to/python' >&2; exit 1

# The build's requirements go into the environment, CMake and Ninja too, and stay there:
# so the build folder stays valid and only changed sources compile again.
%/build-tools: pyproject.toml | %/bin/python
	$*/bin/python -c 'import tomllib; \
	    print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")' \
	    > $*/build-requires.txt
	$*/bin/python -m pip install -q -r $*/build-requires.txt cmake ninja
	@touch $@

%/check-tools: pyproject.toml | %/bin/python
	$*/bin/python -m pip install -q $$($*/bin/python -c 'import tomllib; \
	    print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["check"])')
	@touch $@

INSTALL = -m pip install -q --no-build-isolation --config-settings=build-dir=build/

$(VENV)/installed: $(VENV)/build-tools $(SOURCES)
	$(VENV)/bin/python $(INSTALL)$(VENV) '.[test]'
	@touch $@

$(PARITY)/installed: $(PARITY)/build-tools $(SOURCES)
	$(PARITY)/bin/python $(INSTALL)$(PARITY) '.[test,parity]'
	@touch $@

$(BENCH)/installed: $(BENCH)/build-tools $(SOURCES)
	$(BENCH)/bin/python $(INSTALL)$(BENCH) .
	@touch $@

# One line after the other: a rival that cannot be installed is left out.
$(BENCH)/rivals: bench/requirements.txt | $(BENCH)/bin/python
	@sed 's/#.*//; /^ *$$/d' $< | while read -r line; do \
	    echo "installing $$line"; \
	    $(BENCH)/bin/python -m pip install -q "$$line" || echo "left out: $$line"; \
	done
	@touch $@

$(BENCH)/quick-rivals: bench/requirements.txt | $(BENCH)/bin/python
	$(BENCH)/bin/python -m pip install -q $$(grep -E '^(torch|matplotlib)' $<)
	@touch $@
