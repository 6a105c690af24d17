/*
 * w4a16_shapes.h - which tiling a problem gets, and what follows from it.
 *
 * Few tokens (w4a16_small): blocks stay for the whole launch.  A cluster of
 * blocks owns a run of strips of 16 channels; its blocks split k; in a block
 * `across` warps stand side by side in n and 8/across behind each other in k.
 * Nothing is shared between clusters.
 *
 *   cluster 1   no sum across blocks, but every block reads all of X
 *   cluster 8   an eighth of X each, and a sum over the cluster's shared memories
 *
 * X costs tokens/(4 across cluster ...) of the traffic of W between the L2 cache
 * and the multiprocessors, so the more tokens, the wider the tile in n.
 *
 * More tokens (w4a16_large): a tile is 128 or 256 channels by 16 to 256 tokens,
 * the work of one block.  Tiles that do not fill the multiprocessors a whole
 * number of times would leave some of them idle, so the last ones, or all, are
 * taken by several blocks, each a part of k.  Either a cluster of 2 to 8 blocks
 * takes a tile and adds up over its shared memories:
 *
 *   block      0   1   2   3     4   5   6   7     clusters of 4
 *   whole      t0  t1  t2  t3    t4  t5  t6  t7    `whole` rounds, a tile each
 *   split      t8  t8  t8  t8    t9  t9  t9  t9    further rounds, a tile a cluster
 *
 * or their groups of k are spread evenly over all blocks; the one with a tile's
 * first groups adds what the others leave in global memory:
 *
 *   spread     t0. .t0.......t1. .t1.......t2. ..   a run of groups a block, first
 */
#ifndef KERNELS_GEMM_W4A16_SHAPES_H
#define KERNELS_GEMM_W4A16_SHAPES_H

#include <string.h>

#include "gemm.h"
#include "w4a16_layout.h"

enum {
    W4_SMALL_TOKENS = 32, /* most that w4a16_small takes */
    W4_SMALL_BEST = 8,    /* most for which w4a16 takes it */
    W4_WARP_STRIPS = 4,   /* of a warp at a time: X fragments serve all of them */
    W4_STAGES = 8,        /* most; a warp's ring of loaded strips */
    W4_BARRIER_BYTES = 1024
};

/* What a launch of w4a16_small does; made by w4_small_plan. */
struct w4_small_plan {
    int tokens;          /* of a tile: m rounded up to 8, 16 or 32 */
    int warps, across;
    int cluster, log2;   /* blocks of a cluster, a power of two */
    int clusters;
    int base, rest;      /* strips of a cluster: base, the first `rest` of them one more */
    int chunk;           /* strips a cluster takes at a time */
    int warp_strips;     /* most of them that a warp gets */
    int x_groups;        /* groups of k that a block keeps of X; 0: X comes with the strips */
    int stages, slot_bytes;
    size_t x_at, ring_at, bytes; /* in shared memory */
};

/* Tiling by tokens and shape, see the drawing above. */
struct w4_small_shape {
    int across, cluster;
    int stages; /* most */
};

HD int w4_div_up(int a, int b)
{
    return (a + b - 1) / b;
}

/* A row of X in shared memory: 16 bytes more, so that 8 rows of 16 bytes, as
 * ldmatrix reads them, lie in different banks. */
HD int w4_x_stride(int groups)
{
    return groups * W4_GROUP * 2 + 16;
}

/* Channels of a row of partial sums and 4 more: the four lanes that hold
 * neighbouring tokens then write to different banks. */
HD int w4_sum_stride(int across)
{
    return across * W4_WARP_STRIPS * W4_STRIP + 4;
}

/* Derived from p, across, cluster and the number of clusters that fit on the
 * device.  resident: X stays in shared memory.  Returns 0 if it fits into
 * `shared` bytes, else -1. */
static inline int w4_small_plan(const struct gemm_problem *p, int symmetric, int warps, int across,
                                int cluster, int clusters, int resident, size_t shared,
                                int stages, struct w4_small_plan *plan)
{
    const int strips = w4_div_up(p->n, W4_STRIP), groups = p->k / W4_GROUP;
    struct w4_small_plan s;
    memset(&s, 0, sizeof s);
    if (cluster > groups || clusters < 1)
        return -1;
    s.warps = warps;
    s.across = across;
    s.cluster = cluster;
    while (1 << s.log2 < cluster)
        s.log2++;
    s.tokens = p->m <= 8 ? 8 : p->m <= 16 ? 16 : 32;
    s.clusters = clusters < strips ? clusters : strips;
    s.base = strips / s.clusters;
    s.rest = strips % s.clusters;
    const int most = s.base + (s.rest > 0);
    s.chunk = w4_div_up(most, w4_div_up(most, across * W4_WARP_STRIPS));
    s.warp_strips = w4_div_up(s.chunk, across);
    s.slot_bytes = s.warp_strips * w4_strip_bytes(symmetric);
    const size_t sums = (size_t)warps / across * s.tokens * w4_sum_stride(across) * 4;
    s.x_at = W4_BARRIER_BYTES + sums;
    s.ring_at = s.x_at;
    if (resident) {
        s.x_groups = w4_div_up(groups, cluster);
        s.ring_at += (size_t)(p->m < s.tokens ? p->m : s.tokens) * w4_x_stride(s.x_groups);
    } else {
        s.slot_bytes += s.tokens * w4_x_stride(1);
    }
    const size_t ring = (size_t)warps * s.slot_bytes;
    if (s.ring_at + 2 * ring > shared)
        return -1;
    const size_t fit = (shared - s.ring_at) / ring;
    s.stages = fit < (size_t)stages ? (int)fit : stages;
    s.bytes = s.ring_at + s.stages * ring;
    *plan = s;
    return 0;
}

