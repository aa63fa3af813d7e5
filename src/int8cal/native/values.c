/* float32 values: put together from their byte planes, and counted by magnitude. */
#include "kernels.h"

enum {
    TABLES = 4,          /* neighbours are often equal: counted in one table, each would wait for the one before */
    MOST_BINS = 2048,
    BLOCK_VALUES = 1024,
    BLOCKS = 1 << 20,    /* after which the tables, of 32 bits, are emptied */
};

/* planes: the bytes by significance, the lowest first, `count` of each. values: count of 4 bytes. */
EXPORT void int8cal_unshuffle(const uint8_t *restrict planes, int64_t count, uint8_t *restrict values) {
    begin_kernel();
    const uint8_t *first = planes, *second = first + count, *third = second + count, *fourth = third + count;
    for (int64_t i = 0; i < count; i++) {
        uint32_t bits = (uint32_t)first[i] | (uint32_t)second[i] << 8 | (uint32_t)third[i] << 16 |
                        (uint32_t)fourth[i] << 24;
        memcpy(values + 4 * i, &bits, 4);
    }
}

/* Add to `counts` how many values lie in each bin of |value| x bins_per_unit. Returns how many lie in none. */
EXPORT int64_t int8cal_count(const float *values, int64_t count, float bins_per_unit, int64_t *counts) {
    begin_kernel();
    uint32_t tables[TABLES][MOST_BINS + 1];
    int32_t bins[BLOCK_VALUES];
    int64_t outside = 0;
    while (count > 0) {
        memset(tables, 0, sizeof tables);
        for (int block = 0; block < BLOCKS && count > 0; block++) {
            int now = count < BLOCK_VALUES ? (int)count : BLOCK_VALUES, i = 0;
            for (int k = 0; k < now; k++) {
                float magnitude = (values[k] < 0 ? -values[k] : values[k]) * bins_per_unit;
                bins[k] = (int32_t)(magnitude < MOST_BINS ? magnitude : MOST_BINS); /* which is where NaN goes, too */
            }
            for (; i + TABLES <= now; i += TABLES)
                for (int table = 0; table < TABLES; table++) tables[table][bins[i + table]]++;
            for (; i < now; i++) tables[0][bins[i]]++;
            values += now;
            count -= now;
        }
        for (int table = 0; table < TABLES; table++) {
            for (int bin = 0; bin < MOST_BINS; bin++) counts[bin] += tables[table][bin];
            outside += tables[table][MOST_BINS];
        }
    }
    return outside;
}
