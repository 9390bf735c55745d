# Everything a newcomer or a contributor needs; nothing else by hand.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint format recipes clean
.DEFAULT_GOAL := demo

demo: .venv/user  ## install, then the whole way on generated images
	$(BIN)/unet demo -o demo

test: .venv/dev  ## install, then every test; two processes of one thread each
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal -q

lint: .venv/dev  ## style, types, floors
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/dev
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

recipes: .venv/user  ## write the named recipes as YAML
	for name in $$($(BIN)/unet recipes list --names); do \
		$(BIN)/unet recipes show $$name > recipes/$$name.yaml; done

clean:
	rm -rf .venv demo .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit("unetkit needs Python 3.11 or newer" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv

.venv/user: pyproject.toml constraints.txt | .venv/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

.venv/dev: pyproject.toml constraints.txt | .venv/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@ .venv/user
