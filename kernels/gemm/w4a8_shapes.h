/*
 * w4a8_shapes.h - which tiling a problem gets, and what follows from it.
 *
 * A tile is 128 or 256 channels by 8 to 256 tokens, the work of one block; a unit
 * is a tile and one group of k.  Blocks stay for the whole launch.  Tiles that do
 * not fill the multiprocessors a whole number of times would leave some of them
 * idle, so the first ones, or all, are spread: their units are divided evenly, and
 * the block that has a tile's first groups adds what the others leave in memory.
 *
 *   spread   t0 g0 ..  t0 .. t1 ..  t1 .. t2 ..        a run of units a block, then
 *   whole    t3        t4           t5         ...     a tile each, `whole` rounds
 *
 * From 256 tokens on reading X would take more of the L2 cache than it gives.  There
 * a cluster of blocks that are neighbours in n takes the same tokens: each of them
 * loads a part of X for all.  What is said of blocks above is then said of clusters.
 *
 *   cluster  | block 0: channels 0 .. 127 | block 1: 128 .. 255 |   same tokens
 *
 * With few tokens and few channels tiles do not fill the GPU, and memory is a long
 * way: there the blocks of a cluster are slices of k of one tile, which hand their
 * sums to one another through shared memory.
 *
 * Order of tiles: within a band of a few tiles of tokens those of the same channels
 * stand side by side, so that what runs at a time reads few rows of X and of W.
 */
#ifndef KERNELS_GEMM_W4A8_SHAPES_H
#define KERNELS_GEMM_W4A8_SHAPES_H

#include <limits.h>
#include <string.h>

#include "gemm.h"
#include "w4a8_layout.h"

enum {
    W4A8_STAGES = 12,     /* most; a block's ring of groups of X and W */
    W4A8_BARRIERS = 1024, /* bytes */
    W4A8_CLUSTER = 4,     /* most blocks that share X */
    W4A8_SLICES = 8,      /* most that share a tile */
    W4A8_SLICES_WIDE = 5, /* most that share one of which a multiprocessor holds a block */
    W4A8_SHARE_TOKENS = 64 /* from here on they share it by tokens */
};

enum w4a8_spread {
    W4A8_REST,     /* what whole rounds leave over */
    W4A8_REST_TOO, /* that and one round */
    W4A8_ALL,
    W4A8_NONE
};

/* What a tiling may choose. */
struct w4a8_shape {
    int tokens, blocks_64; /* of a tile; channels of a warpgroup, of which there are two, / 64 */
    int cluster;           /* blocks that share X: 1, 2 or 4 */
    int each;              /* blocks of a multiprocessor that work, 1 or 2 */
    enum w4a8_spread spread;
    int slices; /* blocks that share a tile: 2 to 8, up to 32 tokens 2, 4 or 8; 0: none do */
};

struct w4a8_plan {
    struct w4a8_shape shape;
    int token_tiles, channel_tiles; /* channel_tiles: of a cluster */
    int clusters;                   /* of shape.cluster blocks */
    int spread_tiles, whole;
    int band;                       /* tiles of tokens */
    int stages;
    int skew;                       /* clocks that the second warpgroup begins later */
    int x_bytes, w_bytes;           /* of a stage */
    size_t w_at, token_at, exchange_at, bytes; /* in shared memory, behind 1024-byte alignment */
};

/* Sums that a thread keeps. */
HD int w4a8_sums(int tokens, int blocks_64)
{
    return tokens * blocks_64 / 2;
}

/* Whether sums and weights on their way take so many registers that no second block
 * fits a multiprocessor. */
HD int w4a8_wide(int tokens, int blocks_64)
{
    return tokens * blocks_64 * blocks_64 >= 128;
}

/* Tokens that a warpgroup stores at a time, and bytes from one's row to the next: 16
 * more than it holds, so that neighbours lie in different banks. */
HD int w4a8_exchange_tokens(int tokens, int blocks_64)
{
    const int most = w4a8_wide(tokens, blocks_64) ? 32 : 16;
    return tokens < most ? tokens : most;
}

HD int w4a8_exchange_stride(int blocks_64)
{
    return blocks_64 * 128 + 16;
}

/* Bytes of the partial sums of a block. */
static inline size_t w4a8_partial_bytes(struct w4a8_shape s)
{
    return (size_t)s.blocks_64 * 128 * s.tokens * sizeof(int);
}

/* First unit of a cluster, and the cluster that has a unit. */
HD int w4a8_first_unit(int cluster, int clusters, int units)
{
    return (int)((long long)units * cluster / clusters);
}

