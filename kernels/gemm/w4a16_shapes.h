/*
 * w4a16_shapes.h - which tiling a problem gets, and what follows from it.
 *
 * Few tokens (w4a16_small): a tile is 16 across strips channels and all tokens, a
 * unit is a tile and one group of k.  Blocks that stay for the whole launch take
 * equal runs of units, so a tile may begin in one block and end in another:
 *
 *   units    t0 g0 .. g31   t1 g0 .. g31   t2 g0 .. g31   t3 ...
 *   blocks   [   0   ][   1   ][   2   ][   3   ][   4   ] ...
 *
 * Blocks leave partial sums of such a tile in a workspace, from where the last
 * one to come adds them up in the order of the blocks.  What a tiling costs
 * besides reading W, as parts of it:
 *
 *   X, read once by each tile       tokens / (4 across strips)
 *   partial sums, written and read  about tokens across strips blocks / (n k / 10^4)
 *
 * so wide tiles are for many tokens and narrow ones for small weights.
 *
 * Up to 16 tokens there is also the kernel of strips (w4a16_strips.h).
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
 *
 * With many tokens X, which every block reads, would take much of what the L2 cache
 * gives.  There two blocks that are neighbours in n may share it: what is said of a
 * block is then said of the two, and of twice the channels.
 */
#ifndef KERNELS_GEMM_W4A16_SHAPES_H
#define KERNELS_GEMM_W4A16_SHAPES_H

#include <limits.h>
#include <string.h>

#include "gemm.h"
#include "w4a16_layout.h"
#include "w4a16_strips.h"

enum {
    W4_SMALL_TOKENS = 32, /* most that w4a16_small takes */
    W4_STAGES = 8,        /* slots, most */
    W4_X_STAGES = 4,      /* slots for X of warps that share it, most */
    W4_BARRIER_BYTES = 2048
};

/* Tiling by tokens and shape, see the drawing above. */
struct w4_small_shape {
    int across; /* warps side by side in n; the others stand behind each other in k */
    int strips; /* of a warp at a time: 2 or 4 */
    int blocks; /* per multiprocessor */
    int room;   /* blocks that fit into a multiprocessor's shared memory */
    int warps;  /* of a block: 8, 12 or 16 */
};

/* What a launch of w4a16_small does; made by w4_small_plan. */
struct w4_small_plan {
    int tokens;          /* of a tile: m rounded up to 8, 16 or 32 */
    int warps, across, strips;
    int groups, tiles;
    int blocks;          /* of a tile of tokens */
    int quantum;         /* runs of units begin at multiples of it: 1, or groups */
    int stages, x_stages, slot_bytes, x_bytes;
    size_t x_at, ring_at, bytes;               /* in shared memory */
    size_t workspace_bytes, counters;          /* 0: no tile is shared */
};

/* First unit of a block, and the block that has a unit. */
HD int w4_first_unit(const struct w4_small_plan *s, int block)
{
    const unsigned runs = s->tiles * s->groups / s->quantum;
    return (int)(runs * block / s->blocks) * s->quantum;
}

HD int w4_block_of(const struct w4_small_plan *s, int unit)
{
    const unsigned runs = s->tiles * s->groups / s->quantum;
    return (int)(((unsigned)(unit / s->quantum + 1) * s->blocks - 1) / runs);
}

/* Whether blocks that take whole tiles differ by one part in 20 at most. */
static inline int w4_even(int tiles, int blocks)
{
    return 20L * w4_div_up(tiles, blocks) * blocks <= 21L * tiles;
}

/*
 * Derived from p, a shape and the number of blocks that share the work; whole: no
 * tile is divided between blocks.  `shared` bytes are for a block, and what the
 * sums and X leave of them is for the ring.  Returns 0 if it fits, else -1.
 */
