#!/bin/sh
# Cargo's rustc wrapper of run.sh: tells libFuzzer which code an input reaches, in the crates that
# are under test and in the targets. Everything else is compiled as usual, and runs as fast.
case " $* " in
*" --crate-name retort "* | *" --crate-name retort_transcript "* | *" --crate-name wasmi "* | \
    *" --crate-name retort_train "* | *" --crate-name safetensors "* | \
    *" --crate-name action "* | *" --crate-name host_calls "* | *" --crate-name readers "* | \
    *" --crate-name reply "* | *" --crate-name rows "*)
    exec "$@" --cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
        -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
        -Cllvm-args=-sanitizer-coverage-pc-table -Ccodegen-units=1
    ;;
esac
exec "$@"
