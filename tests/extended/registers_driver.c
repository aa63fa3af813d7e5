/* Whether each kernel empties the upper halves of the vector registers, which others leave in use.    driver */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

void int8cal_antialias(const void *, int64_t, int64_t, int64_t, const void *, const void *, void *, void *, void *);
int64_t int8cal_count(const float *, int64_t, float, int64_t *);
int64_t int8cal_encode_work_bytes(void);
int int8cal_encode(const float *, int64_t, int64_t, uint8_t *, int64_t, int, void *, void *);
int64_t int8cal_inflate(const uint8_t *, int64_t, uint8_t *, int64_t);
void int8cal_look_up(const void *, const void *, const void *, int64_t, int64_t, const float *, int64_t, float *, int64_t,
                     int64_t);
void int8cal_resize(const void *, const float *, const void *, const void *, int64_t, int64_t, int, float *, float *);
int int8cal_unfilter(const uint8_t *, int64_t, int64_t, int64_t, int64_t, int64_t, const uint8_t *, uint8_t *);
void int8cal_unshuffle(const uint8_t *, int64_t, uint8_t *);

#if defined(__x86_64__)
#include <cpuid.h>

/* Whether the processor tells which registers are in use: XGETBV with 1, by CPUID 13.1. */
static int can_tell(void) {
    unsigned a = 0, b, c, d;
    return __builtin_cpu_supports("avx") && __get_cpuid_count(13, 1, &a, &b, &c, &d) && a & 4;
}

static int in_use(void) {
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(1));
    return low & 4;
}

static void use(void) { __asm__ volatile("vcmptrueps %%ymm9, %%ymm9, %%ymm9" ::: "xmm9"); }
#else
static int can_tell(void) { return 0; }
static int in_use(void) { return 0; }
static void use(void) {}
#endif

static uint8_t bytes[8192], out[65536];
static float values[1024];
static int64_t picture[7], axis[4], chunk[8];
static void *work;

static void run(int kernel) {
    switch (kernel) {
    case 0: int8cal_antialias(bytes, 0, 0, 3, axis, axis, out, out, out); break;
    case 1: int8cal_count(values, 0, 1, axis); break;
    case 2: int8cal_encode(values, 1, 0, out, 16384, 1, work, chunk); break;
    case 3: int8cal_inflate(bytes, 0, out, 0); break;
    case 4: int8cal_look_up(picture, 0, 0, 0, 0, values, 0, values, 0, 0); break;
    case 5: int8cal_resize(picture, values, axis, axis, 0, 0, 0, values, values); break;
    case 6: int8cal_unfilter(bytes, 0, 0, 1, 0, 0, bytes, out); break;
    default: int8cal_unshuffle(bytes, 0, out);
    }
}

int main(void) {
    if (!can_tell()) {
        puts("this processor cannot tell");
        return 0;
    }
    work = malloc((size_t)int8cal_encode_work_bytes());
    if (!work) return 2;
    for (int kernel = 0; kernel < 8; kernel++) {
        use();
        int before = in_use();
        run(kernel);
        if (!before || in_use()) {
            printf("kernel %d: in use before: %d, after: %d\n", kernel, before, in_use());
            return 1;
        }
    }
    puts("8 kernels");
    return 0;
}
