/* attn.c - the table of baselines of attn. */
#include "../kernels/attn/kernels.h"
#include "attn_cublas.h"

static enum op_status split_shape(const struct attn_problem *p, const char **why)
{
    if (p->head_dim == 64 || p->head_dim == 96 || p->head_dim == 128)
        return OP_OK;
    *why = "head_dim is none of 64, 96, 128";
    return OP_EUNSUPPORTED;
}

/* P has rows of `length` halves, which cuBLAS wants aligned; and scores of all at once. */
static enum op_status cublas_shape(const struct attn_problem *p, const char **why)
{
    if (p->length % 8 == 0)
        return OP_OK;
    *why = "length is not a multiple of 8";
    return OP_EUNSUPPORTED;
}

const struct attn_impl attn_baselines[] = {
    { .base = { .name = "kv16_split", .title = "KV16, split sequence, tensor cores",
                .role = OP_BASELINE, .sm_min = 80, .sm_max = 999, .symbol = "split_attention",
                .origin = "flash-decoding: a part of the sequence a block, online softmax, all "
                          "query heads of a KV head together; written here" },
      .scheme = ATTN_KV16, .rounding = ATTN_ROUNDS_P, .supports = split_shape,
      .setup = OP_CUDA(attn_kv16_setup), .teardown = OP_CUDA(attn_split_teardown),
      .extra_bytes = OP_CUDA(attn_kv16_extra_bytes), .run = OP_CUDA(attn_split) },
    { .base = { .name = "kv16_cublas", .title = "KV16, cuBLAS and a softmax kernel",
                .role = OP_BASELINE, .sm_min = 75, .sm_max = 999,
                .origin = "two cublasGemmStridedBatchedEx, half operands, float sums, and a "
                          "softmax between; keys and values not in pages" },
      .scheme = ATTN_KV16, .rounding = ATTN_ROUNDS_P, .supports = cublas_shape,
      .setup = OP_CUDA(attn_cublas_setup), .teardown = OP_CUDA(attn_cublas_teardown),
      .extra_bytes = OP_CUDA(attn_cublas_extra_bytes), .run = OP_CUDA(attn_cublas_kv16) },
    { .base = { .name = NULL } },
};
