/* zlib streams (RFC 1950, 1951) -> bytes. Takes what zlib takes and refuses what zlib refuses: codes that are not
   complete, counts of symbols beyond those that exist, distances to before the first byte, a wrong checksum. Distances
   beyond the window that the stream states are refused as well: whether zlib takes those depends on how it is called.

   Photographs are mostly literals: an entry of the table gives up to three of them at once. */
#include "adler.h"

enum {
    LITERAL_BITS = 12, /* of the codes that the first table tells; longer ones go on in a second one */
    FEW_BITS = 10,     /* the same where many short blocks come, each with its table to be made */
    DISTANCE_BITS = 9,
    PRECODE_BITS = 7,
    MOST_BITS = 15,
    MATCH_BITS = 15 + 5 + 15 + 13, /* of a length and a distance with their extra bits, at most */
    LITERALS = 286,
    DISTANCES = 30,
    LENGTH_SYMBOLS = 19, /* of the code for code lengths */
    END_OF_BLOCK = 256,
    /* A complete code has two codes at least in each second table. */
    LITERAL_ENTRIES = (1 << LITERAL_BITS) + (288 / 2 << (MOST_BITS - FEW_BITS)),
    DISTANCE_ENTRIES = (1 << DISTANCE_BITS) + (32 / 2 << (MOST_BITS - DISTANCE_BITS)),
    READ_AHEAD = 16,   /* bytes that the quick loop reads at most in a round */
    WRITE_AHEAD = 320, /* bytes that it writes at most: four entries of literals, the longest match, 16 bytes beyond */
    LONG_BLOCK = 4096, /* bytes after which the next block is expected to be worth entries of several literals */
};

/* An entry of a table:
   bits 0-5    bits that it takes: of one code or several, and the extra bits behind it
   bits 6-7    literals, 1 to 3, which are in bits 8-31, the first one lowest; 0: something else, and then
   bits 8-11   bits of the code alone
   bits 12-13  what it is
   bits 16-31  least length or distance, or where the second table begins */
enum { ONE_LITERAL = 1 << 6, ANY_LITERAL = 3 << 6, SECOND = 1 << 12, END = 2 << 12, UNKNOWN = 3 << 12, SPECIAL = 3 << 12 };

typedef struct {
    const uint8_t *in, *in_end;
    uint64_t buffer; /* the next bits, lowest first; above `count` are zeros, or bits of what is at `in` */
    int count;
    uint8_t *begin, *out, *out_end;
    uint32_t window; /* longest distance */
} Stream;

typedef struct {
    uint32_t literals[LITERAL_ENTRIES], distances[DISTANCE_ENTRIES];
    int literal_bits;
} Tables;

static const uint16_t first_length[29] = {3,  4,  5,  6,  7,  8,  9,  10, 11,  13,  15,  17,  19,  23, 27,
                                          31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258};
static const uint8_t length_extra[29] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};

static inline uint32_t literal_meaning(int symbol) {
    if (symbol < END_OF_BLOCK) return ONE_LITERAL | (uint32_t)symbol << 8;
    if (symbol == END_OF_BLOCK) return END;
    if (symbol >= LITERALS) return UNKNOWN; /* they have codes in blocks of fixed ones only */
    return (uint32_t)first_length[symbol - 257] << 16 | length_extra[symbol - 257];
}

static inline uint32_t distance_meaning(int symbol) {
    if (symbol >= DISTANCES) return UNKNOWN;
    if (symbol < 4) return (uint32_t)(symbol + 1) << 16;
    uint32_t extra = (uint32_t)(symbol / 2 - 1);
    return (((2u + (symbol & 1)) << extra) + 1) << 16 | extra;
}

static inline uint32_t length_meaning(int symbol) { return (uint32_t)symbol << 16; }

/* The symbols of a code, the shortest first, and their bits, the first one lowest. */
typedef struct {
    uint16_t symbol[288], bits[288], end_of_length[MOST_BITS + 2];
} Code;

