# Every target sets up what it needs: a virtual environment, the package, its extras.
# The package is installed as users install it, not linked to src/, so the tests see the
# contents of a wheel.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
PARITY := .venv-parity
BENCH := .venv-bench
ZIG := .venv-zig
SITE := .venv-site
WHEELS := .venv-wheels
PY := $(VENV)/bin/python
PYTEST_FLAGS := -q --durations=10
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export MPLBACKEND := Agg

# What an installed package depends on.
SOURCES := pyproject.toml CMakeLists.txt README.md LICENSE \
	$(shell find src cpp -type f -not -path '*/__pycache__/*' 2>/dev/null)

.PHONY: help demo test test-isa parity check bench bench-quick clean
.PHONY: soak sanitize sanitize-thread sanitize-address neon count count-update
.PHONY: neighbours pages reference gpu processes wasm wasm-test page page-check page-test
.PHONY: capi capi-address docs wheels wheels-check wheels-again wheels-test wheels-roots
.PHONY: sdist sdist-check

help:
	@echo 'make demo         run examples/sine.py; errors here, pictures in demo/'
	@echo 'make test         the test suite (minutes, light packages only)'
	@echo 'make soak         the long fault tests; writes docs/reliability.md'
	@echo 'make parity       compare with Keras and PyTorch (installs both)'
	@echo 'make processes    processes that train one model together (installs PyTorch)'
	@echo 'make check        ruff, mypy, clang-format'
	@echo 'make test-isa     the numerical tests on the other instruction sets of this machine'
	@echo 'make sanitize     the engine under the thread, address and undefined sanitizers'
	@echo 'make capi         the C library in build/capi, and its tests; capi-address: sanitized'
	@echo 'make neon         the engine for ARM under emulation, compared with x86'
	@echo 'make count        instructions of a training step; count-update: record them'
	@echo 'make neighbours   time a training step while something takes a core away (as root)'
	@echo 'make bench        time Kurve and its rivals, write docs/benchmarks (installs all)'
	@echo 'make bench-quick  a few cases against PyTorch, under 5 minutes'
	@echo 'make gpu          on a machine with a GPU and PyTorch: tests, times; installs nothing'
	@echo 'make pages        rewrite the outputs and pictures of the tutorial'
	@echo 'make docs         the documentation as a site, build/site/index.html'
	@echo 'make reference    rewrite the tables of docs/reference.md from the docstrings'
	@echo 'make wasm         the engine as WebAssembly, in build/wasm; with threads, build/wasm-threads'
	@echo 'make wasm-test    its numbers beside those of the native engine, by Node'
	@echo 'make page         rewrite the live page of the package from page/'
	@echo 'make page-check   the types of its sources; page-test: the page in Chromium'
	@echo 'make wheels       wheels of all systems into dist/, by Zig; some: TARGETS="..."'
	@echo 'make wheels-again builds them in another folder and compares the bytes'
	@echo 'make wheels-test  installs those for this machine into clean environments, tests them'
	@echo 'make wheels-roots tries them in a bare Debian, and on ARM64 under qemu (as root)'
	@echo 'make sdist        the source package into dist/; sdist-check: builds it elsewhere'
	@echo 'make clean        remove everything that these made'

demo: $(VENV)/installed
	@mkdir -p demo
	@cd demo && ../$(PY) ../examples/sine.py

test: $(VENV)/installed
	$(PY) -m pytest $(PYTEST_FLAGS) -n auto -m 'not alone'
	$(PY) -m pytest $(PYTEST_FLAGS) -m alone

soak: $(VENV)/installed
	$(PY) -m pytest $(PYTEST_FLAGS) -s --soak --reliability docs/reliability.md tests/faults

parity: $(PARITY)/installed
	KERAS_BACKEND=torch $(PARITY)/bin/python -m pytest $(PYTEST_FLAGS) -n auto \
	    -m 'not alone' tests/parity
	$(PARITY)/bin/python -m pytest $(PYTEST_FLAGS) -n auto tests/engines -k torch

# These processes wait for each other, so they need the cores to themselves.
processes: $(PARITY)/installed
	$(PARITY)/bin/python -m pytest $(PYTEST_FLAGS) -m alone tests/parity

check: $(VENV)/check-tools $(VENV)/installed
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	find cpp tests -name '*.cpp' -o -name '*.h' | xargs $(VENV)/bin/clang-format --dry-run -Werror

