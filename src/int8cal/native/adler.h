/* Adler-32, the checksum of zlib streams. */
#ifndef INT8CAL_ADLER_H
#define INT8CAL_ADLER_H

#include "kernels.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

/* Adler-32 (RFC 1950). A whole one begins with a = 1; two parts of which one begins with zeros can be joined. */
typedef struct {
    uint64_t a, b;
} Adler;

/* Add bytes to an Adler-32. a: their sum; b: the same, each as often as it is added. */
static inline void sum_up(Adler *adler, int count, uint64_t a, uint64_t b) {
    const uint32_t base = 65521;
    adler->b = (adler->b + (uint64_t)count * adler->a + b) % base;
    adler->a = (adler->a + a) % base;
}

static void add_to_adler(Adler *adler, const uint8_t *bytes, int count) {
    while (count) {
        int now = count < 4096 ? count : 4096, whole = now / 32;
        uint64_t a = 0, b = 0;
#if defined(__SSE2__)
        const __m128i zero = _mm_setzero_si128();
        const __m128i weights[4] = {
            _mm_set_epi16(25, 26, 27, 28, 29, 30, 31, 32), _mm_set_epi16(17, 18, 19, 20, 21, 22, 23, 24),
            _mm_set_epi16(9, 10, 11, 12, 13, 14, 15, 16), _mm_set_epi16(1, 2, 3, 4, 5, 6, 7, 8)};
        __m128i sums = zero, earlier = zero, weighted = zero;
        __m128i columns[4] = {zero, zero, zero, zero}; /* of 32 bytes, added up: at most 128 times 255 */
        for (int i = 0; i < whole; i++) {
            __m128i one = _mm_loadu_si128((const __m128i *)(bytes + 32 * i));
            __m128i two = _mm_loadu_si128((const __m128i *)(bytes + 32 * i + 16));
            earlier = _mm_add_epi64(earlier, sums);
            sums = _mm_add_epi64(sums, _mm_add_epi64(_mm_sad_epu8(one, zero), _mm_sad_epu8(two, zero)));
            columns[0] = _mm_add_epi16(columns[0], _mm_unpacklo_epi8(one, zero));
            columns[1] = _mm_add_epi16(columns[1], _mm_unpackhi_epi8(one, zero));
            columns[2] = _mm_add_epi16(columns[2], _mm_unpacklo_epi8(two, zero));
            columns[3] = _mm_add_epi16(columns[3], _mm_unpackhi_epi8(two, zero));
        }
        for (int k = 0; k < 4; k++) weighted = _mm_add_epi32(weighted, _mm_madd_epi16(columns[k], weights[k]));
        uint64_t lanes[2];
        uint32_t parts[4];
        memcpy(lanes, &sums, 16);
        a = lanes[0] + lanes[1];
        memcpy(lanes, &earlier, 16);
        memcpy(parts, &weighted, 16);
        b = 32 * (lanes[0] + lanes[1]) + parts[0] + parts[1] + parts[2] + parts[3];
#else
        for (int i = 0; i < whole; i++) {
            uint32_t sum = 0, weighted = 0;
            for (int j = 0; j < 32; j++) {
                sum += bytes[32 * i + j];
                weighted += (uint32_t)(32 - j) * bytes[32 * i + j];
            }
            b += 32 * a + weighted;
            a += sum;
        }
#endif
        for (int i = 32 * whole; i < now; i++) b += a += bytes[i];
        sum_up(adler, now, a, b);
        bytes += now;
        count -= now;
    }
}

#endif
