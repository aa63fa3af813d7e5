/* Pixels 0..255 -> float32 values by tables, channels first: as they are, or resized (preprocess/normalise.py and
   resample.py say what and why; each rounding here is one there). Compiled without contraction of products and sums. */
#include "kernels.h"

/* An image of bytes: distances in bytes between rows, pixels and channels. */
typedef struct {
    const uint8_t *bytes;
    int64_t channels, row, pixel, channel;
} Picture;

/* Two values by one store. Compilers do not join them by themselves, and some processors make only one store a cycle. */
static inline void put_two(float *to, float first, float second) {
    float both[2] = {first, second};
    memcpy(to, both, sizeof both);
}

/* A row, as far as it goes in threes of channels and then one by one; columns: which pixels, or 0 for all in order. */
static inline void look_up_row(const Picture *picture, const uint8_t *row, const int64_t *columns, int64_t width,
                               const float *tables, int64_t table_step, float *out, int64_t out_channel) {
    int64_t step = picture->pixel, next = picture->channel, c = 0;
    for (; c + 3 <= picture->channels; c += 3) { /* together: a third of the loops */
        const uint8_t *from = row + c * next;
        const float *one = tables + table_step * c, *two = one + table_step, *three = two + table_step;
        float *to = out + c * out_channel, *to_two = to + out_channel, *to_three = to_two + out_channel;
        int64_t x = 0;
        for (; x + 2 <= width; x += 2) {
            const uint8_t *pixel = from + (columns ? columns[x] : x) * step;
            const uint8_t *right = from + (columns ? columns[x + 1] : x + 1) * step;
            put_two(to + x, one[pixel[0]], one[right[0]]);
            put_two(to_two + x, two[pixel[next]], two[right[next]]);
            put_two(to_three + x, three[pixel[2 * next]], three[right[2 * next]]);
        }
        for (; x < width; x++) {
            const uint8_t *pixel = from + (columns ? columns[x] : x) * step;
            to[x] = one[pixel[0]];
            to_two[x] = two[pixel[next]];
            to_three[x] = three[pixel[2 * next]];
        }
    }
    for (; c < picture->channels; c++) {
        const uint8_t *from = row + c * next;
        const float *table = tables + table_step * c;
        float *to = out + c * out_channel;
        for (int64_t x = 0; x < width; x++) to[x] = table[from[(columns ? columns[x] : x) * step]];
    }
}

/* rows, columns: which of the picture's, height and width of them; or both 0 for all in order. Distances in values: of
   the channels' tables (0: one for all), of channels and rows of `out`, whose last axis is contiguous. */
EXPORT void int8cal_look_up(const Picture *picture, const int64_t *rows, const int64_t *columns, int64_t height,
                            int64_t width, const float *tables, int64_t table_step, float *out, int64_t out_channel,
                            int64_t out_row) {
    begin_kernel();
    for (int64_t y = 0; y < height; y++, out += out_row) {
        const uint8_t *row = picture->bytes + (rows ? rows[y] : y) * picture->row;
        if (columns)
            look_up_row(picture, row, columns, width, tables, table_step, out, out_channel);
        else
            look_up_row(picture, row, 0, width, tables, table_step, out, out_channel);
    }
}

/* For each output position two input positions and the weight of the second. */
typedef struct {
    const int64_t *low, *high;
    const float *fraction;
} Axis;

/* One row at all columns: of `group` channels from the c-th on, `width` values each. */
static inline void across(const Picture *picture, int64_t y, int64_t c, int group, const float *table, const Axis *columns,
                          int64_t width, float *out) {
    const uint8_t *from = picture->bytes + y * picture->row + c * picture->channel;
    int64_t step = picture->pixel, next = picture->channel;
    for (int64_t x = 0; x < width; x++) {
        const uint8_t *low = from + columns->low[x] * step, *high = from + columns->high[x] * step;
        float fraction = columns->fraction[x];
        for (int k = 0; k < group; k++) {
            float first = table[low[k * next]], second = table[high[k * next]];
            second -= first;
            second *= fraction;
            out[k * width + x] = first + second;
        }
    }
}

/* Between two rows; rounded to half precision if asked to, as preprocess/half.py does it. */
static inline void between(const float *upper, const float *lower, float fraction, int64_t width, int half, float *out) {
    for (int64_t x = 0; x < width; x++) {
        float over = lower[x] - upper[x];
        over *= fraction;
        float value = upper[x] + over;
        if (half) {
            int32_t bits, smallest_normal = 0x38800000; /* of half precision; positive floats are ordered as their bits */
            float shift;
            memcpy(&bits, &value, 4);
            bits &= 0x7f800000;
            bits = bits > smallest_normal ? bits : smallest_normal;
            memcpy(&shift, &bits, 4);
            shift *= 0x1.8p13f;
            value += shift;
            value -= shift;
        }
        out[x] = value;
    }
}

static inline void resize_group(const Picture *picture, int64_t c, int group, const float *table, const Axis *rows,
                                const Axis *columns, int64_t height, int64_t width, int half, float *out, float *lines) {
    float *upper = lines, *lower = lines + group * width;
    int64_t upper_row = -1, lower_row = -1;
    for (int64_t y = 0; y < height; y++) {
        if (upper_row != rows->low[y]) {
            if (lower_row == rows->low[y]) {
                float *other = upper;
                upper = lower;
                lower = other;
                lower_row = -1;
            } else {
                across(picture, rows->low[y], c, group, table, columns, width, upper);
            }
            upper_row = rows->low[y];
        }
        if (lower_row != rows->high[y]) {
            if (rows->high[y] == upper_row)
                memcpy(lower, upper, sizeof(float) * (size_t)(group * width));
            else
                across(picture, rows->high[y], c, group, table, columns, width, lower);
            lower_row = rows->high[y];
        }
        for (int k = 0; k < group; k++) {
            float *to = out + ((c + k) * height + y) * width;
            const float *above = upper + k * width, *below = lower + k * width;
            if (half)
                between(above, below, rows->fraction[y], width, 1, to);
            else
                between(above, below, rows->fraction[y], width, 0, to);
        }
    }
}

/* out: channels x height x width, contiguous. half: round to half precision. lines: room for 6 x width values. */
EXPORT void int8cal_resize(const Picture *picture, const float *table, const Axis *rows, const Axis *columns,
                           int64_t height, int64_t width, int half, float *out, float *lines) {
    begin_kernel();
    int64_t c = 0;
    for (; c + 3 <= picture->channels; c += 3)
        resize_group(picture, c, 3, table, rows, columns, height, width, half, out, lines);
    for (; c < picture->channels; c++)
        resize_group(picture, c, 1, table, rows, columns, height, width, half, out, lines);
}
