/* gemm.c - the table of baselines of gemm. */
#include "gemm_cublas.h"

const struct gemm_impl gemm_baselines[] = {
    { .base = { .name = "cublas_f16", .title = "cuBLAS FP16", .role = OP_BASELINE,
                .origin = "cublasGemmEx, half operands, float sums, default heuristic",
                .sm_min = 75, .sm_max = 999 },
      .scheme = GEMM_F16, .setup = OP_CUDA(gemm_cublas_setup),
      .teardown = OP_CUDA(gemm_cublas_teardown), .run = OP_CUDA(gemm_cublas_f16) },
    { .base = { .name = NULL } },
};
