/* Deflate (RFC 1951) by hand: a bit writer, length-limited Huffman codes and block headers. Integers alone decide: the
   bytes are the same on every processor. */
#ifndef INT8CAL_DEFLATE_H
#define INT8CAL_DEFLATE_H

#include "adler.h"

enum {
    SYMBOLS = 286,       /* bytes, the end of the block, and the lengths of matches */
    END_OF_BLOCK = 256,
    FIRST_LENGTH = 257,
    DISTANCE_SYMBOLS = 30,
    MIN_MATCH = 3,
    MAX_MATCH = 258,
    SHORT_RUN = 6,       /* longest run that is literals only: readers decode them faster than they copy */
    LONG_REST = 128,     /* where so many bytes at least follow the first of a run, */
    RUN_DISTANCE = 64,   /* matches have this distance, once there are as many: at distance 1, a reader that copies byte by
                            byte waits for each before it copies the next */
    MAX_BITS = 12,       /* longest code: the 15 of deflate would save next to nothing, and fewer would fit into a put */
    LENGTH_SYMBOLS = 19, /* of the code for code lengths */
    FEW_SYMBOLS = 32,    /* sorted one by one */
    HEADER_BYTES = 532,  /* no header takes more: 17 + 19·3 bits, then 286 + 12 lengths of at most 7 + 7 bits */
};

/* Bits that wait for their byte are in `pending`, lowest first. Writing stores eight bytes at `at`: whoever begins
   something makes sure (`has_room`) that it ends that far before `end`. */
typedef struct {
    uint8_t *at, *end;
    uint64_t pending;
    unsigned count;
} Bits;

static inline int has_room(const Bits *bits, uint64_t bytes) {
    return bits->end - bits->at >= 16 && (uint64_t)(bits->end - bits->at) - 16 >= bytes;
}

static inline void put(Bits *bits, uint64_t value, unsigned count) { /* count <= 56 */
    bits->pending |= value << bits->count;
    bits->count += count;
    memcpy(bits->at, &bits->pending, 8);
    bits->at += bits->count >> 3;
    bits->pending >>= bits->count & 56;
    bits->count &= 7;
}

/* Bits that are ready to be put: the code in the top bits, its length (at most 56) in the lowest byte. So a register is
   filled from its top, and a sum of entries holds the sum of the lengths in its lowest byte. */
static inline uint64_t entry_of(uint64_t code, unsigned length) { return length ? code << (64 - length) | length : 0; }

static const uint64_t NOT_READY = 57; /* in place of an entry: what is meant takes more than one put */

static inline void add_entry(uint64_t *filled, uint64_t *lengths, uint64_t entry) {
    *filled = *filled >> (entry & 63) | entry;
    *lengths += entry;
}

/* Put what a few entries filled. 0: it is too long, or one was not ready; nothing was put. */
static inline int put_filled(Bits *bits, uint64_t filled, uint64_t lengths) {
    unsigned length = lengths & 255;
    if (length > 56) return 0;
    put(bits, filled >> (64 - length), length);
    return 1;
}

/* How often each symbol is written. */
typedef struct {
    uint32_t symbols[SYMBOLS], distances[DISTANCE_SYMBOLS];
} Histogram;

/* Codes of one block: bit patterns in the order in which they are written, and the same for whole matches of distance
   1 (length code, extra bits, and the bit 0: there are two distance codes at most). */
typedef struct {
    uint8_t length[SYMBOLS];
    uint16_t code[SYMBOLS];
    uint8_t match_length[MAX_MATCH + 1]; /* in bits; 0: the block has no code for it */
    uint32_t match_code[MAX_MATCH + 1];
} Codes;

/* Index of the length symbol of a match: RFC 1951, 3.2.5. */
static inline int length_index(int length) {
    if (length == MAX_MATCH) return 28;
    int over = length - MIN_MATCH;
    if (over < 8) return over;
    int top = 31 - __builtin_clz((unsigned)over);
    return 4 * (top - 1) + (over >> (top - 2) & 3);
}

static inline int extra_bits(int index) { return index < 8 || index == 28 ? 0 : index / 4 - 1; }

