# The two commands of the README: make demo, make test.
PYTHON ?= python3
BIN = .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: demo test slow lint format clean

demo: .venv/runtime
	$(BIN)/python tools/demo.py

test: .venv/test .venv/debian
	OMP_NUM_THREADS=2 $(BIN)/python -m pytest $(TESTS)

slow: .venv/test .venv/debian
	OMP_NUM_THREADS=2 $(BIN)/python -m pytest -m slow

lint: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/runtime: pyproject.toml constraints.txt | .venv/bin/python
	$(BIN)/pip install --quiet --constraint constraints.txt --editable .
	touch $@

.venv/test: pyproject.toml constraints.txt | .venv/bin/python
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[test]'
	touch $@

.venv/dev: pyproject.toml constraints.txt | .venv/bin/python
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@ .venv/test

# The tests look at results with Debian's ffmpeg, and at the console with Chromium and Prometheus.
.venv/debian: Makefile | .venv/bin/python
	command -v ffprobe >/dev/null || tools/install-debian.sh ffmpeg
	command -v chromedriver >/dev/null && command -v promtool >/dev/null || \
		tools/install-debian.sh chromium chromium-driver prometheus
	touch $@

clean:
	rm -rf .venv demo build dist
