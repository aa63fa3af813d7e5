/* Repetitions at other distances than 1: how large a compressor that seeks them would make a chunk, and ours, estimated on
   samples. For both, the symbols that they would write are counted; their codes tell how many bits that takes. */
#ifndef INT8CAL_REPETITIONS_H
#define INT8CAL_REPETITIONS_H

#include "deflate.h"

enum {
    HASH_BITS = 11,
    PLACES = 1 << HASH_BITS,
    REACH = 4096,         /* how far back they are sought: `_FAST_WINDOW_BITS` of the other compressor */
    LOOKED_AT = 704,      /* bytes at the end of a sample for which they are sought: */
    NEAR = 1024,          /* at each of so many places before, but those that continue a run, */
    FAR_STEP = 4,         /* and further away at one of so many */
    WINDOW = REACH + LOOKED_AT, /* bytes of a sample */
    THEIR_MIN_MATCH = 4,  /* of the other compressor */
    SAMPLED_PLANES = 3,   /* all but the lowest */
    MOST_GROUPS = 4,      /* of channels that are estimated by themselves */
    THEIR_BLOCK = 131072, /* smaller channels share blocks of the other compressor: about so many symbols are one */
    FLAT = 7,             /* quarters of a bit: bytes that take less in the planes in between are of a flat chunk, which
                             most readers inflate faster as the other compressor writes it */
};

/* Of samples of a plane, by each compressor. */
typedef struct {
    Histogram ours, theirs;
} Tally;

