/* bev_sample.c - see bev_sample.h. */
#include "bev_sample.h"

#include <math.h>
#include <stdbool.h>

static uint32_t next(uint32_t *state)
{
    *state = *state * 1664525 + 1013904223;
    return *state >> 8;
}

void bev_sample_fill(half_bits *x, size_t count)
{
    uint32_t state = 1;
    for (size_t i = 0; i < count && i < BEV_PERIOD; i++)
        x[i] = half_from_float((float)next(&state) * 0x1p-23f - 1);
}

static size_t element(const struct bev_sample *s, int y, int column, int channel)
{
    return ((size_t)y * (size_t)s->side + (size_t)column) * (size_t)s->channels + (size_t)channel;
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
        const half_bits *w = s->w + ((size_t)row * (size_t)(k * k) + (size_t)tap) *
                                        (size_t)s->channels;
        size_t x = element(s, v, u, 0) % BEV_PERIOD;
        for (int c = 0; c < s->channels; c++, x = x + 1 < BEV_PERIOD ? x + 1 : 0)
            sum += (double)half_to_float(s->x[x]) * half_to_float(w[c]);
    }
    if (l->relu && sum < 0)
        sum = 0;
    if (l->residual)
        sum += half_to_float(s->x[element(s, y, column, row) % BEV_PERIOD]);
    return sum;
}

void bev_sample_expect(const struct bev_sample *s, struct bev_expected *e)
{
    const int side = s->side / s->layer->stride;
    double square = 0;
    uint32_t state = 7;
    for (int i = 0; i < BEV_PLACES; i++) {
        const bool corner = i < 64;
        const int y = corner ? (i & 1 ? side - 1 : 0) : (int)(next(&state) % (uint32_t)side);
        const int column = corner ? (i & 2 ? side - 1 : 0) : (int)(next(&state) % (uint32_t)side);
        const int row = (int)(next(&state) % (uint32_t)s->rows);
        e->at[i] = ((uint64_t)y * (uint64_t)side + (uint64_t)column) * (uint64_t)s->rows +
                   (uint64_t)row;
        e->value[i] = value_at(s, y, column, row);
        square += e->value[i] * e->value[i];
    }
    e->size = sqrt(square / BEV_PLACES);
}

long bev_sample_wrong(const struct bev_expected *e, const half_bits got[BEV_PLACES])
{
    long wrong = 0;
    for (int i = 0; i < BEV_PLACES; i++)
        wrong += !(fabs(half_to_float(got[i]) - e->value[i]) <=
                   .02 * (fabs(e->value[i]) + e->size));
    return wrong;
}
