#!/bin/sh
# Runs a fuzz target with the toolchain of the project; cargo-fuzz and a nightly one are not needed.
# What it finds is written to fuzz/artifacts/TARGET, inputs that reach something new to
# fuzz/corpus/TARGET.
#
# Usage: fuzz/run.sh action|host_calls|readers|reply|rows [LIBFUZZER_OPTION...]
#   fuzz/run.sh action -max_total_time=180
set -eu

here=$(cd "$(dirname "$0")" && pwd)
target=$1
shift
mkdir -p "$here/corpus/$target" "$here/artifacts/$target"
length_max=4096
if [ "$target" = readers ]; then
    # Sound files to begin with, each behind the byte that says what it is.
    length_max=65536
    seed() {
        { printf "\\$1"; cat "$2"; } >"$here/corpus/$target/sound-$1"
    }
    hub=$here/../trainer/fixtures/hub
    seed 003 "$hub/qwen2/model.safetensors"
    seed 004 "$hub/qwen2/config.json"
    seed 005 "$hub/qwen2/tokenizer.json"
    seed 006 "$hub/qwen2/tokenizer_config.json"
    seed 007 "$hub/qwen2-patterns/adapter_config.json"
    seed 017 "$hub/qwen2-patterns/adapter_model.safetensors"
fi
if [ "$target" = rows ]; then
    row='"version":1,"id":"1","question":"q","answer":"a","generated":"a","status":"answered"'
    printf '\000{"id":1,"question":"q","answer":"a"}\n' >"$here/corpus/$target/sound-tasks"
    printf '\002{%s,"dialect":"chat","dialect_hash":"","teacher":"t","transcript":{"question":"q","steps":[]}}\n' \
        "$row" >"$here/corpus/$target/sound-row"
fi
# A folder of its own: cargo does not know that some of its crates are compiled otherwise.
CARGO_TARGET_DIR=${FUZZ_TARGET_DIR:-$here/target} CARGO_INCREMENTAL=0 \
    RUSTC_WRAPPER=$here/instrument.sh \
    cargo run --release --manifest-path "$here/Cargo.toml" --bin "$target" -- \
    "$here/corpus/$target" -artifact_prefix="$here/artifacts/$target/" -max_len=$length_max "$@"
