/* gemm.c - the table of baselines of gemm. */
#include "gemm_cublas.h"

static enum op_status eights(const struct gemm_problem *p, const char **why)
{
    if (p->k % 8 == 0 && p->group % 8 == 0)
        return OP_OK;
    *why = "k and group must be multiples of 8";
    return OP_EUNSUPPORTED;
}

/* m is free: only rows of X and W and columns of Y need 16 bytes of alignment. */
static enum op_status sixteens(const struct gemm_problem *p, const char **why)
{
    if (p->n % 16 == 0 && p->k % 16 == 0)
        return OP_OK;
    *why = "8-bit products need n and k that are multiples of 16";
    return OP_EUNSUPPORTED;
}

#define INT8_ROW                                                                                  \
    .scheme = GEMM_W8A8, .accumulate = GEMM_ACC_S32, .supports = sixteens,                        \
    .extra_bytes = OP_CUDA(gemm_lt_int8_extra_bytes), .setup = OP_CUDA(gemm_lt_int8_setup),       \
    .teardown = OP_CUDA(gemm_lt_teardown), .choice = OP_CUDA(gemm_lt_choice)

const struct gemm_impl gemm_baselines[] = {
    { .base = { .name = "cublas_f16", .title = "cuBLAS FP16", .role = OP_BASELINE,
                .origin = "cublasGemmEx, half operands, float sums, default heuristic",
                .sm_min = 75, .sm_max = 999 },
      .scheme = GEMM_F16, .setup = OP_CUDA(gemm_cublas_setup),
      .teardown = OP_CUDA(gemm_cublas_teardown), .run = OP_CUDA(gemm_cublas_f16) },
    { .base = { .name = "cublaslt_f16_best", .title = "cuBLASLt FP16, best of 16",
                .role = OP_BASELINE, .flags = OP_CHOOSES, .sm_min = 75, .sm_max = 999,
                .origin = "cublasLtMatmul, half operands, float sums, fastest of the heuristic's "
                          "first 16 algorithms" },
      .scheme = GEMM_F16, .setup = OP_CUDA(gemm_lt_f16_setup),
      .teardown = OP_CUDA(gemm_lt_teardown), .choice = OP_CUDA(gemm_lt_choice),
      .run = OP_CUDA(gemm_lt_f16) },
    { .base = { .name = "cublaslt_fp8", .title = "cuBLASLt FP8, best of 16", .role = OP_BASELINE,
                .flags = OP_CHOOSES, .sm_min = 89, .sm_max = 999,
                .origin = "cublasLtMatmul, e4m3 operands with a scale each, half result, no fast "
                          "accumulation; X is given in e4m3, its conversion is not timed" },
      .scheme = GEMM_FP8, .accumulate = GEMM_ACC_FP8, .supports = sixteens,
      .setup = OP_CUDA(gemm_lt_fp8_setup), .teardown = OP_CUDA(gemm_lt_teardown),
      .choice = OP_CUDA(gemm_lt_choice), .run = OP_CUDA(gemm_lt_fp8) },
    { .base = { .name = "cublaslt_int8", .title = "cuBLASLt INT8 and a scaling kernel, best of 16",
                .role = OP_BASELINE, .flags = OP_CHOOSES, .sm_min = 75, .sm_max = 999,
                .origin = "cublasLtMatmul, INT8 operands, INT32 sums, then a kernel that scales "
                          "them to half; X is given in INT8, its conversion is not timed" },
      INT8_ROW, .run = OP_CUDA(gemm_lt_int8) },
    { .base = { .name = "cublaslt_int8_alone", .title = "cuBLASLt INT8 without the scaling",
                .role = OP_ABLATION, .ablates = "cublaslt_int8", .stage = OP_NODEQ,
                .flags = OP_CHOOSES, .sm_min = 75, .sm_max = 999,
                .origin = "cublasLtMatmul, INT8 operands; the INT32 sums are left as they are" },
      INT8_ROW, .run = OP_CUDA(gemm_lt_int8_alone) },
    { .base = { .name = "w4a16_dequant_cublas", .title = "4 bits to FP16, then cuBLAS",
                .role = OP_BASELINE, .sm_min = 75, .sm_max = 999,
                .origin = "a kernel expands W to half, then cublasGemmEx; both timed" },
      .scheme = GEMM_W4A16, .supports = eights,
      .weight_bytes = OP_CUDA(gemm_dequant_weight_bytes),
      .extra_bytes = OP_CUDA(gemm_dequant_extra_bytes), .setup = OP_CUDA(gemm_dequant_setup),
      .teardown = OP_CUDA(gemm_cublas_teardown), .run = OP_CUDA(gemm_w4a16_dequant_cublas) },
    { .base = { .name = NULL } },
};
