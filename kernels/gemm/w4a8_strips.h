/*
 * w4a8_strips.h - which problems of up to 8 tokens the kernel of strips takes, and how it
 * divides them.
 *
 * A block has as many strips of 16 channels as give every multiprocessor one block: nothing
 * passes between blocks.  Its ring and its X take half of a multiprocessor's memory, so that a
 * block of the next launch stands beside it, whose ring fills while this one ends.
 *
 * Progressive groups come in two forms, which add up the same integers (w4a8_layout.h): scales act
 * on weights before the products, or on sums after them, which takes a third of the instructions.
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
    W4A8_STRIPS_K = 16384,           /* beyond which tiles are as fast ... */
    W4A8_STRIPS_K_GROUP = 4096       /* ... with groups whose scales act on weights */
};

enum w4a8_strips_form { W4A8_PER_CHANNEL, W4A8_ON_WEIGHTS, W4A8_ON_SUMS };

/* The form of groups that our rows run, 1 or 2 of those: a macro, for impls.c makes the name of
 * the kernel of it. */
#define W4A8_STRIPS_GROUPS 1

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

/* Bytes of a strip's scales of a group in a stage; on sums all of them lie beside the ring. */
HD int w4a8_strips_scales(enum w4a8_strips_form form)
{
    return form == W4A8_ON_WEIGHTS ? W4A8_SCALES : 0;
}

HD int w4a8_strips_pairs(int k, int strips, enum w4a8_strips_form form)
{
    return form == W4A8_ON_SUMS ? strips * (k / W4A8_GROUP) * W4A8_PAIRS : 0;
}

/* Bytes that a stage takes: a group of k for each of the warps behind one another. */
HD int w4a8_strips_stage(int strips, enum w4a8_strips_form form)
{
    return w4a8_strips_behind(strips) * strips * (W4A8_CODES + w4a8_strips_scales(form));
}

/* Sums that warps hand to one another, barriers, scales, and X. */
HD int w4a8_strips_beside(int m, int k, int strips, enum w4a8_strips_form form)
{
    return strips * w4a8_strips_behind(strips) * 512 + 2 * 8 * W4A8_STRIPS_STAGES + 16 +
           w4a8_strips_pairs(k, strips, form) + m * w4a8_strips_stride(k);
}

/* Stages of the ring; less than 2: it does not fit. */
static inline int w4a8_strips_stages(int m, int k, int strips, enum w4a8_strips_form form)
{
    const int stages = (W4A8_STRIPS_SHARED - w4a8_strips_beside(m, k, strips, form)) /
                       w4a8_strips_stage(strips, form);
    return stages < W4A8_STRIPS_STAGES ? stages : W4A8_STRIPS_STAGES;
}

/* Whether this kernel takes a problem: rows of X in whole groups. */
static inline int w4a8_strips_take(const struct gemm_problem *p, enum w4a8_strips_form form,
                                   int sms)
{
    if (p->m > W4A8_STRIPS_TOKENS || p->k % W4A8_GROUP || p->n % 8 || p->k > W4A8_MOST_K ||
        (form != W4A8_PER_CHANNEL && p->group != W4A8_GROUP) ||
        p->m * w4a8_strips_stride(p->k) > W4A8_STRIPS_X)
        return 0;
    const int strips = w4a8_strips_of(p->n, sms);
    return strips && w4a8_strips_stages(p->m, p->k, strips, form) >= 2;
}

/* The form that our rows of 9.0 run, and whether they run this kernel. */
static inline enum w4a8_strips_form w4a8_strips_best_form(int grouped)
{
    return grouped ? (enum w4a8_strips_form)W4A8_STRIPS_GROUPS : W4A8_PER_CHANNEL;
}

static inline int w4a8_strips_best(const struct gemm_problem *p, int grouped, int sms)
{
    const enum w4a8_strips_form form = w4a8_strips_best_form(grouped);
    return p->k <= (form == W4A8_ON_WEIGHTS ? W4A8_STRIPS_K_GROUP : W4A8_STRIPS_K) &&
           w4a8_strips_take(p, form, sms);
}

#endif
