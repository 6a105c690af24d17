/*
 * bev_sample.h - whether what a library made of a layer is right, at some of its places.
 *
 * Of a library's many ways to do a layer, one that leaves places out would be the fastest.
 */
#ifndef BASELINES_BEV_SAMPLE_H
#define BASELINES_BEV_SAMPLE_H

#include "../kernels/bev/bev.h"

OP_BEGIN

enum { BEV_PLACES = 2048, BEV_PERIOD = 1000003 };

/* A layer and its operands in host memory: x [side][side][channels], of which element i is
 * x[i % BEV_PERIOD], w [rows][kernel][kernel][channels], bias [rows]; its result y
 * [side / stride][side / stride][rows] = relu(conv(x, w) + bias) + x, relu and + x as the layer has
 * them. */
struct bev_sample {
    const struct bev_layer *layer;
    int side, channels, rows;
    const half_bits *x, *w, *bias;
};

/* Elements of y at places drawn, corners among them, and what they are. */
struct bev_expected {
    uint64_t at[BEV_PLACES];
    double value[BEV_PLACES];
    double size; /* their root mean square */
};
void bev_sample_expect(const struct bev_sample *s, struct bev_expected *e);

/* How many of y[at[..]] are off by more than 2 % of themselves and of the root mean square, or not
 * a number. */
long bev_sample_wrong(const struct bev_expected *e, const half_bits got[BEV_PLACES]);

/* The first BEV_PERIOD of count halves from -1 to 1, the same in every call. */
void bev_sample_fill(half_bits *x, size_t count);

OP_END
#endif
