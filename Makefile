# What can be done with this repository. `make` alone lists it.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:

# The browser of the browser tests; unset: /usr/bin/chromium, installed if it is missing.
export CHROMIUM

NODE_MODULES := tests/browser/node_modules/.package-lock.json
CLIENT_MODULES := tests/clients/node_modules/.package-lock.json
# One file after the other: the tests measure time, and one of them needs port 3000 for itself.
NODE_TEST := node --test --test-concurrency=1 --test-reporter=spec

# Where cargo puts what it builds, unless told otherwise.
SSE_BENCH := $(or $(CARGO_TARGET_DIR),target)/release/sse-bench

.PHONY: help
help: ## List the targets
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/  \1|\2/p' Makefile | column -t -s '|'

.PHONY: test
test: setup test-rust test-page test-browser test-clients ## Set up what is missing, then run every test

.PHONY: setup
setup: ## Check for cargo and node, install what the tests run and is missing
	@scripts/need-cargo
	@scripts/need-node
	@scripts/need-chromium
	@scripts/need-redis
	@scripts/need-proxies
	@scripts/need-client-runtimes
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
test-rust: ## The server: unit tests, whole-server tests, examples, documentation
	@scripts/need-cargo
	@scripts/need-redis
	cargo test --workspace --locked -- --show-output

.PHONY: test-page
test-page: ## The demo page's logic, without a browser
	@scripts/need-node
	$(NODE_TEST) tests/page/*.test.mjs

.PHONY: test-browser
test-browser: setup ## The demo page and the stream in a real browser, against the binary
	cargo build --locked
	$(NODE_TEST) tests/browser/*.test.mjs

.PHONY: test-clients
test-clients: setup ## Popular client libraries in JavaScript, Python and Go, against the binary
	cargo build --locked
	$(NODE_TEST) tests/clients/*.test.mjs

.PHONY: lint
lint: ## Formatting, clippy and documentation, warnings as errors
	@scripts/need-cargo
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked

.PHONY: bench
bench: build-bench ## Measure the server beside its peers, 25 minutes, and write docs/explain/performance.md
	@scripts/need-bench
	$(SSE_BENCH) compare

.PHONY: bench-quick
bench-quick: build-bench ## Measure the server beside the bare writer, two minutes
	$(SSE_BENCH) compare --quick

.PHONY: bench-cluster
bench-cluster: build-bench ## Measure a cluster on one Redis, and each kind of log beside the others, six minutes
	@scripts/need-redis
	scripts/bench-cluster

# Two commands: built together, the server would get the features that its peers need.
.PHONY: build-bench
build-bench:
	@scripts/need-cargo
	cargo build --release --locked -p sse-broadcaster --bin broadcaster
	cargo build --release --locked -p sse-bench

.PHONY: chaos
chaos: setup ## Break clusters and files at random for a while; CHAOS_SEED=7 replays a run, CHAOS_ROUNDS=100 is longer
	CHAOS_ROUNDS=$(or $(CHAOS_ROUNDS),50) cargo test --locked --test durable killed -- --nocapture
	CHAOS_ROUNDS=$(or $(CHAOS_ROUNDS),50) cargo test --locked --test cluster chaos -- --nocapture

.PHONY: faults
faults: setup ## Have each fault happen as often as docs/operate/cluster.md says
	CHAOS_ROUNDS=50 cargo test --locked --test durable killed -- --nocapture
	FAULT_ROUNDS=all cargo test --locked --test cluster faults -- --nocapture --test-threads 1

.PHONY: attack
attack: setup ## Attack the server at random, five minutes in each way; ATTACK_SEED=7 replays, ATTACK_SECONDS=60 is shorter
	ATTACK_SECONDS=$(or $(ATTACK_SECONDS),300) cargo test --locked --test attack -- --nocapture --test-threads 1
	ATTACK_SECONDS=$(or $(ATTACK_SECONDS),300) cargo test --locked --test cluster attack:: -- --nocapture
	CHAOS_ROUNDS=$(or $(ATTACK_SECONDS),300) cargo test --locked --test durable killed -- --nocapture
	cargo test --locked --test memory
	cargo test --locked --lib damage

.PHONY: soak
soak: setup ## Two hours of churn, publishing, slow readers and reloads, on a file and on Redis; SOAK_SECONDS=600 is shorter
	SOAK_SECONDS=$(or $(SOAK_SECONDS),7200) cargo test --locked --test long_run -- --nocapture

.PHONY: fuzz
fuzz: ## Try every parser that faces the network with made-up inputs, a minute each
	@scripts/need-cargo
	scripts/fuzz

.PHONY: screenshot
screenshot: setup ## Write docs/demo.png anew
	cargo build --locked
	node tests/browser/screenshot.mjs
