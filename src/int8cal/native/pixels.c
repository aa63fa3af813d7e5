/* Pixels 0..255 -> float32 values by tables, channels first: as they are, or resized (preprocess/normalise.py and
   resample.py say what and why; each rounding here is one there). Compiled without contraction of products and sums. */
#include "kernels.h"

/* An image of bytes: distances in bytes between rows, pixels and channels. */
typedef struct {
    const uint8_t *bytes;
    int64_t height, width, channels, row, pixel, channel;
} Picture;

/* Distances in values: of the channels' tables (0: one for all), of channels and rows of `out`, whose last axis is
   contiguous. */
EXPORT void int8cal_look_up(const Picture *picture, const float *tables, float *out, int64_t table_step,
                            int64_t out_channel, int64_t out_row) {
    for (int64_t y = 0; y < picture->height; y++)
        for (int64_t c = 0; c < picture->channels; c++) {
            const uint8_t *from = picture->bytes + y * picture->row + c * picture->channel;
            const float *table = tables + table_step * c;
            float *to = out + c * out_channel + y * out_row;
            int64_t step = picture->pixel;
            for (int64_t x = 0; x < picture->width; x++) to[x] = table[from[x * step]];
        }
}

/* For each output position two input positions and the weight of the second. */
typedef struct {
    const int64_t *low, *high;
    const float *fraction;
} Axis;

static void across(const Picture *picture, int64_t y, int64_t c, const float *table, const Axis *columns, int64_t width,
                   float *out) {
    const uint8_t *from = picture->bytes + y * picture->row + c * picture->channel;
    int64_t step = picture->pixel;
    for (int64_t x = 0; x < width; x++) {
        float first = table[from[columns->low[x] * step]], second = table[from[columns->high[x] * step]];
        second -= first;
        second *= columns->fraction[x];
        out[x] = first + second;
    }
}

/* out: channels x height x width, contiguous. lines: room for 2 x width values. */
EXPORT void int8cal_resize(const Picture *picture, const float *table, const Axis *rows, const Axis *columns,
                           int64_t height, int64_t width, float *out, float *lines) {
    for (int64_t c = 0; c < picture->channels; c++) {
        float *upper = lines, *lower = lines + width;
        int64_t upper_row = -1, lower_row = -1;
        for (int64_t y = 0; y < height; y++) {
            if (upper_row != rows->low[y]) {
                if (lower_row == rows->low[y]) {
                    float *other = upper;
                    upper = lower;
                    lower = other;
                    lower_row = -1;
                } else {
                    across(picture, rows->low[y], c, table, columns, width, upper);
                }
                upper_row = rows->low[y];
            }
            if (lower_row != rows->high[y]) {
                if (rows->high[y] == upper_row)
                    memcpy(lower, upper, sizeof(float) * (size_t)width);
                else
                    across(picture, rows->high[y], c, table, columns, width, lower);
                lower_row = rows->high[y];
            }
            float fraction = rows->fraction[y], *to = out + (c * height + y) * width;
            for (int64_t x = 0; x < width; x++) {
                float over = lower[x] - upper[x];
                over *= fraction;
                to[x] = upper[x] + over;
            }
        }
    }
}
