# Every target installs what this machine lacks first: see .ci/install.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
export PATH := $(PATH):$(HOME)/.cargo/bin

# Major versions of PostgreSQL to test against besides the installed one: make test PG_VERSIONS="13 16 18"
PG_VERSIONS ?=

# The clients that the tests drive, where .ci/install puts them.
export LOCKKEEPER_TEST_PYTHON := $(CURDIR)/target/venv/bin/python
export LOCKKEEPER_TEST_SQUAWK := $(CURDIR)/target/venv/bin/squawk
export LOCKKEEPER_TEST_NODE_MODULES := $(CURDIR)/target/node/node_modules
export LOCKKEEPER_TEST_JDBC := /usr/share/java/postgresql.jar

# The directories of the servers' programs, separated by colons; empty without PG_VERSIONS.
PG_BINS = $$(for version in $(PG_VERSIONS); do .ci/postgres $$version || exit; done | paste -sd:)

# What of PostgreSQL's own regression suite runs: by default make test runs it in observe, and make regress all of it.
SUITE ?=

# The servers of the tests make and drop many files, for which disks are slow: where there is plenty of memory they live
# in it.
HAS_MEMORY = awk '/^MemAvailable:/ { exit $$2 < 8000000 }' /proc/meminfo && \
	df --output=avail /dev/shm | awk 'END { exit $$1 < 8000000 }'
test regress: export TMPDIR := $(or $(TMPDIR),$(shell { $(HAS_MEMORY); } 2>/dev/null && echo /dev/shm || echo /tmp))

# Reads and judges the files of that suite, and runs it; the words after it choose among the tests of tests/regress.rs.
REGRESS = suite=$$(.ci/regress); export LOCKKEEPER_TEST_REGRESS="$$suite"; set -x; \
	cargo test --locked --test parse_corpus --test judge_corpus --test peers; \
	cargo test --locked --test regress -- --nocapture

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z]+:.*## ' Makefile | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 10

.PHONY: build
build: ## build the release binary, target/release/lockkeeper
	@.ci/install build
	cargo build --release --locked

.PHONY: demo
demo: ## run a migration on a busy table directly, then through lockkeeper
	@.ci/install demo
	cargo run --release --locked -- demo

.PHONY: test
test: ## run every test; PG_VERSIONS="13 14 16 17 18" adds servers
	@.ci/install test
	@bins=$(PG_BINS); export LOCKKEEPER_TEST_PG_BINS="$$bins"; set -x; cargo test --locked
	@$(REGRESS) $(or $(SUITE),observe)

.PHONY: regress
regress: ## run PostgreSQL's own regression suite, directly and through lockkeeper
	@.ci/install test
	@$(REGRESS) $(SUITE)

.PHONY: lint
lint: ## check format, clippy, documentation and tidiness
	@.ci/install lint
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	cargo clippy --locked --test regress -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --locked --no-deps
	cargo test --locked --test tidy

.PHONY: bench
bench: ## run the benchmarks of bench/
	@.ci/install bench
	cargo bench --locked
	cargo bench --locked --bench proxies -- --tls
	cargo bench --locked --bench proxies -- --idle
	cargo bench --locked --bench proxies -- --idle --tls
	cargo bench --locked --bench stall -- --clients 64

# How long each fuzz target runs: make fuzz FUZZ_SECONDS=600
FUZZ_SECONDS ?= 60
FUZZ = cargo fuzz run --fuzz-dir tests/fuzz --sanitizer none --target-dir target/fuzz

.PHONY: fuzz
fuzz: ## look for inputs that break the parsers; FUZZ_SECONDS=600 looks longer
	@.ci/install fuzz
	@for body in $$(cargo fuzz list --fuzz-dir tests/fuzz); do \
		mkdir -p target/fuzz/found/$$body; \
		(set -x; $(FUZZ) $$body target/fuzz/found/$$body tests/fuzz/corpus/$$body -- \
			-max_total_time=$(FUZZ_SECONDS) -max_len=2048 -timeout=30); \
	done

.PHONY: soak
soak: ## run what takes too long for every day: gigabytes, kills, all cuts, all interruptions, all tools; an hour
	@.ci/install test
	LOCKKEEPER_TEST_CELLS=all cargo test --locked --release --test interruptions -- --nocapture
	LOCKKEEPER_TEST_CELLS=all cargo test --locked --release --test kills -- --nocapture
	@bins=$(PG_BINS); export LOCKKEEPER_TEST_PG_BINS="$$bins" LOCKKEEPER_TEST_CELLS=all; set -x; \
	cargo test --locked --release --test judged -- --nocapture
	LOCKKEEPER_TEST_SECONDS=600 cargo test --locked --release --test integrity -- --nocapture
	cargo test --locked --release --test soak -- --nocapture --test-threads 1
	LOCKKEEPER_TEST_CELLS=all LOCKKEEPER_TEST_TRAFFIC=1 cargo test --locked --release --test tools -- --nocapture
