# What a contributor types. `make` alone lists it. ARGS is handed on: make up ARGS='--listen 0.0.0.0:8080'

CARGO ?= cargo
# A test that fails says what it waited for; where that was made fills the log.
export RUST_LIB_BACKTRACE ?= 0
TARGET := $(or $(CARGO_TARGET_DIR),target)
RELEASE := $(CARGO) build --release --locked -p ordersystem && exec $(TARGET)/release/ordersystem
FAULTS := $(CARGO) build --workspace --locked --features ordersystem/faults --bin ordersystem-faults --example faults

.DEFAULT_GOAL := help
.PHONY: help up bench micro check test faults fuzz cluster lint tools

help: ## list what there is
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

up: tools ## the whole system on this machine: http://localhost:8080
	$(RELEASE) up $(ARGS)

bench: tools ## the whole system under load, fresh, and what it costs beside the floor: make bench JSON=FILE SECONDS=60
	KAFKA_LIBS=$(abspath $(TARGET))/kafka/libs tests/kafka/kafka libs
	$(CARGO) build --release --locked -p ordersystem -p tests --bin ordersystem --example bench
	$(TARGET)/release/examples/bench $(if $(SECONDS),--seconds $(SECONDS)) $(if $(JSON),--json $(JSON)) $(ARGS)

micro: tools ## what each step of a batch costs in memory: make micro ARGS=decide
	$(CARGO) bench --locked -p tests --bench micro -- $(ARGS)

check: lint ## format, lints, unit and property tests: needs nothing to run
	$(CARGO) test --workspace --lib --bins --locked

test: tools ## everything, on real Kafka, PostgreSQL and Kubernetes
	KAFKA_LIBS=$(abspath $(TARGET))/kafka/libs tests/kafka/kafka libs
	CLUSTER_BIN=$(abspath $(TARGET))/cluster/bin tests/cluster/cluster tools
	$(CARGO) build --workspace --all-targets --locked
	$(FAULTS)
	$(CARGO) test --workspace --locked --no-fail-fast
	@$(MAKE) --no-print-directory lint

faults: tools ## orders while everything goes wrong that can, and a judge: make faults SECONDS=600 SEED=7
	KAFKA_LIBS=$(abspath $(TARGET))/kafka/libs tests/kafka/kafka libs
	$(FAULTS)
	$(TARGET)/debug/examples/faults $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEED),--seed $(SEED)) $(ARGS)

fuzz: tools ## search each parser for what it cannot take, guided by coverage: make fuzz BORDER=records SECONDS=600
	fuzz/fuzz '$(BORDER)' $(or $(SECONDS),60) $(ARGS)

cluster: tools ## a Kubernetes node with the operator and one order system, until Ctrl-C
	KAFKA_LIBS=$(abspath $(TARGET))/kafka/libs tests/kafka/kafka libs
	CLUSTER_BIN=$(abspath $(TARGET))/cluster/bin tests/cluster/cluster tools
	$(CARGO) build --workspace --all-targets --locked
	$(CARGO) run --quiet --locked -p tests --example cluster

lint: tools
	$(CARGO) fmt --all --check
	cd fuzz && $(CARGO) fmt --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	$(CARGO) clippy -p journal --features faults --locked -- -D warnings
	@if ! $(CARGO) deny --version >/dev/null 2>&1; then \
	  echo 'Licences and advisories were not checked: that takes `cargo install --locked cargo-deny`.'; \
	else \
	  $(CARGO) deny --locked --offline check licenses bans sources || exit 1; \
	  if $(CARGO) deny fetch db >/dev/null 2>&1; then $(CARGO) deny --locked --offline check advisories; \
	  else echo 'Advisories were not checked: their database cannot be fetched.'; fi; \
	fi

# OpenSSL, librdkafka and jemalloc are built from source.
tools:
	@if ! command -v cc >/dev/null || ! command -v perl >/dev/null; then \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get -qq update && apt-get -qq install -y --no-install-recommends build-essential perl; \
	  else \
	    echo "A C compiler and perl are needed; on Debian: 'apt-get install build-essential perl'" >&2; exit 1; \
	  fi; \
	fi
