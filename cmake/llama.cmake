# Read by llama.cpp's own CMake project (CMAKE_PROJECT_INCLUDE, set in .cargo/config.toml).

# Its helper library `common` is half of the compile time and nothing here calls it.
set(LLAMA_BUILD_COMMON OFF CACHE BOOL "" FORCE)

# Its assertions name the file they stand in: without the path of the machine that compiled it.
add_compile_options("-ffile-prefix-map=${CMAKE_SOURCE_DIR}=llama.cpp")

# The build script of llama-cpp-sys-2 sets armv8-a, whatever the caller chose; the choice wins here.
# Only llama.cpp's kernels follow it. Rust stays at armv8-a: a `target-cpu` in its flags would reach
# the C++ compiler as a `-march` that it does not know.
if(DEFINED ENV{GGML_CPU_ARM_ARCH})
  set(GGML_CPU_ARM_ARCH "$ENV{GGML_CPU_ARM_ARCH}" CACHE STRING "" FORCE)
endif()