bench: $(BENCH)/rivals $(BENCH)/installed
	$(BENCH)/bin/python -m bench
	for page in two_heads skips recurrence attention; do \
	    $(BENCH)/bin/python -m bench.$$page --write || exit; \
	done

bench-quick: $(BENCH)/quick-rivals $(BENCH)/installed
	$(BENCH)/bin/python -m bench --quick

# Uses the Python at hand, with its NumPy and PyTorch.
gpu:
	PYTHONPATH=src:. $(or $(shell command -v python3),python) -m bench.gpu

# A command that the machine may lack, and its Debian package.
need = @command -v $(1) >/dev/null || { \
	echo '$(1) is missing (Debian: apt-get install $(2))' >&2; exit 1; }

# `make test` uses this machine's best instruction set. This target runs the others, on
# the tests that compare the native engine's numbers. Files, commands and signals work
# the same on all of them, and tests/faults/test_bits.py covers each one anyway.
test-isa: $(VENV)/installed
	@for isa in $$($(PY) -c 'from kurve import _core; print(*_core.available_isas()[:-1])'); do \
	    echo "KURVE_ISA=$$isa"; KURVE_ISA=$$isa $(PY) -m pytest $(PYTEST_FLAGS) -n auto \
	        --ignore tests/engines/test_gradients.py \
	        tests/engines tests/native tests/nist tests/unit/test_curve_fit.py || exit; \
	done

# Builds the targets $(2) in build/$(1): the engine with the programs of
# tests/native/cpp, without Python unless the CMake options $(3) say otherwise.
define proofs
$(VENV)/bin/cmake -G Ninja -DCMAKE_MAKE_PROGRAM=$(abspath $(VENV))/bin/ninja \
	-S . -B build/$(1) -DKURVE_PYTHON=OFF -DKURVE_PROOFS=ON $(3) >/dev/null
$(VENV)/bin/cmake --build build/$(1) --target $(2)
endef

sanitize: sanitize-thread sanitize-address

# The thread sanitizer does not support threads that are started after a fork.
sanitize-thread: $(VENV)/build-tools
	$(call proofs,thread,driver,-DKURVE_SANITIZE=thread)
	build/thread/driver check

# Memory is set to NaN as soon as no value needs it any more (KURVE_POISON).
# Python itself leaks some memory, so leaks are ignored there; GCC's sanitizer must be
# loaded before everything else.
sanitize-address: $(VENV)/installed
	$(call proofs,address,driver _core,-DKURVE_SANITIZE='address;undefined' \
	    -DKURVE_POISON=ON \
	    -DKURVE_PYTHON=ON -DPython_EXECUTABLE=$(abspath $(PY)))
	build/address/driver check
	build/address/driver memory
	build/address/driver fork
	KURVE_ISA=x86-64-v3 build/address/driver check
	rm -rf build/address/python
	mkdir build/address/python
	cp -r src/kurve build/address/python
	cp build/address/_core.*so build/address/python/kurve
	ASAN_OPTIONS=detect_leaks=0 PYTHONPATH=build/address/python \
	    LD_PRELOAD="$$(g++ -print-file-name=libasan.so) $$(g++ -print-file-name=libstdc++.so.6)" \
	    $(PY) -m pytest $(PYTEST_FLAGS) tests/native

# The library of include/kurve.h, in build/$(1), with the CMake options $(2).
define capi
$(VENV)/bin/cmake -G Ninja -DCMAKE_MAKE_PROGRAM=$(abspath $(VENV))/bin/ninja \
	-S . -B build/$(1) -DKURVE_PYTHON=OFF -DKURVE_CAPI=ON $(2) >/dev/null
$(VENV)/bin/cmake --build build/$(1) --target kurve_capi
endef

capi: $(VENV)/installed
	$(call capi,capi,-DKURVE_WERROR=ON)
	$(PY) -m pytest $(PYTEST_FLAGS) tests/capi

# Only the library is sanitized, not Python.
capi-address: $(VENV)/installed
	$(call capi,capi-address,-DKURVE_SANITIZE='address;undefined')
	ASAN_OPTIONS=detect_leaks=0 KURVE_CAPI=build/capi-address/libkurve.so \
	    LD_PRELOAD="$$(g++ -print-file-name=libasan.so) $$(g++ -print-file-name=libstdc++.so.6)" \
	    $(PY) -m pytest $(PYTEST_FLAGS) tests/capi

