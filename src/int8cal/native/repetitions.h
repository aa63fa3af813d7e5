/* Repetitions at other distances than 1: what a compressor that seeks them would make of a chunk, and ours, estimated on
   samples. For both, the symbols that they would write are counted; their codes tell how many bits that takes. */
#ifndef INT8CAL_REPETITIONS_H
#define INT8CAL_REPETITIONS_H

#include "deflate.h"

enum {
    HASH_BITS = 11,
    REACH = 4096,         /* how far back they are sought: the window of the other compressor */
    LOOKED_AT = 704,      /* bytes at the end of a sample for which they are sought: */
    NEAR = 1024,          /* at each of so many places before, */
    FAR_STEP = 4,         /* and further away at one of so many, where each match of seven bytes begins or goes on */
    LEAST_MATCH = 4,      /* of the other compressor */
    DISTANCE_SYMBOLS = 30,
    SAMPLED = 3,          /* planes: all but the lowest */
    TALLIED = 4,          /* most groups of channels that are estimated by themselves */
    THEIR_BLOCK = 65536,  /* smaller channels share blocks of the other compressor, about */
    FLAT = 7,             /* quarters of a bit: bytes that take less in the planes in between are of a flat chunk */
};

/* Of samples of a plane: how often each compressor would write each symbol, and the bits behind its codes. Ours knows one
   distance, whose code has one bit. */
typedef struct {
    uint32_t ours[SYMBOLS], theirs[SYMBOLS], their_distances[DISTANCE_SYMBOLS];
    int64_t our_extra, their_extra;
} Tally;

/* Of samples of a chunk. */
typedef struct {
    Tally tallies[SAMPLED][TALLIED]; /* by plane and group of channels */
    int groups;
    int is_shared;            /* whether blocks of the other compressor hold several channels; ours has codes for each */
    int has_lowest;           /* whether the lowest plane, which is not sampled, is not 0 */
    int full_windows;         /* in which the other compressor writes at most half of the codes */
    int64_t looked_at;        /* bytes of each plane */
    uint16_t places[1 << HASH_BITS]; /* where bytes were last seen, by their hash */
} Estimate;

/* Codes written for a sample. */
typedef struct {
    int ours, theirs;
} Written;

static inline uint64_t load8(const uint8_t *at) {
    uint64_t value;
    memcpy(&value, at, 8);
    return value;
}

