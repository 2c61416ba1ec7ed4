# Everything here needs only Go, make and a POSIX shell; `make help` lists it.

GO          ?= go
# Names the files of a release.
VERSION     ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
# The commit goes into the program by itself (go version -m), for `causeway version`.
LDFLAGS     := -s -w
PLATFORMS   := linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64
FUZZTIME    ?= 10s
BENCHFLAGS  ?=
# Newest that runs with the Go version of go.mod; contains staticcheck.
GOLANGCI    := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
# Interop tests mostly wait for other programs, so more of them than there are cores
# run side by side; two packages at a time keep two cores busy without starving timers.
# The command's tests take most of the time, so they begin first.
TESTFLAGS   ?= -race -p 2 -parallel 5 -timeout 38m
# The race detector keeps memory and makes a connection five times as expensive:
# ten thousand of them, and the memory that they leave, are looked at without it.
LEAKFLAGS   := -timeout 10m -run LeaveNothing

# make check: tests wait more than they work, so both halves of it run at a time.
CHECKFLAGS  ?= -short -p 2 -parallel 4 -timeout 5m
# Nothing is shared there, or the race detector makes it too slow for a check; make test
# has it everywhere. A new package is under it unless it is named here.
CHECKPLAIN  := causeway$$|/bench|/cmd/|/webrtcwire$$|/client/meta|/client/picker|/stream/(media|subtitle)
# The race detector needs a C compiler; without one, Go does not use cgo either.
RACE        = $(if $(filter 1,$(shell $(GO) env CGO_ENABLED)),-race)

.PHONY: help
help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1	\2/p' $(MAKEFILE_LIST) | expand -t 12

NPM         := $(shell command -v npm 2>/dev/null)
# What esbuild makes of the page that `causeway share` serves; Go embeds it if it is there.
WEBPAGE     := web/dist/app.js.gz

.PHONY: build
build: $(if $(NPM),$(WEBPAGE)) ## build bin/causeway, with the bundled page where npm is
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./cmd/causeway

.PHONY: web
web: $(WEBPAGE) ## bundle the page of `causeway share`, which needs npm

$(WEBPAGE): web/build.mjs web/package-lock.json $(wildcard web/src/* web/shim/*)
	@cd web && { [ node_modules/.package-lock.json -nt package-lock.json ] || npm ci --silent --ignore-scripts; } && node build.mjs || \
		echo "the page was not bundled: it will play over plain HTTP only (see above; make web tries again)"

.PHONY: man
man: build ## write the man pages, of the same source as --help, into bin/man
	rm -rf bin/man && bin/causeway man bin/man

.PHONY: demo
demo: build ## seed a file, download it by magnet link and share a folder, on this machine alone
	bench/demo.sh bin/causeway
	bench/demo-share.sh bin/causeway

.PHONY: check
check: ## go vet and the tests that need no other program, in under 3 minutes on two cores
	$(GO) vet ./...
	@$(MAKE) --no-print-directory -j2 check-race check-plain

.PHONY: check-race check-plain
check-race:
	$(GO) test $(CHECKFLAGS) $(RACE) $$($(GO) list ./... | grep -Ev '$(CHECKPLAIN)')
check-plain:
	$(GO) test $(CHECKFLAGS) $$($(GO) list ./... | grep -E '$(CHECKPLAIN)')

.PHONY: test
test: test-deps $(if $(NPM),$(WEBPAGE)) ## everything: go vet, all tests with the race detector, leak tests without it
	$(GO) vet ./...
	$(GO) test $(LEAKFLAGS) ./webrtcwire
	$(GO) test $(TESTFLAGS) ./cmd/... $$($(GO) list ./... | grep -v /cmd/)

.PHONY: test-deps
test-deps: ## install the other programs that tests run, where possible
	-@bench/test-deps.sh

.PHONY: bench
bench: build ## measure beside libtorrent; BENCHFLAGS='-only transfer -runs 3'
	$(GO) run ./bench -causeway bin/causeway $(BENCHFLAGS)

.PHONY: lint
lint: ## gofmt, go vet, golangci-lint with staticcheck, and that all builds elsewhere
	@test -z "$$(gofmt -l .)" || { echo "run gofmt -w on:"; gofmt -l .; exit 1; }
	$(GO) vet ./...
	$(GO) run $(GOLANGCI) run ./...
	@set -e; for p in $(PLATFORMS); do CGO_ENABLED=0 GOOS=$${p%/*} GOARCH=$${p#*/} $(GO) build ./...; done

.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME (10s)
	bench/fuzz.sh $(FUZZTIME)

.PHONY: release
release: man ## static programs for all platforms, man pages and checksums, in dist/
	rm -rf dist && mkdir dist
	tar -czf "dist/causeway-$(VERSION)-man.tar.gz" -C bin man
	@set -e; for p in $(PLATFORMS); do \
		os=$${p%/*}; arch=$${p#*/}; exe=; [ $$os != windows ] || exe=.exe; \
		echo "dist/causeway-$(VERSION)-$$os-$$arch$$exe"; \
		CGO_ENABLED=0 GOOS=$$os GOARCH=$$arch $(GO) build -trimpath -ldflags '$(LDFLAGS)' \
			-o "dist/causeway-$(VERSION)-$$os-$$arch$$exe" ./cmd/causeway; \
	done
	cd dist && sha256sum causeway-* > SHA256SUMS

.PHONY: clean
clean: ## remove what the other targets made
	rm -rf bin dist bench/out web/dist/*.gz
