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
/* Whether processor and operating system have AVX. Asked once: on a virtual machine the question is a costly one. What
   compilers have for it is more than some of them can link into a shared library. */
static inline int has_avx(void) {
    enum { UNKNOWN, NO, YES };
    static int answer = UNKNOWN;
    int found = __atomic_load_n(&answer, __ATOMIC_RELAXED);
    if (found == UNKNOWN) {
        const unsigned both = bit_OSXSAVE | bit_AVX;
        unsigned a, b, c, d, saved = 0;
        if (__get_cpuid(1, &a, &b, &c, &d) && (c & both) == both) __asm__("xgetbv" : "=a"(saved), "=d"(d) : "c"(0));
        found = (saved & 6) == 6 ? YES : NO; /* the registers of SSE and those of AVX */
        __atomic_store_n(&answer, found, __ATOMIC_RELAXED);
    }
    return found == YES;
}
#endif

/* What every kernel does first. Whoever ran before on this thread may have left the upper halves of the vector registers
   in use (ISA-L's checksums do): until they are empty, each SSE instruction waits for what was in its register before,
   and a kernel takes up to half as long again. */
static inline void begin_kernel(void) {
#if defined(__x86_64__)
    if (has_avx()) __asm__ volatile("vzeroupper");
#endif
}

#endif
