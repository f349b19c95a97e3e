# The commands of every day. "make run" and "make test" are all that a newcomer needs;
# docs/TESTING.md says what each test proves.

GO       ?= go
N        ?= 100
FUZZTIME ?= 5s
# The product's own packages, and the tests that run the whole of it.
UNIT      = $$($(GO) list ./... | grep -v '^sluice/test/')
LINTER    = $$($(GO) tool -C tools/lint -n golangci-lint)

# GOTEST runs go test with the given arguments and reports: failures, what was left
# out and why, counts. The events stay in bin/events for a summary over several runs.
define GOTEST
	@mkdir -p bin/events
	@$(GO) build -o bin/report ./test/report
	@set -o pipefail; $(GO) test -json $(1) | tee bin/events/$@.json | bin/report
endef
SHELL = /bin/bash

.PHONY: build run setup test unit race lint fuzz crash faults soak recovery hostile conformance bench bench-target clean

build: ## the program, static, in bin/sluice
	@mkdir -p bin
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-s -w" -o bin/sluice ./cmd/sluice

run: build ## a gateway on the embedded store with a volume "demo"; Ctrl-C ends it
	@test/demo.sh

setup: ## what the tests need: Debian packages, the S3 server, the guest
	@test/setup.sh

test: setup build ## everything, with real initiators and a real S3 server
	$(call GOTEST,-timeout 15m -shuffle on ./...)

unit: ## the packages' own tests only
	$(call GOTEST,-shuffle on $(UNIT))

race: ## the packages' own tests under the race detector
	$(call GOTEST,-race -short -shuffle on $(UNIT))

lint: ## vet, golangci-lint (.golangci.yml), formatting
	$(GO) vet ./...
	$(LINTER) run ./...

# A fuzzer that runs out of time at the wrong moment fails with "context deadline exceeded"
# (a flaw of go test): each has a second try, in which an input that was found fails again.
fuzz: ## every fuzzer for FUZZTIME
	@set -e; for package in $(UNIT); do \
		for fuzzer in $$($(GO) test -list '^Fuzz' $$package | grep '^Fuzz' || true); do \
			echo "== $$package $$fuzzer"; \
			run="$(GO) test -run ^\$$ -fuzz ^$$fuzzer\$$ -fuzztime $(FUZZTIME) $$package"; \
			$$run || $$run; \
		done; \
	done

crash: build ## kill -9 under load, N times each test
	SLUICE_CRASHES=$(N) $(GO) test -v -count 1 -timeout 0 ./test/crash

faults: ## the power lost at every operation on a file (FAULTS=all, hours; a number: so many moments); the models of ownership and leases, whole
	SLUICE_CRASHFS=$(or $(FAULTS),1000) $(GO) test -v -count 1 -timeout 0 ./test/power
	SLUICE_MODEL=deep $(GO) test -v -count 1 -timeout 30m -run Model ./test/ownership

soak: build ## everything at once on real daemons, and histories checked for linearizability, a full upload buffer, N minutes each
	@test/setup.sh
	SLUICE_SOAK=$(N) SLUICE_BIN=$(CURDIR)/bin/sluice $(GO) test -v -count 1 -timeout 0 ./test/soak
	SLUICE_LINEAR=$(N)m SLUICE_BIN=$(CURDIR)/bin/sluice $(GO) test -v -count 1 -timeout 0 ./test/linear
	SLUICE_FULL_BUFFER=$(N)m SLUICE_BIN=$(CURDIR)/bin/sluice $(GO) test -v -count 1 -timeout 0 -run TestFullBuffer ./test/hostilestore

recovery: build ## a Linux initiator through cuts of 5, 30 and 100 s, restarts and a frozen store, over one path and two: 15 minutes
	@test/setup.sh
	SLUICE_RECOVERY=long SLUICE_BIN=$(CURDIR)/bin/sluice $(GO) test -v -count 1 -timeout 60m -run TestRecovery ./test/sessions

hostile: build ## the battery of malformed sequences and the long attacks by numbers: 10 minutes; writes docs/HOSTILITY.md
	SLUICE_HOSTILE=long SLUICE_BIN=$(CURDIR)/bin/sluice $(GO) test -v -count 1 -timeout 60m ./test/hostile

conformance: export SLUICE_CONFORMANCE = $(if $(PEERS),peers,all)
conformance: export SLUICE_BIN = $(CURDIR)/bin/sluice
conformance: build ## every test of iscsi-test-cu, connected in every way; PEERS=1: tgt and gotgt too; writes docs/CONFORMANCE.md
	@test/setup.sh $(if $(PEERS),bench)
	$(call GOTEST,-count 1 -timeout 40m -parallel 4 ./test/conformance)

bench: build ## against tgt, istgt and s3backer; QUICK=1 takes two minutes; PART=local|remote|bulk|costs|snapshots|durability; writes docs/PERFORMANCE.md
	@test/setup.sh bench
	SLUICE_BENCH_PART=$(PART) SLUICE_BENCH=$(if $(QUICK),quick,full) SLUICE_BIN=$(CURDIR)/bin/sluice $(GO) test -v -count 1 -timeout 0 ./test/bench

bench-target: build ## the target alone, all disks in memory, against tgt, istgt, gotgt and the loopback: 10 minutes, QUICK=1 two; writes docs/PERFORMANCE.md
	@test/setup.sh bench
	SLUICE_BENCH_TARGET=$(if $(QUICK),quick,full) SLUICE_BIN=$(CURDIR)/bin/sluice $(GO) test -v -count 1 -timeout 0 -run 'TestTarget$$' ./test/bench

clean: ## what building and testing left in this directory
	rm -rf bin run
