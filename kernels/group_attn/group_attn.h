/*
 * group_attn.h - attention inside groups of equal size, and the encoder layer around it.
 *
 * Rows of x (n x C) are gathered by the slots of an order (kernels/flatten), C = heads x d; slots
 * are a multiple of the group. With e the positional embedding of a row:
 *
 *     q = Wq (x + e) + bq      k = Wk (x + e) + bk      v = Wv x + bv
 *     o = softmax(q k^T / sqrt(d)) v        per head, over the keys of the row's group
 *     u = LN1(x + Wo o + bo)
 *     y = LN2(u + W2 gelu(W1 u + c1) + c2)  gelu exact (erf); LN over C, eps 1e-5
 *
 * Rows of the first n slots go back to the rows they came from; later slots repeat rows as keys and
 * are dropped.  Every matrix is [out][in], row-major.
 *
 * Embedding, of the cell (x, y) of a row: the first C / 2 numbers of x, the others of y, with
 * f(i) = 10000^(2 floor(i / 2) / (C / 2)): sin(x / f(i)) for even i, cos for odd i.
 *
 * Source: FlatFormer (arXiv 2301.08739), its published code.
 */
#ifndef KERNELS_GROUP_ATTN_GROUP_ATTN_H
#define KERNELS_GROUP_ATTN_GROUP_ATTN_H

#include <stdint.h>

#include "../flatten/flatten.h"
#include "../op.h"

OP_BEGIN

#define GROUP_ATTN_EPS 1e-5

struct group_attn_problem {
    int n, slots, group;      /* rows, slots: a multiple of group, n <= slots */
    int heads, head, hidden;  /* head: channels of one; hidden: of the feed-forward network */
};

/* One layer, host memory, C = heads x head. */
struct encoder_weights {
    const float *qkv, *qkv_bias;   /* [3][C][C] q k v, [3][C] */
    const float *out, *out_bias;   /* [C][C], [C] */
    const float *norm1, *norm2;    /* [2][C] factors, then what is added */
    const float *fc1, *fc1_bias;   /* [hidden][C], [hidden] */
    const float *fc2, *fc2_bias;   /* [C][hidden], [C] */
};

/* OP_OK, or OP_EINVAL: sizes < 1, slots not a multiple of group or below n, odd C / 2. */
enum op_status group_attn_check(const struct group_attn_problem *p);

/* Reference in double.  q, k, v, o: [slots][C], already in the order of slots.
 * OP_EINVAL; OP_ENOMEM. */
enum op_status group_attn_ref(const struct group_attn_problem *p, const double *q, const double *k,
                              const double *v, double *o);

/* Embedding of a cell: e [channels], channels a multiple of 4. */
void encoder_embed(struct flatten_cell c, int channels, double *e);

/* A layer: y [n][C] of x [n][C]; cell [n]; slot [slots] rows of x.  y may be x.
 * OP_EINVAL also for a slot outside [0, n) or a row that is no query; OP_ENOMEM. */
enum op_status encoder_layer_ref(const struct group_attn_problem *p,
                                 const struct encoder_weights *w, const struct flatten_cell *cell,
                                 const int32_t *slot, const double *x, double *y);

OP_END
#endif
