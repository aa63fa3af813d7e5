/* float32 values -> the deflate streams of their four byte planes, and the Adler-32 of all of them.

   Two ways to code a block. Sparse planes (few values, long runs) become a list of runs, most of them written by one
   table look-up. Dense planes are literals, five or six to a store, with some runs between them. All matches are within
   runs. How large a compressor that seeks others, too, would make the chunk is estimated on samples; where that is clearly
   smaller (stripes, tiles, text), the chunk is left to it. */
#include "repetitions.h"

enum {
    PLANES = 4,
    BLOCK = 65280,         /* most values of a block */
    WHOLE = 8192,          /* channels smaller than this share blocks, and their headers */
    AHEAD = 4096,          /* bytes of values that are fetched from memory while these are split: a page */
    MARGIN = 64,           /* readable before and behind a plane of a block */
    RUN_VALUES = 64,       /* most values of a sparse plane */
    RUN_TABLE = 63,        /* longest run that the table of ready bits holds */
    RUN_KEYS = 64,         /* entries of a value in that table */
    WINDOW_STEP = 8192,    /* values of a chunk for each window, */
    LEAST_WINDOWS = 12,    /* but so many windows at least, which decide alone where the matter is clear, */
    MOST_WINDOWS = 32,     /* and so many at most */
    GOLDEN = 40503,        /* from one to the next, in 65536ths of the chunk, modulo it: spreads the first few evenly */
    SAVING_LIMIT = 30,     /* per mille: estimated saving above which the chunk is left to the other compressor */
};

/* What the caller learns of a chunk. */
typedef struct {
    int64_t length[PLANES]; /* bytes of each plane's stream; 0 for one of zeros, which has a closed form (but the last) */
    uint32_t adler;         /* of all planes */
    int32_t finite;         /* 1: no value is infinite or NaN; 0: there may be one */
} Chunk;

typedef struct {
    Bits bits;
    Adler adler;      /* of the plane */
    int64_t constant; /* bytes of value `value` that wait to be written: all since the beginning, or whole blocks */
    uint8_t value;
    int coded;        /* whether anything is written */
} Plane;

/* Of each byte, which bits are set, and how many. */
typedef struct {
    uint16_t places[256][8];
    uint8_t count[256];
} SetBits;

typedef struct {
    uint8_t bytes[PLANES][MARGIN + BLOCK + MARGIN];
    Estimate estimate;
    SetBits set_bits;
    uint16_t begins[BLOCK + 8]; /* of runs; eight are written at a time */
    uint16_t runs[BLOCK];       /* value x RUN_KEYS + length; + 0 for a long one */
    uint16_t long_runs[BLOCK / RUN_TABLE + 1]; /* which of them are */
    int long_run_count;
    uint16_t run_counts[256 * RUN_KEYS];
    uint64_t run_entry[256 * RUN_KEYS];
    Codes codes;
    Plane plane[PLANES];
    int finite;
} Work;

_Static_assert((int)RUN_TABLE <= (int)LONG_REST, "matches in the table of ready bits have distance 1");
_Static_assert(RUN_TABLE == 63 && RUN_KEYS == 64, "six bits of a length count in `count_four_runs`");

/* __builtin_popcountll is a call where the processor may lack the instruction. */
static inline int bits_set(uint64_t mask) {
    mask -= mask >> 1 & 0x5555555555555555ull;
    mask = (mask & 0x3333333333333333ull) + (mask >> 2 & 0x3333333333333333ull);
    return (int)(((mask + (mask >> 4)) & 0x0f0f0f0f0f0f0f0full) * 0x0101010101010101ull >> 56);
}

/* Length of run number `i` of those that `list_runs` found. */
static inline int run_length(const Work *work, int i) { return work->begins[i + 1] - work->begins[i]; }

/* --- sparse planes ------------------------------------------------------------------------------------------------ */

static void list_set_bits(SetBits *set) {
    for (int byte = 0; byte < 256; byte++) {
        set->count[byte] = 0;
        for (int bit = 0; bit < 8; bit++)
            if (byte >> bit & 1) set->places[byte][set->count[byte]++] = (uint16_t)bit;
    }
}

