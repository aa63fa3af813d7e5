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

static inline __m128i magnitude(__m128i value) { return _mm_max_epi16(value, _mm_sub_epi16(_mm_setzero_si128(), value)); }

static inline __m128i choose(__m128i yes, __m128i one, __m128i other) {
    return _mm_or_si128(_mm_and_si128(yes, one), _mm_andnot_si128(yes, other));
}

/* Pixels of three or four bytes. PAETH computes with 16 bits of each. AVERAGE computes with complements: PAVGB rounds up
   and the filter down, and the complement of the one is the other of complements. */
static inline __m128i pixel_from(int filter, const uint8_t *bytes) {
    __m128i pixel = four_bytes(bytes);
    if (filter == AVERAGE) return _mm_xor_si128(pixel, _mm_set1_epi8(-1));
    return filter == PAETH ? _mm_unpacklo_epi8(pixel, _mm_setzero_si128()) : pixel;
}

static inline void write_pixel(int filter, __m128i pixel, uint8_t *to) {
    if (filter == AVERAGE) pixel = _mm_xor_si128(pixel, _mm_set1_epi8(-1));
    if (filter == PAETH) pixel = _mm_packus_epi16(pixel, pixel);
    int32_t bytes = _mm_cvtsi128_si32(pixel);
    memcpy(to, &bytes, 4);
}

/* A row between two pixels: the last one, and the one above it. */
typedef struct {
    __m128i left, corner;
} Row;

static inline Row begun_row(int filter) {
    return (Row){filter == AVERAGE ? _mm_set1_epi8(-1) : _mm_setzero_si128(), _mm_setzero_si128()};
}

/* The next pixel, into `row->left`; what must wait for the one on the left is done last. */
static inline void advance(int filter, Row *row, const uint8_t *filtered, __m128i above) {
    __m128i left = row->left, corner = row->corner, given = four_bytes(filtered);
    if (filter == SUB) {
        row->left = _mm_add_epi8(left, given);
    } else if (filter == AVERAGE) {
        row->left = _mm_sub_epi8(_mm_avg_epu8(left, above), given);
    } else {
        /* Of left + above - corner the distances are |above - corner|, |left - corner|, |left - (2 corner - above)|. */
        __m128i other_end = _mm_sub_epi16(_mm_add_epi16(corner, corner), above);
        given = _mm_unpacklo_epi8(given, _mm_setzero_si128());
        __m128i to_left = magnitude(_mm_sub_epi16(above, corner));
        __m128i to_above = _mm_max_epi16(_mm_sub_epi16(left, corner), _mm_sub_epi16(corner, left));
        __m128i to_corner = _mm_max_epi16(_mm_sub_epi16(left, other_end), _mm_sub_epi16(other_end, left));
        __m128i not_left = _mm_cmpgt_epi16(to_left, _mm_min_epi16(to_above, to_corner));
        __m128i other = choose(_mm_cmpgt_epi16(to_above, to_corner), _mm_add_epi8(corner, given),
                               _mm_add_epi8(above, given)); /* wraps in the low byte; the high one stays 0 */
        row->left = choose(not_left, other, _mm_add_epi8(left, given));
        row->corner = above;
    }
}

/* Whole pixels, all their channels at once, as long as four bytes can be read and written: of one row, of two or of four.
   Each is a pixel behind the one above it, so that none waits for another. Returns how many bytes of the first row; each
   of the others has `step` fewer. */
static inline int64_t by_pixels(int filter, int count, const uint8_t *filtered, int64_t distance, const uint8_t *above,
                                int64_t bytes, int64_t step, uint8_t *out) {
    Row first = begun_row(filter), second = first, third = first, fourth = first;
    int64_t i = 0, below = distance - step, out_below = bytes - step;
    for (; i + 4 <= bytes; i += step) {
        const uint8_t *from = filtered + i;
        uint8_t *to = out + i;
        __m128i above_second = first.left, above_third = second.left, above_fourth = third.left;
        advance(filter, &first, from, pixel_from(filter, above + i));
        write_pixel(filter, first.left, to);
        if (count < 2 || i < step) continue;
        advance(filter, &second, from + below, above_second);
        write_pixel(filter, second.left, to + out_below);
        if (count < 4 || i < 2 * step) continue;
        advance(filter, &third, from + 2 * below, above_third);
        write_pixel(filter, third.left, to + 2 * out_below);
        if (i < 3 * step) continue;
        advance(filter, &fourth, from + 3 * below, above_fourth);
        write_pixel(filter, fourth.left, to + 3 * out_below);
    }
    return i;
}