/* Table of a code whose lengths are `most_bits` at most. may_be_poor: one code of one bit, or none, is enough. Returns 0
   for what is no code. */
static inline int build(uint32_t *table, int table_bits, int most_bits, const uint8_t *lengths, int symbols, Code *code,
                        int may_be_poor, uint32_t (*meaning)(int)) {
    uint16_t *of_length = code->end_of_length, *sorted = code->symbol;
    memset(of_length, 0, sizeof code->end_of_length);
    int used = 0;
    for (int i = 0; i < symbols; i++)
        if (lengths[i]) of_length[lengths[i] + 1]++, used++;
    int left = 1, next = 1 << table_bits, prefix = -1, size = 1;
    for (int length = 1; length <= MOST_BITS; length++) {
        left = 2 * left - of_length[length + 1];
        if (left < 0) return 0;
    }
    if (left && (!may_be_poor || used > 1 || (used == 1 && of_length[2] != 1))) return 0;
    for (int length = 1; length <= MOST_BITS; length++) of_length[length + 1] += of_length[length];
    for (int i = 0; i < symbols; i++)
        if (lengths[i]) sorted[of_length[lengths[i]]++] = (uint16_t)i; /* then the index of the length's end */
    uint32_t bits = 0;
    int first = 0;
    table[0] = UNKNOWN | 1;
    for (int length = 1; length <= most_bits; length++) {
        if (length <= table_bits) {
            memcpy(table + size, table, sizeof *table * (size_t)size);
            size *= 2;
        }
        for (int i = first; i < of_length[length]; i++) {
            uint32_t is = meaning(sorted[i]), entry = (is + (uint32_t)length) | (is & ANY_LITERAL ? 0 : (uint32_t)length << 8);
            code->bits[i] = (uint16_t)bits;
            if (length <= table_bits) {
                table[bits] = entry;
            } else {
                int second_bits = most_bits - table_bits, here = (int)(bits & ((1u << table_bits) - 1));
                if (here != prefix) {
                    if (prefix >= 0) next += 1 << second_bits;
                    prefix = here;
                    table[here] = SECOND | (uint32_t)next << 16;
                }
                for (uint32_t k = bits >> table_bits; k < 1u << second_bits; k += 1u << (length - table_bits))
                    table[next + (int)k] = entry;
            }
            uint32_t bit = 1u << (length - 1);
            while (bits & bit) bit >>= 1;
            bits = bit ? (bits & (bit - 1)) | bit : 0;
        }
        first = of_length[length];
    }
    return 1;
}

/* What a literal adds to an entry behind `before` others, if it is one and has at most `left` bits; else nothing. The
   conditions choose between values, so that compilers vectorise the loops over it. */
static inline uint32_t next_literal(uint32_t entry, int left, int before) {
    int bits = (int)(entry & 63);
    uint32_t added = (uint32_t)bits + ONE_LITERAL + ((entry & 0xff00) << 8 * before);
    added = bits <= left ? added : 0;
    return entry & ONE_LITERAL ? added : 0;
}

/* Whether a literal has a code of a length; symbols of one length are in order. */
static inline int has_literal(const Code *code, int length) {
    int first = code->end_of_length[length - 1];
    return first < code->end_of_length[length] && code->symbol[first] < END_OF_BLOCK;
}

