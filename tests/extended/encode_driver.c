/* The encoder under sanitizers: COUNT images of many kinds through it, most of them small, inflated by zlib and compared.

       cc -g -O1 -fsanitize=address,undefined -fno-sanitize-recover=all encode_driver.c encode.c -lz
       ./a.out COUNT SEED

   Prints how many images, how many of them with too little room, how many were left to another compressor, and a
   checksum of all streams and of which images were left: the same on every processor, whatever the work memory holds.
   Built with -DNO_ZLIB it only prints, for architectures of which no zlib is at hand. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifndef NO_ZLIB
#include <zlib.h>
#endif

typedef struct {
    int64_t length[4];
    uint32_t adler;
    int32_t finite;
} Chunk;
int64_t int8cal_encode_work_bytes(void);
int int8cal_encode(const float *values, int64_t channels, int64_t per_channel, uint8_t *out, int64_t room, int always,
                   void *memory, Chunk *chunk);

static uint64_t state;
static uint32_t any(uint32_t below) {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)((state >> 33) * below >> 31);
}

/* Random bits, levels, runs, a walk, few levels, one value, repetitions, rare levels side by side: of float32. */
static void fill(float *values, int64_t count) {
    uint32_t kind = any(8), period = 1 + any(300), mask = any(4) ? 0xffffe000u : 0xffffffffu, level = any(256);
    uint32_t run = any(2) ? 20 : 400; /* about so long */
    for (int64_t i = 0; i < count; i++) {
        uint32_t bits;
        float value;
        if (kind == 2 && any(run)) level = level; /* a run goes on */
        else if (kind == 3) level = (level + any(5) + 254) & 255;
        else if (kind == 7) level = any(i % 64 < 8 ? 256 : 4);
        else if (kind != 5) level = any(kind == 4 ? 3 : 256);
        value = (float)level / 255.0f;
        memcpy(&bits, &value, 4);
        if (kind == 0) bits = any(65536) << 16 | any(65536);
        bits &= mask;
        if (kind == 6 && i >= period) memcpy(&bits, values + i - period, 4);
        memcpy(values + i, &bits, 4);
    }
}

int main(int argc, char **argv) {
    int64_t images = argc > 1 ? atoll(argv[1]) : 1000, refused = 0, left = 0;
    state = argc > 2 ? (uint64_t)atoll(argv[2]) : 1;
    uint64_t sum = 0xcbf29ce484222325ull;
    void *work = malloc((size_t)int8cal_encode_work_bytes());
    for (int64_t image = 0; image < images; image++) {
        /* now and then one that has several blocks, or whose samples decide whether it is left to others; memory of just
           the right size, so that a step over it is seen */
        int64_t channels = 1 + any(4), each = any(500) ? 1 + any(any(8) ? 90 : 900) : 17000 + any(60000);
        int sampled = !any(50);
        if (sampled) channels = 1 + any(6), each = any(2) ? 2000 + any(12000) : any(2) ? 12000 + any(20000) : 120000 + any(20000);
        int64_t count = channels * each, room = any(10) ? count + count / 4 + 4096 : (int64_t)any((uint32_t)count + 1200);
        float *values = malloc(4 * (size_t)count);
        uint8_t *out = malloc(4 * (size_t)room + !room);
        Chunk chunk;
        fill(values, count);
        if (!any(20)) memset(work, (int)any(256), (size_t)int8cal_encode_work_bytes());
        int always = !sampled && any(3) > 0, status = int8cal_encode(values, channels, each, out, room, always, work, &chunk);
        if (status == 1 && !always) {
            left++;
        } else if (status) {
            if (room >= count + count / 4 + 4096) return fprintf(stderr, "image %ld: refused\n", (long)image), 1;
            refused++;
        }
        sum = (sum ^ (uint64_t)(status + 2)) * 0x100000001b3ull;
        for (int k = 0; k < 4 && !status; k++) {
            if (chunk.length[k] < 0 || chunk.length[k] > room) return fprintf(stderr, "image %ld: length\n", (long)image), 1;
            for (int64_t i = 0; i < chunk.length[k]; i++) sum = (sum ^ out[k * room + i]) * 0x100000001b3ull;
            sum = (sum ^ chunk.adler) * 0x100000001b3ull;
        }
#ifndef NO_ZLIB
        uint8_t *plane = malloc((size_t)count), *read = malloc((size_t)count + 1);
        uLong adler = adler32(0, NULL, 0);
        for (int k = 0; k < 4 && !status; k++) {
            for (int64_t i = 0; i < count; i++) plane[i] = ((const uint8_t *)values)[4 * i + k];
            adler = adler32(adler, plane, (uInt)count);
            if (!chunk.length[k]) {
                for (int64_t i = 0; i < count; i++)
                    if (plane[i]) return fprintf(stderr, "image %ld: no zeros\n", (long)image), 1;
                continue;
            }
            z_stream stream;
            memset(&stream, 0, sizeof stream);
            inflateInit2(&stream, -15);
            stream.next_in = out + k * room, stream.avail_in = (uInt)chunk.length[k];
            stream.next_out = read, stream.avail_out = (uInt)count + 1;
            int end = inflate(&stream, Z_SYNC_FLUSH);
            if (end != (k == 3 ? Z_STREAM_END : Z_OK) || stream.total_out != (uLong)count || stream.avail_in ||
                memcmp(plane, read, (size_t)count))
                return fprintf(stderr, "image %ld, plane %d: differs (%d)\n", (long)image, k, end), 1;
            inflateEnd(&stream);
        }
        for (int64_t i = 0; i < count && !status; i++)
            if (chunk.finite && !(values[i] - values[i] == 0)) return fprintf(stderr, "image %ld: finite\n", (long)image), 1;
        if (!status && adler != chunk.adler) return fprintf(stderr, "image %ld: Adler-32\n", (long)image), 1;
        free(plane);
        free(read);
#endif
        free(values);
        free(out);
    }
    free(work);
    printf("%ld images, %ld with too little room, %ld left to others, streams %016llx\n", (long)images, (long)refused,
           (long)left, (unsigned long long)sum);
    return 0;
}
