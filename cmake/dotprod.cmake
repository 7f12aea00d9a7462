# For boards with the dot-product and half-precision instructions of ARMv8.2 (Raspberry Pi 5,
# Jetson Orin): llama.cpp's integer kernels use them. A processor without them (Raspberry Pi 4)
# stops with SIGILL, so the default aarch64 build does not include this file.
#
# Rust stays at plain armv8-a: a `target-cpu` in its flags would reach the C++ compiler as a
# `-march` that it does not know. llama.cpp's build script does not watch this setting, so each
# kind of build needs a target folder of its own.
include("${CMAKE_CURRENT_LIST_DIR}/native.cmake")
set(GGML_CPU_ARM_ARCH "armv8.2-a+dotprod+fp16" CACHE STRING "" FORCE)
