/*
 * gemm_cublas.h - cuBLAS and cuBLASLt behind the signatures of gemm, for the
 * table in gemm.c.
 */
#ifndef BASELINES_GEMM_CUBLAS_H
#define BASELINES_GEMM_CUBLAS_H

#include "../kernels/gemm/gemm.h"

OP_BEGIN

/* gemm_cublas.c: the default algorithm; and 4 bits expanded to half first. */
extern gemm_setup_fn gemm_cublas_setup, gemm_dequant_setup;
extern gemm_run_fn gemm_cublas_f16, gemm_w4a16_dequant_cublas;
void gemm_cublas_teardown(void *state);
double gemm_dequant_weight_bytes(const struct gemm_problem *p);
double gemm_dequant_extra_bytes(const struct gemm_problem *p);

/* gemm_lt_cublas.c: the fastest of the heuristic's first algorithms. */
extern gemm_setup_fn gemm_lt_f16_setup, gemm_lt_fp8_setup, gemm_lt_int8_setup;
extern gemm_run_fn gemm_lt_f16, gemm_lt_fp8, gemm_lt_int8, gemm_lt_int8_alone;
double gemm_lt_int8_extra_bytes(const struct gemm_problem *p);
const char *gemm_lt_choice(const void *state);
void gemm_lt_teardown(void *state);

/* gemm_dequant.cu: codes two to a byte, the lower in the lower half, [n][k/2]; and
 * half W from them.  Enqueue; k and group are multiples of 8. */
enum op_status gemm_dequant_pack(const struct gemm_problem *p, const unsigned char *code,
                                 void *packed, op_stream s);
enum op_status gemm_dequant_expand(const struct gemm_problem *p, const void *packed,
                                   const void *scale, const unsigned char *zero, void *w,
                                   op_stream s);

/* gemm_int8.cu: Y of W8A8 from INT32 sums [m][n].  Enqueues; n is a multiple of 4. */
enum op_status gemm_int8_scale(const struct gemm_problem *p, const struct gemm_args *a,
                               const int *acc, op_stream s);

OP_END
#endif
