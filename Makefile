# Short verbs over the CLI. `make setup` is done by the others when it is needed.

VENV := .venv
BIN := $(VENV)/bin
SET_UP := $(VENV)/.set-up

.DEFAULT_GOAL := help
.PHONY: help setup run reports test test-models test-cluster test-faults soak check audit check-page matrix \
	matrix-missing ui clean

help:
	@echo "make setup       the environment in $(VENV), pinned by constraints.txt"
	@echo "make run         the study search_spaces/digits.yaml, from search to leaderboard"
	@echo "make test        the tests, but for those marked slow"
	@echo "make test-models every one of torchvision's models against torchvision's own (a quarter of an hour)"
	@echo "make test-cluster  a study on three test hosts, two of which fail; as root (ten minutes)"
	@echo "make test-faults  every fault of docs/faults.md in earnest, whose table it writes (eight minutes)"
	@echo "make soak        a study of 300 trials in which something breaks every few seconds (ten minutes)"
	@echo "make check       ruff, mypy, the import rules and, where there is npm, the types of the page's script"
	@echo "make audit       looks the pinned versions up in a database of known security holes; needs a network"
	@echo "make bench-NAME  benchmarks/NAME.py, figures in build/bench/NAME.json: report, trials, train, components, scale, search"
	@echo "make reports     the published reports again, reports/published/*/, from their ledgers"
	@echo "make matrix      docs/matrix.md: architectures × components, each pair tried (half an hour)"
	@echo "make matrix-missing  of these, the pairs that the page does not have yet"
	@echo "make ui          the MLflow UI"
	@echo "make clean       removes what builds and tools left, but no results and not $(VENV)"

setup: $(SET_UP)
	@:

# PYTHON=/path/to/python3.12 chooses; else it is the newest of 3.11 to 3.13 on PATH.
$(SET_UP): pyproject.toml constraints.txt
	@tools/set-up '$(VENV)' '$(PYTHON)'
	@touch $@

run: setup
	$(BIN)/cnnbench run search_spaces/digits.yaml

# One thread a process: on few cores, threads of several Ray workers fight for them.
test: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m 'not slow'

# make test takes one of each family; the largest here needs 8 GB.
test-models: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -m slow tests/test_torchvision_models.py

# As root on Linux: three hosts and a laptop in namespaces of their own, with what Debian's packages iproute2,
# openssh-server, openssh-client and rsync bring.
test-cluster: setup
	$(BIN)/python -m pytest -s -m cluster tests/cluster

# One process: its tests are in a row, and two studies at once would take each other's cores. FAULTS_SEED=N chooses
# other moments. Its full disk and its scarce memory need mounts of its own, and so root on Linux.
test-faults: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m faults tests/faults

soak: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -s -m soak tests/faults

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_imports.py
	@if command -v npm >/dev/null || test -n "$$CI"; then $(MAKE) --no-print-directory check-page; \
	else echo "make check: no npm here, so the types of the report page's script were not checked"; fi

# TypeScript reads the page's JavaScript and its JSDoc types; nothing that npm installs is shipped.
check-page: node_modules/.package-lock.json
	node_modules/.bin/tsc

node_modules/.package-lock.json: package.json package-lock.json
	npm ci --no-audit --no-fund --loglevel=error
	@touch $@

reports: setup
	@for ledger in reports/published/*/ledger.jsonl; do \
	  $(BIN)/cnnbench report "$${ledger%/*}" --out "$${ledger%/*}" || exit 1; \
	done

matrix: setup
	$(BIN)/python tests/matrix.py

matrix-missing: setup
	$(BIN)/python tests/matrix.py --missing

bench-%: setup
	$(BIN)/python benchmarks/$*.py

# In an environment of its own, since pip-audit is no part of what it looks at. It asks a database in the network.
audit: setup
	@test -x build/audit/bin/pip-audit || { $(BIN)/python -m venv build/audit && \
	  build/audit/bin/python -m pip install --quiet --disable-pip-version-check 'pip-audit>=2.9'; }
	@build/audit/bin/pip-audit --requirement constraints.txt --no-deps --disable-pip --strict --progress-spinner off \
	  2>build/audit/errors && exit 0; cat build/audit/errors >&2; \
	if grep -qiE 'connect|resolve|timed out|could not be audited' build/audit/errors; then \
	  echo "make audit: the database of known holes did not answer, so this says nothing; run it where it can be reached" >&2; fi; \
	exit 1

ui: setup
	$(BIN)/cnnbench ui

clean:
	rm -rf build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find platform tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
