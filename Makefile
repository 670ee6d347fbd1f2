# Every target works on a fresh checkout with Rust, a C++ compiler and Python 3.11 or newer.
#
#   make          build the extension and the server into dist/
#   make demo     show a durable catalog that survives kill -9
#   make test     run all tests
#   make help     list all targets
#
# DUCKDB_VERSION names the DuckDB that is built for and tested with. A compiled one is taken from DUCKDB_FOLDER/<version>
# (lib/libduckdb_static.a, include/duckdb.hpp). Without it, DuckDB 2.0.0 is compiled with the crate `libduckdb-sys`, which holds
# its sources, and any other one into that folder, from the sources of its package on PyPI.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := all
.DELETE_ON_ERROR:

DUCKDB_VERSIONS := $(shell sed -n 's/^duckdb==\([0-9.]*\) .*/\1/p' duckdb-versions.txt)
# The default: the newest one with which all tests have passed.
DUCKDB_VERSION ?= 2.0.0
ifeq ($(filter $(DUCKDB_VERSION),$(DUCKDB_VERSIONS)),)
$(error DUCKDB_VERSION is $(DUCKDB_VERSION); these are supported: $(DUCKDB_VERSIONS))
endif
export QUACK_DUCKDB_VERSION := $(DUCKDB_VERSION)
STOCK_VERSION := 1.5.5
PYTHON3 ?= python3

# Python environments: DuckDB 2.0 hosts the extension, DuckDB 1.5 is the stock client.
VENV ?= $(CURDIR)/.venv-duckdb
VENV_STOCK ?= $(CURDIR)/.venv-stock

export QUACK_PYTHON ?= $(VENV)/bin/python
export QUACK_STOCK_PYTHON ?= $(VENV_STOCK)/bin/python
export QUACK_EXTENSION ?= $(CURDIR)/dist/extension/quack.duckdb_extension
export QUACK_REPOSITORY ?= $(CURDIR)/dist/repository
export PYTHONDONTWRITEBYTECODE := 1

DUCKDB_FOLDER ?= $(CURDIR)/.duckdb
DUCKDB := $(DUCKDB_FOLDER)/$(DUCKDB_VERSION)
DUCKDB_LIBRARY := $(DUCKDB)/lib/libduckdb_static.a
ifeq ($(DUCKDB_VERSION)$(wildcard $(DUCKDB_LIBRARY)),2.0.0)
DUCKDB_LIBRARY :=
else
DUCKDB_FLAGS := --no-default-features
export DUCKDB_LIB_DIR := $(DUCKDB)/lib
export DUCKDB_INCLUDE_DIR := $(DUCKDB)/include
export DUCKDB_STATIC := 1
endif

# Packages that see DuckDB are built in the release profile only, each version of DuckDB in a folder of its own.
export QUACK_BUILT := $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)/duckdb-$(DUCKDB_VERSION)
DUCKDB_PACKAGES := -p quack -p quackd --target-dir $(QUACK_BUILT) $(DUCKDB_FLAGS)

.PHONY: all
all: dist ## build everything (the default)

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  \1\t\2/' | expand -t 16

$(DUCKDB)/lib/libduckdb_static.a:
	$(PYTHON3) scripts/duckdb_library.py $(DUCKDB_VERSION) $(DUCKDB)

.PHONY: build
build: $(DUCKDB_LIBRARY) ## compile the extension and the server
	cargo build --release $(DUCKDB_PACKAGES)

.PHONY: dist
dist: build ## make dist/repository, dist/extension and dist/bin
	cargo run --quiet --release -p xtask -- dist

.PHONY: dist-all
dist-all: ## the same for all versions of DuckDB that are supported
	for version in $(filter-out $(DUCKDB_VERSION),$(DUCKDB_VERSIONS)) $(DUCKDB_VERSION); do \
		$(MAKE) dist DUCKDB_VERSION=$$version; done

.PHONY: venv
venv: $(VENV)/ready-$(DUCKDB_VERSION) $(VENV_STOCK)/ready ## make the Python environments of the tests

$(VENV)/ready-$(DUCKDB_VERSION): sql-tests/python/requirements.txt
	$(PYTHON3) -m venv $(VENV)
	rm -f $(VENV)/ready-*
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --no-deps -r $< duckdb==$(DUCKDB_VERSION)
	touch $@

