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
    int stays;   /* blocks of 4 full vectors a thread, not in a cluster, take row after row */
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
    s.stays = 1;
    return s;
}

/*
 * Few rows: one latency counts, so a thread has little to do and a cluster shares a row of
 * more than 8 KB.  Many: as many bytes on their way as registers hold, which 4 vectors a thread
 * make more of than more threads would, and blocks small enough that several rows of a
 * multiprocessor are in different phases; rows of more than 16 KB go to clusters, of 2 vectors a
 * thread where they are longer still.  The boundaries are those of a sweep on an H200.  Blocks
 * stay where they can: with a row a block 4096 rows of 4096 came to 75 % of the bandwidth, as a
 * block loads for less than half of its time.
 */
HD struct quant_shape quant_shape_of(const struct quant_problem *p)
{
    const double all = (double)p->m * p->n;
    struct quant_shape s;
    if (p->n <= 8192) {
        const int few = all <= 132.0 * 2048 * QUANT_VECTOR;
        s = few && p->n > 4096 && all <= 3e5 ? quant_shape_with(p->n, 1, 4)
                                             : quant_shape_with(p->n, few ? 1 : 4, 1);
        if (!s.threads)
            s = quant_shape_with(p->n, 2, 1);
    } else if (all <= 4.6e5) {
        s = quant_shape_with(p->n, 1, 8);
    } else if (p->n <= 12288) {
        s = quant_shape_with(p->n, all <= 4e6 ? 2 : 4, 2);
    } else {
        s = quant_shape_with(p->n, 2, p->n <= 20480 ? 4 : 8);
    }
    for (int blocks = 2; !s.threads && blocks <= QUANT_BLOCKS_MAX; blocks *= 2)
        s = quant_shape_with(p->n, 2, blocks);
    return s;
}

#endif
