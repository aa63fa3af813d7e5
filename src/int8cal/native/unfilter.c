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

/* Whole pixels, all their channels at once, as long as four bytes can be read and written: of a row, or of two of the
   same filter (the other one at `below`), the lower one a pixel behind, so that neither waits for the other. Returns how
   many bytes of the upper one; the lower one has `step` fewer. */
static inline int64_t by_pixels(int filter, const uint8_t *filtered, const uint8_t *below, const uint8_t *above, int64_t bytes,
                                int64_t step, uint8_t *out) {
    Row upper = begun_row(filter), lower = upper;
    int64_t i = 0;
    for (; i + 4 <= bytes; i += step) {
        __m128i above_lower = upper.left;
        advance(filter, &upper, filtered + i, pixel_from(filter, above + i));
        write_pixel(filter, upper.left, out + i);
        if (!below || !i) continue;
        advance(filter, &lower, below + i - step, above_lower);
        write_pixel(filter, lower.left, out + bytes + i - step);
    }
    return i;
}

#else
static inline int64_t by_pixels(int filter, const uint8_t *filtered, const uint8_t *below, const uint8_t *above, int64_t bytes,
                                int64_t step, uint8_t *out) {
    (void)filter, (void)filtered, (void)below, (void)above, (void)bytes, (void)step, (void)out;
    return 0;
}
#endif

/* Pixels of a row, or of two, whose filter has a guess that depends on the pixel on the left. */
static inline void whole_rows(int filter, const uint8_t *filtered, const uint8_t *below, const uint8_t *above, int64_t bytes,
                              int64_t step, uint8_t *out) {
    int64_t done = step >= 3 ? by_pixels(filter, filtered, below, above, bytes, step, out) : 0;
    plain(filter, filtered, above, done, bytes, step, out);
    if (below) plain(filter, below, out, done ? done - step : 0, bytes, step, out + bytes);
}

static inline void from_left(int filter, const uint8_t *filtered, const uint8_t *below, const uint8_t *above, int64_t bytes,
                             int64_t step, uint8_t *out) {
    switch (step) { /* compiled for each */
    case 1: whole_rows(filter, filtered, below, above, bytes, 1, out); break;
    case 2: whole_rows(filter, filtered, below, above, bytes, 2, out); break;
    case 3: whole_rows(filter, filtered, below, above, bytes, 3, out); break;
    default: whole_rows(filter, filtered, below, above, bytes, 4, out);
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
    for (int64_t y = 0; y < wanted;) {
        const uint8_t *row = rows + y * (row_bytes + 1) + 1;
        int filter = row[-1]; /* SUB takes no longer than reading and writing, one row at a time */
        int two = (filter == AVERAGE || filter == PAETH) && y + 1 < wanted && row[row_bytes] == filter;
        const uint8_t *below = two ? row + row_bytes + 1 : 0;
        switch (filter) {
        case NONE: memcpy(out, row, (size_t)bytes); break;
        case SUB: from_left(SUB, row, 0, above, bytes, step, out); break;
        case UP:
            for (int64_t i = 0; i < bytes; i++) out[i] = (uint8_t)(row[i] + above[i]);
            break;
        case AVERAGE: from_left(AVERAGE, row, below, above, bytes, step, out); break;
        default: from_left(PAETH, row, below, above, bytes, step, out);
        }
        out += bytes * (1 + two);
        above = out - bytes;
        y += 1 + two;
    }
    return 1;
}
