# Every target sets up what it needs. PYTHON chooses the interpreter of a new .venv.
PYTHON ?= python3
PIP = .venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: install demo test lint docs package clean

install: .venv/installed

demo: .venv/installed
	.venv/bin/python examples/demo.py demo

test: .venv/installed-dev
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/lint-imports
	.venv/bin/python -m pytest -n auto --maxprocesses 8 --dist worksteal

docs: .venv/installed-dev
	.venv/bin/sphinx-build -W --keep-going -q docs docs/_build

package: .venv/installed-dev
	.venv/bin/python scripts/package.py

lint: .venv/installed-dev
	.venv/bin/pyright

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/installed: .venv/bin/python pyproject.toml constraints.txt
	$(PIP) -e '.[app]'
	touch $@

.venv/installed-dev: .venv/installed
	$(PIP) -e '.[dev]'
	$(PIP) --no-deps azula # guided-diffusion's own network, for a test; it asks for another torch
	touch $@

clean:
	rm -rf .venv demo dist docs/_build docs/reference
