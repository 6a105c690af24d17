/*
 * page.h - pages of a paged cache of keys and values, and the codes in them.
 *
 * A page holds `page` tokens of all KV heads, of keys or of values:
 *
 *   data   [kv_heads][page][head_dim * bits / 8]
 *   scale  half [kv_heads][page]                   KV8 and KV4 only
 *   zero   half [kv_heads][page]                   KV8 and KV4 only
 *
 *   KV16        halves
 *   KV8_STATIC  signed bytes; x = code * scale, one float scale for all keys and one for
 *               all values, which stand outside of the pages
 *   KV8, KV4    x = (code - zero) * scale, code 0 .. 255 or 0 .. 15; scale and zero of each
 *               token and head by the smallest and the largest of its head_dim values;
 *               zero is a real number, not rounded to an integer
 *
 * Nibbles: element 2 i in bits 3-0 of byte i, element 2 i + 1 in bits 7-4.
 *
 * Follows QServe (arXiv 2405.04532), whose published code has pages of 64 tokens.  It
 * divides by max - min and lets a code that rounds beyond 15 wrap; here a row whose values
 * lie so close that the zero point would leave the range of half has its range widened,
 * and codes are clamped.
 */
#ifndef KERNELS_ATTN_PAGE_H
#define KERNELS_ATTN_PAGE_H

#include <math.h>

#include "../common/half.h"

/* How keys and values are stored. */
enum attn_scheme { ATTN_KV16, ATTN_KV8, ATTN_KV8_STATIC, ATTN_KV4 };
enum { ATTN_SCHEMES = ATTN_KV4 + 1 };

HD int attn_bits(enum attn_scheme s)
{
    return s == ATTN_KV16 ? 16 : s == ATTN_KV4 ? 4 : 8;
}

/* Does a page hold scales and zero points? */
HD int attn_has_scales(enum attn_scheme s)
{
    return s == ATTN_KV8 || s == ATTN_KV4;
}

/* Largest code. */
HD int attn_levels(enum attn_scheme s)
{
    return s == ATTN_KV4 ? 15 : 255;
}

/* Bytes of one token of one head; head_dim is a multiple of 32. */
HD size_t attn_row_bytes(enum attn_scheme s, int head_dim)
{
    return (size_t)head_dim * (size_t)attn_bits(s) / 8;
}

/* Bytes of a page; a multiple of 16, as page is one. */
HD size_t attn_page_bytes(enum attn_scheme s, int kv_heads, int head_dim, int page)
{
    return (size_t)kv_heads * (size_t)page *
           (attn_row_bytes(s, head_dim) + (attn_has_scales(s) ? 4 : 0));
}

/* Where in its page the data, the scale and the zero point of a token stand; head is that
 * of keys and values, token counts from the page's first one. */
HD size_t attn_data_at(enum attn_scheme s, int head_dim, int page, int head, int token)
{
    return ((size_t)head * (size_t)page + (size_t)token) * attn_row_bytes(s, head_dim);
}

HD size_t attn_scale_at(enum attn_scheme s, int kv_heads, int head_dim, int page, int head,
                        int token)
{
    return (size_t)kv_heads * (size_t)page * attn_row_bytes(s, head_dim) +
           2 * ((size_t)head * (size_t)page + (size_t)token);
}

HD size_t attn_zero_at(enum attn_scheme s, int kv_heads, int head_dim, int page, int head,
                       int token)
{
    return attn_scale_at(s, kv_heads, head_dim, page, head, token) +
           2 * (size_t)kv_heads * (size_t)page;
}

/* ---- codes of KV8 and KV4; the same bits on host and device ---- */

/* What a row's codes are made with. */
struct attn_row {
    half_bits scale, zero; /* as stored */
    float inverse, shift;  /* code = round(x * inverse + shift), shift the stored zero */
};

/*
 * Scale and zero point of a row whose values (finite halves) lie in [low, high].  The range
 * counts at least as 1/32768 of the largest value per step, and 2^-14 per step: with that
 * zero is at most 32768 and scale a normal number.
 */
HD struct attn_row attn_row_of(float low, float high, int levels)
{
    const float size = fabsf(low) > fabsf(high) ? fabsf(low) : fabsf(high);
    const float least = size * 0x1p-15f > 0x1p-14f ? size * 0x1p-15f : 0x1p-14f;
    float range = high - low;
    if (range < (float)levels * least)
        range = (float)levels * least;
    struct attn_row row;
    row.inverse = (float)levels / range;
    row.scale = half_from_float(range / (float)levels);
    row.zero = half_from_float(fmaf(-low, row.inverse, 0)); /* + 0 for 0 */
    row.shift = half_to_float(row.zero);
    return row;
}

HD int attn_code(const struct attn_row *row, float x, int levels)
{
    const float code = rintf(fmaf(x, row->inverse, row->shift));
    return code < 0 ? 0 : code > (float)levels ? levels : (int)code;
}

/* KV8_STATIC: scale is max|x| / 127 of the whole tensor. */
HD int attn_code_static(float x, float scale)
{
    const float code = rintf(x / scale);
    return code < -127 ? -127 : code > 127 ? 127 : (int)code;
}

#endif
