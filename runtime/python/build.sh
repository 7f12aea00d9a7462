#!/usr/bin/env bash
# Builds the Python guest: CPython 3.11 as one WebAssembly module, and its standard library and sympy as one
# archive each.
#
# Usage: build.sh [IMAGE_DIR]           (default: image/ beside this script)
# Environment: BUILD_DIR  where to build (default: a temporary folder, removed at the end)
#              PYTHON     a real CPython 3.11, not a version manager's shim (default: /usr/bin/python3.11)
#              JOBS       parallel jobs of make (default: 2)
#              PIP        pip of any Python 3, to fetch sympy and mpmath (default: python3 -m pip)
#
# Debian 12 packages it needs:
#   clang-14 lld-14 llvm-14 wasi-libc libclang-rt-14-dev-wasm32 binaryen dpkg-dev python3.11 python3-pip zstd
#
# With the same packages every build gives the same bytes.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
image=${1:-$here/image}
python=${PYTHON:-/usr/bin/python3.11}
jobs=${JOBS:-2}
read -ra pip <<<"${PIP:-python3 -m pip}"

tarball=python3.11_3.11.2.orig.tar.gz
tarball_sha256=2411c74bda5bbcfcddaf4531f66d1adc73f247f529aee981b029513aefdbf849
source_dir=Python-3.11.2
sympy=sympy-1.14.0-py3-none-any.whl
sympy_sha256=e091cc3e99d2141a0ba2847328f5479b05d94a6635cb96148ccb3f34671bd8f5
mpmath=mpmath-1.3.0-py3-none-any.whl
mpmath_sha256=a0b2b9fe80bbcd81a6647ff13108738cfb482d481d826cc0e02f5b35e5c88d2c
compile=(clang-14 --target=wasm32-wasi)

if [ -z "${BUILD_DIR:-}" ]; then
    BUILD_DIR=$(mktemp -d)
    trap 'rm -rf "$BUILD_DIR"' EXIT
fi
mkdir -p "$BUILD_DIR"
cd "$BUILD_DIR"

# The upstream tarball from Debian's source package. The package lists live in the build folder,
# so the machine's own apt configuration neither needs a deb-src line nor is changed.
fetch() {
    [ -f "$tarball" ] || {
        mkdir -p apt/lists/partial apt/cache
        local keyring=/usr/share/keyrings/debian-archive-keyring.gpg
        local mirror
        mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 'Origin: Debian' |
            grep -v security | head -n 1) || true
        [ -n "$mirror" ] || {
            echo "build.sh: apt knows no Debian mirror; put $tarball into $BUILD_DIR by hand" >&2
            exit 1
        }
        echo "deb-src [signed-by=$keyring] $mirror bookworm main" >apt/sources.list
        local options=(
            -o "Dir::Etc::SourceList=$BUILD_DIR/apt/sources.list" -o Dir::Etc::SourceParts=/dev/null
            -o "Dir::State::Lists=$BUILD_DIR/apt/lists" -o "Dir::Cache=$BUILD_DIR/apt/cache"
        )
        apt-get "${options[@]}" update
        apt-get "${options[@]}" source --download-only --tar-only python3.11
    }
    echo "$tarball_sha256  $tarball" | sha256sum -c
}

# sympy and mpmath, unpacked side by side.
fetch_packages() {
    [ -f "$sympy" ] && [ -f "$mpmath" ] ||
        "${pip[@]}" download --no-deps --only-binary :all: sympy==1.14.0 mpmath==1.3.0
    printf '%s  %s\n' "$sympy_sha256" "$sympy" "$mpmath_sha256" "$mpmath" | sha256sum -c
    local wheel
    for wheel in "$sympy" "$mpmath"; do
        "$python" -m zipfile -e "$wheel" packages
    done
}

