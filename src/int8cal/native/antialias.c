/* Pillow's antialiased resize of bytes: a pass across the width, then one across the height, each rounded to bytes
   (preprocess/antialias.py says what the weights are). A result is a weighted sum of neighbours in fixed point, exact in
   32 bits, so that the order of the additions decides nothing. LANES results at a time stand side by side: for the pass
   across the width, rows are turned into columns, and back. */
#include "kernels.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

enum { LANES = 16, PRECISION = 22, HALF = 1 << (PRECISION - 1), WEIGHT_BITS = 15 };

/* For each result of an axis the position of its first neighbour, and as many weights as the longest sum needs. */
typedef struct {
    const int32_t *first, *weights;
    int64_t results, taps;
} Weights;

static inline uint8_t rounded(int32_t sum) {
    int32_t value = sum >> PRECISION;
    return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
}

#if defined(__SSE2__)

/* Neighbours two by two; the upper bits of the weights are summed apart, as an instruction takes 16 of them. */
static inline void weigh(const uint8_t *from, int64_t step, const int32_t *weights, int64_t taps, uint8_t *to) {
    const __m128i zero = _mm_setzero_si128();
    const int32_t mask = (1 << WEIGHT_BITS) - 1;
    __m128i low[4], high[4];
    for (int i = 0; i < 4; i++) {
        low[i] = _mm_set1_epi32(HALF);
        high[i] = zero;
    }
    for (int64_t t = 0; t < taps; t += 2) {
        int both = t + 1 < taps;
        uint32_t one = (uint32_t)weights[t], other = both ? (uint32_t)weights[t + 1] : 0;
        __m128i lower = _mm_set1_epi32((int32_t)((one & mask) | (other & mask) << 16));
        __m128i upper = _mm_set1_epi32((int32_t)((one >> WEIGHT_BITS & 0xFFFF) | other >> WEIGHT_BITS << 16));
        __m128i a = _mm_loadu_si128((const __m128i *)(from + t * step));
        __m128i b = both ? _mm_loadu_si128((const __m128i *)(from + (t + 1) * step)) : zero;
        __m128i half[2] = {_mm_unpacklo_epi8(a, b), _mm_unpackhi_epi8(a, b)};
        for (int i = 0; i < 4; i++) {
            __m128i pairs = i & 1 ? _mm_unpackhi_epi8(half[i >> 1], zero) : _mm_unpacklo_epi8(half[i >> 1], zero);
            low[i] = _mm_add_epi32(low[i], _mm_madd_epi16(pairs, lower));
            high[i] = _mm_add_epi32(high[i], _mm_madd_epi16(pairs, upper));
        }
    }
    for (int i = 0; i < 4; i++)
        low[i] = _mm_srai_epi32(_mm_add_epi32(low[i], _mm_slli_epi32(high[i], WEIGHT_BITS)), PRECISION);
    __m128i first = _mm_packs_epi32(low[0], low[1]), second = _mm_packs_epi32(low[2], low[3]);
    _mm_storeu_si128((__m128i *)to, _mm_packus_epi16(first, second));
}

/* LANES x LANES bytes, rows to columns. */
static inline void turn_square(const uint8_t *from, int64_t row, uint8_t *to, int64_t step) {
    __m128i a[LANES], b[LANES];
    for (int i = 0; i < LANES; i++) a[i] = _mm_loadu_si128((const __m128i *)(from + i * row));
    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < LANES / 2; i++) {
            b[2 * i] = _mm_unpacklo_epi8(a[i], a[i + LANES / 2]);
            b[2 * i + 1] = _mm_unpackhi_epi8(a[i], a[i + LANES / 2]);
        }
        memcpy(a, b, sizeof a);
    }
    for (int i = 0; i < LANES; i++) _mm_storeu_si128((__m128i *)(to + i * step), a[i]);
}

#else