HD int w4a8_cluster_of(int unit, int clusters, int units)
{
    return (int)(((long long)(unit + 1) * clusters - 1) / units);
}

/* Whether our kernels take a problem: rows of X and Y of whole 16 bytes. */
static inline int w4a8_covers(const struct gemm_problem *p, int grouped)
{
    return p->k % 16 == 0 && p->n % 8 == 0 && p->k <= W4A8_MOST_K &&
           (!grouped || p->group == W4A8_GROUP);
}

/* ---- what a cluster does, in order ---- */

struct w4a8_part {
    int tile;
    int begin, end; /* groups */
};

/* The i-th tile of a cluster, or part of one; 0: there is none.  slices: of the tiling,
 * apart so that kernels without them can say so. */
HD int w4a8_part_at(const struct w4a8_plan *s, int slices, int groups, int cluster, int i,
                    struct w4a8_part *part)
{
    const int units = s->spread_tiles * groups;
    if (slices) {
        part->tile = cluster / slices;
        part->begin = w4a8_first_unit(cluster % slices, slices, groups);
        part->end = w4a8_first_unit(cluster % slices + 1, slices, groups);
        return i == 0;
    }
    const int begin = w4a8_first_unit(cluster, s->clusters, units);
    const int end = w4a8_first_unit(cluster + 1, s->clusters, units);
    const int parts = end > begin ? (end - 1) / groups - begin / groups + 1 : 0;
    part->begin = 0;
    part->end = groups;
    if (i < parts) {
        const int tile = begin / groups + i, first = tile * groups;
        part->tile = tile;
        if (begin > first)
            part->begin = begin - first;
        if (end < first + groups)
            part->end = end - first;
        return 1;
    }
    part->tile = s->spread_tiles + (i - parts) * s->clusters + cluster;
    return i - parts < s->whole && part->tile < s->token_tiles * s->channel_tiles;
}

struct w4a8_tile {
    int channels, tokens; /* counts of tiles before it */
};

HD struct w4a8_tile w4a8_tile_of(const struct w4a8_plan *s, int tile)
{
    const int of_band = s->band * s->channel_tiles, band = tile / of_band;
    const int left = s->token_tiles - band * s->band, width = left < s->band ? left : s->band;
    const int at = tile % of_band;
    const struct w4a8_tile t = { at / width, band * s->band + at % width };
    return t;
}

/* ---- plans ---- */

/* Derived from p, the tiling and the number of clusters that are resident at a time.
 * Returns 0 if it fits into `shared` bytes and divides the work, else -1. */
static inline int w4a8_plan(const struct gemm_problem *p, int grouped, struct w4a8_shape shape,
                            int clusters, size_t shared, struct w4a8_plan *plan)
{
    const int groups = w4a8_div_up(p->k, W4A8_GROUP);
    struct w4a8_plan s;
    memset(&s, 0, sizeof s);
    if (clusters < 1 || w4a8_sums(shape.tokens, shape.blocks_64) > 128 ||
        shape.tokens / shape.cluster < 8)
        return -1;
    s.shape = shape;
    s.token_tiles = w4a8_div_up(p->m, shape.tokens);
    s.channel_tiles = w4a8_div_up(p->n, 128 * shape.blocks_64 * shape.cluster);
    const long tiles = (long)s.token_tiles * s.channel_tiles;
    if (tiles * groups > INT_MAX / 2)
        return -1;
    if (shape.slices) {
        const int by_tokens = shape.tokens >= W4A8_SHARE_TOKENS;
        if (shape.cluster > 1 || groups < shape.slices || shape.slices > W4A8_SLICES ||
            (!by_tokens && shape.slices & (shape.slices - 1)))
            return -1;
        clusters = (int)tiles * shape.slices;
    }
    s.clusters = tiles * groups < clusters ? (int)(tiles * groups) : clusters;
    s.whole = (int)(tiles / s.clusters);
    if (shape.spread == W4A8_ALL)
        s.whole = 0;
    else if (shape.spread == W4A8_REST_TOO) {
        if (!s.whole || tiles % s.clusters == 0)
            return -1;
        s.whole--;
    }
    s.spread_tiles = (int)(tiles - (long)s.whole * s.clusters);
    if (shape.slices) {
        s.spread_tiles = 0;
        s.whole = 1;
    } else if (shape.spread == W4A8_NONE ||
               (s.spread_tiles && s.spread_tiles * groups < s.clusters)) { /* some would get none */
        s.spread_tiles = 0;
        s.clusters = tiles < s.clusters ? (int)tiles : s.clusters;
        s.whole = (int)((tiles + s.clusters - 1) / s.clusters);
    }
    s.band = s.token_tiles < 8 ? s.token_tiles : 8;
    /* of no use where a block has but one tile */
    s.skew = w4a8_wide(shape.tokens, shape.blocks_64) && s.whole && s.whole + s.spread_tiles > 1
                 ? 2000
                 : 0;
    s.x_bytes = shape.tokens * W4A8_GROUP;
    s.w_bytes = 8 * shape.blocks_64 * w4a8_strip_bytes(grouped);
    const size_t exchange = 2 * (size_t)w4a8_exchange_tokens(shape.tokens, shape.blocks_64) *
                            w4a8_exchange_stride(shape.blocks_64);
    const size_t token = 2 * (size_t)shape.tokens * 8;
    for (s.stages = W4A8_STAGES; s.stages >= 2; s.stages--) {
        s.w_at = (size_t)s.stages * s.x_bytes;
        s.token_at = s.w_at + (size_t)s.stages * s.w_bytes;
        s.exchange_at = s.token_at + token;
        s.bytes = s.exchange_at + exchange + W4A8_BARRIERS + 1024; /* 1024: to align */
        if (s.bytes <= shared)
            break;
    }
    if (s.stages < 2 || (shape.slices && s.token_at < w4a8_partial_bytes(shape)))
        return -1;
    *plan = s;
    return 0;
}