# PKG_CONFIG must fail: pkg-config would find the machine's own zlib, for which there is no wasm library.
build_cpython() {
    [ -d "$source_dir" ] || tar xf "$tarball"
    # CPython compiles the time of its build into sys.version: the release's day instead.
    sed -i -e 's/define DATE __DATE__/define DATE "Feb  8 2023"/' \
        -e 's/define TIME __TIME__/define TIME "00:00:00"/' "$source_dir/Modules/getbuildinfo.c"
    mkdir -p build/Modules
    cp "$here/Setup.local" build/Modules/
    cd build
    [ -f Makefile ] || env CC="${compile[*]}" CPP="clang-cpp-14 --target=wasm32-wasi" \
        AR=llvm-ar-14 RANLIB=llvm-ranlib-14 LDSHARED=wasm-ld-14 PKG_CONFIG=false OPT="-DNDEBUG -O2" \
        CONFIG_SITE="../$source_dir/Tools/wasm/config.site-wasm32-wasi" \
        "../$source_dir/configure" --host=wasm32-wasi --build="$(uname -m)-pc-linux-gnu" \
        --with-build-python="$python" --disable-test-modules
    make -j"$jobs" libpython3.11.a Modules/_decimal/libmpdec/libmpdec.a
    cd ..
}

# No -O when linking: clang would then run wasm-opt by itself and fail on the stripped module.
link_guest() {
    "$python" "$here/pack_library.py" freeze --library "$source_dir/Lib" --prelude "$here/prelude.py" --output frozen.h
    "${compile[@]}" -O2 -DNDEBUG -I"$source_dir/Include" -Ibuild -I. -c "$here/guest.c" -o guest.o
    "${compile[@]}" -mexec-model=reactor guest.o build/libpython3.11.a \
        build/Modules/_decimal/libmpdec/libmpdec.a -o linked.wasm \
        -z stack-size=4194304 -Wl,--stack-first -Wl,-s -Wl,--export=__stack_pointer -Wl,--import-memory \
        -Wl,--wrap=PyErr_SetFromErrnoWithFilenameObject -Wl,--wrap=PyErr_SetFromErrnoWithFilenameObjects \
        -lm -lwasi-emulated-signal -lwasi-emulated-getpid -lwasi-emulated-process-clocks
    wasm-opt --enable-mutable-globals -O2 linked.wasm -o python.wasm
}

# Every licence of what is linked into python.wasm or packed into the archives, in full.
write_licences() {
    local section title
    cat "$here/licences_head.md"
    for section in "CPython and its standard library:$source_dir/LICENSE" \
        "CPython's incorporated software:$source_dir/Doc/license.rst" \
        "libmpdec:$source_dir/Modules/_decimal/libmpdec/mpdecimal.h" \
        "wasi-libc:/usr/share/doc/wasi-libc/copyright" \
        "sympy:packages/sympy-1.14.0.dist-info/licenses/LICENSE" \
        "mpmath:packages/mpmath-1.3.0.dist-info/LICENSE"; do
        title=${section%%:*}
        printf '\n## %s\n```text\n' "$title"
        # libmpdec carries its licence as the first comment of its header
        if [ "$title" = libmpdec ]; then sed '/\*\//q' "${section#*:}"; else cat "${section#*:}"; fi
        printf '```\n'
    done
}

write_image() {
    mkdir -p "$image"
    "$python" "$here/pack_library.py" pack --library "$source_dir/Lib" --output library
    "$python" "$here/pack_library.py" pack-sympy --packages packages --actions "$here/sympy_actions.py" --output sympy
    local content
    for content in python.wasm library sympy; do
        zstd --quiet --force -19 --no-progress "$content" -o "$image/$content.zst"
    done
    write_licences >"$image/LICENSES.md"
    "$python" "$here/pack_library.py" manifest --image "$image" --fetched "$tarball" "$sympy" "$mpmath" \
        --contents python.wasm library sympy
}

fetch
fetch_packages
build_cpython
link_guest
write_image
