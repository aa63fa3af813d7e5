/* Filtered rows of a PNG (its specification, chapter 9) -> pixels of the columns and rows that are wanted. */
#include "kernels.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

enum { NONE, SUB, UP, AVERAGE, PAETH };

static inline uint8_t nearest(int left, int above, int corner) {
    int to_left = above - corner, to_above = left - corner, to_corner = to_left + to_above;
    to_left = to_left < 0 ? -to_left : to_left;
    to_above = to_above < 0 ? -to_above : to_above;
    to_corner = to_corner < 0 ? -to_corner : to_corner;
    return (uint8_t)(to_left <= to_above && to_left <= to_corner ? left : to_above <= to_corner ? above : corner);
}

/* Bytes one by one, from the `begin`-th on; of the pixel on the left, if there is one. */
static inline void plain(int filter, const uint8_t *row, const uint8_t *above, int64_t begin, int64_t bytes, int64_t step,
                         uint8_t *out) {
    for (int64_t i = begin; i < bytes; i++) {
        uint8_t left = i < step ? 0 : out[i - step], corner = i < step ? 0 : above[i - step], guess = left;
        if (filter == AVERAGE) guess = (uint8_t)((left + above[i]) >> 1);
        if (filter == PAETH) guess = nearest(left, above[i], corner);
        out[i] = (uint8_t)(row[i] + guess);
    }
}

#if defined(__SSE2__)

static inline __m128i four_bytes(const uint8_t *bytes) {
    int32_t value;
    memcpy(&value, bytes, 4);
    return _mm_cvtsi32_si128(value);
}

/* A pixel of three or four bytes as four values of 16 bits. */
static inline __m128i four(const uint8_t *bytes) { return _mm_unpacklo_epi8(four_bytes(bytes), _mm_setzero_si128()); }

static inline __m128i magnitude(__m128i value) { return _mm_max_epi16(value, _mm_sub_epi16(_mm_setzero_si128(), value)); }

static inline __m128i choose(__m128i yes, __m128i one, __m128i other) {
    return _mm_or_si128(_mm_and_si128(yes, one), _mm_andnot_si128(yes, other));
}

/* Whole pixels, all their channels at once, as long as four bytes can be read and written. Returns how many bytes. What
   must wait for the pixel on the left is done last. */
static inline int64_t by_pixels(int filter, const uint8_t *row, const uint8_t *above, int64_t bytes, int64_t step, uint8_t *out) {
    const __m128i one = _mm_set1_epi8(1), low = _mm_set1_epi16(255);
    __m128i left = _mm_setzero_si128(), corner = left; /* of bytes; for PAETH of 16 bits */
    int64_t i = 0;
    for (; i + 4 <= bytes; i += step) {
        __m128i here;
        if (filter == SUB) {
            here = left = _mm_add_epi8(left, four_bytes(row + i));
        } else if (filter == AVERAGE) {
            __m128i over = four_bytes(above + i), rounded_up = _mm_and_si128(_mm_xor_si128(left, over), one);
            here = left = _mm_sub_epi8(_mm_add_epi8(_mm_avg_epu8(left, over), four_bytes(row + i)), rounded_up);
        } else {
            __m128i given = four(row + i), over = four(above + i);
            __m128i from_left = _mm_sub_epi16(over, corner), from_above = _mm_sub_epi16(left, corner);
            __m128i from_corner = magnitude(_mm_add_epi16(from_left, from_above));
            from_above = magnitude(from_above);
            __m128i not_left = _mm_cmpgt_epi16(magnitude(from_left), _mm_min_epi16(from_above, from_corner));
            __m128i other = choose(_mm_cmpgt_epi16(from_above, from_corner), _mm_add_epi16(corner, given),
                                   _mm_add_epi16(over, given));
            left = _mm_and_si128(choose(not_left, other, _mm_add_epi16(left, given)), low);
            corner = over;
            here = _mm_packus_epi16(left, left);
        }
        int32_t value = _mm_cvtsi128_si32(here);
        memcpy(out + i, &value, 4);
    }
    return i;
}

#else
static inline int64_t by_pixels(int filter, const uint8_t *row, const uint8_t *above, int64_t bytes, int64_t step, uint8_t *out) {
    (void)filter, (void)row, (void)above, (void)bytes, (void)step, (void)out;
    return 0;
}
#endif

/* One row, whose filter has a guess that depends on the pixel on the left. */
static inline void from_left(int filter, const uint8_t *row, const uint8_t *above, int64_t bytes, int64_t step, uint8_t *out) {
    switch (step) {
    case 1: plain(filter, row, above, 0, bytes, 1, out); break;
    case 2: plain(filter, row, above, 0, bytes, 2, out); break;
    case 3: plain(filter, row, above, by_pixels(filter, row, above, bytes, 3, out), bytes, 3, out); break;
    default: plain(filter, row, above, by_pixels(filter, row, above, bytes, 4, out), bytes, 4, out);
    }
}

/* rows: `height` rows of a filter type and `row_bytes` bytes each, in pixels of `step` bytes (1 to 4). Of the first
   `wanted` rows the first `bytes` bytes, whole pixels, are written to `out`, one row behind the other. zeros: as many
   zeros, for the row above the first. Returns 0 where any row has a filter type that does not exist. */
EXPORT int int8cal_unfilter(const uint8_t *rows, int64_t height, int64_t row_bytes, int64_t step, int64_t wanted,
                            int64_t bytes, const uint8_t *zeros, uint8_t *out) {
    for (int64_t y = 0; y < height; y++)
        if (rows[y * (row_bytes + 1)] > PAETH) return 0;
    const uint8_t *above = zeros;
    for (int64_t y = 0; y < wanted; y++, above = out, out += bytes, rows += row_bytes + 1) {
        const uint8_t *row = rows + 1;
        switch (rows[0]) {
        case NONE: memcpy(out, row, (size_t)bytes); break;
        case SUB: from_left(SUB, row, above, bytes, step, out); break;
        case UP:
            for (int64_t i = 0; i < bytes; i++) out[i] = (uint8_t)(row[i] + above[i]);
            break;
        case AVERAGE: from_left(AVERAGE, row, above, bytes, step, out); break;
        default: from_left(PAETH, row, above, bytes, step, out);
        }
    }
    return 1;
}
