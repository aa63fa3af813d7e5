/* Repetitions at other distances than 1: what a compressor that seeks them would save, estimated on samples. */
#ifndef INT8CAL_REPETITIONS_H
#define INT8CAL_REPETITIONS_H

#include "deflate.h"

enum {
    HASH_BITS = 11,
    REACH = 4096,                 /* how far back they are sought: the window of the other compressor */
    LOOKED_AT = 704,              /* bytes at the end of a sample for which they are sought: */
    NEAR = 1344,                  /* at each of so many places before, */
    FAR_STEP = 4,                 /* and further away at one of so many, where each match of seven bytes begins or goes on */
    LENGTH_AND_DISTANCE_COST = 8, /* bits of the two symbols of a match, about */
    RUN_COST = 10,                /* bits of a match of distance 1, about */
    PARTS = 16,                   /* of a bit, in which costs are counted */
};

/* Of samples: what matches would save and what the bytes take, in parts of a bit; bytes. */
typedef struct {
    int64_t saved, cost, bytes;
} Saving;

/* Where bytes were last seen, by their hash. */
typedef struct {
    uint16_t of_four[1 << HASH_BITS], of_eight[1 << HASH_BITS];
} Places;

static inline uint64_t load8(const uint8_t *at) {
    uint64_t value;
    memcpy(&value, at, 8);
    return value;
}

/* Length of the run of equal bytes that begins at `from`; seven bytes behind the last one are readable. */
static inline int run_at(const uint8_t *bytes, int from, int count) {
    uint64_t same = bytes[from] * 0x0101010101010101ull;
    for (int at = from + 1; at < count; at += 8) {
        uint64_t differs = load8(bytes + at) ^ same;
        if (!differs) continue;
        int end = at + __builtin_ctzll(differs) / 8;
        return (end < count ? end : count) - from;
    }
    return count - from;
}

/* Bits that a match at a distance takes, about. */
static int match_cost(int length, int distance) {
    int over = length < 12 ? 0 : 28 - __builtin_clz((unsigned)length);
    return LENGTH_AND_DISTANCE_COST + over + 31 - __builtin_clz((unsigned)distance);
}

/* Parts of a bit of bytes `at` to below `end`, runs as matches of distance 1 when that takes less. */
static int coded_cost(const uint8_t *bytes, int at, int end, const uint8_t *literal_cost) {
    int cost = 0;
    while (at < end) {
        int run = run_at(bytes, at, end), literal = literal_cost[bytes[at]], rest = (run - 1) * literal;
        cost += literal + (rest < RUN_COST * PARTS ? rest : RUN_COST * PARTS);
        at += run;
    }
    return cost;
}

/* Logarithm to the base 2 in parts of a bit, plus a constant; between powers of two along a straight line. These are the
   exponent and the first bits of the number as a float, which is exact below 2^24. */
static inline int log2_parts(int number) {
    _Static_assert(PARTS == 16, "four bits behind the exponent");
    float exact = (float)number;
    int32_t bits;
    memcpy(&bits, &exact, 4);
    return bits >> 19;
}

/* How often each byte occurs among at most 65535. Neighbours are often equal: in one table, each would wait for the one
   before it. */
typedef struct {
    uint16_t table[8][256];
} Counts;

static inline void count_eight(Counts *counts, const uint8_t *bytes) {
    uint64_t eight = load8(bytes);
    for (int k = 0; k < 8; k++) counts->table[k][eight >> 8 * k & 255]++;
}

/* How often each of the 256 bytes occurs. */
static inline void add_up(const Counts *counts, uint16_t *sums) {
    for (int value = 0; value < 256; value++) {
        uint16_t all = 0;
        for (int k = 0; k < 8; k++) all = (uint16_t)(all + counts->table[k][value]);
        sums[value] = all;
    }
}

/* What each byte takes as a literal, in parts of a bit, by how often it occurs among these. */
static void literal_costs(const uint8_t *bytes, int count, uint8_t *literal_cost) {
    Counts counts = {0};
    int i = 0;
    for (; i + 8 <= count; i += 8) count_eight(&counts, bytes + i);
    for (; i < count; i++) counts.table[0][bytes[i]]++;
    uint16_t sums[256];
    add_up(&counts, sums);
    int all = log2_parts(count + 256);
    for (int value = 0; value < 256; value++) {
        int cost = all - log2_parts(1 + sums[value]);
        cost = cost > PARTS ? cost : PARTS;
        literal_cost[value] = (uint8_t)(cost < MAX_BITS * PARTS ? cost : MAX_BITS * PARTS);
    }
}

