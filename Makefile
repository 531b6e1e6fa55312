# Everything runs in .venv, made here from this checkout. See README.md.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.PHONY: demo check test test-slow lint bench bench-peers reports clean setup check-tools

demo: $(READY)
	$(BIN)/bamac demo

# The quickest useful subset: the linters, and the tests that start no simulator, synthesis or
# training. Under a minute on two cores.
check: lint
	$(BIN)/python -m pytest -n 2 -q --quick -m "not slow"

test: lint
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow"

# Whole clips on every preset, and hundreds of random networks.
test-slow: $(READY)
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "slow or not slow"

# ruff, the layers of imports, and types, as .pre-commit-config.yaml names them.
lint: $(READY)
	@PATH="$(abspath $(BIN)):$$PATH" $(BIN)/pre-commit run --all-files

bench: $(READY)
	$(BIN)/python -m benchmarks

# NNgen on the same layers; it is installed into build/peers.
bench-peers: $(READY)
	$(BIN)/python -m benchmarks.peers

# Everything under reports/ whose sources have changed, and the index.
reports: $(READY)
	$(BIN)/python -m benchmarks.reports

setup: $(READY)

check-tools:
	@PYTHON=$(PYTHON) sh tools/check_tools.sh

$(READY): pyproject.toml constraints.txt tools/check_tools.sh
	@PYTHON=$(PYTHON) sh tools/check_tools.sh
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	@touch $@

clean:
	rm -rf $(VENV) build
