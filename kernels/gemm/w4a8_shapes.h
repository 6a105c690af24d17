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
    W4A8_SLICES = 8       /* most that share a tile */
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
    int slices;              /* blocks that share a tile: 2, 4 or 8; 0: none do */
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
        if (w4a8_wide(shape.tokens, shape.blocks_64) || shape.cluster > 1 ||
            groups < shape.slices)
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
    s.skew = w4a8_wide(shape.tokens, shape.blocks_64) && s.whole ? 2000 : 0;
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
    if (s.stages < 2)
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

/* The first row with m <= most_m, n <= most_n; measured on an H200 with weights out of
 * cache, layers of Llama-3-8B and Llama-2-70B (tools/w4a8_sweep.c measures all tilings).  Few channels: narrow tiles, of which
 * there are more; two blocks a multiprocessor where tiles do not go round once. */
static inline struct w4a8_shape w4a8_best(const struct gemm_problem *p, int grouped)
{
    static const struct {
        int most_m, most_n;
        struct w4a8_shape channel, group;
    } rows[] = {
        /*                    tokens, blocks, cluster, each, spread */
#define ONE(...) { __VA_ARGS__ }, { __VA_ARGS__ }
        { 8, 40960, ONE(8, 2, 1, 1, W4A8_ALL, 0) },
        { 8, INT_MAX, ONE(8, 2, 1, 2, W4A8_ALL, 0) },
        { 16, 4096, ONE(16, 1, 1, 1, W4A8_ALL, 0) },
        { 16, 40960, ONE(16, 2, 1, 1, W4A8_ALL, 0) },
        { 16, INT_MAX, ONE(16, 2, 1, 2, W4A8_ALL, 0) },
        { 32, 6144, ONE(32, 1, 1, 1, W4A8_ALL, 0) },
        { 32, INT_MAX, ONE(32, 2, 1, 1, W4A8_ALL, 0) },
        { 64, 6144, ONE(64, 1, 1, 1, W4A8_ALL, 0) },
        { 64, 10240, ONE(64, 1, 1, 2, W4A8_ALL, 0) },
        { 64, INT_MAX, ONE(64, 2, 1, 1, W4A8_ALL, 0) },
        { 128, 10240, ONE(128, 1, 1, 1, W4A8_ALL, 0) },
        { 128, INT_MAX, ONE(128, 2, 1, 1, W4A8_REST, 0) },
        { 256, 10240, ONE(256, 1, 1, 1, W4A8_ALL, 0) },
        { 256, INT_MAX, ONE(128, 2, 1, 1, W4A8_REST, 0) },
        { INT_MAX, INT_MAX, ONE(128, 2, 2, 1, W4A8_REST, 0) },
#undef ONE
    };
    int i = 0;
    while (p->m > rows[i].most_m || p->n > rows[i].most_n)
        i++;
    return grouped ? rows[i].group : rows[i].channel;
}

#endif
