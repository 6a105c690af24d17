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

/*
 * Few rows: one latency counts, so a thread has little to do; what a multiprocessor can fetch
 * at a time shares rows of more than 64 KB among a cluster.  Many: as many bytes on their way
 * as registers hold, which 4 vectors a thread make more of than more threads would, and blocks
 * small enough that several rows of a multiprocessor are in different phases.
 */
HD struct quant_shape quant_shape_of(const struct quant_problem *p)
{
    const int few = (double)p->m * p->n <= 132.0 * 2048 * QUANT_VECTOR;
    struct quant_shape s = quant_shape_with(p->n, few ? 1 : 4, 1);
    if (!s.threads)
        s = quant_shape_with(p->n, few ? 2 : 4, few ? 1 : 2);
    for (int blocks = 2; !s.threads && blocks <= QUANT_BLOCKS_MAX; blocks *= 2)
        s = quant_shape_with(p->n, 2, blocks);
    return s;
}

#endif
