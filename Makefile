# `make demo` and `make test` work on a fresh Debian or Ubuntu with only Rust: both install what
# is missing first.

PACKAGES := build-essential cmake ccache libclang-dev
GUEST_PACKAGES := clang-14 lld-14 llvm-14 wasi-libc libclang-rt-14-dev-wasm32 binaryen dpkg-dev \
  python3.11 python3-pip zstd
CARGO_FLAGS := --release -j2
# Where cargo puts programs; CARGO_TARGET_DIR may be set.
PROGRAMS = $(shell cargo metadata --no-deps --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/release

# The example of a tool of one's own is a workspace of its own.
TOOL := runtime/tools/convert
TOOL_FLAGS = --release --manifest-path $(TOOL)/Cargo.toml --target-dir $(dir $(PROGRAMS))convert
TOOL_TARGET := wasm32-unknown-unknown

# The compiler of the CUDA kernels, for the test that all of them compile; it needs no GPU.
NVRTC = $(PROGRAMS)/nvrtc
NVRTC_VERSION := 13.0.88

.PHONY: demo test setup build lint tool nvrtc guest guest-test cross cross-test trl

demo: build
	@sh models/demo.sh $(PROGRAMS)/retort

# Tests whose data are not there are skipped; they leave their names.
test: build nvrtc
	@rm -f $(PROGRAMS)/skipped-tests
	LD_LIBRARY_PATH="$(NVRTC)/nvidia/cu13/lib$${LD_LIBRARY_PATH:+:$$LD_LIBRARY_PATH}" cargo test $(CARGO_FLAGS) --workspace
	cargo test $(TOOL_FLAGS)
	@if [ -f $(PROGRAMS)/skipped-tests ]; then \
	  echo "skipped: $$(wc -l < $(PROGRAMS)/skipped-tests) tests"; cat $(PROGRAMS)/skipped-tests; \
	fi

build: setup
	cargo build $(CARGO_FLAGS) --workspace

# Installs packages only when one is missing; asks for root only then.
setup:
	@missing=""; for p in $(PACKAGES); do dpkg -s $$p >/dev/null 2>&1 || missing="$$missing $$p"; done; \
	if [ -n "$$missing" ]; then \
	  if [ "$$(id -u)" = 0 ]; then run=""; else run="sudo"; fi; \
	  $$run apt-get update -qq && $$run apt-get install -y --no-install-recommends $$missing; \
	fi

lint: setup
	cargo fmt --all --check
	cargo clippy $(CARGO_FLAGS) --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc $(CARGO_FLAGS) --workspace --no-deps

# Where it cannot be had, the test is skipped.
nvrtc: build
	@if [ ! -e $(NVRTC)/nvidia/cu13/lib/libnvrtc.so.13 ]; then \
	  command -v pip3 >/dev/null || $(MAKE) --no-print-directory setup PACKAGES="python3-pip"; \
	  pip3 install -qq --no-deps --target $(NVRTC) nvidia-cuda-nvrtc==$(NVRTC_VERSION) \
	    || rm -rf $(NVRTC); \
	fi

# Builds the example of a tool again, in place: the same source gives the same bytes.
tool:
	@if command -v rustup >/dev/null; then rustup target add $(TOOL_TARGET); fi
	cargo build $(TOOL_FLAGS) --target $(TOOL_TARGET)
	cp $(dir $(PROGRAMS))convert/$(TOOL_TARGET)/release/convert.wasm $(TOOL)/convert.wasm
	cd $(TOOL) && sha256sum Cargo.toml src/*.rs convert.wasm > convert.sha256

# Rebuilds the Python guest (CPython for WebAssembly) from Debian 12's source package, in place.
guest:
	@$(MAKE) --no-print-directory setup PACKAGES="$(GUEST_PACKAGES)"
	bash runtime/python/build.sh

# The rebuilt guest must pass what the committed one passes: probes, attacks, limits.
guest-test: guest setup
	cargo test $(CARGO_FLAGS) -p retort --lib sandbox

# The programs for 64-bit ARM boards, and their trial under qemu (docs/BOARDS.md).
cross: setup
	bash cross/build.sh $(dir $(PROGRAMS))cross

cross-test: build cross
	@$(MAKE) --no-print-directory setup PACKAGES="qemu-user-static jq"
	bash cross/test.sh $(PROGRAMS)/retort $(dir $(PROGRAMS))cross

# Trajectories to TRL and back: needs Python 3 and a few gigabytes for PyTorch (docs/IMPORT.md).
trl: build
	@$(MAKE) --no-print-directory setup PACKAGES="python3-venv"
	sh trainer/fixtures/trl.sh $(PROGRAMS) $(dir $(PROGRAMS))trl
