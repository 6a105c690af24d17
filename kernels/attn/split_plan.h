/*
 * split_plan.h - how the sequence is divided among blocks; plain C, tried without a GPU.
 *
 *   a block    (sequence, KV head, 8 or 16 of its query heads, tokens [i chunk, (i+1) chunk))
 *   a warp     every warps-th tile of the block's tokens
 *
 * Blocks of one (sequence, KV head, query heads) merge in the order of their tokens.
 *
 * Blocks that start together stay together: while all look up their first pages no memory is
 * read, and while all read it is the memory that they wait for.  Measured on an H200 with 8 warps
 * a multiprocessor, a round of blocks took START and what its bytes take, one after the other,
 * at all lengths from 128 to 1536; hence shapes of small blocks, which need one round where
 * large ones need eight.  The plan is the shape and the number of splits with the fewest
 * microseconds by this model.
 */
#ifndef KERNELS_ATTN_SPLIT_PLAN_H
#define KERNELS_ATTN_SPLIT_PLAN_H

#include "attn.h"

/* A block, and how many of them run at once. */
struct split_shape {
    int warps, tile; /* of a block; tokens of a warp's step */
    int slots;       /* blocks of the whole GPU */
    int most;        /* splits that its shared memory has room to merge */
};
enum { SPLIT_SHAPES = 3, SPLIT_MOST = 256 };

struct split_plan {
    int shape;
    int columns; /* query heads of a block: 8 or 16 */
    int groups;  /* of so many query heads, for one KV head */
    int chunk;   /* tokens of a block, a multiple of warps times tile */
    int splits;  /* blocks along the longest sequence */
};

/* A plan as it is wanted; the nearest number of splits that exists is taken. */
struct split_choice {
    int shape, splits;
};

/* Microseconds as measured on an H200. */
#define SPLIT_START 2.2    /* a block until its first tile is there, and from its last one on */
#define SPLIT_WARP  9500.0 /* bytes of a microsecond that a warp alone reads */
#define SPLIT_MERGE 3.0    /* parts written, the last block sees it and reads them ... */
#define SPLIT_PART  0.15   /* ... one after another */
#define SPLIT_BYTES 4.5e6  /* and all together */

/* One round of blocks with `tokens` each. */
HD double split_round(const struct split_shape *s, long blocks, int tokens, double token_bytes)
{
    const int steps = (tokens + s->warps * s->tile - 1) / (s->warps * s->tile);
    const double least = steps * s->tile * token_bytes / SPLIT_WARP;
    const double bytes = (double)blocks * tokens * token_bytes / SPLIT_BYTES;
    return SPLIT_START + (bytes > least ? bytes : least);
}

HD double split_cost(const struct split_shape *s, long items, int splits, int tokens,
                     double token_bytes)
{
    const long blocks = items * splits, rest = blocks % s->slots;
    double cost = (double)(blocks / s->slots) * split_round(s, s->slots, tokens, token_bytes);
    if (rest)
        cost += split_round(s, rest, tokens, token_bytes);
    return splits > 1 ? cost + SPLIT_MERGE + SPLIT_PART * splits : cost;
}

/* Tokens of a block, a multiple of its step, for so many splits or as many as there are then. */
HD int split_chunk(const struct attn_problem *p, const struct split_shape *s, int splits)
{
    const int step = s->warps * s->tile, steps = (p->length + step - 1) / step;
    return (steps + splits - 1) / splits * step;
}

/* shape: [SPLIT_SHAPES], the ones that cannot run with no slots, at least one with some.
 * given: this plan, where its shape has slots; NULL: the cheapest. */
HD struct split_plan split_plan_of(const struct attn_problem *p, enum attn_scheme scheme,
                                   const struct split_shape *shape,
                                   const struct split_choice *given)
{
    const int ratio = p->heads / p->kv_heads;
    const double token_bytes = (double)attn_page_bytes(scheme, 1, p->head_dim, 2);
    struct split_plan best = { 0, ratio > 8 ? 16 : 8, 0, 0, 0 };
    best.groups = (ratio + best.columns - 1) / best.columns;
    const long items = (long)p->batch * p->kv_heads * best.groups;
    double least = 0;
    for (int k = 0; k < SPLIT_SHAPES; k++) {
        const struct split_shape *const s = &shape[k];
        if (s->slots < 1 || (given && given->shape != k))
            continue;
        const int step = s->warps * s->tile;
        for (int splits = given ? given->splits : 1; splits <= s->most; splits++) {
            const int chunk = split_chunk(p, s, splits), blocks = (p->length + chunk - 1) / chunk;
            const double cost =
                split_cost(s, items, blocks, chunk < p->length ? chunk : p->length, token_bytes);
            if (!best.splits || cost < least) {
                least = cost;
                best.shape = k;
                best.chunk = chunk;
                best.splits = blocks;
            }
            if (given || chunk == step)
                break;
        }
    }
    return best;
}

/* Query heads times parts: each has a partial result of head_dim + 2 floats.  0 with one split. */
HD size_t split_parts(const struct attn_problem *p, const struct split_plan *plan)
{
    return plan->splits < 2 ? 0
                            : (size_t)p->batch * (size_t)p->kv_heads * (size_t)plan->groups *
                                  (size_t)plan->columns * (size_t)plan->splits;
}

#endif
