/* value.h - a cached row as real numbers: what the references read and codes are made of. */
#ifndef KERNELS_ATTN_VALUE_H
#define KERNELS_ATTN_VALUE_H

#include "attn.h"

/* One token of one head. */
struct attn_vector {
    const unsigned char *data;
    double scale, zero; /* x = (code - zero) * scale; of halves 1 and 0 */
};

/* given: the scale of KV8_STATIC */
HD struct attn_vector attn_vector_at(const struct attn_problem *p, enum attn_scheme s,
                                     const void *page, int head, int token, float given)
{
    const unsigned char *const base = (const unsigned char *)page;
    struct attn_vector v = { base + attn_data_at(s, p->head_dim, p->page, head, token), 1, 0 };
    if (attn_has_scales(s)) {
        v.scale =
            half_to_float(*(const half_bits *)(base + attn_scale_at(s, p->kv_heads, p->head_dim,
                                                                    p->page, head, token)));
        v.zero = half_to_float(*(const half_bits *)(base + attn_zero_at(s, p->kv_heads, p->head_dim,
                                                                        p->page, head, token)));
    } else if (s == ATTN_KV8_STATIC) {
        v.scale = given;
    }
    return v;
}

HD double attn_element(const struct attn_vector *v, enum attn_scheme s, int d)
{
    switch (s) {
    case ATTN_KV16:
        return half_to_float(((const half_bits *)v->data)[d]);
    case ATTN_KV8:
        return (v->data[d] - v->zero) * v->scale;
    case ATTN_KV8_STATIC:
        return ((const signed char *)v->data)[d] * v->scale;
    default:
        return ((v->data[d / 2] >> 4 * (d % 2) & 15) - v->zero) * v->scale;
    }
}

/* What the zero point makes of an element. */
HD double attn_shift(const struct attn_vector *v, enum attn_scheme s)
{
    return attn_has_scales(s) ? v->zero * v->scale : 0;
}

/* The page of token t of sequence b; which: 0 keys, 1 values. */
HD const void *attn_page_of(const struct attn_problem *p, const struct attn_args *a, int b,
                            int which, int t)
{
    return a->page[((size_t)b * 2 + (size_t)which) * (size_t)attn_table_pages(p) +
                   (size_t)(t / p->page)];
}

/* Neither meaningless nor beyond what int counts. */
HD int attn_meaningless(const struct attn_problem *p)
{
    return p->batch < 1 || p->heads < 1 || p->kv_heads < 1 || p->heads % p->kv_heads ||
           p->head_dim < 32 || p->head_dim % 32 || p->length < 1 || p->page < 16 || p->page % 16;
}

#endif