/* Entries of two or three literals where their codes fit into the bits of the table. */
static void join_literals(uint32_t *table, const Code *code) {
    uint32_t behind[1 << LITERAL_BITS]; /* the first: by the n bits that it leaves, from 1 << n on */
    int shortest = 1;
    while (shortest < LITERAL_BITS && !has_literal(code, shortest)) shortest++;
    if (2 * shortest > LITERAL_BITS) return;
    int most = LITERAL_BITS - shortest;
    uint32_t *to = behind + (1 << most);
    for (int k = 0; k < 1 << most; k++) to[k] = next_literal(table[k], most, 1);
    for (int k = 0; k < 1 << most; k++) {
        uint32_t two = to[k], is_literal = two >> 6 & 1;
        int bits = (int)(two & 63);
        to[k] = two + (next_literal(table[k >> bits], most - bits, 2) & -is_literal);
    }
    for (int left = most; left-- > shortest;) { /* what leaves a bit less: the same, or a literal less */
        const uint32_t *from = to;
        to = behind + (1 << left);
        for (int k = 0; k < 1 << left; k++) {
            uint32_t less = next_literal(table[k], left, 1);
            to[k] = (int)(from[k] & 63) <= left ? from[k] : less;
        }
    }
    int least = shortest < 2 ? 2 : shortest; /* bits that are left at least: the loop below writes four entries at a time */
    for (int length = shortest; length + least <= LITERAL_BITS; length++) { /* where anything fits behind */
        const uint32_t *from = behind + (1 << (LITERAL_BITS - length)), *end = from + (1 << (LITERAL_BITS - length));
        size_t step = (size_t)1 << length;
        for (int i = code->end_of_length[length - 1]; i < code->end_of_length[length]; i++) {
            if (code->symbol[i] >= END_OF_BLOCK) break;
            uint32_t *entry = table + code->bits[i], alone = *entry;
            for (const uint32_t *next = from; next < end; next += 4, entry += 4 * step) {
                entry[0] = alone + next[0];
                entry[step] = alone + next[1];
                entry[2 * step] = alone + next[2];
                entry[3 * step] = alone + next[3];
            }
        }
    }
}

static inline void refill(Stream *s) { /* to 56 bits at least, while there is input */
    if (s->in_end - s->in >= 8) {
        uint64_t word;
        memcpy(&word, s->in, 8);
        s->buffer |= word << s->count;
        s->in += (63 - s->count) >> 3;
        s->count |= 56;
    } else {
        for (; s->count <= 56 && s->in < s->in_end; s->count += 8) s->buffer |= (uint64_t)*s->in++ << s->count;
    }
}

static inline int take(Stream *s, int bits, uint32_t *value) {
    if (s->count < bits) refill(s);
    if (s->count < bits) return 0;
    *value = (uint32_t)(s->buffer & ((1u << bits) - 1));
    s->buffer >>= bits;
    s->count -= bits;
    return 1;
}

/* Least length or distance, plus extra bits. */
static inline uint32_t with_extra(uint32_t entry, uint64_t bits) {
    return (entry >> 16) + (uint32_t)((bits & ((1ull << (entry & 63)) - 1)) >> (entry >> 8 & 15));
}

static inline void copy_match(uint8_t *to, uint32_t distance, uint32_t length) { /* writes up to 15 bytes beyond */
    const uint8_t *from = to - distance;
    uint8_t *end = to + length;
    if (distance >= 16) {
        do {
            memcpy(to, from, 16);
            to += 16;
            from += 16;
        } while (to < end);
    } else if (distance == 1) {
        memset(to, *from, length);
    } else if (distance >= 8) {
        do {
            memcpy(to, from, 8);
            to += 8;
            from += 8;
        } while (to < end);
    } else {
        for (int i = 0; i < 8; i++) to[i] = from[i];
        uint32_t step = 8 - 8 % distance; /* whole repetitions */
        for (uint64_t eight; (to += step) < end;) {
            memcpy(&eight, to - step, 8);
            memcpy(to, &eight, 8);
        }
    }
}

static inline int is_too_far(const Stream *s, const uint8_t *out, uint32_t distance) {
    return distance > out - s->begin || distance > s->window;
}