static inline void weigh(const uint8_t *from, int64_t step, const int32_t *weights, int64_t taps, uint8_t *to) {
    uint32_t sum[LANES];
    for (int i = 0; i < LANES; i++) sum[i] = HALF;
    for (int64_t t = 0; t < taps; t++)
        for (int i = 0; i < LANES; i++) sum[i] += from[t * step + i] * (uint32_t)weights[t];
    for (int i = 0; i < LANES; i++) to[i] = rounded((int32_t)sum[i]);
}

static inline void turn_square(const uint8_t *from, int64_t row, uint8_t *to, int64_t step) {
    for (int x = 0; x < LANES; x++)
        for (int y = 0; y < LANES; y++) to[x * step + y] = from[y * row + x];
}

#endif

/* rows x columns bytes, rows to columns. */
static void turn(const uint8_t *from, int64_t row, int64_t rows, int64_t columns, uint8_t *to, int64_t step) {
    for (int64_t y = 0; y < rows; y += LANES)
        for (int64_t x = 0; x < columns; x += LANES) {
            const uint8_t *corner = from + y * row + x;
            uint8_t *place = to + x * step + y;
            int64_t high = rows - y < LANES ? rows - y : LANES, wide = columns - x < LANES ? columns - x : LANES;
            if (high == LANES && wide == LANES) {
                turn_square(corner, row, place, step);
                continue;
            }
            for (int64_t i = 0; i < wide; i++)
                for (int64_t j = 0; j < high; j++) place[i * step + j] = corner[j * row + i];
        }
}

/* tile: room for LANES x channels x (width + results) bytes. */
static void across_width(const uint8_t *from, int64_t height, int64_t width, int64_t channels, const Weights *columns,
                         uint8_t *out, uint8_t *tile) {
    int64_t row = width * channels, out_row = columns->results * channels;
    uint8_t *done = tile + LANES * row;
    memset(tile, 0, (size_t)(LANES * row)); /* the lanes of rows that are not there */
    for (int64_t y = 0; y < height; y += LANES) {
        int64_t rows = height - y < LANES ? height - y : LANES;
        turn(from + y * row, row, rows, row, tile, LANES);
        for (int64_t x = 0; x < columns->results; x++)
            for (int64_t c = 0; c < channels; c++)
                weigh(tile + LANES * (columns->first[x] * channels + c), LANES * channels,
                      columns->weights + x * columns->taps, columns->taps, done + LANES * (x * channels + c));
        turn(done, LANES, out_row, rows, out + y * out_row, out_row);
    }
}

static void across_height(const uint8_t *from, int64_t row, const Weights *rows, uint8_t *out) {
    for (int64_t y = 0; y < rows->results; y++, out += row) {
        const uint8_t *top = from + rows->first[y] * row;
        const int32_t *weights = rows->weights + y * rows->taps;
        int64_t x = 0;
        for (; x + LANES <= row; x += LANES) weigh(top + x, row, weights, rows->taps, out + x);
        for (; x < row; x++) {
            uint32_t sum = HALF;
            for (int64_t t = 0; t < rows->taps; t++) sum += top[t * row + x] * (uint32_t)weights[t];
            out[x] = rounded((int32_t)sum);
        }
    }
}

/* image: height x width x channels, contiguous. between: height x (results of columns) x channels, when the width
   changes. An axis without results keeps its size. */
EXPORT void int8cal_antialias(const uint8_t *image, int64_t height, int64_t width, int64_t channels,
                              const Weights *columns, const Weights *rows, uint8_t *between, uint8_t *tile,
                              uint8_t *out) {
    begin_kernel();
    if (!rows->results) {
        across_width(image, height, width, channels, columns, out, tile);
    } else if (!columns->results) {
        across_height(image, width * channels, rows, out);
    } else {
        across_width(image, height, width, channels, columns, between, tile);
        across_height(between, columns->results * channels, rows, out);
    }
}
