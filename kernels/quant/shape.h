/*
 * shape.h - how many threads share a row, and in which form, for own_sm90.cu.
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
    QUANT_ONCE,       /* rows.cuh: PLAIN and SILU */
    QUANT_LEAN,       /* lean.cuh: any row */
    QUANT_LEAN_AHEAD, /* the same, and a block asks the L2 for the row that its place takes next:
                         NORM and ADD_NORM */
    QUANT_HEADS,      /* ROPE_KV: `vectors` units of heads a warp, of heads.h, all loaded at once */
};

/* What has not been the fastest at any size is not compiled. */
HD int quant_has_form(enum quant_kernel kernel, enum quant_form form)
{
    const int norms = kernel == QUANT_NORM || kernel == QUANT_ADD_NORM;
    return form == QUANT_LEAN || form == (norms ? QUANT_LEAN_AHEAD : QUANT_ONCE);
}

/* Vectors and blocks of all shapes of rows that are compiled. */
#define QUANT_EACH_SHAPE(X) X(2, 1) X(4, 1) X(2, 2) X(4, 2) X(1, 4) X(2, 4) X(1, 8) X(2, 8)

struct quant_shape {
    int vectors; /* of a thread: 1, 2 or 4; QUANT_HEADS: 1 or 2 */
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
 * 141 for lean blocks, 241 for those that ask ahead.  The fastest of `gpu_quant sweep` on an H200,
 * cold, or one not 1.5 % behind it.  What it shows: a row of few tokens goes to a cluster, as one
 * latency counts and a thread should have little to do, unless nothing but its largest value is
 * asked of it, where one block of 4 vectors a thread is through before a cluster has met.  Of many,
 * blocks of 4 vectors a thread have most bytes on their way, and lean ones leave least to do
 * between them; asking ahead pays in norms of 4096 tokens of 8192 alone.  For 64 rows of SILU no
 * lean shape was faster, for two lengths of three none as fast.  Rows of more than 16 KB go to
 * clusters.
 */
static inline int quant_choice_of(const struct quant_problem *p)
{
    enum { ANY = -1 };
    static const struct {
        int kernel, n; /* up to */
        int choice[QUANT_TOKENS];
    } table[] = {
        /* tokens                  1    16   64   256  1024 4096 */
        { QUANT_PLAIN, 6144, { 41, 41, 41, 42, 141, 41 } },
        { QUANT_PLAIN, 8192, { 41, 41, 41, 42, 41, 42 } },
        { QUANT_NORM, 6144, { 114, 114, 118, 122, 141, 141 } },
        { QUANT_NORM, 8192, { 118, 118, 128, 141, 141, 241 } },
        { QUANT_ADD_NORM, 6144, { 114, 114, 118, 142, 141, 141 } },
        { QUANT_ADD_NORM, 8192, { 118, 118, 128, 121, 141, 221 } },
        { QUANT_SILU, 12288, { 118, 118, 28, 141, 122, 122 } },
        { QUANT_SILU, 16384, { 118, 118, 41, 122, 122, 122 } },
        { QUANT_SILU, 32768, { 118, 128, 42, 124, 124, 124 } },
        { ANY, 32768, { 118, 128, 128, 124, 124, 124 } },
        { ANY, 1 << 30, { 128, 128, 128, 128, 128, 128 } },
    };
    int k = 0;
    while (p->n > table[k].n || (table[k].kernel != ANY && table[k].kernel != (int)p->kernel))
        k++;
    return table[k].choice[quant_tokens_at(p->m)];
}

static inline struct quant_shape quant_shape_of(const struct quant_problem *p)
{
    const int c = quant_choice_of(p);
    return quant_shape_with(p->n, c / 10 % 10, c % 10, (enum quant_form)(c / 100));
}

#endif