/* Bytes of partial sums that a launch leaves in memory. */
static inline double w4a8_partials(const struct w4a8_plan *s, int groups)
{
    int parts = 0;
    for (int cluster = 0; cluster < s->clusters; cluster++)
        parts += w4a8_first_unit(cluster, s->clusters, s->spread_tiles * groups) % groups != 0;
    return (double)parts * s->shape.cluster * (double)w4a8_partial_bytes(s->shape);
}

/* ---- the choice ---- */

/* Measured on an H200 with weights out of cache, layers of Llama-3-8B and Llama-2-70B
 * (tools/w4a8_sweep.c measures all tilings).  What the best have in common:
 *
 *   - Tiles that fill all multiprocessors but for a while are left whole: to spread them
 *     costs 3 to 5 us, for partial sums go through memory.
 *   - Where there are few tiles slices are the cheapest to add up.  Up to 32 tokens, where
 *     reading W is all, a long way along k is better divided evenly.
 *   - Up to 16 tokens one block a multiprocessor does not ask for W fast enough unless all
 *     of them do.
 *   - Blocks share X where they read much of it: tiles in several rounds, long k. */

/* Groups of k that the last round leaves idle, of as many multiprocessors. */
static inline double w4a8_idle(long tiles, int groups, int sms)
{
    return (double)(w4a8_div_up((int)tiles, sms) - (double)tiles / sms) * groups;
}

/* Whether tiles should stay whole: what is idle, in products of 128 k. */
static inline int w4a8_stay_whole(const struct gemm_problem *p, int tokens, int blocks_64, int sms)
{
    const long tiles = (long)w4a8_div_up(p->m, tokens) * w4a8_div_up(p->n, 128 * blocks_64);
    return w4a8_idle(tiles, w4a8_div_up(p->k, W4A8_GROUP), sms) * tokens * blocks_64 <= 2500;
}

/* The most slices that `fill` fourths of all multiprocessors have blocks for, of a way of no
 * more than most_groups; 0: none. */
static inline int w4a8_slices(const struct gemm_problem *p, int channels, int sms, int fill,
                              int most, int most_groups)
{
    const int tiles = w4a8_div_up(p->n, channels), groups = w4a8_div_up(p->k, W4A8_GROUP);
    for (int s = most; s >= 2; s /= 2)
        if (4L * tiles * s <= (long)fill * sms && groups >= s)
            return groups <= s * most_groups ? s : 0;
    return 0;
}

/* Slices that leave few multiprocessors without a block and none with two; 0: there are none.
 * Clusters of more than two blocks leave some of a group of 16 or 18 multiprocessors over: those
 * of an H200 hold 96 such blocks at a time, not 120. */
static inline int w4a8_even_slices(const struct gemm_problem *p, int tokens, int blocks_64, int sms)
{
    const int tiles = w4a8_div_up(p->m, tokens) * w4a8_div_up(p->n, 128 * blocks_64);
    const int groups = w4a8_div_up(p->k, W4A8_GROUP);
    int s = 3 * sms / 4 / tiles;
    if (s > W4A8_SLICES_WIDE)
        s = W4A8_SLICES_WIDE;
    if (s < 2 && 2 * tiles <= sms)
        s = 2;
    if (s > groups / 2)
        s = groups / 2;
    return s >= 2 && 10 * tiles * s >= 6 * sms ? s : 0;
}

