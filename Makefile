# make demo: set up, read a sample recording and samples of handwriting · make test: the whole test suite

VENV := .venv
BIN := $(VENV)/bin
SETUP := $(VENV)/.setup
DEVELOP := $(VENV)/.develop
OTHERS := $(VENV)/.others
PAGE := $(VENV)/.page
TYPES := $(VENV)/types/carousel
PIP := $(BIN)/python -m pip install --disable-pip-version-check --constraint constraints.txt

# The first interpreter that runs (a name on the PATH may be an empty shim), is 3.11 to 3.14, and can make an environment.
FITS := import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 15))
PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3.14 python3 python; do \
	$$python -c '$(FITS)' 2>/dev/null && { echo $$python; break; }; done)

# On Linux PyPI's torch brings gigabytes of CUDA. Without an NVIDIA GPU we ask PyTorch's index of CPU builds,
# if it answers within three seconds; `make TORCH_INDEX=` never asks, `make TORCH_INDEX=https://…` asks another.
ifeq ($(shell uname -s):$(shell command -v nvidia-smi 2>/dev/null),Linux:)
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
endif
# alarm, not a timeout of urlopen: looking up a host's name knows no timeout.
ANSWERS := import signal, sys, urllib.request; signal.alarm(3); urllib.request.urlopen(sys.argv[1] + "/torch/")

PEERS := $(shell sed -n '/^bench = \[/,/^]/s/^ *"\(.*\)",/\1/p' pyproject.toml)

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-page lint format bench bench-decoder bench-handwriting bench-lstm clean

help:
	@echo "make setup   .venv with the package"
	@echo "make demo    setup, then read the samples and draw what the networks saw (demo/*.png)"
	@echo "make test    setup with the development extras, then every test"
	@echo "make test-page   the tests of the served page in a Chromium, which has to be there"
	@echo "make lint    ruff and mypy        make format  ruff's formatting"
	@echo "make bench   our layers and search beside others'        make clean   remove what make made"
	@echo "make bench-handwriting   lines read by us, PP-OCRv6 and Tesseract; BENCH='--pages FOLDER' times pages as well"
	@echo "make bench-decoder   only the search, on our models' outputs, with other decoders that install"

setup: $(SETUP)

$(SETUP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "make: Carousel needs Python 3.11, 3.12, 3.13 or 3.14 with venv, and none is on the PATH." \
		"Install one (Debian: apt install python3.11 python3.11-venv) or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@if [ -z "$(TORCH_INDEX)" ]; then :; \
	elif $(BIN)/python -c '$(ANSWERS)' "$(TORCH_INDEX)" >/dev/null 2>&1; then \
		$(PIP) --extra-index-url "$(TORCH_INDEX)" torch; \
	else echo "make: $(TORCH_INDEX) does not answer; torch comes from where pip looks otherwise." >&2; fi
	$(PIP) --editable .
	@touch $@

$(DEVELOP): $(SETUP)
	$(PIP) --editable '.[dev]'
	@touch $@

demo: $(SETUP)
	$(BIN)/asr demo
	$(BIN)/hwr demo

test: $(DEVELOP)
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile $(PYTEST)

$(PAGE): $(DEVELOP)
	$(PIP) --editable '.[page]'
	@touch $@

test-page: $(PAGE)
	@command -v chromium || command -v google-chrome || { echo "make: the page is tested in a Chromium, and none is on the" \
		"PATH. Install one (Debian: apt install chromium)." >&2; exit 1; }
	$(BIN)/python -m pytest tests/common/serve

lint: $(DEVELOP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@mkdir -p $(TYPES) && ln -sfn $(foreach folder,asr common conf hwr recipes,$(CURDIR)/$(folder)) $(TYPES)
	@ln -sfn $(CURDIR)/api/* $(TYPES)
	MYPYPATH=$(VENV)/types $(BIN)/mypy

format: $(DEVELOP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(DEVELOP) $(OTHERS)
	@set -e; for file in tests/bench/*.py; do $(BIN)/python $$file; done

bench-decoder: $(DEVELOP) $(OTHERS)
	OMP_NUM_THREADS=1 $(BIN)/python tests/bench/decoder.py

# One by one: what does not install is left out, and the benchmark says so.
$(OTHERS): $(DEVELOP)
	@for name in $(PEERS); do $(PIP) --quiet $$name || echo "make: $$name does not install here." >&2; done
	@touch $@

bench-handwriting: $(DEVELOP) $(OTHERS)
	OMP_NUM_THREADS=1 $(BIN)/python tests/bench/handwriting.py $(BENCH)

bench-lstm: $(DEVELOP)
	$(BIN)/python tests/bench/lstm.py

clean:
	rm -rf $(VENV) build dist demo *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find api asr common conf hwr recipes tests -name __pycache__ -prune -exec rm -rf {} +
