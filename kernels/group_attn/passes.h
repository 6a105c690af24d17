/*
 * passes.h - the steps of an encoder between its dense products, a kernel each: those of published
 * code, and the fewer ones that need no more than a product and a pass over its result.
 *
 * C is ENCODER_CHANNELS throughout.  All are enqueued.  Half matrices are 8-byte aligned, float
 * ones 16.
 */
#ifndef KERNELS_GROUP_ATTN_PASSES_H
#define KERNELS_GROUP_ATTN_PASSES_H

#include "tokens.h"

OP_BEGIN

enum { ENCODER_CHANNELS = 128, ENCODER_HEADS = 8, ENCODER_HEAD = 16, ENCODER_KEYS_MAX = 256 };

/* ---- as published: float between the products, half in them ---- */

/* e [n][C] */
enum op_status encoder_pass_embed(int n, const struct flatten_cell *cell, float *e, op_stream s);
/* y [i] = x [row [i]], zeros for row < 0 */
enum op_status encoder_pass_gather(int rows, const int32_t *row, const float *x, float *y,
                                   op_stream s);
enum op_status encoder_pass_gather_half(int rows, const int32_t *row, const void *x, void *y,
                                        op_stream s);
/* y [row [i]] = x [i] */
enum op_status encoder_pass_scatter(int rows, const int32_t *row, const float *x, float *y,
                                    op_stream s);
/* y = a + b; count a multiple of 4. */
enum op_status encoder_pass_add(size_t count, const float *a, const float *b, float *y,
                                op_stream s);
enum op_status encoder_pass_add_half(size_t count, const float *a, const void *b, float *y,
                                     op_stream s);
/* y [3][count] = a, a, b */
enum op_status encoder_pass_stack(size_t count, const float *a, const float *b, float *y,
                                  op_stream s);
enum op_status encoder_pass_to_half(size_t count, const float *x, void *y, op_stream s);
enum op_status encoder_pass_to_float(size_t count, const void *x, float *y, op_stream s);
/* norm: half [2][C]; y may be x. */
enum op_status encoder_pass_norm(int rows, const void *norm, const float *x, float *y, op_stream s);
/* x = gelu(x), half; count a multiple of 4. */
enum op_status encoder_pass_gelu(size_t count, void *x, op_stream s);

/* ---- fewer: half everywhere ---- */

/* x [rows], xe [rows] = in [from [i]], the same plus its embedding; zeros for from < 0.
 * table: half [side][C / 2]. */
enum op_status encoder_pass_take(int rows, const int32_t *from, const struct flatten_cell *cell,
                                 const void *table, const void *in, void *x, void *xe, op_stream s);
/* y [to [i]] = norm(a [i] + b [i]), left out for to < 0; to NULL: y [i].  y may be a or b where to
 * is NULL. */
enum op_status encoder_pass_add_norm(int rows, const int32_t *to, const void *norm, const void *a,
                                     const void *b, void *y, op_stream s);

/* ---- attention by batched products ---- */

/* Device copies of a struct encoder_tokens. */
struct encoder_on_device {
    const int32_t *from, *to, *of;
    const struct encoder_part *part;
    const struct encoder_item *item;
};

/* split [3][tokens C]: q, k and v of a part are [heads][length][head], one part after another;
 * of qkv [tokens][3][C]. */
enum op_status encoder_pass_split(int tokens, const struct encoder_on_device *d, const void *qkv,
                                  void *split, op_stream s);
/* o [tokens][C] of parts [heads][length][head]. */
enum op_status encoder_pass_join(int tokens, const struct encoder_on_device *d, const void *split,
                                 void *o, op_stream s);
/* Rows of half [parts][heads][length][stride] become weights of the part's first `valid` keys, 0
 * for others up to length.  part: first of the bucket; length <= ENCODER_KEYS_MAX, stride a multiple
 * of 8. */
enum op_status encoder_pass_softmax(int parts, int length, int stride,
                                    const struct encoder_part *part, void *score, op_stream s);

/* flash.cu: attention in tiles with a running maximum, a block for each item; o [tokens][C] of
 * qkv [tokens][3][C].  Rows that are in no item are not written. */
enum op_status encoder_pass_flash(int items, const struct encoder_item *item, const void *qkv,
                                  void *o, op_stream s);

OP_END
#endif