static inline int w4_small_plan(const struct gemm_problem *p, int symmetric,
                                struct w4_small_shape shape, int blocks, int whole, size_t shared,
                                int stages, struct w4_small_plan *plan)
{
    const int warps = shape.warps, slots = shape.strips / W4_PAIR, behind = warps / shape.across;
    struct w4_small_plan s;
    memset(&s, 0, sizeof s);
    if (blocks < 1)
        return -1;
    s.tokens = p->m <= 8 ? 8 : p->m <= 16 ? 16 : 32;
    s.warps = warps;
    s.across = shape.across;
    s.strips = shape.strips;
    s.groups = p->k / W4_GROUP;
    s.tiles = w4_div_up(p->n, W4_STRIP * shape.across * shape.strips);
    const int even = whole || w4_even(s.tiles, blocks);
    s.quantum = even ? s.groups : 1;
    const long runs = (long)s.tiles * s.groups / s.quantum;
    s.blocks = blocks < runs ? blocks : (int)runs;
    if ((runs + 1) * s.blocks > UINT_MAX)
        return -1;
    const int items = w4_div_up((int)((runs + s.blocks - 1) / s.blocks) * s.quantum, behind);
    const int need = whole || items * slots > stages ? stages : items * slots;
    const int x_least = items < 2 ? 1 : 2;
    const int fragments = shape.across * shape.strips * s.tokens / 8; /* of a tile */
    s.slot_bytes = W4_PAIR * w4_strip_bytes(symmetric);
    s.x_bytes = (p->m < 8 ? p->m : s.tokens) * W4_X_STRIDE;
    s.x_at = W4_BARRIER_BYTES + (behind > 1 ? (size_t)behind * fragments * W4_FRAGMENT : 0);
    const size_t ring = (size_t)warps * s.slot_bytes, x = (size_t)behind * s.x_bytes;
    /* X and W ahead of use by about as much */
    for (s.x_stages = items < W4_X_STAGES ? items : W4_X_STAGES;; s.x_stages--) {
        if (s.x_stages < x_least)
            return -1;
        s.ring_at = s.x_at + s.x_stages * x;
        const size_t fit = s.ring_at < shared ? (shared - s.ring_at) / ring : 0;
        s.stages = fit < (size_t)need ? (int)fit : need;
        if (s.stages >= slots && (s.stages >= (need < 5 ? need : 5) || s.x_stages == x_least))
            break;
    }
    s.bytes = s.ring_at + s.stages * ring;
    if (!even && s.blocks > 1) {
        s.counters = (size_t)s.tiles * warps;
        s.workspace_bytes = (size_t)s.blocks * 2 * fragments * W4_FRAGMENT;
    }
    *plan = s;
    return 0;
}

/*
 * The tiling, from times on an H200 of the layers of Llama 2 7B and 70B.  With few
 * tokens narrow whole tiles win where they spread evenly over the multiprocessors,
 * else wide ones whose ends are shared; two blocks to a multiprocessor hide more
 * of what they wait for, if each has enough units.  overlap: launches begin before
 * the one before has ended, so that blocks of two must fit, not all of one; what
 * was fetched ahead is then to be made up for, which more warps do sooner.
 */
static inline struct w4_small_shape w4_small_shape(const struct gemm_problem *p, int sms,
                                                   int overlap)
{
    const long strips = w4_div_up(p->n, W4_STRIP); /* all; below, of a multiprocessor */
    const long units = strips * (p->k / W4_GROUP) / sms, each = strips / sms;
    const int narrow = w4_div_up(p->n, 2 * W4_STRIP), rounds = w4_div_up(narrow, sms);
    const int even = rounds <= 3 && w4_even(narrow, sms);
    if (p->m > 16)
        return (struct w4_small_shape){ units > (overlap ? 175 : 600) ? 8 : 4, 2,
                                        units > 100 ? 2 : 1, 2, 8 };
    if (p->m > 8)
        return (struct w4_small_shape){ !overlap || each < 5 ? 2 : 4, 4,
                                        units > (overlap ? 175 : 220) ? 2 : 1, 2, 8 };
    if (!overlap && even) {
        if (p->m == 1)
            return (struct w4_small_shape){ 1, 2, rounds == 2 ? 2 : 1, 3, 8 };
        return (struct w4_small_shape){ 1, rounds == 2 ? 4 : 2, 1, 2, 8 };
    }
    if (!overlap)
        return (struct w4_small_shape){ p->m == 1 ? 1 : 2, 4, 2, 3, 8 };
    if (even && rounds == 1 && p->k <= 8192)
        return (struct w4_small_shape){ 1, 2, 1, 1, 16 };
    if (even && rounds == 1 && p->m <= 4)
        return (struct w4_small_shape){ 1, 4, 1, 2, 12 };
    if (even && p->m <= (rounds == 2 ? 4 : 1))
        return (struct w4_small_shape){ 1, 2, rounds == 2 ? 2 : 1, 2, 12 };
    return (struct w4_small_shape){ p->m > 4 && units >= 240 && units < 1200 ? 2 : 1, 4, 2, 2, 8 };
}