/* Up to 16 tokens. */
static inline struct w4a8_shape w4a8_best_few(const struct gemm_problem *p, int sms)
{
    const int tokens = p->m <= 8 ? 8 : 16, narrow = w4a8_div_up(p->n, 128);
    const int slices = w4a8_slices(p, 256, sms, 7, 8, 32);
    const struct w4a8_shape two = { tokens, 1, 1, 2, W4A8_NONE, 0 };
    const struct w4a8_shape sliced = { tokens, 2, 1, 1, W4A8_NONE, slices };
    const struct w4a8_shape all = { tokens, 2, 1, narrow > 2 * sms && tokens == 8 ? 2 : 1,
                                    W4A8_ALL, 0 };
    if (5 * narrow >= 8 * sms && narrow <= 2 * sms)
        return two;
    return slices ? sliced : all;
}

/* 17 to 64. */
static inline struct w4a8_shape w4a8_best_some(const struct gemm_problem *p, int sms)
{
    const int tokens = p->m <= 32 ? 32 : 64, tiles = w4a8_div_up(p->n, 256);
    const int slices = w4a8_slices(p, 128, sms, 6, 4, 12), blocks_64 = tiles < sms / 6 ? 1 : 2;
    const int cluster = blocks_64 == 1 || tokens < 64 ? 1
                        : tiles > sms                 ? 4
                        : p->k > 128 * W4A8_GROUP     ? 2
                                                      : 1;
    const int even = tokens == 64 ? w4a8_even_slices(p, tokens, 2, sms) : 0;
    const struct w4a8_shape sliced = { tokens, even ? 2 : 1, 1, 1, W4A8_NONE,
                                       even ? even : slices };
    const struct w4a8_shape wide = {
        tokens, blocks_64, cluster, 1,
        w4a8_stay_whole(p, tokens, blocks_64, sms) ? W4A8_NONE : W4A8_ALL, 0
    };
    return sliced.slices ? sliced : wide;
}

/* 65 to 128: all in a tile. */
static inline struct w4a8_shape w4a8_best_128(const struct gemm_problem *p, int sms)
{
    const int blocks_64 = w4a8_div_up(p->n, 128) <= sms ? 1 : 2;
    const struct w4a8_shape sliced = { 128, 1, 1, 1, W4A8_NONE, w4a8_even_slices(p, 128, 1, sms) };
    const struct w4a8_shape s = { 128, blocks_64, 1, 1,
                                  w4a8_stay_whole(p, 128, blocks_64, sms) ? W4A8_NONE
                                  : blocks_64 == 1                        ? W4A8_ALL
                                                                          : W4A8_REST,
                                  0 };
    return sliced.slices ? sliced : s;
}

/* 129 to 256. */
static inline struct w4a8_shape w4a8_best_256(const struct gemm_problem *p, int sms)
{
    const int narrow = w4a8_div_up(p->m, 128) * w4a8_div_up(p->n, 128);
    const struct w4a8_shape sliced = { 128, 1, 1, 1, W4A8_NONE, w4a8_even_slices(p, 128, 1, sms) };
    const struct w4a8_shape deep = { 256, 1, 2, 1, W4A8_ALL, 0 };
    const struct w4a8_shape whole = { 128, 1, 1, 1, W4A8_NONE, 0 };
    const struct w4a8_shape spread = { 128, 1, 2, 1, W4A8_ALL, 0 };
    const struct w4a8_shape tall = { 256, 1, 1, 1, W4A8_NONE, 0 };
    const struct w4a8_shape rest = { 128, 2, 1, 1, W4A8_REST, 0 };
    if (sliced.slices)
        return sliced;
    if (p->k > 128 * W4A8_GROUP && narrow <= 2 * sms)
        return deep;
    if (2 * narrow <= 3 * sms)
        return w4a8_stay_whole(p, 128, 1, sms) ? whole : spread;
    return w4a8_stay_whole(p, 256, 1, sms) ? tall : rest;
}

/* For a GPU of so many multiprocessors. */
static inline struct w4a8_shape w4a8_best(const struct gemm_problem *p, int sms)
{
    const struct w4a8_shape many = { 128, 2, 2, 1, W4A8_REST, 0 };
    return p->m <= 16    ? w4a8_best_few(p, sms)
           : p->m <= 64  ? w4a8_best_some(p, sms)
           : p->m <= 128 ? w4a8_best_128(p, sms)
           : p->m <= 256 ? w4a8_best_256(p, sms)
                         : many;
}

#endif
