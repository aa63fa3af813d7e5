/* The kernels for PNG under sanitizers: streams by zlib, most of them damaged, cut or with little room, against zlib;
   and rows against filters undone byte by byte. Memory is of exactly the size that is needed.    driver STREAMS SEED */
#include <stdio.h>
#include <zlib.h>

#include "inflate.c"
#include "unfilter.c"
#include "driver.h"

static void fill(uint8_t *bytes, int64_t count) {
    int64_t kind = drawn(0, 4), period = drawn(1, 300), spread = drawn(1, 40);
    for (int64_t i = 0; i < count; i++)
        bytes[i] = (uint8_t)(kind == 0   ? drawn(0, 255)
                             : kind == 1 ? drawn(0, spread) - drawn(0, spread)
                             : kind == 2 ? drawn(0, 30) ? i / period : drawn(0, 255)
                             : kind == 3 ? drawn(0, 3) * 77
                                         : 0);
    if (!drawn(0, 2))
        for (int64_t i = period; i < count; i++) bytes[i] = drawn(0, 60) ? bytes[i - period] : bytes[i];
}

/* What zlib makes of a stream: as int8cal_inflate. `used`: bytes of the deflate blocks, when it has checked none. It is
   asked for `step` bytes at a time; beyond the window, zlib looks back only among those that it gives together. */
static int64_t by_zlib(const uint8_t *in, int64_t size, uint8_t *out, int64_t most, int64_t step, int bits, int64_t *used) {
    z_stream stream;
    memset(&stream, 0, sizeof stream);
    if (inflateInit2(&stream, bits) != Z_OK) exit(2);
    uint8_t spare;
    stream.next_in = (uint8_t *)in, stream.avail_in = (uInt)size;
    stream.next_out = most ? out : &spare;
    int end;
    do {
        int64_t left = most - (int64_t)stream.total_out;
        stream.avail_out = (uInt)(left < step ? left : step);
        end = inflate(&stream, Z_SYNC_FLUSH);
    } while (end == Z_OK);
    *used = size - stream.avail_in;
    int64_t total = (int64_t)stream.total_out;
    inflateEnd(&stream);
    return end == Z_STREAM_END ? total : -1;
}

static int stream_differs(int64_t *taken) {
    int64_t count = drawn(0, 20) ? drawn(0, drawn(0, 5) ? 90 : 1500) : drawn(0, 70000), used;
    int window = (int)drawn(0, 3) ? 15 : (int)drawn(8, 14);
    int64_t most = count + 1000, bound = (int64_t)compressBound((uLong)count) + 100 + 12 * count, size;
    uint8_t *data = room(count), *packed = room(bound), *read = room(most);
    fill(data, count);
    z_stream deflater;
    memset(&deflater, 0, sizeof deflater);
    if (deflateInit2(&deflater, (int)drawn(0, 9), Z_DEFLATED, 15, (int)drawn(1, 9), (int)drawn(0, 4)) != Z_OK) exit(2);
    deflater.next_in = data, deflater.avail_in = (uInt)(count / 2);
    deflater.next_out = packed, deflater.avail_out = (uInt)bound;
    if (deflate(&deflater, drawn(0, 2) ? Z_NO_FLUSH : Z_FULL_FLUSH) == Z_STREAM_ERROR) exit(2);
    deflater.avail_in += (uInt)(count - count / 2);
    if (deflate(&deflater, Z_FINISH) != Z_STREAM_END) exit(2);
    size = (int64_t)deflater.total_out;
    deflateEnd(&deflater);
    packed[0] = (uint8_t)((window - 8) << 4 | 8); /* of zlib's stream, which may well look back further */
    packed[1] = (uint8_t)((packed[1] & 0xe0) + 31 - ((packed[0] << 8) + (packed[1] & 0xe0)) % 31);
    for (int64_t flips = drawn(0, 4) ? drawn(1, 3) : 0; flips; flips--)
        packed[drawn(0, 3) ? drawn(2, size - 1) : drawn(2, size < 60 ? size - 1 : 60)] ^= (uint8_t)(1 << drawn(0, 7));
    if (!drawn(0, 5)) size = drawn(0, size);
    if (!drawn(0, 5))
        for (int64_t more = drawn(1, 20); more; more--) packed[size++] = (uint8_t)drawn(0, 255);
    if (size > 6 && drawn(0, 3)) { /* the checksum of what the blocks give */
        int64_t total = by_zlib(packed + 2, size - 2, read, most, most + 1, -15, &used);
        if (total >= 0 && used + 6 <= size) {
            uLong sum = adler32(1, read, (uInt)total);
            for (int k = 0; k < 4; k++) packed[used + 2 + k] = (uint8_t)(sum >> (24 - 8 * k));
        }
    }
    if (!drawn(0, 3)) most = drawn(0, count + 20);
    uint8_t *in = room(size), *out = room(most);
    memcpy(in, packed, (size_t)size);
    int64_t step = window < 15 ? 1 : most + 1, expected = by_zlib(in, size, read, most, step, 0, &used);
    int64_t found = int8cal_inflate(in, size, out, most);
    int wrong = expected != found || (found > 0 && memcmp(read, out, (size_t)found));
    *taken += found >= 0;
    free(data), free(packed), free(read), free(in), free(out);
    return wrong;
}

