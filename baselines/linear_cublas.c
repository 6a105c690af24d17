/*
 * linear_cublas.c - see linear_cublas.h.
 *
 * cuBLASLt is column-major: W [outs][ins] is to it W^T and is transposed, Y is Y^T, whose rows the
 * bias of its epilogue runs along.
 */
#include "cublas_status.h"
#include "linear_cublas.h"

#include <math.h>
#include <stdlib.h>

#include <cuda_runtime_api.h>

enum { ALGORITHMS = 12, REPEATS = 5, FILLS = 4 };

enum op_status linear_library_open(const struct op_memory *memory, struct linear_library *out)
{
    *out = (struct linear_library){ .workspace = memory->take(memory->context, LINEAR_WORKSPACE) };
    return out->workspace ? cublas_op_status(cublasLtCreate(&out->handle)) : OP_ENOMEM;
}

void linear_library_close(struct linear_library *l)
{
    if (l->handle)
        cublasLtDestroy(l->handle);
    *l = (struct linear_library){ 0 };
}

void linear_close(struct linear *l)
{
    if (l->product)
        cublasLtMatmulDescDestroy(l->product);
    if (l->w)
        cublasLtMatrixLayoutDestroy(l->w);
    if (l->x)
        cublasLtMatrixLayoutDestroy(l->x);
    if (l->y)
        cublasLtMatrixLayoutDestroy(l->y);
    *l = (struct linear){ 0 };
}

static cublasStatus_t describe(struct linear *l, const struct linear_shape *shape)
{
    const cublasOperation_t transposed = CUBLAS_OP_T;
    const cublasLtEpilogue_t bias = CUBLASLT_EPILOGUE_BIAS;
    const cudaDataType_t type = CUDA_R_16F;
    const uint64_t m = (uint64_t)shape->rows, n = (uint64_t)shape->outs, k = (uint64_t)shape->ins;
    cublasStatus_t s = cublasLtMatmulDescCreate(&l->product, CUBLAS_COMPUTE_32F, CUDA_R_32F);
    if (!s)
        s = cublasLtMatmulDescSetAttribute(l->product, CUBLASLT_MATMUL_DESC_TRANSA, &transposed,
                                           sizeof transposed);
    if (!s)
        s = cublasLtMatmulDescSetAttribute(l->product, CUBLASLT_MATMUL_DESC_EPILOGUE, &bias,
                                           sizeof bias);
    if (!s)
        s = cublasLtMatmulDescSetAttribute(l->product, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, &type,
                                           sizeof type);
    if (!s)
        s = cublasLtMatrixLayoutCreate(&l->w, type, k, n, shape->ins);
    if (!s)
        s = cublasLtMatrixLayoutCreate(&l->x, type, k, m, shape->ins);
    if (!s)
        s = cublasLtMatrixLayoutCreate(&l->y, type, n, m, shape->stride);
    return s;
}

/* The description is the caller's copy of one address: it is read when the product is enqueued. */
static cublasStatus_t multiply(const struct linear *l, const cublasLtMatmulAlgo_t *algorithm,
                               const void *w, const void *b, const void *x, void *y, op_stream s)
{
    const float one = 1, zero = 0;
    const cublasStatus_t status = cublasLtMatmulDescSetAttribute(
        l->product, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &b, sizeof b);
    if (status)
        return status;
    return cublasLtMatmul(l->library->handle, l->product, &one, w, l->w, x, l->x, &zero, y, l->y,
                          y, l->y, algorithm, l->library->workspace, LINEAR_WORKSPACE, s);
}

enum op_status linear_run(const struct linear *l, const void *w, const void *b, const void *x,
                          void *y, op_stream s)
{
    return cublas_op_status(multiply(l, &l->algorithm, w, b, x, y, s));
}

/* ---- choosing ---- */

static cublasStatus_t candidates(const struct linear *l, const void *b,
                                 cublasLtMatmulHeuristicResult_t found[ALGORITHMS], int *count)
{
    const uint32_t schemes = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE; /* no sums through half */
    cublasLtMatmulPreference_t wish = NULL;
    cublasStatus_t s = cublasLtMatmulPreferenceCreate(&wish);
    *count = 0;
    if (!s)
        s = cublasLtMatmulPreferenceSetAttribute(wish, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                                 &LINEAR_WORKSPACE, sizeof LINEAR_WORKSPACE);
    if (!s)
        s = cublasLtMatmulPreferenceSetAttribute(wish, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
                                                 &schemes, sizeof schemes);
    if (!s)
        s = cublasLtMatmulDescSetAttribute(l->product, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &b,
                                           sizeof b);
    if (!s)
        s = cublasLtMatmulAlgoGetHeuristic(l->library->handle, l->product, l->w, l->x, l->y, l->y,
                                           wish, ALGORITHMS, found, count);
    if (wish)
        cublasLtMatmulPreferenceDestroy(wish);
    return !s && !*count ? CUBLAS_STATUS_NOT_SUPPORTED : s;
}

/* Milliseconds of REPEATS executions one after another; INFINITY where one fails. */
static float time_of(const struct linear *l, const cublasLtMatmulAlgo_t *algorithm, const void *w,
                     const void *b, const void *x, void *y, const cudaEvent_t event[2],
                     op_stream s)
{
    float ms;
    if (multiply(l, algorithm, w, b, x, y, s)) /* loads its code */
        return INFINITY;
    for (int i = 0; i < FILLS; i++) /* the device is busy until all behind is enqueued */
        if (cudaMemsetAsync(l->library->workspace, 0, LINEAR_WORKSPACE, s))
            return INFINITY;
    if (multiply(l, algorithm, w, b, x, y, s) || cudaEventRecord(event[0], s))
        return INFINITY;
    for (int r = 0; r < REPEATS; r++)
        if (multiply(l, algorithm, w, b, x, y, s))
            return INFINITY;
    if (cudaEventRecord(event[1], s) || cudaEventSynchronize(event[1]) ||
        cudaEventElapsedTime(&ms, event[0], event[1]))
        return INFINITY;
    return ms;
}

static enum op_status choose(struct linear *l, const void *w, const void *b, const void *x, void *y,
                             op_stream s)
{
    cublasLtMatmulHeuristicResult_t found[ALGORITHMS];
    cudaEvent_t event[2] = { NULL, NULL };
    float least = INFINITY;
    int count;
    enum op_status status = cublas_op_status(candidates(l, b, found, &count));
    if (!status && (cudaEventCreate(&event[0]) || cudaEventCreate(&event[1])))
        status = OP_EDEVICE;
    for (int i = 0; !status && i < count; i++) {
        if (found[i].state)
            continue;
        const float ms = time_of(l, &found[i].algo, w, b, x, y, event, s);
        if (ms < least) {
            least = ms;
            l->algorithm = found[i].algo;
        }
    }
    if (!status && least == INFINITY)
        status = OP_EUNSUPPORTED;
    for (int i = 0; i < 2; i++)
        if (event[i])
            cudaEventDestroy(event[i]);
    cudaGetLastError(); /* of an algorithm that did not launch */
    return status;
}

enum op_status linear_open(const struct linear_library *l, const struct linear_shape *shape,
                           const struct linear *like, const void *w, const void *b, const void *x,
                           void *y, op_stream s, struct linear *out)
{
    *out = (struct linear){ .library = l };
    const enum op_status status = cublas_op_status(describe(out, shape));
    if (!status && like)
        out->algorithm = like->algorithm;
    return status || like ? status : choose(out, w, b, x, y, s);
}
