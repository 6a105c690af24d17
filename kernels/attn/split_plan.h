/*
 * split_plan.h - how the sequence is divided among blocks; plain C, tried without a GPU.
 *
 *   a block    (sequence, KV head, 8 or 16 of its query heads, tokens [i chunk, (i+1) chunk))
 *   a warp     every WARPS-th tile of the block's tokens
 *
 * Blocks of one (sequence, KV head, query heads) merge in the order of their tokens.
 */
#ifndef KERNELS_ATTN_SPLIT_PLAN_H
#define KERNELS_ATTN_SPLIT_PLAN_H

#include "attn.h"

struct split_plan {
    int columns; /* query heads of a block: 8 or 16 */
    int groups;  /* of so many query heads, for one KV head */
    int chunk;   /* tokens of a block, a multiple of the tile */
    int splits;  /* blocks along the longest sequence */
    int least;   /* stream.cuh: tiles that a block takes at least */
};

/* Tokens that a block could read while it starts, fills its pipeline and merges its warps;
 * and while blocks that share a sequence write and merge their parts. */
enum { SPLIT_START = 128, SPLIT_MERGE = 96 };
enum { SPLIT_MOST = 256 }; /* splits */

/* slots: blocks that run at once; step: tokens that the warps of a block take at a time. */
HD struct split_plan split_plan_of(const struct attn_problem *p, int slots, int step)
{
    const int ratio = p->heads / p->kv_heads;
    struct split_plan best = { ratio > 8 ? 16 : 8, 0, 0, 0, 0 };
    best.groups = (ratio + best.columns - 1) / best.columns;
    const long items = (long)p->batch * p->kv_heads * best.groups;
    const int steps = (p->length + step - 1) / step;
    double least = 0;
    for (int splits = 1; splits <= steps && splits <= SPLIT_MOST; splits++) {
        const int chunk = (steps + splits - 1) / splits * step;
        const int blocks = (p->length + chunk - 1) / chunk;
        const long waves = (items * blocks + slots - 1) / slots;
        const double cost =
            (double)waves * (chunk + SPLIT_START) + (blocks > 1 ? SPLIT_MERGE + blocks : 0);
        if (splits > 1 && cost >= least)
            continue;
        least = cost;
        best.chunk = chunk;
        best.splits = blocks;
    }
    return best;
}

/* For stream.cuh; tile: tokens. */
HD struct split_plan stream_plan_of(const struct attn_problem *p, int tile)
{
    const int ratio = p->heads / p->kv_heads, columns = ratio > 8 ? 16 : 8;
    const int most = 1024 / columns, tiles = (p->length + tile - 1) / tile;
    struct split_plan plan = { columns, (ratio + columns - 1) / columns, 0, 0, 0 };
    plan.least = (tiles + most - 1) / most;
    if (plan.least < 2)
        plan.least = 2;
    return plan;
}

/* Query heads times parts: each has a partial result of head_dim + 2 floats.  0 with one split. */
HD size_t split_parts(const struct attn_problem *p, const struct split_plan *plan)
{
    return plan->splits < 2 ? 0
                            : (size_t)p->batch * (size_t)p->kv_heads * (size_t)plan->groups *
                                  (size_t)plan->columns * (size_t)plan->splits;
}

#endif