/* Of samples of a chunk. */
typedef struct {
    Tally tallies[SAMPLED_PLANES][MOST_GROUPS]; /* by plane and group of channels, for which ours has codes of their own */
    int groups;
    int is_shared;       /* whether blocks of the other compressor hold several groups */
    int has_lowest;      /* whether the lowest plane, which is not sampled, is not 0 */
    int has_full_window; /* whether, in some window, the other compressor writes less than half as many codes */
    int64_t looked_at;   /* bytes of each plane */
    uint16_t places[2 * PLACES]; /* where bytes were last seen, by their hash; the second half is never read */
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

/* Of four bytes, HASH_BITS long. */
static inline uint32_t hash_of(const uint8_t *bytes) {
    return (uint32_t)load8(bytes) * 2654435761u >> (32 - HASH_BITS);
}

/* How many bytes agree; 0 for too few to be a match. */
static inline int same_bytes(const uint8_t *bytes, int where, int at, int count) {
    uint32_t here, there;
    memcpy(&here, bytes + at, THEIR_MIN_MATCH);
    memcpy(&there, bytes + where, THEIR_MIN_MATCH);
    if (here != there) return 0;
    int same = THEIR_MIN_MATCH, most = count - at < MAX_MATCH ? count - at : MAX_MATCH;
    for (; same + 8 <= most; same += 8) {
        uint64_t differs = load8(bytes + at + same) ^ load8(bytes + where + same);
        if (differs) return same + __builtin_ctzll(differs) / 8;
    }
    while (same < most && bytes[where + same] == bytes[at + same]) same++;
    return same;
}

/* Bit i: of 64 bytes with these changes, SHORT_RUN from byte i on equal the one before them. */
static inline uint64_t run_begins(uint64_t changed) {
    _Static_assert(SHORT_RUN == 6, "six in a row");
    uint64_t equal = ~changed;
    equal &= equal >> 1;
    equal &= equal >> 2;
    return equal & equal >> 2;
}

/* Count what ours would write for bytes `at` to below `end`, about as in a dense plane. Seven bytes behind them are
   readable, and one before. */
static int tally_ours(Histogram *ours, const uint8_t *bytes, int at, int end) {
    int written = 0;
    while (at < end) {
        uint64_t begins = end - at < 64 ? 0 : run_begins(changes(bytes + at));
        int literals = begins ? __builtin_ctzll(begins) : end - at < 64 ? end - at : 64;
        for (int k = 0; k < literals; k++) ours->symbols[bytes[at + k]]++;
        written += literals;
        at += literals;
        if (!begins) continue;
        int run = run_at(bytes, at, end);
        written += 2 * (int)count_rest(ours, bytes[at], run);
        at += run;
    }
    return written;
}

/* Note where bytes are, unless they continue a run: from its begin, many bytes may repeat. Those go to the second half,
   since a branch could not be predicted. */
static inline void note_place(uint16_t *places, const uint8_t *bytes, int at) {
    uint32_t continues = bytes[at - 1] == bytes[at];
    places[hash_of(bytes + at) | continues << HASH_BITS] = (uint16_t)at;
}

/* Count what both would write for the last LOOKED_AT of WINDOW bytes, the other compressor taking the last place where the
   same bytes were seen. Seven bytes behind them are readable. */
static Written sample(uint16_t *places, const uint8_t *bytes, Tally *tally) {
    int at = REACH;
    Written written = {0, 0};
    memset(places, 0, PLACES * sizeof *places);
    int k = 1;
    for (; k < REACH - NEAR; k += FAR_STEP) note_place(places, bytes, k);
    for (; k < REACH; k++) note_place(places, bytes, k);
    while (at + 8 <= WINDOW) {
        uint16_t *last = places + hash_of(bytes + at);
        int where = *last, match = same_bytes(bytes, where, at, WINDOW);
        *last = (uint16_t)at;
        if (at - where > REACH || !match) {
            tally->theirs.symbols[bytes[at++]]++;
            written.theirs++;
            continue;
        }
        count_match(&tally->theirs, match, at - where);
        written.theirs += 2;
        for (int next = 1; next < 3; next++) places[hash_of(bytes + at + next)] = (uint16_t)(at + next); /* as it does */
        at += match;
    }
    written.ours = tally_ours(&tally->ours, bytes, REACH, at);
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

/* The same of a whole block, but its header. */
static int64_t block_bits(const Histogram *histogram) {
    int64_t bits = coded_bits(histogram->symbols, SYMBOLS) + coded_bits(histogram->distances, DISTANCE_SYMBOLS);
    for (int index = 0; index < SYMBOLS - FIRST_LENGTH; index++)
        bits += (int64_t)histogram->symbols[FIRST_LENGTH + index] * extra_bits(index);
    for (int index = 0; index < DISTANCE_SYMBOLS; index++)
        bits += (int64_t)histogram->distances[index] * extra_distance_bits(index);
    return bits;
}

static void add_histogram(Histogram *sum, const Histogram *histogram) {
    for (int symbol = 0; symbol < SYMBOLS; symbol++) sum->symbols[symbol] += histogram->symbols[symbol];
    for (int index = 0; index < DISTANCE_SYMBOLS; index++) sum->distances[index] += histogram->distances[index];
}

/* is_whole: whether ours has codes for each channel. */
static void begin_estimate(Estimate *estimate, int64_t channels, int64_t per_channel, int is_whole) {
    memset(estimate, 0, sizeof *estimate);
    estimate->groups = !is_whole ? 1 : channels < MOST_GROUPS ? (int)channels : MOST_GROUPS;
    estimate->is_shared = per_channel < THEIR_BLOCK;
    for (int k = 0; k < SAMPLED_PLANES; k++)
        for (int group = 0; group < estimate->groups; group++) {
            Tally *tally = &estimate->tallies[k][group];
            tally->ours.symbols[END_OF_BLOCK] = tally->theirs.symbols[END_OF_BLOCK] = 1;
        }
}

/* planes: the sampled ones of a window. */
static void add_window(Estimate *estimate, int group, const uint8_t *const planes[SAMPLED_PLANES]) {
    Written all = {0, 0};
    for (int k = 0; k < SAMPLED_PLANES; k++) {
        Written here = sample(estimate->places, planes[k], &estimate->tallies[k][group]);
        all = (Written){all.ours + here.ours, all.theirs + here.theirs};
    }
    estimate->has_full_window |= 2 * all.theirs < all.ours;
    estimate->looked_at += LOOKED_AT;
}

/* Whether the chunk is better left to the other compressor: where it saves more than so many per mille, or where most is
   flat. The lowest plane, where it is not 0, is taken to be like the one above it, as in values of 8-bit pixels. */
static int is_better_elsewhere(const Estimate *estimate, int per_mille) {
    int64_t ours = 0, theirs = 0, in_between = 0; /* the last: of ours, in the planes between the lowest and the highest */
    for (int k = 0; k < SAMPLED_PLANES; k++) {
        Histogram shared = {0};
        int64_t plane_ours = 0, plane_theirs = 0;
        for (int group = 0; group < estimate->groups; group++) {
            const Tally *tally = &estimate->tallies[k][group];
            plane_ours += block_bits(&tally->ours);
            if (estimate->is_shared)
                add_histogram(&shared, &tally->theirs);
            else
                plane_theirs += block_bits(&tally->theirs);
        }
        if (estimate->is_shared) plane_theirs = block_bits(&shared);
        int planes = !k && estimate->has_lowest ? 2 : 1;
        ours += planes * plane_ours;
        theirs += planes * plane_theirs;
        if (k < SAMPLED_PLANES - 1) in_between += plane_ours;
    }
    return 4 * in_between < FLAT * (SAMPLED_PLANES - 1) * estimate->looked_at || 1000 * (ours - theirs) > per_mille * ours;
}

#endif
