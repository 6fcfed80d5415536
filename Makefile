# Everything needs only Python 3.11, 3.12 or 3.13, git and make. uv installs in a third of pip's time, and its
# environments share files: where it is not there, pip brings it into .uv/ first.

PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo $$python && break; done)
SUITABLE_PYTHON = $(or $(PYTHON),$(error Python 3.11, 3.12 or 3.13 is needed; give its path as PYTHON=...))
OWN_UV := .uv/bin/uv
UV := $(or $(shell command -v uv 2>/dev/null),$(OWN_UV))
ifeq ($(UV),$(OWN_UV))
# uv does not read pip's settings, and some machines reach no index but the one that is named there. What else a mirror
# needs (certificates, credentials, a second index) uv has to be told by its own variables.
export UV_DEFAULT_INDEX ?= $(or $(PIP_INDEX_URL),$(shell $(PYTHON) -m pip config get global.index-url 2>/dev/null))
endif
BIN := .venv/bin
READY := .venv/ready

# uv does not compile what it installs, and where this is set nobody would: each process then compiles PyTorch's modules
# for itself, which takes ten seconds.
export PYTHONDONTWRITEBYTECODE :=

# Packages without a wheel. This one is the parser's runtime of omegaconf, which hydra-core needs, which executorch needs.
# Their makers publish sources alone, so installing them runs their setup.py; the lock's hashes say which.
BUILT := antlr4-python3-runtime

# Empty, the lock keeps its versions: for a dependency that was added or removed.
UPGRADE ?= --upgrade

.PHONY: help demo test check docs lock reference

help:
	@echo "make demo   run the whole job on 2,624 real photographs (3 to 5 minutes on two cores)"
	@echo "make test   run the tests"
	@echo "make check  check format, lint, types, which room imports which, and the docs' links"
	@echo "make docs   make the docs as a site, in site/"
	@echo "make reference  make docs/config.md and configs/schema.json from the config's dataclasses"
	@echo "make lock   compile requirements.lock again, with the newest versions; UPGRADE= keeps those it has"

demo: $(READY)
	$(BIN)/pocketeva run configs/demo.yaml

test: $(READY)
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/mkdocs build --strict --quiet

docs: $(READY)
	$(BIN)/mkdocs build --strict

reference: $(READY)
	$(BIN)/pocketeva config --reference > docs/config.md
	$(BIN)/pocketeva config --schema > configs/schema.json

COMPILE = $(UV) pip compile --universal --generate-hashes --python-version 3.11 $(UPGRADE) --no-emit-index-url \
	--no-emit-find-links --no-annotate --no-header --quiet

lock: | $(UV)
	echo uv | $(COMPILE) --output-file requirements-uv.lock -
	$(COMPILE) --all-extras --output-file requirements.lock pyproject.toml
	@$(MAKE) --quiet $(READY)
	@echo "built from source, with code of its own that runs on installing: $(BUILT)"
	@$(UV) pip install --quiet --dry-run --reinstall --python .venv --only-binary :all: $(BUILT:%=--no-binary %) \
		-r requirements.lock || (echo "something else has no wheel: choose a version that has one, or add it to BUILT" && exit 1)

$(READY): requirements.lock pyproject.toml | $(UV)
	$(UV) venv --quiet --clear --python $(SUITABLE_PYTHON) .venv
	$(UV) pip install --python .venv --require-hashes -r requirements.lock
	$(UV) pip install --python .venv --no-deps --editable .
	touch $(READY)

$(OWN_UV): requirements-uv.lock
	$(SUITABLE_PYTHON) -m venv --clear .uv
	.uv/bin/python -m pip install --quiet --require-hashes -r requirements-uv.lock