/* Where four bytes, or eight, were last seen, if at all: to be compared. */
static inline uint16_t *last_place(Places *places, uint64_t bytes) {
    return places->of_four + ((uint32_t)bytes * 2654435761u >> (32 - HASH_BITS));
}

static inline uint16_t *last_long_place(Places *places, uint64_t bytes) {
    return places->of_eight + (bytes * 0x9e3779b97f4a7c15ull >> (64 - HASH_BITS));
}

/* How many bytes agree; 0 for fewer than four, which are no match. */
static inline int same_bytes(const uint8_t *bytes, int where, int at, int count) {
    uint32_t here, there;
    memcpy(&here, bytes + at, 4);
    memcpy(&there, bytes + where, 4);
    if (here != there) return 0;
    int same = 4, most = count - at < MAX_MATCH ? count - at : MAX_MATCH;
    for (; same + 8 <= most; same += 8) {
        uint64_t differs = load8(bytes + at + same) ^ load8(bytes + where + same);
        if (differs) return same + __builtin_ctzll(differs) / 8;
    }
    while (same < most && bytes[where + same] == bytes[at + same]) same++;
    return same;
}

/* Where the next bytes to be learnt begin. */
static inline int next_learnt(int at, int near_begin) { return at + (at < near_begin ? FAR_STEP : 1); }

/* What a compressor that takes the nearest match of four bytes and more would save, and what the bytes take by our
   codes, for the last LOOKED_AT of some bytes; nine behind them are readable. The saving may be negative: such a
   compressor takes matches of bytes with short codes, too. */
static void sample(Places *places, const uint8_t *bytes, int count, Saving *saving) {
    uint8_t literal_cost[256];
    /* From here on; before, places are learnt. */
    int looked_at = count < NEAR + LOOKED_AT ? 2 * count / 3 : count - LOOKED_AT;
    int near_begin = looked_at > NEAR ? looked_at - NEAR : 0;
    literal_costs(bytes + near_begin, count - near_begin, literal_cost); /* what is far away has other frequencies */
    saving->bytes += count - looked_at;
    int learnt_end = count - 7 < looked_at ? count - 7 : looked_at, long_ones_are_learnt = 0;
    memset(places->of_four, 0, sizeof places->of_four);
    for (int k = 0; k < learnt_end; k = next_learnt(k, near_begin)) *last_place(places, load8(bytes + k)) = (uint16_t)k;
    for (int at = looked_at; at + 8 <= count;) {
        uint64_t here = load8(bytes + at);
        uint16_t *last = last_place(places, here);
        int where = *last, length_there = same_bytes(bytes, where, at, count);
        *last = (uint16_t)at;
        int is_match = where < at && length_there >= 4 && at - where <= REACH;
        if (is_match) { /* the nearest may be short where a long one is near, in runs that come back */
            if (!long_ones_are_learnt) { /* not before: in many a photograph nothing matches */
                long_ones_are_learnt = 1;
                memset(places->of_eight, 0, sizeof places->of_eight);
                for (int k = 0; k < learnt_end; k = next_learnt(k, near_begin))
                    *last_long_place(places, load8(bytes + k)) = (uint16_t)k;
            }
            uint16_t *last_long = last_long_place(places, here);
            int other = *last_long, length_of_other = same_bytes(bytes, other, at, count);
            *last_long = (uint16_t)at;
            if (other < at && at - other <= REACH && length_of_other > length_there) {
                where = other;
                length_there = length_of_other;
            }
        }
        int end = at + (is_match ? length_there : 1);
        int cost = is_match ? coded_cost(bytes, at, end, literal_cost) : literal_cost[bytes[at]];
        saving->cost += cost;
        if (is_match && where < at - 1) /* runs: the same */
            saving->saved += cost - PARTS * match_cost(end - at, at - where);
        if (is_match) /* as the other one learns places: so it keeps to where repetitions begin */
            for (int next = 1; next < 3; next++) *last_place(places, load8(bytes + at + next)) = (uint16_t)(at + next);
        at = end;
    }
}

#endif
