/*
 * w4a16_strips.h - how the kernel of strips (w4a16_strips.cuh) divides a problem of up to 16
 * tokens.
 *
 * The strips of W are cut into chunks that differ by one strip at most, as many as there are
 * multiprocessors or a multiple of that.  A block has a chunk of each round and all of k, so that
 * nothing passes between blocks:
 *
 *   round     0                           1
 *   block     0       1       2           0       1       2
 *   chunk     0       1       2           3       4       5
 *   strips    s0 s1   s2 s3   s4 s5       s6 s7   s8      s9          10 strips, 3 blocks
 *
 * or, where a multiprocessor's share of n is so narrow that each would read X for few strips, two
 * blocks of a cluster have a chunk together, each a part of the groups of k.  In a block, warps
 * side by side divide the strips of a chunk, and those behind one another the groups.
 *
 * W lies in the order in which it is read (struct w4_cut of w4a16_layout.h):
 *
 *   packed    chunk 0 [k/128][its strips]   chunk 1 [k/128][its strips]  ...
 *
 * What a tiling costs besides reading W: X, m k halves for each chunk.
 */
#ifndef KERNELS_GEMM_W4A16_STRIPS_H
#define KERNELS_GEMM_W4A16_STRIPS_H

#include <limits.h>
#include <string.h>

#include "gemm.h"
#include "w4a16_layout.h"

enum {
    W4_STRIPS_TOKENS = 16,
    W4_STRIPS_WARPS = 8,
    W4_STRIPS_STAGES = 8,   /* slots of a warp's ring of W, most */
    W4_STRIPS_X_STAGES = 4, /* the same of X */
    W4_STRIPS_WALKS = 1024, /* bytes of barriers, behind which lie struct w4_strips_walk ... */
    W4_STRIPS_SUMS = 1536,  /* ... and sums */
    W4_STRIPS_EACH_8 = 11,  /* strips of a warp at a time, most: 8 tokens ... */
    W4_STRIPS_EACH_16 = 6,  /* ... and 16 */
    W4_STRIPS_CLUSTER = 2   /* blocks, most */
};

/* What a tiling may choose. */
struct w4_strips_shape {
    int across;  /* warps side by side: 1, or 2, which with 8 tokens is not compiled */
    int cluster; /* blocks that divide k: 1 or 2 */
};

/* What a launch does; made by w4_strips_plan. */
struct w4_strips_plan {
    int tokens; /* of a tile: 8 or 16 */
    int across, cluster;
    int each; /* strips of a warp at a time: so many, or one less */
    int groups, clusters, rounds;
    int stride;        /* from a warp's group to its next */
    struct w4_cut cut; /* into clusters rounds chunks */
    int stages, x_stages, slot_bytes, x_bytes;
    size_t x_at, ring_at, bytes; /* in shared memory */
};

/* ---- what a warp does ---- */

HD int w4_strips_behind(int across)
{
    return W4_STRIPS_WARPS / across;
}

/* Strips of a chunk that come before those of the across-th warp, of one or two. */
HD int w4_strips_share(int size, int across, int of)
{
    return of == 2 ? size * across / 2 : size * across; /* no division */
}

/* Pairs of strips that a warp has, group after group and round after round: two vectors of 16
 * bytes. */
struct w4_strips_walk {
    int chunk, rounds; /* the next rounds' are `clusters` chunks further on */
    int group, first;
    int size, here; /* strips of the chunk, and the warp's of them */
    int left;       /* of these, in this group */
    int at;         /* strips that lie before the next */
};

/* To the warp's first strip of the group in the chunk. */
HD void w4_strips_locate(const struct w4_strips_plan *p, int across, struct w4_strips_walk *w)
{
    w->size = w4_cut_size(p->cut, w->chunk);
    const int before = w4_strips_share(w->size, across, p->across);
    w->left = w->here = w4_strips_share(w->size, across + 1, p->across) - before;
    w->at = w4_cut_begin(p->cut, w->chunk) * p->groups + w->group * w->size + before;
}

/* rank: the block's in its cluster. */
HD struct w4_strips_walk w4_strips_begin(const struct w4_strips_plan *p, int cluster, int rank,
                                         int across, int behind)
{
    const int all = w4_strips_behind(p->across);
    struct w4_strips_walk w;
    w.first = w.group = rank * all + behind;
    w.chunk = cluster;
    w.rounds = w.first < p->groups ? p->rounds : 0;
    w4_strips_locate(p, across, &w);
    return w;
}

/* Strips of the next pair; nothing is left where rounds is 0. */
HD int w4_strips_pair(const struct w4_strips_walk *w)
{
    return w->left < W4_PAIR ? w->left : W4_PAIR;
}

