#!/bin/sh
# Runs a fuzz target with the toolchain of the project; cargo-fuzz and a nightly one are not needed.
# What it finds is written to fuzz/artifacts/TARGET, inputs that reach something new to
# fuzz/corpus/TARGET.
#
# Usage: fuzz/run.sh action|host_calls|reply [LIBFUZZER_OPTION...]
#   fuzz/run.sh action -max_total_time=180
set -eu

here=$(cd "$(dirname "$0")" && pwd)
target=$1
shift
mkdir -p "$here/corpus/$target" "$here/artifacts/$target"
# A folder of its own: cargo does not know that some of its crates are compiled otherwise.
CARGO_TARGET_DIR=${FUZZ_TARGET_DIR:-$here/target} CARGO_INCREMENTAL=0 \
    RUSTC_WRAPPER=$here/instrument.sh \
    cargo run --release --manifest-path "$here/Cargo.toml" --bin "$target" -- \
    "$here/corpus/$target" -artifact_prefix="$here/artifacts/$target/" -max_len=4096 "$@"
