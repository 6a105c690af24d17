/* bev_sample.c - see bev_sample.h. */
#include "bev_sample.h"

#include <math.h>
#include <stdbool.h>

enum { PLACES = 2048, PERIOD = 1000003 };

static uint32_t next(uint32_t *state)
{
    *state = *state * 1664525 + 1013904223;
    return *state >> 8;
}

void bev_sample_fill(half_bits *x, size_t count)
{
    uint32_t state = 1;
    for (size_t i = 0; i < count && i < PERIOD; i++)
        x[i] = half_from_float((float)next(&state) * 0x1p-23f - 1);
    for (size_t i = PERIOD; i < count; i++)
        x[i] = x[i - PERIOD];
}

static double value_at(const struct bev_sample *s, int y, int column, int row)
{
    const struct bev_layer *l = s->layer;
    const int k = l->kernel;
    double sum = half_to_float(s->bias[row]);
    for (int tap = 0; tap < k * k; tap++) {
        const int v = y * l->stride + tap / k - k / 2, u = column * l->stride + tap % k - k / 2;
        if (v < 0 || u < 0 || v >= s->side || u >= s->side)
            continue;
        const half_bits *x = s->x + ((size_t)v * (size_t)s->side + (size_t)u) * (size_t)s->channels;
        const half_bits *w = s->w + ((size_t)row * (size_t)(k * k) + (size_t)tap) *
                                        (size_t)s->channels;
        for (int c = 0; c < s->channels; c++)
            sum += (double)half_to_float(x[c]) * half_to_float(w[c]);
    }
    if (l->relu && sum < 0)
        sum = 0;
    if (l->residual)
        sum += half_to_float(s->x[((size_t)y * (size_t)s->side + (size_t)column) *
                                      (size_t)s->channels + (size_t)row]);
    return sum;
}

long bev_sample_wrong(const struct bev_sample *s)
{
    const int side = s->side / s->layer->stride;
    const size_t count = (size_t)side * (size_t)side * (size_t)s->rows;
    double want[PLACES], square = 0;
    size_t at[PLACES];
    uint32_t state = 7;
    long wrong = 0;
    for (size_t i = 0; i < count; i++)
        wrong += (s->y[i] & 0x7c00) == 0x7c00;
    for (int i = 0; i < PLACES; i++) {
        const bool corner = i < 64;
        const int y = corner ? (i & 1 ? side - 1 : 0) : (int)(next(&state) % (uint32_t)side);
        const int column = corner ? (i & 2 ? side - 1 : 0) : (int)(next(&state) % (uint32_t)side);
        const int row = (int)(next(&state) % (uint32_t)s->rows);
        at[i] = ((size_t)y * (size_t)side + (size_t)column) * (size_t)s->rows + (size_t)row;
        want[i] = value_at(s, y, column, row);
        square += want[i] * want[i];
    }
    const double size = sqrt(square / PLACES);
    for (int i = 0; i < PLACES; i++)
        wrong += fabs(half_to_float(s->y[at[i]]) - want[i]) > .02 * (fabs(want[i]) + size);
    return wrong;
}
