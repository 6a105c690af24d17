/* attn_cublas.h - attention by cuBLAS behind the signatures of attn, for the table in attn.c. */
#ifndef BASELINES_ATTN_CUBLAS_H
#define BASELINES_ATTN_CUBLAS_H

#include "../kernels/attn/attn.h"

OP_BEGIN

/* attn_cublas.c */
extern attn_setup_fn attn_cublas_setup;
extern attn_run_fn attn_cublas_kv16;
void attn_cublas_teardown(void *state);
double attn_cublas_extra_bytes(const struct attn_problem *p);

/* attn_plain.cu.  All enqueue. */

/* Pages of halves to [batch][kv_heads][length][head_dim]; zeros behind a sequence's end.
 * which: 0 keys, 1 values. */
enum op_status attn_gather(const struct attn_problem *p, const struct attn_args *a, int which,
                           void *to, op_stream s);
/* Weights, half [batch][heads][length], of scores, float, not yet divided by
 * sqrt(head_dim); 0 behind a sequence's end. */
enum op_status attn_softmax(const struct attn_problem *p, const struct attn_args *a,
                            const float *score, void *weight, op_stream s);

OP_END
#endif