HD void w4_strips_next(const struct w4_strips_plan *p, int across, struct w4_strips_walk *w)
{
    const int pair = w4_strips_pair(w);
    w->left -= pair;
    w->at += pair;
    if (w->left)
        return;
    w->group += p->stride;
    if (w->group < p->groups) {
        w->at += p->stride * w->size - w->here;
        w->left = w->here;
    } else {
        w->group = w->first;
        w->chunk += p->clusters;
        if (--w->rounds)
            w4_strips_locate(p, across, w);
    }
}

/* Groups of all rounds. */
HD int w4_strips_items(const struct w4_strips_plan *p, const struct w4_strips_walk *w)
{
    return w->rounds ? p->rounds * ((p->groups - 1 - w->first) / p->stride + 1) : 0;
}

/* ---- sums: fragments of 16 channels by 8 tokens ---- */

/* Number of a fragment of a chunk: of the across-th warp's strip-th strip. */
HD int w4_strips_fragment(int across, int strip, int tile, int each, int tiles)
{
    return (across * each + strip) * tiles + tile;
}

/* Its strip in the chunk; -1: there is none. */
HD int w4_strips_of_fragment(int fragment, int size, int across, int each, int tiles)
{
    const int warp = fragment / tiles / each, strip = fragment / tiles % each;
    const int before = w4_strips_share(size, warp, across);
    return before + strip < w4_strips_share(size, warp + 1, across) ? before + strip : -1;
}

/* ---- the plan ---- */

/* Most strips of a warp at a time. */
static inline int w4_strips_each(int tokens)
{
    return tokens > 8 ? W4_STRIPS_EACH_16 : W4_STRIPS_EACH_8;
}

/*
 * Derived from p, a shape and the number of its clusters that the device has at a time, each block
 * with `shared` bytes: half of a multiprocessor's, the rest being the next launch's.  What the sums
 * and X leave of these is for the rings of W.  Returns 0 if it fits, else -1.
 */
static inline int w4_strips_plan(const struct gemm_problem *p, int symmetric,
                                 struct w4_strips_shape shape, int clusters, size_t shared,
                                 struct w4_strips_plan *plan)
{
    struct w4_strips_plan s;
    memset(&s, 0, sizeof s);
    if (p->m > W4_STRIPS_TOKENS || p->n % 8 || p->k % W4_GROUP || p->group != W4_GROUP ||
        clusters < 1)
        return -1;
    s.tokens = p->m <= 8 ? 8 : 16;
    s.across = shape.across;
    s.cluster = shape.cluster;
    s.groups = p->k / W4_GROUP;
    s.stride = w4_strips_behind(s.across) * s.cluster;
    const int strips = w4_div_up(p->n, W4_STRIP);
    if (strips < s.across || s.cluster > s.groups || (s.across > 1 && s.tokens == 8))
        return -1;
    s.clusters = clusters * s.across < strips ? clusters : strips / s.across;
    const int at_once = s.clusters * s.across * w4_strips_each(s.tokens);
    s.rounds = w4_div_up(strips, at_once);
    const int chunks = s.clusters * s.rounds;
    if ((double)strips * (s.groups + W4_STRIPS_WARPS * W4_STRIPS_CLUSTER) > INT_MAX)
        return -1; /* counted in 32 bits */
    s.cut = w4_cut_of(strips, chunks);
    s.each = w4_div_up(w4_cut_size(s.cut, 0), s.across);

    const int behind = w4_strips_behind(s.across), slots = w4_div_up(s.each, W4_PAIR);
    const int items = s.rounds * w4_div_up(s.groups, behind * s.cluster);
    const int need = items * slots < W4_STRIPS_STAGES ? items * slots : W4_STRIPS_STAGES;
    const int enough = need < 4 ? need : 4;
    /* warps that share a slot of X fill again the one before */
    const int x_least = s.across > 1 && items > 1 ? 2 : 1;
    s.slot_bytes = W4_PAIR * w4_strip_bytes(symmetric);
    s.x_bytes = (p->m < 8 ? p->m : s.tokens) * W4_X_STRIDE;
    s.x_at =
        W4_STRIPS_SUMS + (size_t)(behind / 2) * s.across * s.each * (s.tokens / 8) * W4_FRAGMENT;
    const size_t ring = (size_t)W4_STRIPS_WARPS * s.slot_bytes, x = (size_t)behind * s.x_bytes;
    for (s.x_stages = items < W4_STRIPS_X_STAGES ? items : W4_STRIPS_X_STAGES;; s.x_stages--) {
        if (s.x_stages < x_least)
            return -1;
        s.ring_at = s.x_at + s.x_stages * x;
        const size_t fit = s.ring_at < shared ? (shared - s.ring_at) / ring : 0;
        s.stages = fit < (size_t)need ? (int)fit : need;
        if (s.stages >= enough || (s.x_stages == x_least && s.stages >= (need < 2 ? need : 2)))
            break;
    }
    s.bytes = s.ring_at + s.stages * ring;
    *plan = s;
    return 0;
}

#endif
