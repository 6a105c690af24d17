/* published.h - launchers and set-ups of the published W4A16 kernels, for impls.c. */
#ifndef KERNELS_GEMM_PUBLISHED_H
#define KERNELS_GEMM_PUBLISHED_H

#include "gemm.h"

OP_BEGIN

/* awq2023_gemm.cu */
extern gemm_setup_fn gemm_awq2023_gemm_setup;
extern gemm_run_fn gemm_awq2023_gemm;
extern gemm_run_fn gemm_awq2023_gemm_nodeq, gemm_awq2023_gemm_loadonly;
extern gemm_run_fn gemm_awq2023_gemm_mmaonly, gemm_awq2023_gemm_deqonly;

/* awq2023_gemv.cu */
extern gemm_setup_fn gemm_awq2023_gemv_setup;
extern gemm_run_fn gemm_awq2023_gemv;

/* awq2024_gemv.cu */
extern gemm_setup_fn gemm_awq2024_gemv_setup;
extern gemm_run_fn gemm_awq2024_gemv, gemm_awq2024_gemv_f32;
extern gemm_run_fn gemm_awq2024_gemv_nodeq, gemm_awq2024_gemv_loadonly;
extern gemm_run_fn gemm_awq2024_gemv_mmaonly, gemm_awq2024_gemv_deqonly;

/* awq2024_gemm.cu */
extern gemm_setup_fn gemm_awq2024_gemm_setup;
extern gemm_run_fn gemm_awq2024_gemm, gemm_awq2024_gemm_f32;
extern gemm_run_fn gemm_awq2024_gemm_nodeq, gemm_awq2024_gemm_loadonly;
extern gemm_run_fn gemm_awq2024_gemm_mmaonly, gemm_awq2024_gemm_deqonly;

/* gptq.cu */
extern gemm_setup_fn gemm_gptq_setup, gemm_gptq_r_setup;
extern gemm_run_fn gemm_gptq, gemm_gptq_r;

/* w4_pack.cu; all of them free their state by it */
void w4_packed_free(void *packed);

OP_END
#endif
