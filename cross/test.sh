#!/usr/bin/env bash
# Asks the ARM programs of `make cross` the demo's questions under qemu-user, over the corpus that
# the program of this machine indexed, and compares what they answer with what that one answers:
# every word, search, passage and count, only not run ids and times.
#   cross/test.sh PROGRAM-OF-THIS-MACHINE FOLDER-OF-THE-ARM-PROGRAMS
set -euo pipefail
native=$(realpath "$1")
arm=$(realpath "$2")
questions=$(realpath "$(dirname "$0")/../models/demo/questions.txt")

# A processor with the instructions of the dotprod build, and one without.
new_processor=cortex-a76 # Raspberry Pi 5
old_processor=cortex-a72 # Raspberry Pi 4

main() {
  scratch=$(mktemp -d)
  trap 'rm -r "$scratch"' EXIT
  cd "$scratch"
  export HOME=$scratch/home
  unset "${!RETORT_@}" "${!XDG_@}"
  mkdir "$HOME"

  ask "$native" >expected.json
  corpus=$(corpus_hash)

  failures=0
  answers_the_same armv8-a "$old_processor"
  answers_the_same armv8-a "$new_processor"
  answers_the_same dotprod "$new_processor"
  refuses dotprod "$old_processor"
  [ "$failures" = 0 ]
}

# What is compared, one line per question.
ask() {
  "$@" ask - --corpus demo --json <"$questions" | jq -Sc 'del(.run, .seconds)'
}

# As on a board without emulator: a worker process of its own, that the setting starts under qemu,
# because an emulated program cannot start another.
emulated() {
  local processor=$1 program=$2
  local emulator="qemu-aarch64-static -cpu $processor -L /usr/aarch64-linux-gnu"
  shift 2
  RETORT_WORKER_LAUNCHER=$emulator RETORT_WALL_SECONDS_MAX=3600 XDG_CACHE_HOME=$scratch/cache \
    $emulator "$program" "$@"
}

answers_the_same() {
  local name=$1 processor=$2
  rm -rf cache
  SECONDS=0
  if ! ask emulated "$processor" "$arm/retort-$name" >answers.json; then
    report failed "$name on $processor: no answer"
  elif ! diff -u expected.json answers.json; then
    report failed "$name on $processor: other answers than $(uname -m)"
  elif [ "$(corpus_hash)" != "$corpus" ]; then
    report failed "$name on $processor: the corpus was written"
  else
    report ok "$name on $processor: $(wc -l <answers.json) answers as on $(uname -m), ${SECONDS} s"
  fi
}

refuses() {
  local name=$1 processor=$2 message
  if message=$(emulated "$processor" "$arm/retort-$name" --version 2>&1); then
    report failed "$name on $processor: runs"
  elif [[ $message != *"use the armv8-a build"* ]]; then
    report failed "$name on $processor: $message"
  else
    report ok "$name on $processor: $message"
  fi
}

corpus_hash() {
  find "$HOME/.local/share/retort/corpora" -type f -print0 | sort -z | xargs -0 sha256sum |
    sha256sum
}

report() {
  echo "$1: $2"
  [ "$1" = ok ] || failures=$((failures + 1))
}

main; exit