/* Where the runs of a block begin, and at last its end, into `work`; how many runs. */
static int find_runs(Work *work, const uint8_t *bytes, int count) {
    uint16_t *to = work->begins;
#if defined(__SSE2__)
    __m128i begin = _mm_setzero_si128(); /* of eight bits */
#endif
    for (int at = 0; at < count; at += 64) {
        uint64_t mask = changes(bytes + at);
        if (!at) mask |= 1;
        if (count - at < 64) mask &= (1ull << (count - at)) - 1;
#if defined(__SSE2__)
        for (int part = 0; part < 64; part += 8, mask >>= 8) { /* all that are set in eight bits, written at once */
            __m128i places = _mm_loadu_si128((const __m128i *)work->set_bits.places[mask & 255]);
            _mm_storeu_si128((__m128i *)to, _mm_add_epi16(places, begin));
            begin = _mm_add_epi16(begin, _mm_set1_epi16(8));
            to += work->set_bits.count[mask & 255];
        }
#else
        for (; mask; mask &= mask - 1) *to++ = (uint16_t)(at + __builtin_ctzll(mask));
#endif
    }
    *to = (uint16_t)count;
    return (int)(to - work->begins);
}

/* Count run number `i`. Returns its value and length as one number; notes it when it is long. */
static inline uint16_t count_run(Work *work, const uint8_t *bytes, int i) {
    int length = run_length(work, i);
    if (length > RUN_TABLE) {
        work->long_runs[work->long_run_count++] = (uint16_t)i;
        length = 0;
    }
    int key = bytes[work->begins[i]] * RUN_KEYS + length;
    work->run_counts[key]++;
    return (uint16_t)key;
}

/* The same for four runs. */
static inline uint64_t count_four_runs(Work *work, const uint8_t *bytes, int i) {
    uint64_t begins = load8((const uint8_t *)(work->begins + i)), ends = load8((const uint8_t *)(work->begins + i + 1));
    uint64_t keys = ends - begins; /* no part borrows from the next */
    if (keys & 0xffc0ffc0ffc0ffc0ull)
        for (int k = 0; k < 4; k++) { /* few are long; without a branch, which could not be predicted */
            int is_long = (keys >> 16 * k & 0xffff) > RUN_TABLE;
            work->long_runs[work->long_run_count] = (uint16_t)(i + k);
            work->long_run_count += is_long;
            keys &= ~((uint64_t)(is_long ? 0xffff : 0) << 16 * k);
        }
    for (int k = 0; k < 4; k++) {
        keys += (uint64_t)bytes[begins >> 16 * k & 0xffff] << (16 * k + 6);
        work->run_counts[keys >> 16 * k & 0xffff]++;
    }
    return keys;
}

/* The runs of a block by value and length into `work`, and how often there is each; how many, or 0 when there are too
   many values. */
static int list_runs(Work *work, const uint8_t *bytes, int count, uint8_t *values, int *value_count) {
    int runs = find_runs(work, bytes, count), known = 0;
    work->long_run_count = 0;
    memset(work->run_counts, 0, sizeof work->run_counts);
    int i = 0;
    for (; i + 4 <= runs; i += 4) {
        uint64_t keys = count_four_runs(work, bytes, i);
        memcpy(work->runs + i, &keys, sizeof keys);
    }
    for (; i < runs; i++) work->runs[i] = count_run(work, bytes, i);
    for (int value = 0; value < 256; value++) {
        uint16_t any = 0;
        for (int length = 0; length <= RUN_TABLE; length++) any |= work->run_counts[value * RUN_KEYS + length];
        if (!any) continue;
        if (known == RUN_VALUES) return 0;
        values[known++] = (uint8_t)value;
    }
    *value_count = known;
    return runs;
}

/* Bits of the runs of each value that the table holds: literals, or, beyond SHORT_RUN, a literal and a match where that is
   shorter. */