/* From times on an H200: every block's X is read from the L2 cache before it
 * begins, so k is split when that takes longer than to add up. */
static inline struct w4_small_shape w4_small_shape(const struct gemm_problem *p)
{
    struct w4_small_shape s = { 1, 1, W4_STAGES };
    const long part = p->m > 8 ? 90000 : 120000; /* bytes of X of a block */
    if (p->m > 16)
        s.across = 4, s.cluster = 4;
    else if (p->m > 8)
        s.across = 4, s.cluster = p->n > 16384 ? 2 : 4;
    while (s.cluster < 8 && (long)p->m * (p->k / s.cluster) * 2 > part)
        s.cluster *= 2;
    while (s.cluster > 1 && s.cluster > p->k / W4_GROUP)
        s.cluster /= 2;
    if (p->m <= 8)
        s.across = p->n > 8192 || (p->n > 4096 && s.cluster > 1) ? 2 : 1;
    return s;
}

/* ---- more tokens ---- */

enum {
    W4_LARGE_STAGES = 8,      /* most; a block's ring of groups of X and W */
    W4_LARGE_BARRIERS = 1024, /* bytes */
    W4_LARGE_CLUSTER = 8      /* most */
};

/* What a tiling may choose; tokens 16, 32, 64, 128 or, with blocks_64 1, 256. */
struct w4_large_shape {
    int tokens, blocks_64; /* of a tile; channels of a warpgroup, of which there are two, / 64 */
    int cluster;           /* 1: tiles are not split over clusters */
    int spread;            /* 1 with cluster 1 only: they are spread */
};

struct w4_large_plan {
    struct w4_large_shape shape;
    int token_tiles, channel_tiles;
    int clusters;                    /* of shape.cluster blocks */
    int whole;                       /* rounds of whole tiles */
    int shared_tiles;                /* spread; they are the first */
    int stages, slots;               /* of X and of W */
    int w_bytes;                     /* of a slot */
    size_t w_at, exchange_at, bytes; /* in shared memory, behind 1024-byte alignment */
    double us;                       /* expected */
};

/* Stages of X that a group of k comes in: 256 tokens of a group would leave room
 * for two of them. */
#define W4_LARGE_SLICES(tokens) ((tokens) > 128 ? 2 : 1)

/* Tokens that a warpgroup stores, or the blocks of a cluster add up, at a time. */
HD int w4_direct_tokens(int tokens)
{
    return tokens < 32 ? tokens : 32;
}

HD int w4_exchange_tokens(int tokens)
{
    return tokens < 64 ? tokens : 64;
}

/* Bytes from a row of a warpgroup's output to the next: 16 more than it holds, so
 * that neighbours lie in different banks. */
HD int w4_direct_stride(int blocks_64)
{
    return blocks_64 * 128 + 16;
}

/* The same of sums, in floats. */
HD int w4_exchange_stride(int blocks_64)
{
    return blocks_64 * 64 + 4;
}

/* Floats of the partial sums of a warpgroup. */
HD size_t w4_partial(struct w4_large_shape s)
{
    return (size_t)s.blocks_64 * 64 * s.tokens;
}

/* Blocks that a spread tile falls to, by the runs of groups that they take.  There
 * are fewer spread tiles than blocks, so nothing here passes 2^31. */
HD int w4_spread_begin(int block, int blocks, int units)
{
    return units * block / blocks;
}

HD int w4_spread_block(int unit, int blocks, int units)
{
    return ((unit + 1) * blocks - 1) / units;
}

/*
 * Microseconds that a tiling takes, from times seen on an H200: a group of k in a
 * tile, the way from one tile to the next, to add up a tile over a cluster or
 * over all.  What counts is how tilings compare.
 */
