/* What the drivers of kernels share: random numbers, and memory of exactly the size that is needed. */
#include <stdint.h>
#include <stdlib.h>

static uint64_t state;

static int64_t drawn(int64_t low, int64_t high) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return low + (int64_t)(state % (uint64_t)(high - low + 1));
}

static void *room(int64_t bytes) {
    void *memory = malloc(bytes ? (size_t)bytes : 1);
    if (!memory) exit(2);
    return memory;
}