/* Whether w4a16 takes it and not w4a16_large; by times on an H200. */
static inline int w4_small_best(const struct gemm_problem *p)
{
    return p->m <= 16;
}

/* ---- up to 16 tokens by strips ---- */

struct w4_strips_row {
    int most_m, most_n, most_k;
    struct w4_strips_shape shape;
    int best; /* 1: faster than w4a16_small */
};

/*
 * The tiling: the first row with m <= most_m, n <= most_n, k <= most_k, from times on an H200 of
 * the layers of Llama 2 7B and 70B with 1 to 16 tokens beside w4a16_small in launches that overlap.
 * Strips win where W is small and ends of launches count; each multiprocessor reads all of X for
 * its chunks, so that with more tokens only a small k pays.  With few channels X is divided over a
 * cluster as k is, which saves more than adding up costs.
 */
static inline struct w4_strips_row w4_strips_row(const struct gemm_problem *p)
{
    static const struct w4_strips_row rows[] = {
        /*                         across, cluster */
        { 4, 22016, 11008, { 1, 1 }, 1 },
        { 8, 4096, 11008, { 1, 2 }, 1 },
        { 8, 10240, INT_MAX, { 1, 2 }, 1 },
        { 8, 22016, 11008, { 1, 1 }, 1 },
        { 8, INT_MAX, INT_MAX, { 1, 1 }, 0 },
        { 16, 4096, 4096, { 1, 2 }, 1 },
        { 16, 12288, 4096, { 1, 1 }, 1 },
        { 16, 22016, 4096, { 2, 1 }, 1 },
        { 16, 10240, INT_MAX, { 2, 2 }, 0 },
        { INT_MAX, INT_MAX, INT_MAX, { 2, 1 }, 0 },
    };
    int i = 0;
    while (p->m > rows[i].most_m || p->n > rows[i].most_n || p->k > rows[i].most_k)
        i++;
    struct w4_strips_row row = rows[i];
    if (row.shape.cluster > p->k / W4_GROUP)
        row.shape.cluster = 1;
    if (p->n <= W4_STRIP)
        row.shape.across = 1;
    return row;
}

/* Whether the kernel of strips can take it: 132 multiprocessors of 228 kB. */
static inline int w4_strips_takes(const struct gemm_problem *p)
{
    struct w4_strips_plan plan;
    const struct w4_strips_shape s = w4_strips_row(p).shape;
    return !w4_strips_plan(p, 0, s, 132 / s.cluster, 115712, &plan);
}

static inline int w4_strips_best(const struct gemm_problem *p)
{
    return w4_strips_row(p).best && w4_strips_takes(p);
}

/* ---- more tokens ---- */

enum {
    W4_LARGE_STAGES = 12,     /* most; a block's ring of groups of X and W */
    W4_LARGE_BARRIERS = 1024, /* bytes */
    W4_LARGE_CLUSTER = 8,     /* most */
    W4_LARGE_SKEW = 2000,     /* clocks; worth a try */
    W4_LARGE_ENDS = 5         /* groups that take as long as to add up spread tiles */
};

/* What a tiling may choose; tokens 16, 32, 64, 128 or, with blocks_64 1, 256. */
struct w4_large_shape {
    int tokens, blocks_64; /* of a tile; channels of a warpgroup, of which there are two, / 64 */
    int cluster;           /* 1: tiles are not split over clusters */
    int spread;            /* 1 with cluster 1 only: they are spread */
    int share;             /* 2 with cluster 1 only: two blocks share X; else 1 */
    int skew;              /* clocks that the second warpgroup begins later */
    int fine;              /* 1: products are started half as many at a time */
};

struct w4_large_plan {
    struct w4_large_shape shape;
    int token_tiles, channel_tiles;  /* channel_tiles: of blocks that share X */
    int clusters;                    /* of shape.cluster or shape.share blocks */
    int whole;                       /* rounds of whole tiles */
    int shared_tiles;                /* spread; they are the first */
    int stages, slots;               /* of X and of W */
    int w_bytes;                     /* of a slot */
    size_t w_at, exchange_at, bytes; /* in shared memory, behind 1024-byte alignment */
};

/* Stages of X that a group of k comes in: 256 tokens of a group would leave room
 * for two of them. */
#define W4_LARGE_SLICES(tokens) ((tokens) > 128 ? 2 : 1)

/* Rows of X that a copy brings. */
static inline int w4_large_box(struct w4_large_shape s)
{
    return s.tokens / (W4_LARGE_SLICES(s.tokens) > 1 ? s.share : 1);
}

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

