/*
 * shape.h - how many threads share a row, for quant_rows of own_sm90.cu.
 *
 * A row is vectors of 8 halves.  A cluster of `blocks` blocks of `threads` threads takes a row,
 * each thread `vectors` of it at most, and keeps them in registers: the row is read once.
 */
#ifndef KERNELS_QUANT_SHAPE_H
#define KERNELS_QUANT_SHAPE_H

#include "../common/hd.h"
#include "quant.h"

enum { QUANT_VECTOR = 8, QUANT_THREADS_MAX = 512, QUANT_BLOCKS_MAX = 8 };

enum quant_form {
    QUANT_ONCE,        /* blocks take one row, in registers */
    QUANT_STAYS,       /* blocks of 4 full vectors a thread, not in a cluster, take row after row */
    QUANT_LEAN,        /* as ONCE, by lean.cuh */
    QUANT_LEAN_PACKED, /* the same, values rounded to codes and packed by one instruction */
    QUANT_LEAN_AHEAD,  /* LEAN, and a block asks the L2 for the row that its place takes next */
    QUANT_LEAN_PACKED_AHEAD,
    QUANT_HEADS, /* ROPE_KV: `vectors` units of heads a warp, of heads.h, all loaded at once */
    QUANT_HEADS_AHEAD,
};

/* Vectors and blocks of all shapes of rows that are compiled. */
#define QUANT_EACH_SHAPE(X)                                                                        \
    X(1, 1) X(2, 1) X(4, 1) X(1, 2) X(2, 2) X(4, 2) X(1, 4) X(2, 4) X(1, 8) X(2, 8)

struct quant_shape {
    int vectors; /* of a thread: 1, 2 or 4; QUANT_HEADS: 1 to 4 */
    int blocks;  /* of a cluster: 1, 2, 4 or 8; QUANT_HEADS: of a token */
    int threads; /* of a block: a multiple of 32; 0: the row does not fit */
    enum quant_form form;
};

/* The shape with these vectors and blocks. */
HD struct quant_shape quant_shape_with(int n, int vectors, int blocks, enum quant_form form)
{
    const int count = (n + QUANT_VECTOR - 1) / QUANT_VECTOR, all = vectors * blocks;
    const int threads = ((count + all - 1) / all + 31) / 32 * 32;
    struct quant_shape s;
    s.vectors = vectors;
    s.blocks = blocks;
    s.threads = threads <= QUANT_THREADS_MAX ? threads : 0;
    s.form = form;
    return s;
}

/* ---- the shape that is chosen ---- */

/* Tokens up to these, then more: between those of the sweep. */
enum { QUANT_TOKENS = 6 };
static const int quant_tokens[QUANT_TOKENS - 1] = { 4, 32, 128, 512, 2048 };

static inline int quant_tokens_at(int m)
{
    int t = 0;
    while (t < QUANT_TOKENS - 1 && m > quant_tokens[t])
        t++;
    return t;
}

/*
 * Vectors of a thread and blocks of a cluster, 41 for 4 and 1; the digit before them is the form:
 * 141 for blocks that stay, 241 for lean ones, 341 for lean ones that pack, 441 and 541 for those
 * that ask ahead.  The fastest of
 * `gpu_quant sweep` on an H200, cold.  What it shows: a row of few tokens goes to a cluster, as one
 * latency counts and a thread should have little to do, unless nothing but its largest value is
 * asked of it, where one block of 4 vectors a thread is through before a cluster has met.  Of many,
 * blocks of 4 vectors a thread have most bytes on their way; a NORM, which computes longest, stays,
 * so that the next row is loaded meanwhile.  Rows of more than 16 KB go to clusters.
 */
static inline int quant_choice_of(const struct quant_problem *p)
{
    enum { ANY = -1 };
    static const struct {
        int kernel, n; /* up to */
        int registers[QUANT_TOKENS];
    } table[] = {
        /* tokens                  1   16   64  256 1024 4096 */
        { QUANT_PLAIN, 6144, { 41, 41, 11, 41, 21, 41 } },
        { QUANT_PLAIN, 8192, { 41, 41, 41, 42, 41, 42 } },
        { QUANT_NORM, 6144, { 14, 14, 21, 22, 41, 141 } },
        { QUANT_NORM, 8192, { 14, 14, 22, 41, 41, 141 } },
        { QUANT_ADD_NORM, 6144, { 14, 14, 14, 22, 41, 41 } },
        { QUANT_ADD_NORM, 8192, { 18, 14, 24, 21, 41, 42 } },
        { ANY, 8192, { 14, 14, 22, 41, 41, 41 } },
        { ANY, 12288, { 18, 18, 22, 22, 42, 42 } },
        { ANY, 16384, { 18, 18, 41, 24, 24, 24 } },
        { ANY, 20480, { 18, 18, 24, 24, 24, 24 } },
        { ANY, 32768, { 28, 28, 42, 28, 28, 28 } },
        { ANY, 1 << 30, { 28, 28, 28, 28, 28, 28 } },
    };
    int k = 0;
    while (p->n > table[k].n || (table[k].kernel != ANY && table[k].kernel != (int)p->kernel))
        k++;
    return table[k].registers[quant_tokens_at(p->m)];
}

static inline struct quant_shape quant_shape_of(const struct quant_problem *p)
{
    const int c = quant_choice_of(p);
    struct quant_shape s = quant_shape_with(p->n, c / 10 % 10, c % 10, (enum quant_form)(c / 100));
    for (int blocks = 2; !s.threads && blocks <= QUANT_BLOCKS_MAX; blocks *= 2)
        s = quant_shape_with(p->n, 2, blocks, QUANT_ONCE);
    return s;
}

#endif
