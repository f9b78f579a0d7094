# What can be made here. Everything lies under target/; nothing else is touched but Debian packages and the
# caches of Go and cargo. docs/development.md says more.

ARCH := $(shell uname -m)-unknown-linux-gnu
BINARY := target/scalekit
FLAVOUR ?= kind
CLUSTER ?= scalekit
export FLAVOUR CLUSTER
# Where rustup and Go's own archive put their programs, which not every shell has on its path. Last, so that what is
# on the path is taken first.
CARGO_HOME ?= $(HOME)/.cargo
export PATH := $(PATH):$(CARGO_HOME)/bin:/usr/local/go/bin
# An installation must never land on the cluster that the user happens to work with.
unexport KUBECONFIG

.PHONY: help go build cluster cluster-down demo test test-unit test-dev test-manifests test-cluster soak compatible hpa bench bench-autoscalers lint prerequisites

help: ## This list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 16

prerequisites: ## Debian packages that a build needs, where they are missing
	@dev/prerequisites

# Before the minutes that a build takes: what is missing is said at once.
go: prerequisites
	@dev/prerequisites go

# Static; with what only the command line needs apart from the scaler's code, and without tables to unwind by; and with
# relocations in the short form, which are a twentieth of the long one and are read at every start.
STATIC := -C target-feature=+crt-static -C symbol-mangling-version=v0 \
  -C link-arg=-Wl,-T,layout.ld -C link-arg=-Wl,--no-eh-frame-hdr -C link-arg=-Wl,-z,pack-relative-relocs
build: export RUSTFLAGS := $(STATIC)
build: prerequisites ## The static binary: target/scalekit
	cargo build --locked --profile dist --target $(ARCH)
	@install -m 755 target/$(ARCH)/dist/scalekit $(BINARY)
	@ls -l $(BINARY)

cluster: go ## The test cluster; FLAVOUR=kind|microk8s, CLUSTER=name, RBAC=0|1, CLUSTER_KUBECONFIG=file
	@dev/cluster/up

cluster-down: ## Takes the test cluster down and leaves nothing behind
	@dev/cluster/down

demo: go build ## A cluster if there is none, the stack, a workload, 25 tasks, 3 replicas
	@dev/demo

test: ## Everything that has to pass
	@dev/test

lint: prerequisites ## Format, lints, documentation, dependencies
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	cargo clippy --locked --test cluster --test control_plane -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items
	@dev/deny

test-unit: prerequisites ## What needs no cluster
	cargo test --locked

test-dev: ## The test cluster itself, and the stand-in for Grafana
	@dev/test-dev

test-manifests: build ## checkov over the rendered manifests
	@dev/test-manifests

bench: export RUSTFLAGS := $(STATIC)
bench: build ## `up` and `down` against kubectl, Helm and kapp; a decision, a day of decisions in memory, and what the scaler costs beside HPAs and KEDA; prints tables
	cargo build --locked --profile dist --target $(ARCH) --example apply
	@APPLY=target/$(ARCH)/dist/examples/apply dev/bench/install/run
	@dev/bench/install/ready
	cargo bench --locked --profile dist --target $(ARCH) --bench decide
	cargo bench --locked --profile dist --target $(ARCH) --bench history
	@dev/bench/autoscalers/all

bench-autoscalers: ## The part of the scaler alone, on a cluster that is up and has the stack
	@dev/bench/autoscalers/run
	@dev/bench/autoscalers/peers
	@dev/bench/autoscalers/reaction

test-cluster: build ## The main job on a real cluster, in both flavours; on a given CLUSTER_KUBECONFIG once
	@dev/test-story
	@dev/test-control-plane

soak: build ## What takes long: 15 minutes without an alert in both flavours, Prometheus killed with a day of samples, every kill point of up, of an update and of down, an upgrade, a Helm release handed over, 40 million steps of the lease's model
	@dev/soak/idle
	@dev/soak/replay
	@dev/soak/kill-points
	@dev/soak/upgrade
	@dev/soak/helm
	LEASE_MODEL_STEPS=40000000 cargo test --locked --lib lease::model

compatible: build go ## The scaler on top of a Prometheus of its own, VictoriaMetrics, Thanos and Mimir, built from their Go modules
	@dev/compatible/run

hpa: go ## The decision against the code of Kubernetes' HPA controller, on inputs that are drawn
	@dev/hpa/run
