/* prefill_at.h - one query token and head of prefill attention, for both references. */
#ifndef KERNELS_ATTN_PREFILL_AT_H
#define KERNELS_ATTN_PREFILL_AT_H

#include "prefill.h"

struct prefill_rows {
    const half_bits *q;     /* [head_dim] */
    const half_bits *k, *v; /* of the KV head, token 0 */
    size_t stride;          /* from token to token */
    int keys;               /* tokens up to the query's own */
};

HD struct prefill_rows prefill_rows_at(const struct attn_problem *p, const struct prefill_args *a,
                                       int token, int h)
{
    const size_t dims = (size_t)p->head_dim, head = (size_t)(h / (p->heads / p->kv_heads));
    const size_t base = (size_t)(token / p->length) * (size_t)p->length;
    struct prefill_rows r;
    r.stride = (size_t)p->kv_heads * dims;
    r.q = (const half_bits *)a->q + ((size_t)token * (size_t)p->heads + (size_t)h) * dims;
    r.k = (const half_bits *)a->k + base * r.stride + head * dims;
    r.v = (const half_bits *)a->v + base * r.stride + head * dims;
    r.keys = token % p->length + 1;
    return r;
}

HD double prefill_score(const struct prefill_rows *r, int head_dim, int t)
{
    double sum = 0;
    for (int d = 0; d < head_dim; d++)
        sum +=
            (double)half_to_float(r->q[d]) * half_to_float(r->k[(size_t)t * r->stride + (size_t)d]);
    return sum / sqrt((double)head_dim);
}

#endif