/* One entry after the other, everything checked: near the ends of input and room. Returns 0 where the stream is wrong. */
static int read_slowly(Stream *s, const Tables *tables) {
    for (;;) {
        refill(s);
        int first_bits = tables->literal_bits;
        uint32_t entry = tables->literals[s->buffer & ((1u << first_bits) - 1)];
        if (!(entry & ANY_LITERAL) && (entry & SPECIAL) == SECOND)
            entry = tables->literals[(entry >> 16) + (s->buffer >> first_bits & ((1u << (MOST_BITS - first_bits)) - 1))];
        int bits = entry & 63;
        if (bits > s->count) return 0; /* behind the last literal are its block's end and the checksum */
        uint64_t before = s->buffer;
        s->buffer >>= bits;
        s->count -= bits;
        if (entry & ANY_LITERAL) {
            uint32_t literals = entry >> 6 & 3;
            if (s->out_end - s->out < (int64_t)literals) return 0;
            for (entry >>= 8; literals; literals--, entry >>= 8) *s->out++ = (uint8_t)entry;
            continue;
        }
        if (entry & SPECIAL) return (entry & SPECIAL) == END;
        uint32_t length = with_extra(entry, before);
        refill(s);
        entry = tables->distances[s->buffer & ((1 << DISTANCE_BITS) - 1)];
        if ((entry & SPECIAL) == SECOND)
            entry = tables->distances[(entry >> 16) + (s->buffer >> DISTANCE_BITS & ((1 << (MOST_BITS - DISTANCE_BITS)) - 1))];
        bits = entry & 63;
        if (entry & SPECIAL || bits > s->count) return 0;
        uint32_t distance = with_extra(entry, s->buffer);
        s->buffer >>= bits;
        s->count -= bits;
        if (is_too_far(s, s->out, distance) || length > s->out_end - s->out) return 0;
        for (; length; length--, s->out++) *s->out = s->out[-(int64_t)distance];
    }
}

/* The entry at an offset in bytes. */
static inline uint32_t entry_at(const uint32_t *table, uint64_t offset) {
    uint32_t entry;
    memcpy(&entry, (const uint8_t *)table + offset, sizeof entry);
    return entry;
}

/* The symbols of a block. The buffer keeps two bits that were taken already below the next ones: what follows is four
   times an index, an offset in bytes. Addresses that need no scaling are found a cycle sooner on some processors, and
   each entry waits for the one before it. For the same reason no entry waits for a refill: after one, 62 bits are those
   of the stream, whatever `count` says, and at most 48 are taken before the next one. What is left tells the next entry,
   which is looked up before the refill. */
