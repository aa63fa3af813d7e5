# Every target does its own set-up: a .venv from the hash lock, then the project itself, editable.
# Needs a Python >= 3.11 with venv, and pip's access to packages. No compiler: wheels only.
#
#   make demo           draw a small data set, make a tensorfile from it, show what came out
#   make test           lint, types, tests (what .ci/run runs)
#   make test-extended  the tests that need minutes or other people's tools
#   make test-floors    the tests with the oldest dependencies that pyproject.toml allows
#   make fuzz           MINUTES=n: damaged inputs for every reader
#   make kills          KILLS=n: runs that are killed, and what they leave behind
#   make bench          speed and memory against a baseline measured in the same run, and with EARLIER=SRC against an
#                       earlier commit, whose folder src is SRC
#   make docs           the documentation as HTML, warnings are errors
#   make generate       the generated pages of the documentation
#   make format         format and fix what can be fixed
#   make wheel          sdist and wheels in dist/: with the kernels for x86-64 and aarch64, and without for all others
#   make azureml        what Azure ML gets, put together in dist/azureml; prints how to register it. For a registry:
#                       make azureml REGISTRY=name
#   make lock           solve the dependencies anew (needs uv)
#   make clean          remove everything that make made

SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

# The first of these that is >= 3.11 and can make an environment. Choose one yourself: make PYTHON=python3.13 …
PYTHON ?= $(shell tools/find_python.sh)

DEMO_OUT := demo-out

.PHONY: all demo test lint pytest test-extended test-floors fuzz kills bench docs generate format wheel pure-wheel azureml lock clean
all: test

# A changed lock makes the environment anew, so that nothing of the old one is left in it.
$(VENV)/.lock-installed: requirements/dev.txt
	@test -n "$(PYTHON)" || { echo "make: no Python >= 3.11 with the venv module was found; name one: make PYTHON=/path/to/python3" >&2; exit 1; }
	@echo "make: building $(VENV) with $(PYTHON)"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(INSTALL) --require-hashes --no-deps --only-binary :all: -r requirements/dev.txt
	@touch $@

$(VENV)/.project-installed: $(VENV)/.lock-installed pyproject.toml hatch_build.py $(wildcard src/int8cal/native/*.[ch])
	@$(INSTALL) --no-deps --no-index --no-build-isolation --editable .
	@touch $@

# Bytecode as pip leaves it for an installed package; without it (PYTHONDONTWRITEBYTECODE) each start takes 0.1 s more.
.PHONY: bytecode
bytecode: $(VENV)/.project-installed
	@$(BIN)/python -m compileall -q -j 2 src

$(VENV)/.docs-installed: requirements/docs.txt $(VENV)/.project-installed
	@$(INSTALL) --require-hashes --no-deps --only-binary :all: -r requirements/docs.txt
	@touch $@

# What only the tests of the Azure ML component need, so that the demo does not wait for it.
$(VENV)/.azureml-installed: requirements/azureml.txt $(VENV)/.project-installed
	@$(INSTALL) --require-hashes --no-deps --only-binary :all: -r requirements/azureml.txt
	@touch $@

$(VENV)/.extended-installed: requirements/extended.txt $(VENV)/.azureml-installed
	@$(INSTALL) --require-hashes --no-deps --only-binary :all: -r requirements/extended.txt
	@touch $@

demo: bytecode
	$(BIN)/int8cal demo --output_dir $(DEMO_OUT) --overwrite

# Side by side: tests wait for processes and disks now and then.
test: $(VENV)/.azureml-installed bytecode
	+$(MAKE) --no-print-directory --jobs 2 lint pytest

lint:
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

pytest:
	$(BIN)/pytest -n 2 --dist loadfile -m "not extended"

test-extended: $(VENV)/.extended-installed bytecode
	$(BIN)/pytest -m extended --timeout 1500

# In an environment of their own, with the newest pytest; wheels of that age need Python 3.11 or 3.12.
# Before ONNX Runtime 1.31, nothing interrupts the loading of a model that computes for long: long_folding is left out.
FLOORS := .venv-floors
test-floors: bytecode
	$(PYTHON) -m venv --clear $(FLOORS)
	$(BIN)/python tools/floors.py > $(FLOORS)/floors.txt
	$(FLOORS)/bin/python -m pip install --quiet --disable-pip-version-check --only-binary :all: \
		-r $(FLOORS)/floors.txt pytest pytest-timeout hypothesis grpcio-tools
	$(FLOORS)/bin/python -c "import pathlib, sysconfig; \
		pathlib.Path(sysconfig.get_path('purelib'), 'int8cal-src.pth').write_text('$(CURDIR)/src\n')"
	$(FLOORS)/bin/python -m pytest -p no:cacheprovider -m "not extended" -k "not long_folding" \
		tests/golden tests/unit tests/hostile

MINUTES := 5
fuzz: bytecode
	$(BIN)/python -m tests.fuzz --minutes $(MINUTES) --jobs 2

KILLS := 50
kills: bytecode
	$(BIN)/python -m tests.fuzz.kills --count $(KILLS)

bench: bytecode
	$(BIN)/python benchmarks/bench.py --json benchmarks/results.json $(if $(EARLIER),--earlier $(EARLIER))

docs: generate $(VENV)/.docs-installed
	$(BIN)/sphinx-build -W --keep-going -n -q -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

generate: $(VENV)/.project-installed
	$(BIN)/python tools/generate_docs.py
	$(BIN)/python tools/generate_component_docs.py

format: $(VENV)/.project-installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

$(VENV)/.wheel-installed: requirements/wheel.txt $(VENV)/.project-installed
	@$(INSTALL) --require-hashes --no-deps --only-binary :all: -r requirements/wheel.txt
	@touch $@

wheel: pure-wheel $(VENV)/.wheel-installed
	INT8CAL_KERNELS=x86_64 $(BIN)/hatchling build -t wheel -d dist
	INT8CAL_KERNELS=aarch64 $(BIN)/hatchling build -t wheel -d dist

pure-wheel: $(VENV)/.project-installed
	INT8CAL_KERNELS=none $(BIN)/hatchling build -d dist

azureml: pure-wheel
	@$(BIN)/python tools/component_upload.py $(if $(REGISTRY),--registry '$(REGISTRY)')

COMPILE := uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	--custom-compile-command "make lock" pyproject.toml
lock:
	@command -v uv > /dev/null || { echo "make: 'make lock' needs uv (pip install uv)" >&2; exit 1; }
	$(COMPILE) --extra quantize --extra report --group dev -o requirements/dev.txt
	for group in azureml extended docs wheel; do \
		uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
			--custom-compile-command "make lock" --constraints requirements/dev.txt --group $$group \
			-o requirements/$$group.txt || exit; \
	done
	$(COMPILE) --extra mlflow --extra report --group image --constraints requirements/dev.txt -o requirements/image.txt
	uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
		--custom-compile-command "make lock" --group kfp -o requirements/kfp.txt
	uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-deps \
		--custom-compile-command "make lock" --group real-models -o requirements/real_models.txt
	uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-deps \
		--custom-compile-command "make lock" --group models -o requirements/models.txt

clean:
	rm -rf $(VENV) $(FLOORS) dist build docs/_build $(DEMO_OUT) .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests tools benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
