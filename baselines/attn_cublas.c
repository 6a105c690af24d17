/*
 * attn_cublas.c - attention in three launches: two batched products and a softmax between.
 *
 * K and V are given as [batch][kv_heads][length][head_dim], not in pages, which costs no time
 * here: set-up copies them.  The query heads of a KV head make one product's rows.  cuBLAS is
 * column-major:  S [ratio][length] is to it S^T = K (length x dim) Q^T, Out^T = V^T P^T.
 */
#include <stdlib.h>

#include <cublas_v2.h>

#include "cublas_status.h"
#include "attn_cublas.h"

static const size_t WORKSPACE = (size_t)64 << 20;

/* The handle and the scores are those of the first set of a case. */
struct state {
    cublasHandle_t handle;
    int owner;
    void *k, *v, *weight;
    float *score;
};

void attn_cublas_teardown(void *state)
{
    struct state *v = state;
    if (v && v->owner && v->handle)
        cublasDestroy(v->handle);
    free(v);
}

static size_t score_count(const struct attn_problem *p)
{
    return (size_t)p->batch * (size_t)p->heads * (size_t)p->length;
}

double attn_cublas_extra_bytes(const struct attn_problem *p)
{
    return 2.0 * (4 + 2) * (double)score_count(p); /* scores and weights, written and read */
}

static enum op_status open_first(struct state *v, const struct attn_problem *p,
                                 const struct op_memory *memory, op_stream s)
{
    void *const workspace = memory->take(memory->context, WORKSPACE);
    v->score = memory->take(memory->context, score_count(p) * sizeof *v->score);
    v->weight = memory->take(memory->context, score_count(p) * 2);
    if (!workspace || !v->score || !v->weight)
        return OP_ENOMEM;
    cublasStatus_t status = cublasCreate(&v->handle);
    v->owner = !status;
    if (!status)
        status = cublasSetStream(v->handle, s); /* before the workspace, which it resets */
    if (!status)
        status = cublasSetWorkspace(v->handle, workspace, WORKSPACE);
    if (!status)
        status = cublasSetMathMode(v->handle, CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION);
    return cublas_op_status(status);
}

enum op_status attn_cublas_setup(const struct attn_problem *p, const struct attn_args *args,
                                 const struct op_memory *memory, op_stream s, void **state)
{
    const struct state *first = *state;
    const size_t bytes =
        2 * (size_t)p->batch * (size_t)p->kv_heads * (size_t)p->length * (size_t)p->head_dim;
    struct state *v = calloc(1, sizeof *v);
    enum op_status status = OP_OK;
    *state = NULL;
    if (!v)
        return OP_ENOMEM;
    if (first)
        *v = (struct state){ .handle = first->handle,
                             .score = first->score,
                             .weight = first->weight };
    else
        status = open_first(v, p, memory, s);
    v->k = memory->take(memory->context, bytes);
    v->v = memory->take(memory->context, bytes);
    if (!status && (!v->k || !v->v))
        status = OP_ENOMEM;
    if (!status)
        status = attn_gather(p, args, 0, v->k, s);
    if (!status)
        status = attn_gather(p, args, 1, v->v, s);
    if (status) {
        attn_cublas_teardown(v);
        return status;
    }
    *state = v;
    return OP_OK;
}

enum op_status attn_cublas_kv16(const struct attn_problem *p, const struct attn_args *a,
                                void *state, op_stream s)
{
    const struct state *v = state;
    const int ratio = p->heads / p->kv_heads, dims = p->head_dim, length = p->length;
    const long long cache = (long long)length * dims, rows = (long long)ratio * dims,
                    scores = (long long)ratio * length;
    const float one = 1, zero = 0;
    enum op_status status = cublas_op_status(cublasGemmStridedBatchedEx(
        v->handle, CUBLAS_OP_T, CUBLAS_OP_N, length, ratio, dims, &one, v->k, CUDA_R_16F, dims,
        cache, a->q, CUDA_R_16F, dims, rows, &zero, v->score, CUDA_R_32F, length, scores,
        p->batch * p->kv_heads, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT));
    if (!status)
        status = attn_softmax(p, a, v->score, v->weight, s);
    if (status)
        return status;
    return cublas_op_status(cublasGemmStridedBatchedEx(
        v->handle, CUBLAS_OP_N, CUBLAS_OP_N, dims, ratio, length, &one, v->v, CUDA_R_16F, dims,
        cache, v->weight, CUDA_R_16F, length, scores, &zero, a->out, CUDA_R_16F, dims, rows,
        p->batch * p->kv_heads, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT));
}