static int read_symbols(Stream *s, const Tables *tables) {
    enum { TAKEN = 2, DISTANCE_MASK = ((1 << DISTANCE_BITS) - 1) << TAKEN, TIMES = 4 };
    const uint32_t *literals = tables->literals;
    uint32_t first_bits = (uint32_t)tables->literal_bits, mask = ((1u << first_bits) - 1) << TAKEN;
    if (s->count > 63 - TAKEN) { /* a byte goes back, to make room for them */
        s->in--;
        s->count -= 8;
    }
    const uint8_t *in = s->in;
    uint8_t *out = s->out;
    uint64_t buffer = s->buffer << TAKEN;
    uint32_t count = (uint32_t)s->count + TAKEN, entry;
    int going = 1;

#define REFILL                         \
    do {                               \
        uint64_t word;                 \
        memcpy(&word, in, 8);          \
        buffer |= word << count;       \
        in += (63 - count) >> 3;       \
        count |= 56;                   \
    } while (0)
#define TAKE                           \
    do {                               \
        buffer >>= entry & 63;         \
        count -= entry & 63;           \
    } while (0)
#define WRITE_LITERALS(entry)          \
    do {                               \
        uint32_t bytes = (entry) >> 8; \
        memcpy(out, &bytes, 4);        \
        out += (entry) >> 6 & 3;       \
    } while (0)

    if (s->in_end - s->in >= READ_AHEAD && s->out_end - s->out >= WRITE_AHEAD) {
        const uint8_t *in_end = s->in_end - READ_AHEAD, *out_end = s->out_end - WRITE_AHEAD;
        _Static_assert(64 - TAKEN - TIMES * LITERAL_BITS >= LITERAL_BITS, "literals leave the bits of the next entry");
        _Static_assert(64 - TAKEN - MATCH_BITS >= LITERAL_BITS, "so does a match");
        REFILL;
        entry = entry_at(literals, buffer & mask);
        while (in <= in_end && out <= out_end) {
            REFILL;
            int times = 0;
            for (; times < TIMES && entry & ANY_LITERAL; times++) {
                uint32_t before = entry;
                TAKE;
                entry = entry_at(literals, buffer & mask); /* ahead of the writing: what follows waits for it */
                WRITE_LITERALS(before);
            }
            if (times == TIMES) continue;
            REFILL;
            if (entry & SPECIAL) {
                if ((entry & SPECIAL) == SECOND) {
                    entry = literals[(entry >> 16) + (buffer >> (first_bits + TAKEN) & ((1u << (MOST_BITS - first_bits)) - 1))];
                    if (entry & ANY_LITERAL) {
                        uint32_t before = entry;
                        TAKE;
                        entry = entry_at(literals, buffer & mask);
                        WRITE_LITERALS(before);
                        continue;
                    }
                }
                if (entry & SPECIAL) {
                    going = 0;
                    if ((entry & SPECIAL) != END) return 0;
                    TAKE;
                    break;
                }
            }
            uint32_t length = with_extra(entry, buffer >> TAKEN);
            TAKE;
            entry = entry_at(tables->distances, buffer & DISTANCE_MASK);
            if (entry & SPECIAL) {
                if ((entry & SPECIAL) != SECOND) return 0;
                entry = tables->distances[(entry >> 16) +
                                          (buffer >> (DISTANCE_BITS + TAKEN) & ((1 << (MOST_BITS - DISTANCE_BITS)) - 1))];
                if (entry & SPECIAL) return 0;
            }
            uint32_t distance = with_extra(entry, buffer >> TAKEN);
            TAKE;
            entry = entry_at(literals, buffer & mask);
            if (is_too_far(s, out, distance)) return 0;
            copy_match(out, distance, length);
            out += length;
        }
    }
    s->in = in;
    s->out = out;
    s->buffer = buffer >> TAKEN;
    s->count = (int)(count - TAKEN);
    return going ? read_slowly(s, tables) : 1;
}

static int read_stored(Stream *s) {
    s->in -= s->count >> 3; /* whole bytes go back */
    s->buffer = 0;
    s->count = 0;
    if (s->in_end - s->in < 4) return 0;
    uint16_t length, complement;
    memcpy(&length, s->in, 2);
    memcpy(&complement, s->in + 2, 2);
    s->in += 4;
    if ((length ^ complement) != 0xffff || s->in_end - s->in < length || s->out_end - s->out < length) return 0;
    memcpy(s->out, s->in, length);
    s->in += length;
    s->out += length;
    return 1;
}

static int build_both(Tables *tables, const uint8_t *lengths, int literals, const uint8_t *distance_lengths, int distances,
                      int join) {
    Code code;
    tables->literal_bits = join ? LITERAL_BITS : FEW_BITS;
    if (!build(tables->distances, DISTANCE_BITS, MOST_BITS, distance_lengths, distances, &code, 1, distance_meaning) ||
        !build(tables->literals, tables->literal_bits, MOST_BITS, lengths, literals, &code, 1, literal_meaning))
        return 0;
    if (join) join_literals(tables->literals, &code);
    return 1;
}