static void run_entries(Work *work, const uint8_t *values, int value_count) {
    const Codes *codes = &work->codes;
    for (int i = 0; i < value_count; i++) {
        const uint16_t *times = work->run_counts + values[i] * RUN_KEYS;
        int longest = 0;
        for (int length = 1; length <= RUN_TABLE; length++) longest = times[length] ? length : longest;
        int literal = codes->length[values[i]];
        uint64_t code = codes->code[values[i]], repeated = 0, *to = work->run_entry + values[i] * RUN_KEYS;
        to[0] = NOT_READY;
        for (int length = 1; length <= longest; length++) {
            int match = length > SHORT_RUN ? codes->match_length[length - 1] : 0, literals = literal * length;
            if (literals <= 56) repeated |= code << (literals - literal);
            if (match && literal + match < literals)
                to[length] = entry_of(code | (uint64_t)codes->match_code[length - 1] << literal, literal + match);
            else
                to[length] = literals <= 56 ? entry_of(repeated, literals) : NOT_READY;
        }
    }
}

static int write_runs(Work *work, Bits *bits, const uint8_t *values, int value_count, int runs) {
    Histogram histogram = {0};
    histogram.symbols[END_OF_BLOCK] = 1;
    uint16_t of_length[RUN_KEYS] = {0}; /* runs of each length, of any value */
    for (int i = 0; i < value_count; i++) {
        const uint16_t *times = work->run_counts + values[i] * RUN_KEYS;
        uint32_t literals = 0;
        for (int length = 1; length <= SHORT_RUN; length++) literals += (uint32_t)length * times[length];
        for (int length = SHORT_RUN + 1; length <= RUN_TABLE; length++) literals += times[length];
        for (int length = 0; length < RUN_KEYS; length++) of_length[length] = (uint16_t)(of_length[length] + times[length]);
        histogram.symbols[values[i]] = literals;
    }
    for (int length = SHORT_RUN + 1; length <= RUN_TABLE; length++)
        histogram.symbols[FIRST_LENGTH + length_index(length - 1)] += of_length[length];
    for (int k = 0; k < work->long_run_count; k++) {
        int i = work->long_runs[k], value = work->runs[i] / RUN_KEYS;
        histogram.symbols[value]++;
        count_rest(&histogram, value, run_length(work, i) - 1);
    }
    if (!begin_block(bits, &work->codes, &histogram)) return 0;
    match_codes(&work->codes);
    run_entries(work, values, value_count);
    const uint64_t *entry = work->run_entry;
    Bits out = *bits;
    for (int i = 0; i < runs;) {
        int end = runs - i < 4 ? runs : i + 4;
        if (end == i + 4) {
            uint64_t filled = 0, lengths = 0;
            for (int k = 0; k < 4; k++) add_entry(&filled, &lengths, entry[work->runs[i + k]]);
            if (put_filled(&out, filled, lengths)) {
                i = end;
                continue;
            }
        }
        for (; i < end; i++) { /* one by one */
            uint64_t filled = 0, lengths = 0;
            add_entry(&filled, &lengths, entry[work->runs[i]]);
            if (put_filled(&out, filled, lengths)) continue;
            int value = work->runs[i] / RUN_KEYS, length = run_length(work, i), literals = length > SHORT_RUN ? 1 : length;
            for (int k = 0; k < literals; k++) put(&out, work->codes.code[value], work->codes.length[value]);
            put_rest(&out, &work->codes, value, length - literals);
        }
    }
    put(&out, work->codes.code[END_OF_BLOCK], work->codes.length[END_OF_BLOCK]);
    *bits = out;
    return 1;
}

/* --- dense planes ------------------------------------------------------------------------------------------------- */

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

/* At most six, which mostly fit into one put. */
static inline void put_literals(Bits *bits, const uint64_t *entry, const uint8_t *bytes, int count) {
    uint64_t filled = 0, lengths = 0;
    for (int k = 0; k < count; k++) add_entry(&filled, &lengths, entry[bytes[k]]);
    if (put_filled(bits, filled, lengths)) return;
    for (int k = 0; k < count; k++) put_filled(bits, entry[bytes[k]], entry[bytes[k]]);
}

