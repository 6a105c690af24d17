/*
 * bev_sample.h - whether what a library made of a layer is right, at some of its places.
 *
 * Of a library's many ways to do a layer, one that leaves places out would be the fastest.
 */
#ifndef BASELINES_BEV_SAMPLE_H
#define BASELINES_BEV_SAMPLE_H

#include "../kernels/bev/bev.h"

OP_BEGIN

/* A layer and its operands in host memory: x [side][side][channels], w [rows][kernel][kernel]
 * [channels], bias [rows], y [side / stride][side / stride][rows] = relu(conv(x, w) + bias) + x,
 * relu and + x as the layer has them. */
struct bev_sample {
    const struct bev_layer *layer;
    int side, channels, rows;
    const half_bits *x, *w, *bias, *y;
};

/* How many elements of y are not finite, or at places drawn (corners are among them) off by more
 * than 2 % of themselves and of the root mean square of those. */
long bev_sample_wrong(const struct bev_sample *s);

/* count halves from -1 to 1, the same in every call. */
void bev_sample_fill(half_bits *x, size_t count);

OP_END
#endif
