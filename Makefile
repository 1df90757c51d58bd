# The two commands of the README: make demo, make test.
PYTHON ?= python3
BIN = .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK = 1
# Compiled modules are kept, or each of some hundred processes of the tests compiles all of them.
unexport PYTHONDONTWRITEBYTECODE

# Two processes, for many tests wait. The tests of a file stay together: they share what is costly.
AT_ONCE = --numprocesses 2 --dist loadfile

.PHONY: demo test quick slow lint figures docs format wheel clean

demo: .venv/runtime
	$(BIN)/python tools/demo.py

test: .venv/test .venv/debian
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(AT_ONCE) $(TESTS)

# What a contributor runs after each change: needs nothing from Debian, and two minutes.
quick: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(AT_ONCE) --quick

slow: .venv/test .venv/debian
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(AT_ONCE) -m "slow and not alone"
	OMP_NUM_THREADS=2 $(BIN)/python -m pytest -m "slow and alone"

lint: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python tools/figures.py --check

# Measures the published figures again, but for INT8 and the long run: two hours on two cores,
# beside ../shared/data.
figures: .venv/test .venv/debian
	$(BIN)/python tools/figures.py

# The pages as a site in build/site; a link that leads nowhere is an error.
docs: .venv/dev
	$(BIN)/python tools/build_docs.py build/site

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

# The tests look at results with Debian's ffmpeg; GStreamer plays cameras and servers for them, and
# Chromium and Prometheus look at the console.
GSTREAMER = gir1.2-gst-rtsp-server-1.0 python3-gi gstreamer1.0-plugins-base \
	gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly \
	gstreamer1.0-libav gstreamer1.0-rtsp gstreamer1.0-tools glib-networking openssl
CONSOLE = chromium chromium-driver prometheus
.venv/debian: Makefile | .venv/bin/python
	command -v ffprobe >/dev/null || tools/install-debian.sh ffmpeg
	command -v strace >/dev/null || tools/install-debian.sh strace
	dpkg-query --show $(GSTREAMER) >/dev/null || tools/install-debian.sh $(GSTREAMER)
	dpkg-query --show $(CONSOLE) >/dev/null || tools/install-debian.sh $(CONSOLE)
	touch $@

wheel: .venv/test
	$(BIN)/python -m build
	$(BIN)/python -m twine check --strict dist/*

clean:
	rm -rf .venv demo build dist
