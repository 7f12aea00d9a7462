// The kernels, compiled for the processor, by their names.

#include <algorithm>
#include <cstdint>
#include <tuple>
#include <utility>

#include "host.h"

#include "kernels.cu"

namespace {

// A kernel's parameters from pointers to their values, as the driver takes them.
template <class... A, std::size_t... I>
void call(void (*kernel)(A...), void **arguments, std::index_sequence<I...>)
{
    kernel(*static_cast<A *>(arguments[I])...);
}

template <auto KERNEL> struct Entry;
template <class... A, void (*KERNEL)(A...)> struct Entry<KERNEL> {
    static void run(void *arguments)
    {
        call(KERNEL, static_cast<void **>(arguments), std::index_sequence_for<A...>{});
    }
};

struct Kernel {
    const char *name;
    void (*run)(void *);
};

#define KERNEL(name) {#name, Entry<name>::run}
#define ATTENTION_OF(width)                                                                        \
    KERNEL(attention_##width), KERNEL(attention_queries_##width), KERNEL(attention_keys_##width)

const Kernel KERNELS[] = {
    KERNEL(gather), KERNEL(scatter), KERNEL(rms_norm), KERNEL(rms_norm_backward),
    KERNEL(gain_gradient), KERNEL(column_sums), KERNEL(add_bias), KERNEL(rotate), KERNEL(swiglu),
    KERNEL(swiglu_backward), KERNEL(embedding_gradient), KERNEL(cross_entropy), KERNEL(row_dots),
    ATTENTION_OF(32), ATTENTION_OF(64), ATTENTION_OF(128),
    KERNEL(cast), KERNEL(dropout), KERNEL(dropout_add), KERNEL(sum_of_squares), KERNEL(adamw),
    KERNEL(momentum), KERNEL(square_sums), KERNEL(normalise), KERNEL(decay_and_add),
};

} // namespace

// 0 when it ran, 1 when there is no kernel of this name.
extern "C" int retort_host_launch(const char *name, unsigned grid_x, unsigned grid_y,
                                  unsigned threads, void **arguments)
{
    for (const Kernel &kernel : KERNELS) {
        if (std::strcmp(kernel.name, name) != 0) continue;
        host::Block &block = host::block();
        block.kernel = kernel.name;
        block.body = kernel.run;
        block.arguments = arguments;
        host::place.threads.x = threads;
        host::place.blocks = {grid_x, grid_y};
        for (unsigned y = 0; y < grid_y; y++)
            for (unsigned x = 0; x < grid_x; x++) {
                host::place.block = {x, y};
                block.run();
            }
        return 0;
    }
    return 1;
}
