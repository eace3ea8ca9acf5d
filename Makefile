# The commands of this repository. `make` alone lists them.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:

# The browser for the browser tests. If it is unset, they use /usr/bin/chromium, which is installed if it is
# missing.
export CHROMIUM

NODE_MODULES := tests/browser/node_modules/.package-lock.json
CLIENT_MODULES := tests/clients/node_modules/.package-lock.json
# Runs one test file at a time, because the tests measure time, and one of them requires port 3000.
NODE_TEST := node --test --test-concurrency=1 --test-reporter=spec

# The benchmark program. Cargo writes to target/ unless CARGO_TARGET_DIR is set.
SSE_BENCH := $(or $(CARGO_TARGET_DIR),target)/release/sse-bench

.PHONY: help
help: ## List the targets
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/  \1|\2/p' Makefile | column -t -s '|'

.PHONY: test
test: setup test-rust test-page test-browser test-clients test-openapi ## Install missing tools, then run all tests

.PHONY: setup
setup: ## Check for cargo and node, and install the other tools that the tests need
	@scripts/need-cargo
	@scripts/need-node
	@scripts/need-chromium
	@scripts/need-redis
	@scripts/need-proxies
	@scripts/need-client-runtimes
	@scripts/need-schemathesis
	@$(MAKE) --no-print-directory $(NODE_MODULES) $(CLIENT_MODULES)

$(CLIENT_MODULES): tests/clients/package.json tests/clients/package-lock.json
	@echo "Installing the npm packages of tests/clients."
	cd tests/clients && npm ci --no-audit --no-fund
	@touch $@

$(NODE_MODULES): tests/browser/package.json tests/browser/package-lock.json
	@echo "Installing the npm packages of tests/browser."
	cd tests/browser && npm ci --no-audit --no-fund
	@touch $@

.PHONY: test-rust
test-rust: ## Test the server: unit tests, whole-server tests, examples, documentation
	@scripts/need-cargo
	@scripts/need-redis
	cargo test --workspace --locked -- --show-output

.PHONY: test-page
test-page: ## Test the demo page's logic, without a browser
	@scripts/need-node
	$(NODE_TEST) tests/page/*.test.mjs

.PHONY: test-browser
test-browser: setup ## Test the demo page and the stream in a real browser, against the binary
	cargo build --locked
	$(NODE_TEST) tests/browser/*.test.mjs

.PHONY: test-clients
test-clients: setup ## Test popular client libraries in JavaScript, Python and Go, against the binary
	cargo build --locked
	$(NODE_TEST) tests/clients/*.test.mjs

.PHONY: test-openapi
test-openapi: setup ## Test the binary against its OpenAPI document; OPENAPI_SEED=7 repeats, OPENAPI_SECONDS=600 is longer
	cargo build --locked
	$(NODE_TEST) tests/openapi/*.test.mjs

.PHONY: lint
lint: ## Check formatting, clippy and documentation; warnings are errors
	@scripts/need-cargo
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked

.PHONY: bench
bench: build-bench ## Measure the server beside its peers (25 minutes) and write docs/explain/performance.md
	@scripts/need-bench
	$(SSE_BENCH) compare

.PHONY: bench-quick
bench-quick: build-bench ## Measure the server beside a bare write loop (two minutes)
	$(SSE_BENCH) compare --quick

.PHONY: bench-cluster
bench-cluster: build-bench ## Measure a cluster on one Redis, and the log kinds beside each other (six minutes)
	@scripts/need-redis
	scripts/bench-cluster

.PHONY: bench-bulk
bench-bulk: build-bench ## Measure bulk publishing with each log kind, and the memory for 10 GB (six minutes)
	@scripts/need-redis
	scripts/bench-bulk

.PHONY: bench-values
bench-values: build-bench ## Measure current values of topics: publishing, memory, snapshots and joins (ten minutes)
	@scripts/need-redis
	scripts/bench-values

# Two commands, because one build of both packages would enable in the server's dependencies the features that
# only sse-bench needs.
.PHONY: build-bench
build-bench:
	@scripts/need-cargo
	cargo build --release --locked -p sse-broadcaster --bin broadcaster
	cargo build --release --locked -p sse-bench

.PHONY: chaos
chaos: setup ## Break clusters and files at random; CHAOS_SEED=7 replays a run, CHAOS_ROUNDS=100 is longer
	CHAOS_ROUNDS=$(or $(CHAOS_ROUNDS),50) cargo test --locked --test event_log file::killed -- --nocapture
	CHAOS_ROUNDS=$(or $(CHAOS_ROUNDS),50) cargo test --locked --test event_log redis::chaos -- --nocapture

.PHONY: faults
faults: setup ## Inject each fault as many times as docs/operate/cluster.md says
	CHAOS_ROUNDS=50 cargo test --locked --test event_log file::killed -- --nocapture
	FAULT_ROUNDS=all cargo test --locked --test event_log redis::faults -- --nocapture --test-threads 1

.PHONY: attack
attack: setup ## Attack the server at random, five minutes per kind; ATTACK_SEED=7 replays, ATTACK_SECONDS=60 is shorter
	ATTACK_SECONDS=$(or $(ATTACK_SECONDS),300) cargo test --locked --test attack -- --nocapture --test-threads 1
	ATTACK_SECONDS=$(or $(ATTACK_SECONDS),300) cargo test --locked --test event_log redis::attack:: -- --nocapture
	CHAOS_ROUNDS=$(or $(ATTACK_SECONDS),300) cargo test --locked --test event_log file::killed -- --nocapture
	cargo test --locked --test memory
	cargo test --locked --lib damage

.PHONY: soak
soak: setup ## Run churn, publishing, slow readers and reloads for two hours, on a file and on Redis; SOAK_SECONDS=600 is shorter
	SOAK_SECONDS=$(or $(SOAK_SECONDS),7200) cargo test --locked --test long_run -- --nocapture

.PHONY: fuzz
fuzz: ## Run each fuzz target for a minute
	@scripts/need-cargo
	scripts/fuzz

.PHONY: screenshot
screenshot: setup ## Write a new docs/demo.png
	cargo build --locked
	node tests/browser/screenshot.mjs
