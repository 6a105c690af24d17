/*
 * attn.h - decode attention over a paged cache of keys and values.
 *
 *     S[b][h][t]   = sum over d of Q[b][h][d] K[b][h / ratio][t][d] / sqrt(head_dim)
 *     Out[b][h][d] = sum over t of softmax_t(S[b][h][t]) V[b][h / ratio][t][d]
 *
 *     b in [0,batch)  sequences          t in [0,length[b])  tokens in the cache
 *     h in [0,heads)  query heads        d in [0,head_dim)
 *     ratio = heads / kv_heads           query heads that share a head of keys and values
 *
 * One new token a sequence asks; its own key and value are in the cache already.  What
 * differs between implementations is how the cache stores keys and values: page.h.
 */
#ifndef KERNELS_ATTN_ATTN_H
#define KERNELS_ATTN_ATTN_H

#include "../op.h"
#include "page.h"

OP_BEGIN

struct attn_problem {
    int batch, heads, kv_heads; /* kv_heads divides heads */
    int head_dim;               /* a multiple of 32 */
    int length;                 /* of the longest sequence, tokens */
    int page;                   /* tokens of a page, a multiple of 16 */
    double tokens;              /* sum of the lengths; for counting bytes */
};

/* Pages of a sequence in the table: one more than the longest one has, as published
 * kernels look up to a page ahead. */
HD int attn_table_pages(const struct attn_problem *p)
{
    return (p->length + p->page - 1) / p->page + 1;
}

/*
 * Device pointers, 256-byte aligned.  Entries of the table behind a sequence's last page
 * repeat that page, and tokens behind the last one of a page hold anything finite: both
 * may be read and must not count.
 */
struct attn_args {
    const void *q;           /* half [batch][heads][head_dim], rotated (RoPE) */
    void *out;               /* half [batch][heads][head_dim] */
    const int *length;       /* [batch], each >= 1 */
    const void *const *page; /* [batch][2][attn_table_pages]: addresses of pages, keys then
                              * values, of the row's scheme */
    const float *scale;      /* [2], keys' and values': KV8_STATIC; else NULL */
};

typedef enum op_status attn_run_fn(const struct attn_problem *, const struct attn_args *,
                                   void *state, op_stream);
/* Once per operand set: workspace, handles, another form of the cache; may synchronise.
 * On entry *state is NULL for the first set of a case, else what the first set got. */
typedef enum op_status attn_setup_fn(const struct attn_problem *, const struct attn_args *,
                                     const struct op_memory *, op_stream, void **state);

/* Where a kernel rounds, which decides how far its result may lie off. */
enum attn_rounding {
    ATTN_ROUNDS_P,     /* softmax weights to half; scores and sums in float */
    ATTN_ROUNDS_SCORES /* parts of the scores and products with V in half as well */
};

struct attn_impl {
    struct op_impl base; /* first */
    enum attn_scheme scheme;
    enum attn_rounding rounding;
    enum op_status (*supports)(const struct attn_problem *, const char **why); /* NULL: all */
    attn_setup_fn *setup;                                                      /* NULL: none */
    void (*teardown)(void *state); /* accepts NULL; NULL: none */
    attn_run_fn *run;              /* NULL where the build has no CUDA */
    /* Bytes that the algorithm moves beside its operands once: partial results, scores in
     * memory, the cache again for each query head.  NULL: none. */
    double (*extra_bytes)(const struct attn_problem *);
};

/* Tables, ended by an entry whose base.name is NULL. */
extern const struct attn_impl attn_references[]; /* ref.c: host */
extern const struct attn_impl attn_kernels[];    /* impls.c */
extern const struct attn_impl attn_baselines[];  /* baselines/attn.c */

/* Bytes of the tokens' keys and values in a scheme, scales and zero points included. */
double attn_cache_bytes(const struct attn_problem *p, enum attn_scheme s);

/*
 * The cache in another scheme: pages of halves (KV16), `count` of them one after another, to
 * pages of s one after another, whole pages.  scale: [2] floats, keys' and values'; which:
 * 0 keys, 1 values; KV8_STATIC only.  Host pointers, or device pointers and enqueued.
 * OP_EINVAL for ATTN_KV16.
 */
enum op_status attn_quantise(const struct attn_problem *p, enum attn_scheme s, const void *halves,
                             int count, const float *scale, int which, void *pages);
enum op_status attn_quantise_cuda(const struct attn_problem *p, enum attn_scheme s,
                                  const void *halves, int count, const float *scale, int which,
                                  void *pages, op_stream stream);

/* What the reference writes; doubles. */
struct attn_wanted {
    double *want;   /* [batch][heads][head_dim] */
    double *spread; /* [batch][heads][head_dim] root of the sum of squares of Out's terms */
    double *offset; /* [batch][heads] the same of their parts weight * scale * zero, which
                     * kernels that round keys and values to half round once more */
    double *score;  /* [batch][heads][length] room */
};

/* The reference in double precision of the cache as stored.  attn_ref takes host pointers,
 * attn_ref_cuda device pointers and enqueues. */
enum op_status attn_ref(const struct attn_problem *p, enum attn_scheme s, const struct attn_args *a,
                        const struct attn_wanted *w);
enum op_status attn_ref_cuda(const struct attn_problem *p, enum attn_scheme s,
                             const struct attn_args *a, const struct attn_wanted *w,
                             op_stream stream);

OP_END
#endif
