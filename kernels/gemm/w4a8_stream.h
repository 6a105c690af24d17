/*
 * w4a8_stream.h - which problems of 9 to 16 tokens the kernel that streams slices takes, and how it
 * divides them.
 *
 * A tile is 256 channels by all tokens.  The blocks of a cluster share one: each has a slice of k,
 * so that X is read once a tile and every multiprocessor has a part of W.  Blocks take half of a
 * multiprocessor's memory and registers: while one ends, the ring of the next launch's fills.
 *
 *   ring     stages of X [16 tokens][128] in the 128-byte swizzle, then stages of W [16] strips
 *            (and their scales); when all is multiplied the block's sums, a quad of four a thread:
 *            [2 strips of a warp][16 / 8][256 threads]
 *   tokens   scale and sum of each
 */
#ifndef KERNELS_GEMM_W4A8_STREAM_H
#define KERNELS_GEMM_W4A8_STREAM_H

#include "gemm.h"
#include "w4a8_layout.h"
#include "w4a8_shapes.h"

enum {
    W4A8_STREAM_STRIPS = 16, /* of a tile: one copy a group */
    W4A8_STREAM_WARPS = 8,   /* two strips each */
    W4A8_STREAM_LEAST = 9,   /* tokens; up to 8 strips need no cluster */
    W4A8_STREAM_TOKENS = 16,
    W4A8_STREAM_X = W4A8_STREAM_TOKENS * W4A8_GROUP,  /* bytes of a stage */
    W4A8_STREAM_QUADS = 2 * (W4A8_STREAM_TOKENS / 8), /* of sums of a thread */
    W4A8_STREAM_SLICES = 8,                           /* most, what clusters of every GPU hold */
    W4A8_STREAM_STAGES = 6,                           /* most */
    W4A8_STREAM_SHARED = 112 * 1024
};

struct w4a8_stream {
    int tiles, slices;
    int stages;
    int w_bytes;                        /* of a stage */
    int w_at, token_at, full_at, bytes; /* in shared memory, behind 1024-byte alignment */
};

/* Where 16 bytes of X lie in a stage: row of a token, piece of its 128 bytes. */
HD int w4a8_stream_x_at(int row, int piece)
{
    return row * W4A8_GROUP + ((piece ^ row % 8) * 16);
}

/* Where a quad of a thread lies among a block's sums, in bytes. */
HD int w4a8_stream_quad_at(int quad, int thread)
{
    return (quad * W4A8_STREAM_WARPS * 32 + thread) * 16;
}

/* Place in the ring, and the parity of its phase. */
struct w4a8_place_in_ring {
    int slot;
    unsigned parity;
};

HD struct w4a8_place_in_ring w4a8_ring_next(struct w4a8_place_in_ring at, int stages)
{
    const int last = at.slot + 1 == stages;
    const struct w4a8_place_in_ring next = { last ? 0 : at.slot + 1, at.parity ^ (unsigned)last };
    return next;
}

/* The one that was multiplied before this one. */
HD struct w4a8_place_in_ring w4a8_ring_before(struct w4a8_place_in_ring at, int stages)
{
    const struct w4a8_place_in_ring before = { at.slot ? at.slot - 1 : stages - 1,
                                               at.parity ^ (unsigned)!at.slot };
    return before;
}

/* Returns 0 and the plan if the kernel takes the problem, else -1. */
static inline int w4a8_stream_plan(const struct gemm_problem *p, int grouped, int sms,
                                   struct w4a8_stream *plan)
{
    struct w4a8_stream s;
    const int groups = w4a8_div_up(p->k, W4A8_GROUP);
    if (p->m < W4A8_STREAM_LEAST || p->m > W4A8_STREAM_TOKENS || !w4a8_covers(p, grouped))
        return -1;
    s.tiles = w4a8_div_up(p->n, W4A8_STREAM_STRIPS * W4A8_STRIP);
    s.slices = sms / s.tiles;
    if (s.slices > W4A8_STREAM_SLICES)
        s.slices = W4A8_STREAM_SLICES;
    if (s.slices > groups)
        s.slices = groups;
    if (s.slices < 2)
        return -1;
    s.w_bytes = W4A8_STREAM_STRIPS * w4a8_strip_bytes(grouped);
    const int beside =
        W4A8_STREAM_TOKENS * 8 + 2 * 8 * W4A8_STREAM_STAGES + 1024; /* 1024: to align */
    s.stages = (W4A8_STREAM_SHARED - beside) / (W4A8_STREAM_X + s.w_bytes);
    const int most = w4a8_div_up(groups, s.slices);
    if (s.stages > W4A8_STREAM_STAGES)
        s.stages = W4A8_STREAM_STAGES;
    if (s.stages > most)
        s.stages = most; /* one is enough for the sums */
    s.w_at = s.stages * W4A8_STREAM_X;
    s.token_at = s.w_at + s.stages * s.w_bytes;
    s.full_at = s.token_at + W4A8_STREAM_TOKENS * 8;
    s.bytes = s.full_at + 2 * 8 * W4A8_STREAM_STAGES + 1024;
    *plan = s;
    return 0;
}

/* Whether our rows of 9.0 run it: where slices are long and all multiprocessors have one.  On an
 * H200 at 16 tokens 4096 x 14336 took 11.6 us, in tiles 13.7, and 8192 x 8192 14.3, in tiles 15.3;
 * shorter, longer and wider layers were as fast or faster in tiles.  Groups have not been timed. */
static inline int w4a8_stream_best(const struct gemm_problem *p, int grouped, int sms)
{
    struct w4a8_stream plan;
    return !grouped && p->n <= 8192 && p->k >= 8192 && p->k <= 16384 &&
           !w4a8_stream_plan(p, grouped, sms, &plan);
}

#endif
