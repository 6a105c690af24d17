/*
 * cache.h - one head of one token in a page, as the definition has it and as it was published.
 *
 * Published (QServe's kernel for prefill): scale = half((high - low) / levels), zero =
 * half(-levels low / (high - low)), and codes of those as stored,
 *
 *   code = rint(x (1 / scale) + zero)
 *
 * 4 bits are cut out of it, 8 saturate.  high = low divides by zero there.
 */
#ifndef KERNELS_QUANT_CACHE_H
#define KERNELS_QUANT_CACHE_H

#include "../attn/page.h"
#include "quant.h"

HD struct attn_row quant_published_row(float low, float high, int levels)
{
    struct attn_row row;
    row.scale = half_from_float((high - low) / (float)levels);
    row.zero = half_from_float((float)-levels * low / (high - low));
    row.inverse = 1.0f / half_to_float(row.scale);
    row.shift = half_to_float(row.zero);
    return row;
}

HD int quant_published_code(const struct attn_row *row, float x, int levels)
{
    const float code = rintf(fmaf(x, row->inverse, row->shift));
    if (levels == 15)
        return (int)code & 15;
    return code < 0 ? 0 : code > 255 ? 255 : (int)code;
}

/* Writes head_dim values of a KV head and a token of a page. */
HD void quant_cache_head(const struct quant_problem *p, int published, const float *x, int head,
                         int token, void *page)
{
    const enum attn_scheme s = p->bits == 4 ? ATTN_KV4 : ATTN_KV8;
    const int levels = attn_levels(s);
    unsigned char *to = (unsigned char *)page, *data;
    float low = x[0], high = x[0];
    for (int d = 1; d < p->head_dim; d++) {
        low = x[d] < low ? x[d] : low;
        high = x[d] > high ? x[d] : high;
    }
    const struct attn_row row =
        published ? quant_published_row(low, high, levels) : attn_row_of(low, high, levels);
    data = to + attn_data_at(s, p->head_dim, p->page, head, token);
    for (int d = 0; d < p->head_dim; d++) {
        const int code =
            published ? quant_published_code(&row, x[d], levels) : attn_code(&row, x[d], levels);
        if (p->bits == 8)
            data[d] = (unsigned char)code;
        else
            data[d / 2] = (unsigned char)(d % 2 ? data[d / 2] | code << 4 : code);
    }
    *(half_bits *)(to + attn_scale_at(s, p->kv_heads, p->head_dim, p->page, head, token)) =
        row.scale;
    *(half_bits *)(to + attn_zero_at(s, p->kv_heads, p->head_dim, p->page, head, token)) = row.zero;
}

#endif
