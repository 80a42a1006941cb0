# make demo   see what it does        make test   all checks        make bench   how fast it is (docs/performance.md)
# make docs   the guide as a site        make notebooks   runs its notebooks again
# make faults   how it bears damaged files (docs/reliability.md); N=1000000 for the long run
# Each builds .venv and installs what is missing.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SCREEN := xvfb-run -a -s "-screen 0 1600x1200x24"
WINDOW_PACKAGES := xvfb xauth libegl1 libgl1 libopengl0 libdbus-1-3 libfontconfig1 libxkbcommon-x11-0 libxcb-cursor0 \
	libxcb-icccm4 libxcb-image0 libxcb-keysyms1 libxcb-randr0 libxcb-render-util0 libxcb-shape0 libxcb-xinerama0 libxcb-xkb1

.PHONY: demo test test-core test-pyside6 test-pyqt6 window-packages lint docs notebooks bench faults sample clean

demo: $(VENV)/.installed
	$(BIN)/napari-cmrcnet demo --out demo_output

# One thread a process: some tests start processes of their own, and threads that wait for each other cost minutes.
# Beside each other: the tests that need no window, a file a process; and one after another those
# of the window with each Qt, some damaged files and the checks of the code. What a part prints comes when it is done.
test: $(VENV)/.installed-test
	@sh scripts/window_packages.sh $(WINDOW_PACKAGES)
	@echo "All tests: about 12 minutes on two cores. Each part is printed when it is done."
	$(MAKE) --jobs 2 --output-sync N=2000 test-core test-pyside6 test-pyqt6 faults lint

# Where it is set, as in many containers, each of the tests' processes would compile all tests and all code again.
unexport PYTHONDONTWRITEBYTECODE

# In their order: xdist would begin with the files of most tests, and the longest have few.
ONE_FILE_A_PROCESS := --dist loadfile --no-loadscope-reorder

test-core: WORKERS = $(shell $(PYTHON) -c 'import os; print(min(4, os.cpu_count()))')
# It gives way to what runs one after another beside it, and takes both cores when that is done.
test-core:
	OMP_NUM_THREADS=1 nice $(SCREEN) $(BIN)/pytest -m "not qt" --numprocesses $(WORKERS) $(ONE_FILE_A_PROCESS) --durations=10

test-pyside6 test-pyqt6: test-%:
	OMP_NUM_THREADS=1 QT_API=$* $(SCREEN) $(BIN)/pytest -m qt --durations=10 $$(grep -l 'mark\.qt' tests/*.py)

window-packages:
	@echo $(WINDOW_PACKAGES)

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/.installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

notebooks: $(VENV)/.installed-docs
	$(BIN)/python docs/run_notebooks.py

bench: $(VENV)/.installed-test
	@sh scripts/window_packages.sh $(WINDOW_PACKAGES)
	QT_API=pyside6 $(SCREEN) $(BIN)/python -m benchmarks

faults: $(VENV)/.installed-test
	$(BIN)/python -m benchmarks.faults $(N)

sample: $(VENV)/.installed
	$(BIN)/python sample_data/make_sample.py

clean:
	rm -rf $(VENV) demo_output dist

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "napari-cmrcnet needs Python 3.11 or newer: make PYTHON=python3.12 …")'
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV) || \
		{ echo "Python's venv is missing: on Debian or Ubuntu, apt-get install python3-venv" >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[test]"
	touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[docs]"
	touch $@
