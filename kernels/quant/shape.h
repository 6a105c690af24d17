/*
 * shape.h - how many threads share a row, for quant_rows of own_sm90.cu.
 *
 * A row is vectors of 8 halves.  A cluster of `blocks` blocks of `threads` threads takes a row,
 * each thread `vectors` of it at most, and keeps them in registers: the row is read once.
 */
#ifndef KERNELS_QUANT_SHAPE_H
#define KERNELS_QUANT_SHAPE_H

#include "../common/hd.h"
#include "quant.h"

enum { QUANT_VECTOR = 8, QUANT_THREADS_MAX = 512, QUANT_BLOCKS_MAX = 8 };

struct quant_shape {
    int vectors; /* of a thread: 1, 2 or 4 */
    int blocks;  /* of a cluster: 1, 2, 4 or 8 */
    int threads; /* of a block: a multiple of 32; 0: the row does not fit */
};

/* The shape with these vectors and blocks. */
HD struct quant_shape quant_shape_with(int n, int vectors, int blocks)
{
    const int count = (n + QUANT_VECTOR - 1) / QUANT_VECTOR, all = vectors * blocks;
    const int threads = ((count + all - 1) / all + 31) / 32 * 32;
    struct quant_shape s;
    s.vectors = vectors;
    s.blocks = blocks;
    s.threads = threads <= QUANT_THREADS_MAX ? threads : 0;
    return s;
}

/* Few rows: the latency of one counts, and as many loads as can be are in flight at once on
 * as many multiprocessors.  Many: 2 vectors a thread, blocks of 128 to 512 threads, so that
 * several rows of a multiprocessor are in different phases; clusters only for rows that a block
 * cannot hold. */
HD struct quant_shape quant_shape_of(const struct quant_problem *p)
{
    const int few = (double)p->m * p->n <= 132.0 * 2048 * QUANT_VECTOR;
    struct quant_shape s;
    s = quant_shape_with(p->n, few ? 1 : 2, 1);
    if (!s.threads)
        s = quant_shape_with(p->n, few ? 1 : 4, few ? 2 : 1);
    if (!s.threads)
        s = quant_shape_with(p->n, few ? 1 : 2, 4);
    if (!s.threads)
        s = quant_shape_with(p->n, few ? 1 : 2, 8);
    for (int v = 2; !s.threads && v <= 4; v *= 2)
        s = quant_shape_with(p->n, v, 8);
    return s;
}

#endif
