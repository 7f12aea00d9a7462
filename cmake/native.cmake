# Read by llama.cpp's own CMake project (CMAKE_PROJECT_INCLUDE): its helper library `common` is
# half of the compile time and nothing here calls it.
set(LLAMA_BUILD_COMMON OFF CACHE BOOL "" FORCE)
