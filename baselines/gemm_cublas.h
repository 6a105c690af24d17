/* gemm_cublas.h - cuBLAS behind the signatures of gemm, for the table in gemm.c. */
#ifndef BASELINES_GEMM_CUBLAS_H
#define BASELINES_GEMM_CUBLAS_H

#include "../kernels/gemm/gemm.h"

extern gemm_setup_fn gemm_cublas_setup;
extern gemm_run_fn gemm_cublas_f16;
void gemm_cublas_teardown(void *state);

#endif