/* Index of the symbol of a distance, and its extra bits: RFC 1951, 3.2.5. */
static inline int distance_index(int distance) {
    if (distance < 3) return distance - 1;
    int top = 31 - __builtin_clz((unsigned)(distance - 1));
    return 2 * top + ((distance - 1) >> (top - 1) & 1);
}

static inline int extra_distance_bits(int index) { return index < 4 ? 0 : index / 2 - 1; }

static inline void count_match(Histogram *histogram, int length, int distance) {
    histogram->symbols[FIRST_LENGTH + length_index(length)]++;
    histogram->distances[distance_index(distance)]++;
}

/* What is written for a run of bytes of a value that was just written. */
typedef struct {
    int first;     /* length of a match of distance 1, where the others have another one; or 0 */
    int distance;  /* of the others: 1 or RUN_DISTANCE */
    int64_t whole; /* how many have full length */
    int last;      /* length of one more; or 0 */
    int literals;
} Rest;

static inline Rest rest_of(int64_t bytes) {
    int is_long = bytes >= LONG_REST, first = is_long ? RUN_DISTANCE - 1 : 0, last = (int)((bytes - first) % MAX_MATCH);
    return (Rest){
        .first = first,
        .distance = is_long ? RUN_DISTANCE : 1,
        .whole = (bytes - first) / MAX_MATCH,
        .last = last < MIN_MATCH ? 0 : last,
        .literals = last < MIN_MATCH ? last : 0,
    };
}

/* Count a run of `bytes` of a value that was just written. Returns how many matches it takes. */
static inline int64_t count_rest(Histogram *histogram, int value, int64_t bytes) {
    Rest rest = rest_of(bytes);
    if (rest.first) count_match(histogram, rest.first, 1);
    histogram->symbols[FIRST_LENGTH + length_index(MAX_MATCH)] += (uint32_t)rest.whole;
    histogram->distances[distance_index(rest.distance)] += (uint32_t)rest.whole;
    if (rest.last) count_match(histogram, rest.last, rest.distance);
    histogram->symbols[value] += (uint32_t)rest.literals;
    return (rest.first > 0) + rest.whole + (rest.last > 0);
}

/* Huffman code lengths of at most `limit` bits for the symbols with a frequency (below 2^18 in sum). Symbols are
   ordered by frequency, then number; of equal weights leaves are joined first. */
static void code_lengths(const uint32_t *frequency, int symbols, int limit, uint8_t *length) {
    uint32_t lists[2][SYMBOLS], *sorted = lists[0], *other = lists[1], weight[2 * SYMBOLS];
    uint16_t parent[2 * SYMBOLS];
    int used = 0;
    memset(length, 0, (size_t)symbols);
    uint32_t most = 0;
    for (int symbol = 0; symbol < symbols; symbol++) {
        sorted[used] = frequency[symbol] << 9 | (uint32_t)symbol;
        used += frequency[symbol] > 0;
        most |= frequency[symbol];
    }
    if (used < 2) {
        if (used) length[sorted[0] & 511] = 1;
        return;
    }
    if (used <= FEW_SYMBOLS) {
        for (int i = 1; i < used; i++) {
            uint32_t one = sorted[i];
            int to = i;
            for (; to && sorted[to - 1] > one; to--) sorted[to] = sorted[to - 1];
            sorted[to] = one;
        }
    } else {
        for (int shift = 9; shift < 27 && most >> (shift - 9); shift += 6) { /* radix sort, stable: symbols stay ordered */
            uint16_t begin[65] = {0};
            for (int i = 0; i < used; i++) begin[(sorted[i] >> shift & 63) + 1]++;
            for (int i = 0; i < 64; i++) begin[i + 1] = (uint16_t)(begin[i + 1] + begin[i]);
            for (int i = 0; i < used; i++) other[begin[sorted[i] >> shift & 63]++] = sorted[i];
            uint32_t *done = other;
            other = sorted;
            sorted = done;
        }
    }
    for (int i = 0; i < used; i++) weight[i] = sorted[i] >> 9;
    int leaf = 0, node = used, nodes = used;
    for (; nodes < 2 * used - 1; nodes++) {
        uint32_t sum = 0;
        for (int child = 0; child < 2; child++) {
            int least = leaf < used && (node == nodes || weight[leaf] <= weight[node]) ? leaf++ : node++;
            parent[least] = (uint16_t)nodes;
            sum += weight[least];
        }
        weight[nodes] = sum;
    }
    uint16_t depth[2 * SYMBOLS];
    int of_length[SYMBOLS + 1] = {0};
    depth[nodes - 1] = 0;
    for (int i = nodes - 2; i >= 0; i--) {
        depth[i] = (uint16_t)(depth[parent[i]] + 1);
        if (i < used) of_length[depth[i] < limit ? depth[i] : limit]++;
    }
    /* Codes cut to the limit take too much room: shorter ones are made longer until it is enough. */
    int32_t room = 1 << limit;
    for (int bits = 1; bits <= limit; bits++) room -= (int32_t)of_length[bits] << (limit - bits);
    for (; room < 0; room++) {
        int bits = limit - 1;
        while (!of_length[bits]) bits--;
        of_length[bits]--;
        of_length[bits + 1] += 2;
        of_length[limit]--;
    }
    int rarest = 0;
    for (int bits = limit; bits > 0; bits--)
        for (int i = 0; i < of_length[bits]; i++) length[sorted[rarest++] & 511] = (uint8_t)bits;
}