static inline double w4_large_us(const struct w4_large_plan *s, int groups)
{
    const int wide = s->shape.blocks_64 == 2, tokens = s->shape.tokens;
    const double group = tokens == 128  ? (wide ? 1.25 : 0.75)
                         : tokens == 64 ? (wide ? 0.70 : 0.45)
                         : tokens == 32 ? (wide ? 0.55 : 0.35)
                                        : (wide ? 0.52 : 0.30);
    const double size = s->shape.blocks_64 * tokens / 256.0, next = 0.6;
    const int tiles = s->token_tiles * s->channel_tiles, blocks = s->clusters * s->shape.cluster;
    const int rest = tiles - s->whole * blocks;
    double us = s->whole * (groups * group + next);
    if (s->shape.spread)
        us += w4_div_up(rest * groups, blocks) * group + next + 2 + 8 * size;
    else
        us += w4_div_up(rest, s->clusters) * (w4_div_up(groups, s->shape.cluster) * group + next +
                                              (s->shape.cluster > 1 ? 1 + 2 * size : 0));
    return us;
}

/* Derived from p, the tiling and the number of clusters that fit on the device.
 * Returns 0 if it fits into `shared` bytes and divides the work, else -1. */
static inline int w4_large_plan(const struct gemm_problem *p, int symmetric,
                                struct w4_large_shape shape, int clusters, size_t shared,
                                struct w4_large_plan *plan)
{
    const int groups = p->k / W4_GROUP, slices = W4_LARGE_SLICES(shape.tokens);
    struct w4_large_plan s;
    memset(&s, 0, sizeof s);
    if (clusters < 1 || shape.cluster > groups || (shape.spread && shape.cluster > 1) ||
        shape.blocks_64 * shape.tokens > 256)
        return -1;
    s.shape = shape;
    s.token_tiles = w4_div_up(p->m, shape.tokens);
    s.channel_tiles = w4_div_up(p->n, 128 * shape.blocks_64);
    const int tiles = s.token_tiles * s.channel_tiles;
    if (shape.spread) {
        s.clusters = tiles < clusters && tiles * groups < clusters ? tiles * groups : clusters;
        s.whole = tiles / s.clusters;
        s.shared_tiles = tiles % s.clusters;
        if (s.shared_tiles * groups < s.clusters) /* a block would get none */
            return -1;
    } else {
        s.clusters = clusters < tiles ? clusters : tiles;
        s.whole = shape.cluster > 1 ? tiles / (s.clusters * shape.cluster) : 0;
    }
    s.w_bytes = 2 * shape.blocks_64 * W4_NEAR * w4_strip_bytes(symmetric);
    const size_t x_bytes = (size_t)shape.tokens * W4_GROUP * 2 / slices;
    const size_t exchange =
        2 * (shape.cluster > 1 ? (size_t)w4_exchange_tokens(shape.tokens) *
                                     w4_exchange_stride(shape.blocks_64) * sizeof(float)
                               : (size_t)w4_direct_tokens(shape.tokens) *
                                     w4_direct_stride(shape.blocks_64));
    /* a slot is free with the last stage of its group: one more than the groups that
     * the stages hold, if these end within a group */
    for (s.stages = W4_LARGE_STAGES; s.stages >= 2 * slices; s.stages--) {
        s.slots = s.stages / slices + (slices > 1);
        s.w_at = s.stages * x_bytes;
        s.exchange_at = s.w_at + (size_t)s.slots * s.w_bytes;
        s.bytes = s.exchange_at + exchange + W4_LARGE_BARRIERS + 1024; /* 1024: to align */
        if (s.bytes <= shared)
            break;
    }
    if (s.stages < 2 * slices)
        return -1;
    s.us = w4_large_us(&s, groups);
    *plan = s;
    return 0;
}

/* Widest tile worth a try. */
static inline int w4_large_tokens(int m)
{
    return m <= 16 ? 16 : m <= 32 ? 32 : m <= 64 ? 64 : m <= 128 ? 128 : 256;
}

/* The tiling expected to be fastest; clusters[c]: how many clusters of c blocks
 * are resident at a time, 0: none such. */
static inline int w4_large_best(const struct gemm_problem *p, int symmetric,
                                const int clusters[W4_LARGE_CLUSTER + 1], size_t shared,
                                struct w4_large_plan *best)
{
    const int widest = w4_large_tokens(p->m);
    int found = -1;
    for (int tokens = widest < 128 ? widest : 128; tokens <= widest; tokens *= 2)
        for (int blocks_64 = 2; blocks_64 >= 1; blocks_64--)
            for (int cluster = 0; cluster <= W4_LARGE_CLUSTER; cluster++) {
                /* 0 stands for spread */
                const struct w4_large_shape shape = { tokens, blocks_64, cluster ? cluster : 1,
                                                      !cluster };
                struct w4_large_plan s;
                if (w4_large_plan(p, symmetric, shape, clusters[shape.cluster], shared, &s) ||
                    (!found && s.us >= best->us))
                    continue;
                *best = s;
                found = 0;
            }
    return found;
}

#endif