$(VENV_STOCK)/ready: sql-tests/python/requirements-stock.txt
	$(PYTHON3) -m venv $(VENV_STOCK)
	$(VENV_STOCK)/bin/pip install --quiet --disable-pip-version-check --no-deps -r $<
	touch $@

.PHONY: demo
demo: dist venv ## show the main job: write, read from a stock client, kill -9, restart
	$(QUACK_PYTHON) scripts/demo.py

.PHONY: test
test: dist venv ## run all tests
	cargo run --quiet -p xtask -- test $(STAGES)

.PHONY: test-others
test-others: ## run the tests that depend most on DuckDB with all other versions of it
	for version in $(filter-out $(DUCKDB_VERSION),$(DUCKDB_VERSIONS)); do \
		$(MAKE) test DUCKDB_VERSION=$$version STAGES="sql host"; done
	$(MAKE) dist

.PHONY: differential
differential: dist venv ## run DuckDB-format files natively and on clusters, and print the table: FILES=area/ for some
	cargo test --quiet -p quack-sql-tests --test differential -- $(FILES)

.PHONY: fuzz
fuzz: dist venv ## random SQL on clusters and on plain DuckDB, which must do the same: SEEDS=n of them, from SEED=s on
	PYTHONPATH=sql-tests/python $(QUACK_PYTHON) -m quack_testing.fuzz.main --seeds $(or $(SEEDS),100) --seed $(or $(SEED),1)

.PHONY: verify
verify: lint test ## check format and lints with warnings as errors, then run all tests

.PHONY: lint
lint: ## check format and lints
	! $(MAKE) --dry-run clean 2>&1 | grep "overriding recipe"
	cargo fmt --all --check
	cargo clippy --quiet --all-targets -- -D warnings
	cargo clippy --quiet --all-targets -p xtask -p quack-sql-tests -- -D warnings
	cargo clippy --quiet --release --all-targets $(DUCKDB_PACKAGES) -- -D warnings

.PHONY: fix
fix: ## format, and apply what clippy can mend by itself
	cargo fmt --all
	cargo clippy --fix --allow-dirty --allow-staged --all-targets
	cargo clippy --fix --allow-dirty --allow-staged --all-targets -p xtask -p quack-sql-tests
	cargo clippy --fix --allow-dirty --allow-staged --release --all-targets $(DUCKDB_PACKAGES) $(DUCKDB_FLAGS)
	cargo fmt --all

.PHONY: spec
spec: ## check the model of lanes in spec/, and that planted mistakes are found in it
	cargo run --quiet -p xtask -- spec

.PHONY: sim
sim: ## simulate clusters: SEEDS=n of them, or the one SEED=s with its event log
ifdef SEED
	cargo run --quiet --release -p quack-sim -- --seed $(SEED) --trace
else
	cargo run --quiet --release -p quack-sim -- --seeds $(or $(SEEDS),1000)
endif

.PHONY: reshards
reshards: dist venv ## lanes that change all the time, simulated (SEEDS=n, some 100 each) and on real nodes (RESHARDS=n)
	cargo run --quiet --release -p quack-sim -- --reshards --seeds $(or $(SEEDS),300)
	QUACK_RESHARDS=$(or $(RESHARDS),200) $(QUACK_PYTHON) -m pytest -q -s sql-tests/process/test_resharding.py

.PHONY: chaos
chaos: dist venv ## kill, cut off, pause, empty, restore and move real nodes under a checked load: MINUTES=n, SEED=s, GROUPS=1, POWER=1
	PYTHONPATH=sql-tests/python $(QUACK_PYTHON) -m quack_testing.chaos $(or $(MINUTES),3) $(if $(SEED),--seed $(SEED)) $(if $(GROUPS),--groups) $(if $(POWER),--power)

.PHONY: flips
flips: dist venv ## flip bits, zero pages and cut ends of the files of real nodes, which must refuse or rebuild: MINUTES=n, SEED=s
	PYTHONPATH=sql-tests/python $(QUACK_PYTHON) -m quack_testing.flips $(or $(MINUTES),5) $(if $(SEED),--seed $(SEED))

.PHONY: isolation
isolation: dist venv ## the same faults, with transactions that a checker of isolation looks at: MINUTES=n, SEED=s
	PYTHONPATH=sql-tests/python $(QUACK_PYTHON) -m quack_testing.chaos --workload transactions $(or $(MINUTES),3) $(if $(SEED),--seed $(SEED)) $(if $(GROUPS),--groups)