static int rows_differ(void) {
    int64_t step = drawn(1, 4), height = drawn(1, 5), width = drawn(1, 40), wanted = drawn(1, height);
    int64_t row = width * step, bytes = drawn(1, width) * step, alike = drawn(-1, 4);
    uint8_t *rows = room(height * (row + 1)), *zeros = room(bytes), *out = room(wanted * bytes);
    uint8_t *expected = room(wanted * bytes);
    memset(zeros, 0, (size_t)bytes);
    int known = 1;
    for (int64_t i = 0; i < height * (row + 1); i++) rows[i] = (uint8_t)drawn(0, 255);
    for (int64_t y = 0; y < height; y++) {
        uint8_t *filter = rows + y * (row + 1);
        *filter = (uint8_t)(alike >= 0 ? alike : drawn(0, 40) ? drawn(0, 4) : drawn(5, 255));
        known &= *filter <= 4;
    }
    for (int64_t y = 0; y < wanted; y++)
        for (int64_t x = 0; x < bytes; x++) {
            int left = x < step ? 0 : expected[y * bytes + x - step], above = y ? expected[(y - 1) * bytes + x] : 0;
            int corner = x < step || !y ? 0 : expected[(y - 1) * bytes + x - step], filter = rows[y * (row + 1)];
            int estimate = left + above - corner, nearest = left;
            if (abs(estimate - above) < abs(estimate - nearest)) nearest = above;
            if (abs(estimate - corner) < abs(estimate - nearest)) nearest = corner;
            int guess = filter == 1 ? left : filter == 2 ? above : filter == 3 ? (left + above) / 2 : filter == 4 ? nearest : 0;
            expected[y * bytes + x] = (uint8_t)(rows[y * (row + 1) + 1 + x] + guess);
        }
    int found = int8cal_unfilter(rows, height, row, step, wanted, bytes, zeros, out);
    int wrong = found != known || (known && memcmp(out, expected, (size_t)(wanted * bytes)));
    free(rows), free(zeros), free(out), free(expected);
    return wrong;
}

int main(int count, char **arguments) {
    if (count != 3) return 2;
    int64_t streams = atoll(arguments[1]), taken = 0;
    state = (uint64_t)atoll(arguments[2]) * 2654435761u + 1;
    for (int64_t n = 0; n < streams; n++) {
        uint64_t before = state;
        if (stream_differs(&taken)) return printf("stream %lld differs (state %llx)\n", (long long)n, (unsigned long long)before), 1;
        if (rows_differ()) return printf("rows %lld differ\n", (long long)n), 1;
    }
    printf("%lld streams, of which zlib takes %lld\n", (long long)streams, (long long)taken);
    return 0;
}