#else
static inline int64_t by_pixels(int filter, int count, const uint8_t *filtered, int64_t distance, const uint8_t *above,
                                int64_t bytes, int64_t step, uint8_t *out) {
    (void)filter, (void)count, (void)filtered, (void)distance, (void)above, (void)bytes, (void)step, (void)out;
    return 0;
}
#endif

/* One row, two or four of a filter whose guess depends on the pixel on the left. distance: from one filtered row to the
   next. */
static inline void whole_rows(int filter, int count, const uint8_t *filtered, int64_t distance, const uint8_t *above,
                              int64_t bytes, int64_t step, uint8_t *out) {
    int64_t done = 0;
    if (step >= 3) switch (count) { /* compiled for each */
        case 1: done = by_pixels(filter, 1, filtered, distance, above, bytes, step, out); break;
        case 2: done = by_pixels(filter, 2, filtered, distance, above, bytes, step, out); break;
        default: done = by_pixels(filter, 4, filtered, distance, above, bytes, step, out);
        }
    for (; count; count--) {
        plain(filter, filtered, above, done > 0 ? done : 0, bytes, step, out);
        done -= step; /* each row is a pixel behind the one above it */
        filtered += distance;
        above = out;
        out += bytes;
    }
}

static inline void from_left(int filter, int count, const uint8_t *filtered, int64_t distance, const uint8_t *above,
                             int64_t bytes, int64_t step, uint8_t *out) {
    switch (step) { /* compiled for each */
    case 1: whole_rows(filter, count, filtered, distance, above, bytes, 1, out); break;
    case 2: whole_rows(filter, count, filtered, distance, above, bytes, 2, out); break;
    case 3: whole_rows(filter, count, filtered, distance, above, bytes, 3, out); break;
    default: whole_rows(filter, count, filtered, distance, above, bytes, 4, out);
    }
}

/* rows: `height` rows of a filter type and `row_bytes` bytes each, in pixels of `step` bytes (1 to 4). Of the first
   `wanted` rows the first `bytes` bytes, whole pixels, are written to `out`, one row behind the other. zeros: as many
   zeros, for the row above the first. Returns 0 where any row has a filter type that does not exist. */
EXPORT int int8cal_unfilter(const uint8_t *rows, int64_t height, int64_t row_bytes, int64_t step, int64_t wanted,
                            int64_t bytes, const uint8_t *zeros, uint8_t *out) {
    begin_kernel();
    for (int64_t y = 0; y < height; y++)
        if (rows[y * (row_bytes + 1)] > PAETH) return 0;
    const uint8_t *above = zeros;
    int64_t distance = row_bytes + 1;
    for (int64_t y = 0; y < wanted;) {
        const uint8_t *row = rows + y * distance + 1;
        int filter = row[-1], count = 1;
        if (filter == AVERAGE || filter == PAETH) { /* the others take no longer than reading and writing */
            while (count < 4 && y + count < wanted && row[count * distance - 1] == filter) count++;
            if (count == 3) count = 2; /* and one: there is no way for three */
        }
        switch (filter) {
        case NONE: memcpy(out, row, (size_t)bytes); break;
        case SUB: from_left(SUB, 1, row, distance, above, bytes, step, out); break;
        case UP:
            for (int64_t i = 0; i < bytes; i++) out[i] = (uint8_t)(row[i] + above[i]);
            break;
        case AVERAGE: from_left(AVERAGE, count, row, distance, above, bytes, step, out); break;
        default: from_left(PAETH, count, row, distance, above, bytes, step, out);
        }
        out += bytes * count;
        above = out - bytes;
        y += count;
    }
    return 1;
}
