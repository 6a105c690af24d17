/*
 * attend_cublas.c - see attend_cublas.h.
 *
 * cuBLAS is column-major: of a part and a head, S [queries][keys] is to it S^T = K (keys x head)
 * Q^T, and O [queries][head] is O^T = V^T P^T.  Heads of a part follow one another in memory, so
 * that all heads of all parts of a bucket are one batch with one stride.
 */
#include "attend_cublas.h"

#include <cuda_runtime_api.h>

void *attend_copy(const void *host, size_t bytes, const struct op_memory *memory, op_stream s,
                  enum op_status *status)
{
    if (*status)
        return NULL;
    void *to = memory->take(memory->context, bytes);
    if (!to)
        *status = OP_ENOMEM;
    else if (cudaMemcpyAsync(to, host, bytes, cudaMemcpyHostToDevice, s) || cudaStreamSynchronize(s))
        *status = OP_EDEVICE;
    return *status ? NULL : to;
}

enum op_status attend_upload(const struct encoder_tokens *t, const struct op_memory *memory,
                             op_stream s, struct encoder_on_device *out)
{
    const size_t tokens = (size_t)t->tokens, parts = (size_t)t->parts, items = (size_t)t->items;
    enum op_status status = OP_OK;
    out->from = attend_copy(t->from, tokens * sizeof *t->from, memory, s, &status);
    out->to = attend_copy(t->to, tokens * sizeof *t->to, memory, s, &status);
    out->of = attend_copy(t->of, tokens * sizeof *t->of, memory, s, &status);
    out->part = attend_copy(t->part, parts * sizeof *t->part, memory, s, &status);
    out->item = attend_copy(t->item, items * sizeof *t->item, memory, s, &status);
    return status;
}

/* Scores of a row: a multiple of 8, so that rows are aligned. */
static int stride_of(const struct encoder_bucket *b)
{
    return (b->length + 7) / 8 * 8;
}

static size_t scores_of(const struct encoder_bucket *b)
{
    return (size_t)b->parts * ENCODER_HEADS * (size_t)b->length * (size_t)stride_of(b);
}

size_t attend_score_bytes(const struct encoder_tokens *t)
{
    size_t most = 0;
    for (int i = 0; i < t->buckets; i++) /* one bucket after another uses the same memory */
        most = scores_of(&t->bucket[i]) > most ? scores_of(&t->bucket[i]) : most;
    return 2 * most;
}

cublasHandle_t attend_handle(void *workspace, size_t bytes, op_stream s)
{
    cublasHandle_t handle = NULL;
    if (cublasCreate(&handle))
        return NULL;
    /* the workspace last: setting the stream resets it */
    if (cublasSetStream(handle, s) || cublasSetWorkspace(handle, workspace, bytes) ||
        cublasSetMathMode(handle, CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION)) {
        cublasDestroy(handle);
        return NULL;
    }
    return handle;
}

static enum op_status status_of(cublasStatus_t s)
{
    return s == CUBLAS_STATUS_SUCCESS         ? OP_OK
           : s == CUBLAS_STATUS_NOT_SUPPORTED ? OP_EUNSUPPORTED
                                              : OP_EDEVICE;
}

/* q, k, v, o: halves of the bucket's first part. */
static enum op_status bucket(const struct attend_batched *a, const struct encoder_bucket *b,
                             const struct encoder_part *part, const uint16_t *q, const uint16_t *k,
                             const uint16_t *v, uint16_t *o, op_stream s)
{
    const int length = b->length, ld = stride_of(b), batch = b->parts * ENCODER_HEADS;
    const long long rows = (long long)length * ENCODER_HEAD, scores = (long long)length * ld;
    const float unit = 0.25f, one = 1, zero = 0; /* 1 / sqrt(ENCODER_HEAD) */
    enum op_status status = status_of(cublasGemmStridedBatchedEx(
        a->handle, CUBLAS_OP_T, CUBLAS_OP_N, length, length, ENCODER_HEAD, &unit, k, CUDA_R_16F,
        ENCODER_HEAD, rows, q, CUDA_R_16F, ENCODER_HEAD, rows, &zero, a->score, CUDA_R_16F, ld,
        scores, batch, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT));
    if (!status)
        status = encoder_pass_softmax(b->parts, length, ld, part, a->score, s);
    if (status)
        return status;
    return status_of(cublasGemmStridedBatchedEx(
        a->handle, CUBLAS_OP_N, CUBLAS_OP_N, ENCODER_HEAD, length, length, &one, v, CUDA_R_16F,
        ENCODER_HEAD, rows, a->score, CUDA_R_16F, ld, scores, &zero, o, CUDA_R_16F, ENCODER_HEAD,
        rows, batch, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT));
}

enum op_status attend_batched_run(const struct attend_batched *a, const struct encoder_tokens *t,
                                  const struct encoder_on_device *d, const void *qkv, void *o,
                                  op_stream s)
{
    const size_t all = (size_t)t->tokens * ENCODER_CHANNELS;
    uint16_t *const q = a->split, *const k = q + all, *const v = k + all;
    enum op_status status = encoder_pass_split(t->tokens, d, qkv, q, s);
    for (int i = 0; !status && i < t->buckets; i++) {
        const struct encoder_bucket *b = &t->bucket[i];
        const size_t at = (size_t)b->token * ENCODER_CHANNELS;
        if (b->parts) /* O over Q: a head's queries are not needed after its scores */
            status = bucket(a, b, d->part + b->part, q + at, k + at, v + at, q + at, s);
    }
    return status ? status : encoder_pass_join(t->tokens, d, q, o, s);
}
