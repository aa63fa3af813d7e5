/* What every kernel includes. */
#ifndef INT8CAL_KERNELS_H
#define INT8CAL_KERNELS_H

#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the kernels read and write little-endian"
#endif

#define EXPORT __attribute__((visibility("default")))

#if defined(__x86_64__)
static int has_avx; /* processor and operating system have it */

/* Not __builtin_cpu_supports, whose data zig cannot link into a shared library. Once, since CPUID is slow in virtual
   machines. */
__attribute__((constructor)) static void find_avx(void) {
    const unsigned both = bit_OSXSAVE | bit_AVX;
    unsigned a, b, c, d, saved;
    if (!__get_cpuid(1, &a, &b, &c, &d) || (c & both) != both) return;
    __asm__("xgetbv" : "=a"(saved), "=d"(d) : "c"(0));
    has_avx = (saved & 6) == 6; /* the registers of SSE and those of AVX */
}
#endif

/* First in every kernel. Earlier code on this thread (ISA-L's checksums) may leave the upper halves of the vector
   registers dirty. Each SSE instruction then depends on what its register held before, and a kernel takes half as long
   again, or three times as long. */
static inline void begin_kernel(void) {
#if defined(__x86_64__)
    if (has_avx) __asm__ volatile("vzeroupper");
#endif
}

#endif
