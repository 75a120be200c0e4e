# make setup   .venv/ with the locked packages        make demo   the main job
# make test    the whole test suite                   make lint   ruff and mypy
# make chaos   faults, the matrix, and the soak       make soak   300 steps, watched for leaks
# make gpu-check   the kernels on the GPU at hand: bits, errors, speed; sets up nothing (QUICK=1: two minutes)

PYTHON ?= python3.11
TORCH := torch==2.13.0
TORCH_CPU_INDEX ?= https://download.pytorch.org/whl/cpu
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
UV := $(BIN)/python -m uv --quiet pip install --compile-bytecode --python $(BIN)/python
DONE := .venv/.installed

.PHONY: setup demo test chaos soak gpu-check lint clean

setup: $(DONE)

# Every way to a package is tried with a short time-out, so that an index that cannot be reached costs seconds.
# DeepSpeed and two others are built from source: pure Python, no compiler (DS_BUILD_OPS=0).
$(DONE): requirements.lock pyproject.toml
	@test -x $(BIN)/python || { echo "setup: making .venv"; $(PYTHON) -m venv .venv || python3 -m venv .venv; }
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
		{ echo "setup: the lock file is for Python 3.11, .venv has another; make clean, then make setup PYTHON=…"; exit 1; }
	@$(MAKE) --no-print-directory .torch
	@$(MAKE) --no-print-directory .packages
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $(DONE)
	@echo "setup: done"

.PHONY: .torch .packages
.torch:
	@$(BIN)/python -c 'import importlib.metadata as m, sys; sys.exit(not m.version("torch").startswith("2.13.0"))' 2>/dev/null \
		|| { echo "setup: $(TORCH) (CPU) from where pip is set up to look" && \
		     $(PIP) install --timeout 15 --retries 1 --no-deps "$(TORCH)+cpu" 2>/dev/null; } \
		|| { echo "setup: not there; from PyTorch's own CPU index" && \
		     $(PIP) install --timeout 15 --retries 1 --no-deps --index-url $(TORCH_CPU_INDEX) "$(TORCH)+cpu"; } \
		|| { echo "setup: no CPU build of $(TORCH) could be had; put its wheel where pip looks (find-links)"; exit 1; }

.packages:
	@echo "setup: $$(grep -c == requirements.lock) locked packages"
	@$(PIP) install --timeout 15 --retries 2 --no-deps "$$(grep ^setuptools== requirements.lock)" "$$(grep ^uv== requirements.lock)"
	@DS_BUILD_OPS=0 UV_HTTP_TIMEOUT=30 $(UV) --no-deps --no-build-isolation -r requirements.lock \
		|| { echo "setup: uv could not; trying pip, which takes some minutes" && \
		     DS_BUILD_OPS=0 $(PIP) install --timeout 15 --retries 2 --no-deps --no-build-isolation -r requirements.lock; }

demo: setup
	@name=demo-$$(date +%Y%m%d-%H%M%S); $(BIN)/zerokl train configs/demo.yaml run.dir=runs/$$name && ln -sfn $$name runs/demo

test: setup
	@$(BIN)/python -m pytest -n 2 --dist loadfile

FAULTS ?= 40
SEED ?= 0

chaos: setup
	@$(BIN)/python -m tests.chaos faults --faults $(FAULTS) --seed $(SEED)
	@$(BIN)/python -m tests.chaos matrix
	@$(BIN)/python -m tests.chaos soak

soak: setup
	@$(BIN)/python -m tests.chaos soak

GPU_PYTHON ?= $(if $(wildcard $(BIN)/python),$(BIN)/python,python3)
OUT ?= runs/gpu-check

gpu-check:
	@$(GPU_PYTHON) -m kernels.triton.check --out "$(OUT)" $(if $(QUICK),--quick)

lint: setup
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

clean:
	rm -rf .venv