/* Derived from p, the tiling and the number of clusters that fit on the device.
 * Tiles of which a block would get no group are not spread or split, nor are those
 * spread that leave few blocks idle.  Returns 0 if it fits into `shared` bytes, else -1. */
static inline int w4_large_plan(const struct gemm_problem *p, int symmetric,
                                struct w4_large_shape shape, int clusters, size_t shared,
                                struct w4_large_plan *plan)
{
    const int groups = p->k / W4_GROUP, slices = W4_LARGE_SLICES(shape.tokens);
    struct w4_large_plan s;
    memset(&s, 0, sizeof s);
    if (shape.cluster > groups)
        shape.cluster = 1;
    if (clusters < 1 || shape.blocks_64 * shape.tokens > 256 ||
        (shape.cluster > 1 && (shape.spread || shape.share > 1)))
        return -1;
    s.shape = shape;
    s.token_tiles = w4_div_up(p->m, shape.tokens);
    s.channel_tiles = w4_div_up(p->n, 128 * shape.blocks_64 * shape.share);
    const int tiles = s.token_tiles * s.channel_tiles;
    const int rest = tiles % clusters; /* beyond whole rounds */
    if (rest * groups < clusters || (clusters - rest) * groups < W4_LARGE_ENDS * clusters)
        s.shape.spread = 0;
    if (s.shape.spread) {
        s.clusters = clusters;
        s.whole = tiles / clusters;
        s.shared_tiles = rest;
    } else {
        s.clusters = clusters < tiles ? clusters : tiles;
        s.whole = shape.cluster > 1 ? tiles / (s.clusters * shape.cluster) : 0;
    }
    s.w_bytes = 8 * shape.blocks_64 * w4_strip_bytes(symmetric);
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
    *plan = s;
    return 0;
}

/*
 * The tiling: the first row with m <= most_m, n <= most_n, k <= most_k.  Measured on an H200 with
 * weights out of cache, layers of Llama-2-7B and 70B (tools/w4a16_sweep.c measures all of them), but
 * for the last row.  Few channels: narrow tiles, of which there are more, and split along k where
 * they leave most of the multiprocessors idle.
 */
static inline struct w4_large_shape w4_large_shape(const struct gemm_problem *p)
{
    static const struct {
        int most_m, most_n, most_k;
        struct w4_large_shape shape;
    } rows[] = {
        /*                         tokens, blocks_64, cluster, spread, share, skew, fine */
        { 16, 6144, INT_MAX, { 16, 1, 1, 1, 1, 0, 0 } },
        { 16, INT_MAX, INT_MAX, { 16, 2, 1, 1, 1, 0, 0 } },
        { 32, 8192, 8192, { 32, 1, 2, 0, 1, 0, 0 } },
        { 32, 12288, 4096, { 32, 1, 1, 0, 1, 0, 0 } },
        { 32, 6144, INT_MAX, { 32, 1, 1, 1, 1, 0, 0 } },
        { 32, INT_MAX, INT_MAX, { 32, 2, 1, 1, 1, 0, 0 } },
        { 64, 4096, 4096, { 64, 1, 3, 0, 1, 0, 0 } },
        { 64, 8192, 8192, { 64, 1, 2, 0, 1, 0, 0 } },
        { 64, 12288, 4096, { 64, 1, 1, 0, 1, 0, 0 } },
        { 64, 6144, INT_MAX, { 64, 1, 1, 1, 1, 0, 0 } },
        { 64, INT_MAX, INT_MAX, { 64, 2, 1, 1, 1, W4_LARGE_SKEW, 0 } },
        { 128, 12288, 16384, { 128, 1, 1, 1, 1, W4_LARGE_SKEW, 1 } },
        { 128, INT_MAX, INT_MAX, { 128, 2, 1, 1, 1, 0, 1 } },
        { 256, 4096, INT_MAX, { 128, 1, 2, 0, 1, 0, 0 } },
        { 256, 8192, 8192, { 128, 1, 1, 1, 1, W4_LARGE_SKEW, 1 } },
        { 256, INT_MAX, INT_MAX, { 256, 1, 1, 1, 2, 0, 0 } },
        { INT_MAX, INT_MAX, INT_MAX, { 128, 2, 1, 1, 1, W4_LARGE_SKEW, 0 } },
    };
    int i = 0;
    while (p->m > rows[i].most_m || p->n > rows[i].most_n || p->k > rows[i].most_k)
        i++;
    return rows[i].shape;
}

#endif
