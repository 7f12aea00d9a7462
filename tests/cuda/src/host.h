// What CUDA's words mean on the processor. The threads of a block are fibers of one thread: each
// runs until it waits for others. A block's shared memory can therefore be static.
#pragma once

#include <algorithm>
#include <cmath>
#include <csetjmp>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include <ucontext.h>

#define __global__
#define __device__
#define __shared__ static thread_local
#define __launch_bounds__(threads)

struct Dim {
    unsigned x = 1, y = 1;
};

namespace host {

// Shadows CUDA's variables of the same name; set before a fiber runs on.
struct Place {
    Dim thread, block, threads, blocks;
};
inline thread_local Place place;

enum class State { Ready, AtWarp, AtBlock, Done };

constexpr unsigned WARP = 32;
constexpr std::size_t STACK_BYTES = 64 * 1024;

struct Fiber {
    std::jmp_buf resume;
    bool is_started = false;
    State state = State::Done;
    std::unique_ptr<char[]> stack;
};

// What the lanes of a warp show one another. Two banks in turn: whoever writes the next values has
// passed a barrier after which the last ones but one are read.
struct Shown {
    unsigned words[2][WARP][10];
};

struct Block {
    const char *kernel = "";
    void (*body)(void *) = nullptr;
    void *arguments = nullptr;
    std::jmp_buf scheduler;
    ucontext_t first;
    std::vector<Fiber> fibers;
    std::vector<Shown> warps;
    std::vector<unsigned> turns;
    unsigned current = 0;

    [[noreturn]] void fail(const char *what) const
    {
        std::fprintf(stderr, "kernel %s, block %u,%u: %s\n", kernel, place.block.x, place.block.y, what);
        std::abort();
    }

    // Ends this fiber's turn.
    void wait(State state)
    {
        Fiber &fiber = fibers[current];
        fiber.state = state;
        if (_setjmp(fiber.resume) == 0) _longjmp(scheduler, 1);
    }

    static void enter(unsigned high, unsigned low)
    {
        auto block = reinterpret_cast<Block *>((std::uintptr_t)high << 32 | low);
        for (;;) {
            block->body(block->arguments);
            block->wait(State::Done);
        }
    }

    void run_on(unsigned index)
    {
        current = index;
        place.thread.x = index;
        Fiber &fiber = fibers[index];
        if (_setjmp(scheduler) != 0) return;
        if (fiber.is_started) _longjmp(fiber.resume, 1);
        fiber.is_started = true;
        fiber.stack.reset(new char[STACK_BYTES]);
        ucontext_t context;
        getcontext(&context);
        context.uc_stack.ss_sp = fiber.stack.get();
        context.uc_stack.ss_size = STACK_BYTES;
        context.uc_link = nullptr;
        auto self = reinterpret_cast<std::uintptr_t>(this);
        makecontext(&context, (void (*)())enter, 2, (unsigned)(self >> 32), (unsigned)self);
        swapcontext(&first, &context);
    }

    // Lets those go on that wait for nobody any more; whether there are any.
    bool release()
    {
        unsigned threads = place.threads.x, waiting = 0, done = 0;
        bool is_any = false;
        for (unsigned from = 0; from < threads; from += WARP) {
            unsigned here = 0, lanes = std::min(WARP, threads - from);
            for (unsigned i = from; i < from + lanes; i++) here += fibers[i].state == State::AtWarp;
            if (here < lanes) continue;
            for (unsigned i = from; i < from + lanes; i++) fibers[i].state = State::Ready;
            is_any = true;
        }
        for (unsigned i = 0; i < threads; i++) {
            waiting += fibers[i].state == State::AtBlock;
            done += fibers[i].state == State::Done;
        }
        if (is_any || done == threads) return is_any;
        if (waiting < threads) fail("some threads wait for others that never come");
        for (unsigned i = 0; i < threads; i++) fibers[i].state = State::Ready;
        return true;
    }

    void run()
    {
        unsigned threads = place.threads.x;
        if (fibers.size() < threads) fibers.resize(threads);
        warps.resize((threads + WARP - 1) / WARP);
        turns.assign(threads, 0);
        for (unsigned i = 0; i < threads; i++) fibers[i].state = State::Ready;
        do {
            for (unsigned i = 0; i < threads; i++)
                if (fibers[i].state == State::Ready) run_on(i);
        } while (release());
    }

    // Shows this lane's words to its warp, and gives what all lanes show.
    template <unsigned COUNT> const unsigned (*show(const unsigned (&words)[COUNT]))[10]
    {
        unsigned index = current, bank = turns[index]++ % 2;
        auto &shown = warps[index / WARP].words[bank];
        std::memcpy(shown[index % WARP], words, sizeof words);
        wait(State::AtWarp);
        return shown;
    }
};

inline Block &block()
{
    static thread_local Block block;
    return block;
}

} // namespace host

#define threadIdx host::place.thread
#define blockIdx host::place.block
#define blockDim host::place.threads
#define gridDim host::place.blocks

inline void __syncthreads() { host::block().wait(host::State::AtBlock); }

template <class T> T __shfl_xor_sync(unsigned, T value, unsigned mask)
{
    static_assert(sizeof(T) == sizeof(unsigned), "words of 32 bits");
    unsigned words[1];
    std::memcpy(words, &value, sizeof value);
    auto shown = host::block().show(words);
    std::memcpy(&value, shown[host::block().current % host::WARP ^ mask], sizeof value);
    return value;
}

// The tensor cores' product of a 16 x 16 and a 16 x 8 tile, by the layout that PTX documents.
inline void multiply_add(float sum[4], const unsigned left[4], const unsigned right[2])
{
    unsigned words[6];
    std::memcpy(words, left, 4 * sizeof(unsigned));
    std::memcpy(words + 4, right, 2 * sizeof(unsigned));
    auto shown = host::block().show(words);
    auto value = [](unsigned pair, unsigned half) {
        unsigned bits = half ? pair & 0xffff0000u : pair << 16;
        float value;
        std::memcpy(&value, &bits, sizeof value);
        return value;
    };
    unsigned lane = host::block().current % host::WARP;
    for (unsigned i = 0; i < 4; i++) {
        unsigned row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
        float more = 0.0f;
        for (unsigned k = 0; k < 16; k++) {
            unsigned a = shown[row % 8 * 4 + k % 8 / 2][row / 8 + k / 8 * 2];
            unsigned b = shown[column * 4 + k % 8 / 2][4 + k / 8];
            more += value(a, k % 2) * value(b, k % 2);
        }
        sum[i] += more;
    }
}
