/*
 * w4a8_strips.h - which problems of up to 8 tokens the kernel of strips takes, and how it
 * divides them.
 *
 * A block has as many strips of 16 channels as give every multiprocessor one block: nothing
 * passes between blocks.  Its ring and its X take half of a multiprocessor's memory, so that a
 * block of the next launch stands beside it, whose ring fills while this one ends.
 *
 * Scales of progressive groups act on sums (w4a8_layout.h), which takes a third of the instructions
 * that they take on weights.
 */
#ifndef KERNELS_GEMM_W4A8_STRIPS_H
#define KERNELS_GEMM_W4A8_STRIPS_H

#include "gemm.h"
#include "w4a8_layout.h"

enum {
    W4A8_STRIPS_TOKENS = 8,
    W4A8_STRIPS_MOST = 16,           /* of a block */
    W4A8_STRIPS_X = 33 * 1024,       /* bytes; all of X lies in shared memory */
    W4A8_STRIPS_SHARED = 110 * 1024, /* of a block */
    W4A8_STRIPS_STAGES = 16,         /* most */
    W4A8_STRIPS_K = 16384            /* beyond which tiles are as fast */
};

/* Bytes from a token to the next: neighbours lie in different banks. */
HD int w4a8_strips_stride(int k)
{
    return k + 16;
}

/* Strips of a block, of those that are compiled; 0: there are too many channels. */
static inline int w4a8_strips_of(int n, int sms)
{
    static const int sizes[] = { 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16 };
    const int want = w4a8_div_up(w4a8_div_up(n, W4A8_STRIP), sms);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (sizes[i] >= want)
            return sizes[i];
    return 0;
}

/* Warps behind one another, each with every so-many-th group of k. */
HD int w4a8_strips_behind(int strips)
{
    return strips == 2 ? 8 : strips <= 4 ? 4 : strips <= 8 ? 2 : 1;
}

/* Bytes of scales, which lie beside the ring. */
HD int w4a8_strips_pairs(int k, int strips, int grouped)
{
    return grouped ? strips * (k / W4A8_GROUP) * W4A8_PAIRS : 0;
}

/* Bytes that a stage takes: a group of k for each of the warps behind one another. */
HD int w4a8_strips_stage(int strips)
{
    return w4a8_strips_behind(strips) * strips * W4A8_CODES;
}

/* Sums that warps hand to one another, barriers, scales, and X. */
HD int w4a8_strips_beside(int m, int k, int strips, int grouped)
{
    return strips * w4a8_strips_behind(strips) * 512 + 2 * 8 * W4A8_STRIPS_STAGES + 16 +
           w4a8_strips_pairs(k, strips, grouped) + m * w4a8_strips_stride(k);
}

/* Stages of the ring; less than 2: it does not fit. */
static inline int w4a8_strips_stages(int m, int k, int strips, int grouped)
{
    const int stages = (W4A8_STRIPS_SHARED - w4a8_strips_beside(m, k, strips, grouped)) /
                       w4a8_strips_stage(strips);
    return stages < W4A8_STRIPS_STAGES ? stages : W4A8_STRIPS_STAGES;
}

/* Whether this kernel takes a problem: rows of X in whole groups. */
static inline int w4a8_strips_take(const struct gemm_problem *p, int grouped, int sms)
{
    if (p->m > W4A8_STRIPS_TOKENS || p->k % W4A8_GROUP || p->n % 8 || p->k > W4A8_MOST_K ||
        (grouped && p->group != W4A8_GROUP) || p->m * w4a8_strips_stride(p->k) > W4A8_STRIPS_X)
        return 0;
    const int strips = w4a8_strips_of(p->n, sms);
    return strips && w4a8_strips_stages(p->m, p->k, strips, grouped) >= 2;
}

/* Whether our rows of 9.0 run it. */
static inline int w4a8_strips_best(const struct gemm_problem *p, int grouped, int sms)
{
    return p->k <= W4A8_STRIPS_K && w4a8_strips_take(p, grouped, sms);
}

#endif
