/* The antialiased resize alone, for sanitizers: images, weights and room of exactly the size that is needed, against the
   same sums in 64 bits.    driver IMAGES SEED */
#include <stdio.h>
#include <stdlib.h>

#include "antialias.c"
#include "driver.h"

/* Weights as a filter has them: some below zero, and no sum beyond 32 bits (absolute values add up to less than 2). */
static Weights axis(int64_t length, int64_t results) {
    int64_t taps = drawn(1, length < 9 ? length : 9);
    int32_t *first = room(4 * results), *weights = room(4 * results * taps);
    for (int64_t x = 0; x < results; x++) {
        first[x] = (int32_t)drawn(0, length - taps);
        for (int64_t t = 0; t < taps; t++) weights[x * taps + t] = (int32_t)drawn(-(1 << 21), 1 << 22) / (t ? 9 : 1);
    }
    return (Weights){first, weights, results, taps};
}

static uint8_t expected(int64_t sum) {
    int64_t value = sum >> PRECISION;
    return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
}

/* One axis: image is outer x length x inner bytes. */
static uint8_t *slow(const uint8_t *image, int64_t outer, int64_t length, int64_t inner, const Weights *w) {
    uint8_t *out = room(outer * w->results * inner);
    for (int64_t o = 0; o < outer; o++)
        for (int64_t x = 0; x < w->results; x++)
            for (int64_t i = 0; i < inner; i++) {
                int64_t sum = HALF;
                for (int64_t t = 0; t < w->taps; t++)
                    sum += (int64_t)image[(o * length + w->first[x] + t) * inner + i] * w->weights[x * w->taps + t];
                out[(o * w->results + x) * inner + i] = expected(sum);
            }
    return out;
}

int main(int count, char **arguments) {
    if (count != 3) return 2;
    int64_t images = atoll(arguments[1]);
    state = (uint64_t)atoll(arguments[2]) * 2654435761u + 1;
    for (int64_t n = 0; n < images; n++) {
        int64_t height = drawn(1, 40), width = drawn(1, 40), channels = drawn(0, 1) ? 3 : 1;
        int64_t kind = drawn(0, 2), new_height = drawn(1, 40), new_width = drawn(1, 40);
        Weights none = {0}, columns = kind == 1 ? none : axis(width, new_width);
        Weights rows = kind == 2 ? none : axis(height, new_height);
        if (kind == 1) new_width = width;
        if (kind == 2) new_height = height;
        uint8_t *image = room(height * width * channels), *out = room(new_height * new_width * channels);
        uint8_t *between = room(kind ? 0 : height * new_width * channels);
        uint8_t *tile = room(kind == 1 ? 0 : LANES * channels * (width + new_width));
        for (int64_t i = 0; i < height * width * channels; i++) image[i] = (uint8_t)drawn(0, 255);
        int8cal_antialias(image, height, width, channels, &columns, &rows, between, tile, out);
        uint8_t *one = kind == 1 ? 0 : slow(image, height, width, channels, &columns);
        uint8_t *both = kind == 2 ? 0 : slow(one ? one : image, 1, height, new_width * channels, &rows);
        if (memcmp(out, both ? both : one, (size_t)(new_height * new_width * channels))) {
            printf("image %lld differs\n", (long long)n);
            return 1;
        }
        free(image), free(out), free(between), free(tile), free(one), free(both);
        free((void *)columns.first), free((void *)columns.weights), free((void *)rows.first), free((void *)rows.weights);
    }
    printf("%lld images\n", (long long)images);
    return 0;
}