/* Canonical codes of the given lengths, lowest bit first: RFC 1951, 3.2.2. */
static void canonical_codes(const uint8_t *length, int symbols, uint16_t *code) {
    unsigned of_length[16] = {0}, next[17] = {0};
    for (int symbol = 0; symbol < symbols; symbol++) of_length[length[symbol]]++;
    of_length[0] = 0;
    for (int bits = 1; bits < 16; bits++) next[bits + 1] = (next[bits] + of_length[bits]) << 1;
    for (int symbol = 0; symbol < symbols; symbol++) {
        unsigned bits = next[length[symbol]]++; /* swapped by ones, twos, fours and eights */
        bits = (bits & 0x5555) << 1 | (bits >> 1 & 0x5555);
        bits = (bits & 0x3333) << 2 | (bits >> 2 & 0x3333);
        bits = (bits & 0x0f0f) << 4 | (bits >> 4 & 0x0f0f);
        bits = (bits & 0x00ff) << 8 | bits >> 8;
        code[symbol] = (uint16_t)(bits >> (16 - length[symbol])); /* 0 for no length */
    }
}

/* Begin a block that is not the last, with the best codes for these symbols; the distances 1 and RUN_DISTANCE have one
   bit each. 0: there is too little room for the block; nothing was written. */
static int begin_block(Bits *bits, Codes *codes, const Histogram *histogram) {
    static const uint8_t order[LENGTH_SYMBOLS] = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};
    static const uint8_t extra[3] = {2, 3, 7}; /* bits of the symbols 16, 17, 18 */
    const uint32_t *frequency = histogram->symbols;
    const int apart = distance_index(RUN_DISTANCE), distances = histogram->distances[apart] ? apart + 1 : 1;
    uint8_t lengths[SYMBOLS + DISTANCE_SYMBOLS] = {0}, symbol[sizeof lengths], repeats[sizeof lengths];
    uint8_t length[LENGTH_SYMBOLS];
    uint16_t code[LENGTH_SYMBOLS];
    uint32_t occurs[LENGTH_SYMBOLS] = {0}, weight[SYMBOLS];

    for (int i = 0; i < SYMBOLS; i++) weight[i] = frequency[i] < 65535 ? frequency[i] : 65535; /* long constant planes */
    code_lengths(weight, SYMBOLS, MAX_BITS, codes->length);
    uint64_t size = (uint64_t)histogram->distances[apart] * (unsigned)extra_distance_bits(apart);
    for (int i = 0; i < FIRST_LENGTH; i++) size += (uint64_t)frequency[i] * codes->length[i];
    for (int i = FIRST_LENGTH; i < SYMBOLS; i++)
        size += (uint64_t)frequency[i] * (unsigned)(codes->length[i] + extra_bits(i - FIRST_LENGTH) + 1);
    if (!has_room(bits, HEADER_BYTES + size / 8)) return 0;
    canonical_codes(codes->length, SYMBOLS, codes->code);
    int literals = SYMBOLS;
    while (!codes->length[literals - 1]) literals--; /* the end of the block has a code */
    memcpy(lengths, codes->length, (size_t)literals);
    lengths[literals] = lengths[literals + distances - 1] = 1;

    int written = 0, all = literals + distances;
    for (int i = 0; i < all;) { /* runs of lengths: 16 repeats the last one, 17 and 18 are zeros */
        int run = 1;
        while (i + run < all && lengths[i + run] == lengths[i]) run++;
        if (!lengths[i] && run >= 3) {
            run = run < 138 ? run : 138;
            symbol[written] = run < 11 ? 17 : 18;
            repeats[written] = (uint8_t)(run - (run < 11 ? 3 : 11));
        } else if (i && lengths[i] == lengths[i - 1] && run >= 3) {
            run = run < 6 ? run : 6;
            symbol[written] = 16;
            repeats[written] = (uint8_t)(run - 3);
        } else {
            run = 1;
            symbol[written] = lengths[i];
        }
        occurs[symbol[written++]]++;
        i += run;
    }
    code_lengths(occurs, LENGTH_SYMBOLS, 7, length);
    canonical_codes(length, LENGTH_SYMBOLS, code);
    int given = LENGTH_SYMBOLS;
    while (given > 4 && !length[order[given - 1]]) given--;
    put(bits, (uint64_t)(2 << 1 | (literals - FIRST_LENGTH) << 3 | (distances - 1) << 8 | (given - 4) << 13), 17);
    for (int i = 0; i < given; i++) put(bits, length[order[i]], 3);
    for (int i = 0; i < written; i++) {
        put(bits, code[symbol[i]], length[symbol[i]]);
        if (symbol[i] >= 16) put(bits, repeats[i], extra[symbol[i] - 16]);
    }
    return 1;
}

