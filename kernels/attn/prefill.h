/*
 * prefill.h - attention of a prompt over itself, which also fills the cache.
 *
 *     S[b][h][i][t]   = sum over d of Q[b][i][h][d] K[b][t][h / ratio][d] / sqrt(head_dim)
 *     Out[b][i][h][d] = sum over t <= i of softmax_t(S[b][h][i][t]) V[b][t][h / ratio][d]
 *
 *     b, h, d, ratio as in attn.h        i, t in [0,length)  tokens of every sequence
 *
 * Attention takes K and V as they come; the cache gets them as its scheme stores them
 * (page.h), to the bit what attn_quantise makes.  struct attn_problem is used with `length`
 * the tokens of every sequence, a multiple of page.
 */
#ifndef KERNELS_ATTN_PREFILL_H
#define KERNELS_ATTN_PREFILL_H

#include "attn.h"

OP_BEGIN

/* Device pointers, 256-byte aligned; pages 16-byte aligned. */
struct prefill_args {
    const void *q;     /* half [batch][length][heads][head_dim], rotated (RoPE) */
    const void *k, *v; /* half [batch][length][kv_heads][head_dim], k rotated */
    void *out;         /* half [batch][length][heads][head_dim] */
    void *const *page; /* [batch][2][attn_table_pages]: addresses of pages to write */
};

typedef enum op_status prefill_run_fn(const struct attn_problem *, const struct prefill_args *,
                                      void *state, op_stream);
typedef enum op_status prefill_setup_fn(const struct attn_problem *, const struct prefill_args *,
                                        const struct op_memory *, op_stream, void **state);

struct prefill_impl {
    struct op_impl base;     /* first */
    enum attn_scheme scheme; /* of the cache: KV16, KV8, KV4 */
    enum op_status (*supports)(const struct attn_problem *, const char **why); /* NULL: all */
    prefill_setup_fn *setup;                                                   /* NULL: none */
    void (*teardown)(void *state);                      /* accepts NULL; NULL: none */
    prefill_run_fn *run;                                /* NULL where the build has no CUDA */
    double (*extra_bytes)(const struct attn_problem *); /* as in struct attn_impl */
};

/* Tables, ended by an entry whose base.name is NULL. */
extern const struct prefill_impl prefill_references[]; /* prefill_ref.c: host */
extern const struct prefill_impl prefill_kernels[];    /* prefill_impls.c */

/*
 * The reference in double precision of the tokens listed in token[tokens], each
 * b * length + i: w->want and w->spread [tokens][heads][head_dim], w->score room for
 * [tokens][heads][length]; w->offset is not written.  Host pointers, or device pointers (token
 * too) and enqueued.
 */
enum op_status prefill_ref(const struct attn_problem *p, const struct prefill_args *a,
                           const int *token, int tokens, const struct attn_wanted *w);
enum op_status prefill_ref_cuda(const struct attn_problem *p, const struct prefill_args *a,
                                const int *token, int tokens, const struct attn_wanted *w,
                                op_stream s);

/* prefill*.cu: attention and cache in one kernel; the same kernel without the cache, and one
 * that writes it. */
extern prefill_run_fn prefill_kv4, prefill_kv8, prefill_kv16, prefill_kv4_apart, prefill_kv8_apart,
    prefill_kv16_apart;

OP_END
#endif
