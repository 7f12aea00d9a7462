#!/usr/bin/env bash
# Builds `retort` for 64-bit ARM Linux on a Debian or Ubuntu machine, without a container, and
# checks what came out. Two programs, named by their processors:
#   armv8-a   every 64-bit ARM processor
#   dotprod   ARMv8.2 with dot products and half precision (Raspberry Pi 5, Jetson Orin)
# `cross.toml` is the way with a container.
#   cross/build.sh FOLDER-OF-THE-ARM-PROGRAMS
set -euo pipefail
out=$(realpath -m "$1")
cd "$(dirname "$0")/.."

target=aarch64-unknown-linux-gnu
jobs=${JOBS:-2}

# What a board must have at least: Ubuntu 22.04, on which JetPack 6 is built. Raspberry Pi OS
# bookworm has newer ones.
glibc_newest=2.35
libstdcxx_newest=3.4.30
libraries_allowed='libstdc++.so.6 libgcc_s.so.1 libm.so.6 libc.so.6 ld-linux-aarch64.so.1'

main() {
  mkdir -p "$out"
  install g++-aarch64-linux-gnu
  if has_rustup_target; then rust_flags=''; else use_debian_rust; fi
  leave_paths_out

  export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
  export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUSTFLAGS=$rust_flags
  export CMAKE_BUILD_PARALLEL_LEVEL=${CMAKE_BUILD_PARALLEL_LEVEL:-$jobs}

  build armv8-a armv8-a
  copy_all_but_llama armv8-a dotprod
  build dotprod armv8.2-a+dotprod+fp16

  printf '\n%-10s %8s %10s %7s %11s  %s\n' build MB sdot/udot GLIBC GLIBCXX 'needed libraries'
  check armv8-a 0 0
  check dotprod 1000 1000000
}

# Packages, unless they are there.
install() {
  make --no-print-directory setup PACKAGES="$*"
}

has_rustup_target() {
  [ -d "$(rustc --print sysroot)/lib/rustlib/$target" ]
}

# Debian's Rust, with its standard library for ARM: that is only unpacked, so dpkg hears nothing of
# a foreign architecture. Compiler and library must be the same version to the letter.
use_debian_rust() {
  if ! apt-cache show rustc-web >/dev/null 2>&1; then
    echo "There is no standard library for $target: run \`rustup target add $target\`." >&2
    exit 1
  fi
  install rustc-web
  local version sysroot
  version=$(dpkg-query -W -f '${Version}' rustc-web)
  sysroot=$out/rust-${version//[^0-9a-z.]/-}
  [ -d "$sysroot" ] || unpack_standard_library "$version" "$sysroot"
  # By its full path: rustup's compiler comes first in PATH.
  export RUSTC=/usr/bin/rustc
  rust_flags="--sysroot=$sysroot/usr"
}

unpack_standard_library() {
  local version=$1 sysroot=$2 apt=$out/apt
  mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
  (
    cd "$apt"
    options="-oAPT::Architectures=amd64,arm64 -oDir::State::Lists=$apt/lists -oDir::Cache=$apt/cache
      -oAPT::Sandbox::User=$(id -un)"
    apt-get $options -qq update
    apt-get $options -qq download "libstd-rust-web-dev:arm64=$version"
    dpkg-deb -x libstd-rust-web-dev_*_arm64.deb "$sysroot.part"
  )
  mv "$sysroot.part" "$sysroot"
  rm -r "$apt"
}

# No path of this machine stands in the program (cmake/llama.cmake does it for llama.cpp).
leave_paths_out() {
  cargo fetch --locked --quiet
  local sources
  for sources in "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*; do
    rust_flags+=" --remap-path-prefix=$sources=crates"
  done
  rust_flags+=" --remap-path-prefix=$PWD=retort"
}

build() {
  local name=$1 arch=$2
  echo "== $name ($arch)"
  GGML_CPU_ARM_ARCH=$arch cargo build --release --locked "-j$jobs" --target "$target" \
    --target-dir "$out/$name" -p retort
  aarch64-linux-gnu-strip -o "$out/retort-$name" "$out/$name/$target/release/retort"
}

# Only llama.cpp differs between the builds; the rest is taken over.
copy_all_but_llama() {
  local from=$out/$1 to=$out/$2
  [ -d "$to" ] && return
  cp -a --reflink=auto "$from" "$to.part"
  cargo clean --quiet --release --target "$target" --target-dir "$to.part" -p llama-cpp-sys-2
  mv "$to.part" "$to"
}

# One row of the table; ends the script where something is not as promised.
check() {
  local name=$1 dot_min=$2 dot_max=$3 program=$out/retort-$1
  local dots glibc libstdcxx needed megabytes
  dots=$(aarch64-linux-gnu-objdump -d "$program" | grep -cE '\b(sdot|udot)\b' || true)
  glibc=$(newest_symbol "$program" GLIBC)
  libstdcxx=$(newest_symbol "$program" GLIBCXX)
  needed=$(aarch64-linux-gnu-readelf -d "$program" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | xargs)
  megabytes=$(stat -c %s "$program" | awk '{ printf "%.1f", $1 / 1e6 }')
  printf '%-10s %8s %10s %7s %11s  %s\n' \
    "$name" "$megabytes" "$dots" "$glibc" "$libstdcxx" "$needed"

  { [ "$dots" -ge "$dot_min" ] && [ "$dots" -le "$dot_max" ]; } ||
    fail "$name has $dots dot-product instructions, expected $dot_min to $dot_max"
  is_at_most "$glibc" "$glibc_newest" && is_at_most "$libstdcxx" "$libstdcxx_newest" ||
    fail "$name needs newer libraries than GLIBC_$glibc_newest and GLIBCXX_$libstdcxx_newest:
  build it on Debian 12 or Ubuntu 22.04, whose compilers link against these"
  local library
  for library in $needed; do
    [[ " $libraries_allowed " == *" $library "* ]] || fail "$name needs $library"
  done
  if grep -qaF -e "$PWD/runtime" -e "$out" -e "${CARGO_HOME:-$HOME/.cargo}" "$program"; then
    fail "$name names a path of this machine"
  fi
}

newest_symbol() {
  aarch64-linux-gnu-objdump -T "$1" | grep -oP "\b$2_\K[0-9.]+" | sort -uV | tail -n 1
}

is_at_most() {
  [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | tail -n 1)" = "$2" ]
}

fail() {
  echo "cross: $1" >&2
  exit 1
}

main; exit