.PHONY: definitions
definitions: dist venv ## scenarios of definitions beside plain DuckDB, with kills and replays: ONLY=part of their names
	PYTHONPATH=sql-tests/python $(QUACK_PYTHON) -m pytest -q -n 4 sql-tests/process/definitions $(if $(ONLY),-k '$(ONLY)')

.PHONY: rivals
rivals: dist venv ## clients on all nodes that contradict one another, which must stay equal: MINUTES=n, SEED=s, GROUPS=1, KILLS=1, SETTINGS=1
	PYTHONPATH=sql-tests/python $(QUACK_PYTHON) -m quack_testing.rivals $(or $(MINUTES),3) $(if $(SEED),--seed $(SEED)) $(if $(GROUPS),--groups) $(if $(KILLS),--kills) $(if $(SETTINGS),--settings)

.PHONY: environments
environments: dist venv ## random SQL on nodes whose hosts differ in everything, next to plain DuckDB: MINUTES=n, SEED=s
	PYTHONPATH=sql-tests/python $(QUACK_PYTHON) -m quack_testing.environments $(or $(MINUTES),3) $(if $(SEED),--seed $(SEED))

.PHONY: sanitize
sanitize: dist venv ## build all with sanitizers and DuckDB's assertions, some hours the first time, and run tests: ARGUMENTS=--help
	$(PYTHON3) scripts/sanitize.py $(ARGUMENTS)

.PHONY: planted
planted: dist venv ## put known faults back, one at a time, and have the tests find them: FAULTS=names for some
	cargo run --quiet -p xtask -- planted $(FAULTS)

.PHONY: bench
bench: dist venv ## writes per second, next to what the disk and DuckDB could do: BENCH_SECONDS=n for each
	$(QUACK_PYTHON) bench/write.py $(BENCH_SECONDS)

.PHONY: bench-read
bench-read: dist venv ## times of reads, next to plain DuckDB: ROWS=n (10 million by default)
	$(QUACK_PYTHON) bench/read.py $(ROWS)

.PHONY: bench-failover
bench-failover: dist venv ## time without writes after kill -9 of the leader, next to etcd's if installed: KILLS=n
	$(QUACK_PYTHON) bench/failover.py $(KILLS)

.PHONY: bench-reseed
bench-reseed: dist venv ## an emptied node comes back under load: ROWS=n (10 million by default)
	$(QUACK_PYTHON) bench/reseed.py $(ROWS)

.PHONY: bench-open
bench-open: dist venv ## open transactions with ROWS=n rows (a million by default) on each node, while others commit
	$(QUACK_PYTHON) bench/open_transaction.py $(ROWS)

.PHONY: bench-change
bench-change: dist venv ## bulk UPDATE and DELETE, next to plain DuckDB: ROWS=n (a million by default)
	$(QUACK_PYTHON) bench/change.py $(ROWS)

.PHONY: bench-lanes
bench-lanes: dist venv ## rows per second with 1 to 8 lanes, and what a cluster with GROUPS=n (a thousand) idle ones costs
	$(QUACK_PYTHON) bench/lanes.py $(GROUPS)

.PHONY: bench-all
bench-all: bench bench-read bench-failover bench-reseed bench-open bench-change bench-lanes ## these, and load time, bulk loads in little memory, stalls
	$(QUACK_PYTHON) bench/load.py
	$(QUACK_PYTHON) bench/bulk.py
	$(QUACK_PYTHON) bench/stall.py

.PHONY: soak
soak: dist venv ## the tests that count in rounds, ten times as long, and 20,000 simulated clusters
	QUACK_SIM_SEEDS=20000 QUACK_LIFECYCLE_ROUNDS=500 QUACK_KILLS=300 cargo run --quiet -p xtask -- test sim process

.PHONY: log-flips
log-flips: ## flip every bit of a log of 1,000 entries and count what is noticed
	QUACK_FLIPPED_ENTRIES=1000 cargo test --quiet --release -p quack-log --test crashes each_flipped_bit -- --nocapture

.PHONY: clean
clean: ## remove dist/ and what cargo built, but not the Python environments
	rm -rf dist
	cargo clean