/* Where the runs are that become matches is noted in `work->begins`, for writing them. */
static int dense_block(Work *work, Bits *bits, const uint8_t *bytes, int count) {
    Counts counts = {0};
    Histogram histogram = {0};
    counts.table[0][bytes[0]]++;
    int at = 1, matches = 0;
    while (at + 64 <= count) {
        uint64_t begins = run_begins(changes(bytes + at));
        if (!begins) {
            for (int part = 0; part < 64; part += 8) count_eight(&counts, bytes + at + part);
            at += 64;
            continue;
        }
        int begin = at + __builtin_ctzll(begins);
        for (; begin - at >= 8; at += 8) count_eight(&counts, bytes + at);
        for (; at < begin; at++) counts.table[at & 7][bytes[at]]++;
        int run = run_at(bytes, at, count);
        count_rest(&histogram, bytes[at], run);
        work->begins[matches++] = (uint16_t)at;
        at += run;
    }
    for (; at < count; at++) counts.table[0][bytes[at]]++;
    work->begins[matches] = (uint16_t)count;
    uint16_t sums[256];
    add_up(&counts, sums);
    for (int value = 0; value < 256; value++) histogram.symbols[value] += sums[value];
    histogram.symbols[END_OF_BLOCK] = 1;
    if (!begin_block(bits, &work->codes, &histogram)) return 0;
    const Codes *codes = &work->codes;
    if (matches) match_codes(&work->codes);
    uint64_t entry[256];
    for (int value = 0; value < 256; value++) entry[value] = entry_of(codes->code[value], codes->length[value]);
    Bits out = *bits;
    at = 0;
    for (int match = 0; match <= matches; match++) {
        int end = work->begins[match];
        for (; end - at >= 16; at += 16) {
            put_literals(&out, entry, bytes + at, 6);
            put_literals(&out, entry, bytes + at + 6, 5);
            put_literals(&out, entry, bytes + at + 11, 5);
        }
        for (; end - at >= 4; at += 4) put_literals(&out, entry, bytes + at, 4);
        for (; at < end; at++) put_literals(&out, entry, bytes + at, 1);
        if (match == matches) break;
        int run = run_at(bytes, at, count);
        put_rest(&out, codes, bytes[at], run);
        at += run;
    }
    put(&out, codes->code[END_OF_BLOCK], codes->length[END_OF_BLOCK]);
    *bits = out;
    return 1;
}

/* --- byte planes -------------------------------------------------------------------------------------------------- */

/* The byte planes of some values. Returns whether any of the lowest plane is not 0: half-precision values have none. */
static int split(Work *work, const float *values, int count) {
    const uint8_t *from = (const uint8_t *)values;
    uint8_t *p0 = work->bytes[0] + MARGIN, *p1 = work->bytes[1] + MARGIN, *p2 = work->bytes[2] + MARGIN,
            *p3 = work->bytes[3] + MARGIN;
    int i = 0;
    uint8_t lowest = 0;
#if defined(__SSE2__)
    const __m128i low = _mm_set1_epi16(255);
    __m128i any = _mm_setzero_si128();
    for (; i + 16 <= count; i += 16) {
        __builtin_prefetch((const void *)((uintptr_t)from + 4 * (size_t)i + AHEAD)); /* prefetchers stop at page ends */
        __m128i four[4], even[4], odd[4]; /* bytes 0 and 2 of each value, and 1 and 3 */
        for (int k = 0; k < 4; k++) {
            four[k] = _mm_loadu_si128((const __m128i *)(from + 4 * (size_t)i) + k);
            even[k] = _mm_and_si128(four[k], low);
            odd[k] = _mm_srli_epi16(four[k], 8);
        }
        __m128i even01 = _mm_packus_epi16(even[0], even[1]), even23 = _mm_packus_epi16(even[2], even[3]);
        __m128i odd01 = _mm_packus_epi16(odd[0], odd[1]), odd23 = _mm_packus_epi16(odd[2], odd[3]);
        __m128i lowest_bytes = _mm_packus_epi16(_mm_and_si128(even01, low), _mm_and_si128(even23, low));
        any = _mm_or_si128(any, lowest_bytes);
        _mm_storeu_si128((__m128i *)(p0 + i), lowest_bytes);
        _mm_storeu_si128((__m128i *)(p2 + i), _mm_packus_epi16(_mm_srli_epi16(even01, 8), _mm_srli_epi16(even23, 8)));
        _mm_storeu_si128((__m128i *)(p1 + i), _mm_packus_epi16(_mm_and_si128(odd01, low), _mm_and_si128(odd23, low)));
        _mm_storeu_si128((__m128i *)(p3 + i), _mm_packus_epi16(_mm_srli_epi16(odd01, 8), _mm_srli_epi16(odd23, 8)));
    }
    lowest = _mm_movemask_epi8(_mm_cmpeq_epi8(any, _mm_setzero_si128())) != 0xffff;
#endif
    for (; i < count; i++) {
        uint32_t value;
        memcpy(&value, from + 4 * (size_t)i, 4);
        p0[i] = (uint8_t)value;
        lowest |= p0[i];
        p1[i] = (uint8_t)(value >> 8);
        p2[i] = (uint8_t)(value >> 16);
        p3[i] = (uint8_t)(value >> 24);
    }
    return lowest != 0;
}