/* Bit i: byte i of these 64 differs from the byte before it. */
static inline uint64_t changes(const uint8_t *at) {
    uint64_t mask = 0;
#if defined(__SSE2__)
    for (int part = 0; part < 64; part += 16) {
        __m128i here = _mm_loadu_si128((const __m128i *)(at + part));
        __m128i before = _mm_loadu_si128((const __m128i *)(at + part - 1));
        mask |= (uint64_t)(uint16_t)_mm_movemask_epi8(_mm_cmpeq_epi8(here, before)) << part;
    }
    return ~mask;
#else
    const uint64_t low = 0x7f7f7f7f7f7f7f7full;
    for (int part = 0; part < 64; part += 8) {
        uint64_t differs = load8(at + part) ^ load8(at + part - 1);
        differs = (((differs & low) + low) | differs) & ~low; /* the top bit of every byte that is not 0 */
        mask |= ((differs >> 7) * 0x0102040810204080ull >> 56) << part;
    }
    return mask;
#endif
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

/* Where four bytes were last seen, if at all: to be compared. */
static inline uint16_t *last_place(uint16_t *places, const uint8_t *bytes) {
    return places + ((uint32_t)load8(bytes) * 2654435761u >> (32 - HASH_BITS));
}

/* How many bytes agree; 0 for fewer than four, which are no match. */
static inline int same_bytes(const uint8_t *bytes, int where, int at, int count) {
    uint32_t here, there;
    memcpy(&here, bytes + at, 4);
    memcpy(&there, bytes + where, 4);
    if (here != there) return 0;
    int same = LEAST_MATCH, most = count - at < MAX_MATCH ? count - at : MAX_MATCH;
    for (; same + 8 <= most; same += 8) {
        uint64_t differs = load8(bytes + at + same) ^ load8(bytes + where + same);
        if (differs) return same + __builtin_ctzll(differs) / 8;
    }
    while (same < most && bytes[where + same] == bytes[at + same]) same++;
    return same;
}

/* Whether 64 bytes with these changes hold a run that ours would write as a match. */
static inline int have_long_run(uint64_t changed) {
    _Static_assert(SHORT_RUN == 6, "six that equal the byte before them");
    uint64_t equal = ~changed;
    equal &= equal >> 1;
    equal &= equal >> 2;
    return (equal & equal >> 2) != 0;
}

/* Count what ours would write for bytes `at` to below `end`; seven behind them are readable. */
static int tally_ours(Tally *tally, const uint8_t *bytes, int at, int end) {
    int written = 0;
    while (at < end) {
        if (end - at > 64 && !have_long_run(changes(bytes + at + 1))) {
            for (int k = 0; k < 64; k++) tally->ours[bytes[at + k]]++;
            written += 64;
            at += 64;
            continue;
        }
        int run = run_at(bytes, at, end), literals = run;
        if (run > SHORT_RUN) {
            literals = 1;
            for (int rest = run - 1; rest > 0; rest -= MAX_MATCH) {
                int index = length_index(rest < MAX_MATCH ? rest < MIN_MATCH ? MIN_MATCH : rest : MAX_MATCH);
                tally->ours[FIRST_LENGTH + index]++;
                tally->our_extra += extra_bits(index) + 1;
                written += 2;
            }
        }
        tally->ours[bytes[at]] += (uint32_t)literals;
        written += literals;
        at += run;
    }
    return written;
}

/* Count what both would write for the last LOOKED_AT of some bytes, the other compressor taking the last place where four
   bytes were seen; eight behind them are readable. */
static Written sample(uint16_t *places, const uint8_t *bytes, int count, Tally *tally) {
    /* From here on; before, places are learnt. */
    int looked_at = count < NEAR + LOOKED_AT ? 2 * count / 3 : count - LOOKED_AT;
    int near_begin = looked_at > NEAR ? looked_at - NEAR : 0;
    int learnt_end = count - 7 < looked_at ? count - 7 : looked_at, at = looked_at;
    Written written = {0, 0};
    memset(places, 0, sizeof(uint16_t) << HASH_BITS);
    for (int k = 1; k < learnt_end; k += k < near_begin ? FAR_STEP : 1) {
        uint16_t *last = last_place(places, bytes + k);
        *last = bytes[k - 1] == bytes[k] ? *last : (uint16_t)k; /* of a run the begin: there a repetition may be long */
    }
    while (at + 8 <= count) {
        uint16_t *last = last_place(places, bytes + at);
        int where = *last, match = same_bytes(bytes, where, at, count);
        *last = (uint16_t)at;
        if (where >= at || at - where > REACH || !match) {
            tally->theirs[bytes[at++]]++;
            written.theirs++;
            continue;
        }
        int length = length_index(match), distance = distance_index(at - where);
        tally->theirs[FIRST_LENGTH + length]++;
        tally->their_distances[distance]++;
        tally->their_extra += extra_bits(length) + extra_distance_bits(distance);
        written.theirs += 2;
        for (int next = 1; next < 3; next++) *last_place(places, bytes + at + next) = (uint16_t)(at + next); /* as it does */
        at += match;
    }
    written.ours = tally_ours(tally, bytes, looked_at, at);
    return written;
}

/* Bits that symbols take by the best codes for them. */
static int64_t coded_bits(const uint32_t *frequency, int symbols) {
    uint8_t length[SYMBOLS];
    int64_t bits = 0;
    code_lengths(frequency, symbols, MAX_BITS, length);
    for (int symbol = 0; symbol < symbols; symbol++) bits += (int64_t)frequency[symbol] * length[symbol];
    return bits;
}

static int64_t our_bits(const Tally *tally) { return coded_bits(tally->ours, SYMBOLS) + tally->our_extra; }

static int64_t their_bits(const Tally *tally) {
    return coded_bits(tally->theirs, SYMBOLS) + coded_bits(tally->their_distances, DISTANCE_SYMBOLS) + tally->their_extra;
}

/* Add what the other compressor would write. */
static void add_theirs(Tally *sum, const Tally *tally) {
    for (int symbol = 0; symbol < SYMBOLS; symbol++) sum->theirs[symbol] += tally->theirs[symbol];
    for (int symbol = 0; symbol < DISTANCE_SYMBOLS; symbol++) sum->their_distances[symbol] += tally->their_distances[symbol];
    sum->their_extra += tally->their_extra;
}

static void begin_estimate(Estimate *estimate, int64_t channels, int64_t per_channel) {
    memset(estimate, 0, sizeof *estimate);
    estimate->groups = channels < TALLIED ? (int)channels : TALLIED;
    estimate->is_shared = per_channel < THEIR_BLOCK;
}

/* planes: the sampled ones of a window, `step` bytes from one to the next. */
static void add_window(Estimate *estimate, int group, const uint8_t *planes, size_t step, int count) {
    Written all = {0, 0};
    for (int k = 0; k < SAMPLED; k++) {
        Written here = sample(estimate->places, planes + k * step, count, &estimate->tallies[k][group]);
        all = (Written){all.ours + here.ours, all.theirs + here.theirs};
    }
    estimate->full_windows += 2 * all.theirs < all.ours;
    estimate->looked_at += LOOKED_AT < count ? LOOKED_AT : count;
}

/* Whether the chunk is better left to the other compressor: where it saves so many per mille, or where most is flat. The
   lowest plane is much like the one above it, where it is not 0. */
static int is_better_elsewhere(Estimate *estimate, int per_mille) {
    int64_t ours = 0, theirs = 0, in_between = 0; /* in the planes between the lowest and the highest */
    for (int k = 0; k < SAMPLED; k++) {
        Tally sum = {0};
        int64_t by_us = 0, by_them = 0;
        for (int group = 0; group < estimate->groups; group++) {
            Tally *tally = &estimate->tallies[k][group];
            tally->ours[END_OF_BLOCK] = tally->theirs[END_OF_BLOCK] = 1;
            by_us += our_bits(tally);
            if (estimate->is_shared)
                add_theirs(&sum, tally);
            else
                by_them += their_bits(tally);
        }
        if (estimate->is_shared) by_them = their_bits(&sum);
        int planes = !k && estimate->has_lowest ? 2 : 1;
        ours += planes * by_us;
        theirs += planes * by_them;
        if (k < SAMPLED - 1) in_between += by_us;
    }
    return 4 * in_between < FLAT * (SAMPLED - 1) * estimate->looked_at || 1000 * (ours - theirs) > per_mille * ours;
}

#endif
