/* The kernels for values alone, for sanitizers: arrays of exactly the size that is needed, any bits at all as values,
   against the same done value by value.    driver ARRAYS SEED */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "values.c"
#include "driver.h"

int main(int count, char **arguments) {
    if (count != 3) return 2;
    int64_t arrays = atoll(arguments[1]);
    state = (uint64_t)atoll(arguments[2]) * 2654435761u + 1;
    for (int64_t n = 0; n < arrays; n++) {
        int64_t length = drawn(0, drawn(0, 9) ? 90 : 9000), kind = drawn(0, 2), outside = 0;
        uint8_t *planes = room(4 * length);
        float *values = room(4 * length), scale = ldexpf(1.0f, (int)drawn(-100, 100));
        int64_t *counts = room(8 * MOST_BINS), *expected = room(8 * MOST_BINS);
        for (int64_t i = 0; i < 4 * length; i++) planes[i] = (uint8_t)drawn(0, 255);
        int8cal_unshuffle(planes, length, (uint8_t *)values);
        for (int64_t i = 0; i < 4 * length; i++)
            if (((uint8_t *)values)[i] != planes[i % 4 * length + i / 4]) {
                printf("array %lld is put together wrongly\n", (long long)n);
                return 1;
            }
        for (int64_t i = 0; kind && i < length; i++)
            values[i] = ldexpf((float)drawn(-3000, kind == 1 ? 3000 : 0), -1) / scale;
        for (int bin = 0; bin < MOST_BINS; bin++) counts[bin] = expected[bin] = drawn(0, 5);
        for (int64_t i = 0; i < length; i++) {
            float magnitude = fabsf(values[i]) * scale;
            if (magnitude < MOST_BINS)
                expected[(int)magnitude]++;
            else
                outside++;
        }
        if (int8cal_count(values, length, scale, counts) != outside || memcmp(counts, expected, 8 * MOST_BINS)) {
            printf("array %lld is counted wrongly\n", (long long)n);
            return 1;
        }
        free(planes), free(values), free(counts), free(expected);
    }
    printf("%lld arrays\n", (long long)arrays);
    return 0;
}