/* --- repetitions at other distances ------------------------------------------------------------------------------- */

/* Whether a chunk is better left to a compressor that seeks matches. The first windows decide alone when it saves little
   there and none is full of repetitions, which may be a strip or a corner of tiles. */
static int is_for_others(Work *work, const float *values, int64_t channels, int64_t per_channel) {
    int64_t total = channels * per_channel, windows = total / WINDOW_STEP;
    if (total < WINDOW) return 1;
    windows = windows < LEAST_WINDOWS ? LEAST_WINDOWS : windows < MOST_WINDOWS ? windows : MOST_WINDOWS;
    Estimate *estimate = &work->estimate;
    begin_estimate(estimate, channels, per_channel, per_channel >= WHOLE);
    for (int64_t window = 0; window < windows; window++) {
        if (window == LEAST_WINDOWS && !estimate->has_full_window && !is_better_elsewhere(estimate, SAVING_LIMIT / 2)) return 0;
        int64_t begin = (total - WINDOW) * (window * GOLDEN & 0xffff) >> 16;
        int group = (int)((begin + WINDOW - 1) * estimate->groups / total);
        estimate->has_lowest |= split(work, values + begin, WINDOW);
        const uint8_t *planes[SAMPLED_PLANES];
        for (int k = 0; k < SAMPLED_PLANES; k++) {
            uint8_t *bytes = work->bytes[PLANES - SAMPLED_PLANES + k] + MARGIN;
            memset(bytes + WINDOW, 0, 8); /* read, and decides nothing */
            planes[k] = bytes;
        }
        add_window(estimate, group, planes);
    }
    return is_better_elsewhere(estimate, SAVING_LIMIT);
}

/* --- a chunk ------------------------------------------------------------------------------------------------------ */

/* Write the constant bytes that wait, as one block. */
static int flush_constant(Work *work, Plane *plane) {
    int64_t count = plane->constant;
    plane->constant = 0;
    if (!count) return 1;
    Histogram histogram = {0};
    histogram.symbols[END_OF_BLOCK] = 1;
    histogram.symbols[plane->value] = 1;
    count_rest(&histogram, plane->value, count - 1);
    if (!begin_block(&plane->bits, &work->codes, &histogram)) return 0;
    match_codes(&work->codes);
    put(&plane->bits, work->codes.code[plane->value], work->codes.length[plane->value]);
    put_rest(&plane->bits, &work->codes, plane->value, count - 1);
    put(&plane->bits, work->codes.code[END_OF_BLOCK], work->codes.length[END_OF_BLOCK]);
    plane->coded = 1;
    return 1;
}

/* Whether some of the highest bytes of float32 values can be those of infinity or NaN; 0 bytes: unknown ones. */
static void look_at_exponents(Work *work, const uint8_t *values, int count) {
    if (!count) work->finite = 0;
    for (int i = 0; i < count; i++)
        if ((values[i] & 0x7f) == 0x7f) work->finite = 0;
}