/* The tables of a block that brings its own codes. */
static int read_codes(Stream *s, Tables *tables, int join) {
    static const uint8_t order[LENGTH_SYMBOLS] = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};
    uint8_t lengths[LITERALS + DISTANCES], precode_lengths[LENGTH_SYMBOLS] = {0};
    Code code;
    uint32_t precode[1 << PRECODE_BITS], literals, distances, sent, value;
    if (!take(s, 5, &literals) || !take(s, 5, &distances) || !take(s, 4, &sent)) return 0;
    literals += 257;
    distances += 1;
    if (literals > LITERALS || distances > DISTANCES) return 0;
    for (uint32_t i = 0; i < sent + 4; i++) {
        if (!take(s, 3, &value)) return 0;
        precode_lengths[order[i]] = (uint8_t)value;
    }
    if (!build(precode, PRECODE_BITS, PRECODE_BITS, precode_lengths, LENGTH_SYMBOLS, &code, 0, length_meaning)) return 0;
    uint32_t total = literals + distances;
    for (uint32_t i = 0; i < total;) {
        refill(s);
        uint32_t entry = precode[s->buffer & ((1 << PRECODE_BITS) - 1)], symbol = entry >> 16, times, repeated = 0;
        int bits = entry & 63;
        if (bits > s->count) return 0;
        s->buffer >>= bits;
        s->count -= bits;
        if (symbol < 16) {
            lengths[i++] = (uint8_t)symbol;
            continue;
        }
        if (!take(s, symbol == 16 ? 2 : symbol == 17 ? 3 : 7, &times)) return 0;
        times += symbol == 18 ? 11 : 3;
        if (symbol == 16) {
            if (!i) return 0;
            repeated = lengths[i - 1];
        }
        if (times > total - i) return 0;
        memset(lengths + i, (int)repeated, times);
        i += times;
    }
    return lengths[END_OF_BLOCK] && build_both(tables, lengths, (int)literals, lengths + literals, (int)distances, join);
}

static int fixed_codes(Tables *tables, int join) {
    uint8_t lengths[288], distance_lengths[32];
    memset(lengths, 8, 144);
    memset(lengths + 144, 9, 112);
    memset(lengths + 256, 7, 24);
    memset(lengths + 280, 8, 8);
    memset(distance_lengths, 5, 32);
    return build_both(tables, lengths, 288, distance_lengths, 32, join);
}

/* in: a zlib stream, perhaps with bytes behind it. Returns how many bytes it gives; -1 where zlib refuses it, where it is
   cut off, looks back beyond its window, or gives more than `room` bytes. */
EXPORT int64_t int8cal_inflate(const uint8_t *in, int64_t size, uint8_t *out, int64_t room) {
    begin_kernel();
    if (size < 2 || (in[0] & 0x8f) != 8 || (in[0] << 8 | in[1]) % 31 || in[1] & 0x20) return -1;
    Tables tables;
    Stream s = {in + 2, in + size, 0, 0, out, out, out + room, 256u << (in[0] >> 4)};
    int fixed = 0, join = 1;
    uint32_t last, kind;
    do {
        if (!take(&s, 1, &last) || !take(&s, 2, &kind)) return -1;
        const uint8_t *begin = s.out;
        if (kind == 0) {
            if (!read_stored(&s)) return -1;
            continue;
        }
        if (kind == 3) return -1;
        if (kind == 2 || !fixed) {
            if (!(kind == 2 ? read_codes(&s, &tables, join) : fixed_codes(&tables, join))) return -1;
            fixed = kind == 1;
        }
        if (!read_symbols(&s, &tables)) return -1;
        join = s.out - begin >= LONG_BLOCK;
    } while (!last);
    s.in -= s.count >> 3;
    if (s.in_end - s.in < 4) return -1;
    Adler adler = {1, 0};
    for (int64_t at = 0; at < s.out - out; at += 1 << 20)
        add_to_adler(&adler, out + at, s.out - out - at < 1 << 20 ? (int)(s.out - out - at) : 1 << 20);
    uint32_t expected = (uint32_t)s.in[0] << 24 | (uint32_t)s.in[1] << 16 | (uint32_t)s.in[2] << 8 | s.in[3];
    return expected == (uint32_t)(adler.b << 16 | adler.a) ? s.out - out : -1;
}
