/* What every kernel includes. */
#ifndef INT8CAL_KERNELS_H
#define INT8CAL_KERNELS_H

#include <stdint.h>
#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the kernels read and write little-endian"
#endif

#define EXPORT __attribute__((visibility("default")))

#if defined(__x86_64__)
__attribute__((target("avx"), noinline, unused)) static void empty_upper_halves(void) { __builtin_ia32_vzeroupper(); }
#endif

/* What every kernel does first. Whoever ran before on this thread may have left the upper halves of the vector registers
   in use (ISA-L's checksums do): until they are empty, each SSE instruction waits for what was in its register before,
   and a kernel takes up to half as long again. */
static inline void begin_kernel(void) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx")) empty_upper_halves();
#endif
}

#endif