# Needed by both `neon` and `count`, built once.
build/proofs/driver: $(VENV)/build-tools $(SOURCES) $(wildcard tests/native/cpp/*)
	$(call proofs,proofs,driver,-DKURVE_WERROR=ON)
	@touch $@

NEON := qemu-aarch64 -L /usr/aarch64-linux-gnu build/neon

neon: build/proofs/driver
	$(call need,aarch64-linux-gnu-g++,g++-aarch64-linux-gnu)
	$(call need,qemu-aarch64,qemu-user)
	$(call proofs,neon,driver ulp_neon,-DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 \
	    -DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++ -DKURVE_WERROR=ON)
	$(NEON)/ulp_neon 1024
	$(NEON)/driver print 1 >build/neon/one.txt
	$(NEON)/driver print 4 >build/neon/four.txt
	cmp build/neon/one.txt build/neon/four.txt
	KURVE_ISA=x86-64-v2 build/proofs/driver print 1 >build/proofs/v2.txt
	$(PY) tests/native/compare.py build/proofs/v2.txt build/neon/one.txt

# Zig's compiler comes from PyPI, with C++'s library for WebAssembly.
wasm: build/wasm/kurve.wasm build/wasm-threads/kurve.wasm

build/wasm-threads/kurve.wasm: threads := ON
build/wasm/kurve.wasm build/wasm-threads/kurve.wasm: $(ZIG)/installed $(VENV)/build-tools CMakeLists.txt $(shell find cpp -type f)
	$(VENV)/bin/cmake -G Ninja -DCMAKE_MAKE_PROGRAM=$(abspath $(VENV))/bin/ninja \
	    -S . -B $(@D) -DCMAKE_TOOLCHAIN_FILE=cpp/wasm/toolchain.cmake \
	    -DKURVE_ZIG=$(abspath $(ZIG))/bin/python -DKURVE_PYTHON=OFF \
	    -DKURVE_WASM_THREADS=$(or $(threads),OFF) >/dev/null
	$(VENV)/bin/cmake --build $(@D)
	@echo "$@: $$(wc -c <$@) bytes, $$(gzip -9c $@ | wc -c) as gzip"

wasm-test: wasm $(VENV)/installed
	$(call need,node,nodejs)
	$(PY) -m pytest $(PYTEST_FLAGS) tests/wasm

page/node_modules/installed: page/package-lock.json
	$(call need,npm,npm)
	cd page && npm ci --no-audit --no-fund
	@touch $@

page: wasm page-check
	node page/build.mjs build/wasm/kurve.wasm build/wasm-threads/kurve.wasm \
	    src/kurve/plots/page/live.html

# The types that the page's sources state in comments.
page-check: page/node_modules/installed
	cd page && npx tsc -p .

page-test: page-check $(VENV)/installed
	$(call need,chromium,chromium)
	$(PY) -m pytest $(PYTEST_FLAGS) tests/page

$(WHEELS)/tools: packaging/requirements.txt | $(WHEELS)/bin/python
	$(WHEELS)/bin/python -m pip install -q -r $<
	@touch $@

# Takes a minute or two for each system, so CI does not do it in every run. TARGETS: some
# of those of wheels.py instead of all.
TARGETS :=
wheels: $(WHEELS)/tools
	$(WHEELS)/bin/python packaging/wheels.py $(TARGETS)

wheels-check: $(WHEELS)/tools
	$(WHEELS)/bin/python packaging/wheels.py --check $(TARGETS)

wheels-again: $(WHEELS)/tools
	rm -rf build/again
	mkdir -p build/again
	git ls-files -z | xargs -0 cp --parents -t build/again
	$(WHEELS)/bin/python build/again/packaging/wheels.py $(TARGETS)
	cd build/again/dist && for wheel in *.whl; do cmp $$wheel ../../../dist/$$wheel; done

# TESTS: what pytest runs on the installed wheel.
TESTS := tests/engines tests/native tests/unit
wheels-test:
	packaging/test_installed.sh $(TESTS)

# As root; TESTS as above.
wheels-roots: $(WHEELS)/tools
	TESTS="$(TESTS)" packaging/test_roots.sh amd64 arm64

sdist: $(WHEELS)/tools
	SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) \
	    $(WHEELS)/bin/python -m build -q --sdist --no-isolation -o dist .

sdist-check: sdist
	rm -rf build/sdist
	mkdir -p build/sdist
	tar -C build/sdist --strip-components=1 -xzf dist/kurve-*.tar.gz
	cd build/sdist && $(abspath $(WHEELS))/bin/python -m pip wheel -q --no-deps --no-index \
	    --no-build-isolation -w wheel .
	unzip -l build/sdist/wheel/*.whl | grep '_core.*\.so'

$(ZIG)/installed: | $(ZIG)/bin/python
	$(ZIG)/bin/python -m pip install -q 'ziglang==0.17.1'
	@touch $@

count count-update: build/proofs/driver
	$(call need,valgrind,valgrind)
	$(PY) tests/native/instructions.py build/proofs/driver $(if $(filter %-update,$@),--update)

neighbours: build/proofs/driver
	$(PY) tests/native/neighbours.py build/proofs/driver

pages: $(VENV)/installed
	$(PY) tests/e2e/pages.py docs/tutorial.md

# Nothing of the package runs here: the tests run the code of the pages.
docs: $(SITE)/tools
	$(SITE)/bin/python docs/site/build.py build/site

reference: $(VENV)/installed
	$(PY) tests/e2e/reference.py

clean:
	rm -rf $(VENV) $(PARITY) $(BENCH) $(ZIG) $(SITE) $(WHEELS) page/node_modules build
	rm -rf dist demo
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PRECIOUS: %/bin/python

# A version manager may put a python3.12 on the path that refuses to start, so each
# candidate is tried.
%/bin/python:
	@for python in $(PYTHON) python3 python3.13 python3.12 python3.11 python3.14 python; do \
	    if $$python -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' \
	        2>/dev/null; then \
	        echo "$$python -m venv $*"; $$python -m venv --clear $*; exit 0; \
	    fi; \
	done; \
	echo 'Kurve needs Python 3.11 or newer with venv (Debian: apt-get install' \
	    'python3-venv). Name one with: make PYTHON=/path/to/python' >&2; exit 1

# The build requirements, including CMake and Ninja, are installed into the environment
# and stay there, so the build folder stays valid and only changed sources are
# recompiled.
%/build-tools: pyproject.toml | %/bin/python
	$*/bin/python -c 'import tomllib; \
	    print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")' \
	    > $*/build-requires.txt
	$*/bin/python -m pip install -q -r $*/build-requires.txt cmake ninja
	@touch $@

# What an extra of pyproject.toml lists.
extra = $$($(1)/bin/python -c 'import tomllib; \
	print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["$(2)"])')

%/check-tools: pyproject.toml | %/bin/python
	$*/bin/python -m pip install -q $(call extra,$*,check)
	@touch $@

$(SITE)/tools: pyproject.toml | $(SITE)/bin/python
	$(SITE)/bin/python -m pip install -q $(call extra,$(SITE),docs)
	@touch $@

# One build for all environments, since they share one Python; each installs its wheel.
$(VENV)/wheel: $(VENV)/build-tools $(SOURCES)
	@rm -rf build/wheel
	$(PY) -m pip wheel -q --no-deps --no-build-isolation --config-settings=build-dir=build/$(VENV) -w build/wheel .
	@touch $@

# Installs the wheel into the environment $(1), then its dependencies and extras $(2).
comma := ,
define install
$(1)/bin/python -m pip install -q --force-reinstall --no-deps build/wheel/*.whl
$(1)/bin/python -m pip install -q "$$(echo build/wheel/*.whl)$(2)"
@touch $@
endef

$(VENV)/installed: $(VENV)/wheel
	$(call install,$(VENV),[test])

$(PARITY)/installed: $(VENV)/wheel | $(PARITY)/bin/python
	$(call install,$(PARITY),[test$(comma)parity])

$(BENCH)/installed: $(VENV)/wheel | $(BENCH)/bin/python
	$(call install,$(BENCH),)

# Line by line: a rival that cannot be installed is left out.
$(BENCH)/rivals: bench/requirements.txt | $(BENCH)/bin/python
	@sed 's/#.*//; /^ *$$/d' $< | while read -r line; do \
	    echo "installing $$line"; \
	    $(BENCH)/bin/python -m pip install -q "$$line" || echo "left out: $$line"; \
	done
	@touch $@

$(BENCH)/quick-rivals: bench/requirements.txt | $(BENCH)/bin/python
	$(BENCH)/bin/python -m pip install -q $$(grep -E '^(torch|matplotlib)' $<)
	@touch $@