/* The codes of whole matches of distance 1; after `begin_block`, in a block that has any. */
static void match_codes(Codes *codes) {
    for (int index = 0, match = MIN_MATCH; index < SYMBOLS - FIRST_LENGTH; index++) {
        int length = codes->length[FIRST_LENGTH + index], extra = extra_bits(index);
        if (index == 28) match = MAX_MATCH; /* it has a symbol of its own, besides that of 227 and more */
        for (uint32_t over = 0; over < 1u << extra; over++, match++) {
            codes->match_length[match] = (uint8_t)(length ? length + extra + 1 : 0);
            codes->match_code[match] = codes->code[FIRST_LENGTH + index] | over << length;
        }
    }
}

_Static_assert((RUN_DISTANCE & (RUN_DISTANCE - 1)) == 0, "the last distance of its symbol: all extra bits are 1");

/* Write a match of distance 1 or RUN_DISTANCE. */
static inline void put_match(Bits *bits, const Codes *codes, int length, int distance) {
    uint64_t code = codes->match_code[length];
    unsigned count = codes->match_length[length];
    if (distance == RUN_DISTANCE) { /* its code is 1, too */
        unsigned extra = (unsigned)extra_distance_bits(distance_index(distance));
        code |= ((2ull << extra) - 1) << (count - 1);
        count += extra;
    }
    put(bits, code, count);
}

/* Write a run of `bytes` of a value that was just written. */
static inline void put_rest(Bits *bits, const Codes *codes, int value, int64_t bytes) {
    Rest rest = rest_of(bytes);
    if (rest.first) put_match(bits, codes, rest.first, 1);
    for (; rest.whole; rest.whole--) put_match(bits, codes, MAX_MATCH, rest.distance);
    if (rest.last) put_match(bits, codes, rest.last, rest.distance);
    for (; rest.literals; rest.literals--) put(bits, codes->code[value], codes->length[value]);
}

/* An empty stored block: it ends on a byte boundary, so that more blocks can follow; or the last one, of fixed codes. */
static int end_blocks(Bits *bits, int last) {
    if (!has_room(bits, 8)) return 0;
    if (last) {
        put(bits, 1 | 1 << 1, 10);
    } else {
        put(bits, 0, 3);
        if (bits->count) put(bits, 0, 8 - bits->count);
        put(bits, 0xffff0000u, 32);
    }
    if (bits->count) put(bits, 0, 8 - bits->count);
    return 1;
}

#endif