/* are_zeros: whether all bytes are known to be 0. */
static int add_block(Work *work, int which, int count, int are_zeros) {
    Plane *plane = &work->plane[which];
    uint8_t *bytes = work->bytes[which] + MARGIN;
    if (are_zeros || !memcmp(bytes, bytes + 1, (size_t)count - 1)) { /* all are equal */
        sum_up(&plane->adler, count, (uint64_t)count * bytes[0], (uint64_t)count * (uint64_t)(count + 1) / 2 * bytes[0]);
        if (plane->constant && plane->value != bytes[0] && !flush_constant(work, plane)) return 0;
        plane->value = bytes[0];
        plane->constant += count;
        if (which == PLANES - 1) look_at_exponents(work, bytes, 1);
        return 1;
    }
    add_to_adler(&plane->adler, bytes, count);
    if (!flush_constant(work, plane)) return 0;
    plane->coded = 1;
    bytes[-1] = bytes[0];
    memset(bytes + count, 0, MARGIN); /* read, and decides nothing */
    int seen = 0, changed = 0;
    for (int at = 0; at + 64 <= count; at += 512, seen += 64) changed += bits_set(changes(bytes + at));
    uint8_t values[RUN_VALUES];
    int value_count, runs = 2 * changed > seen ? 0 : list_runs(work, bytes, count, values, &value_count);
    if (which == PLANES - 1) look_at_exponents(work, values, runs ? value_count : 0);
    if (runs) return write_runs(work, &plane->bits, values, value_count, runs);
    return dense_block(work, &plane->bits, bytes, count);
}

EXPORT int int8cal_version(void) { return 11; }

EXPORT int64_t int8cal_encode_work_bytes(void) { return (int64_t)sizeof(Work); }

/* values: channels × per_channel, float32. out: four times `room` bytes; the stream of plane k begins at k·room.
   always: encode even what is better left to others. memory: int8cal_encode_work_bytes(), aligned to 8 bytes.
   0: done; 1: the chunk is better left to a compressor that seeks matches; -1: there is too little room. */
EXPORT int int8cal_encode(const float *values, int64_t channels, int64_t per_channel, uint8_t *out, int64_t room, int always,
                          void *memory, Chunk *chunk) {
    begin_kernel();
    Work *work = memory;
    int64_t unit = per_channel < WHOLE ? channels * per_channel : per_channel, total = channels * per_channel;
    if (channels < 1 || per_channel < 1) return -1;
    if (!always && is_for_others(work, values, channels, per_channel)) return 1;
    int64_t blocks = (unit + BLOCK - 1) / BLOCK, size = (unit + blocks - 1) / blocks;
    work->finite = 1;
    list_set_bits(&work->set_bits);
    for (int k = 0; k < PLANES; k++)
        work->plane[k] = (Plane){.bits = {.at = out + k * room, .end = out + (k + 1) * room}};
    for (int64_t begin = 0; begin < total; begin += unit)
        for (int64_t at = begin; at < begin + unit; at += size) {
            int count = (int)(begin + unit - at < size ? begin + unit - at : size);
            int has_lowest = split(work, values + at, count);
            for (int k = 0; k < PLANES; k++)
                if (!add_block(work, k, count, !k && !has_lowest)) return -1;
        }
    uint64_t a = 1, b = 0;
    for (int k = 0; k < PLANES; k++) {
        Plane *plane = &work->plane[k];
        b = (b + (uint64_t)total % 65521 * a + plane->adler.b) % 65521;
        a = (a + plane->adler.a) % 65521;
        int last = k == PLANES - 1;
        if ((last || plane->coded || plane->value) && !(flush_constant(work, plane) && end_blocks(&plane->bits, last)))
            return -1;
        chunk->length[k] = plane->bits.at - (out + k * room);
    }
    chunk->adler = (uint32_t)(b << 16 | a);
    chunk->finite = work->finite;
    return 0;
}
