/*
 * gnn_cublas.c - the dense products of a step by cuBLAS.
 *
 * cuBLAS is column-major: row-major C = op(A) op(B) is C' = op(B)' op(A)' to it.
 */
#include <stdlib.h>

#include <cublas_v2.h>

#include "../kernels/gnn/gnn.h"

/* Gradients of weights are sums over all nodes: split along k, they need room. */
static const size_t WORKSPACE = (size_t)64 << 20;

struct gnn_dense {
    cublasHandle_t handle;
};

struct gnn_dense *gnn_dense_open(const struct op_memory *memory, op_stream s)
{
    struct gnn_dense *d = calloc(1, sizeof *d);
    void *workspace = memory->take(memory->context, WORKSPACE);
    cublasStatus_t status = CUBLAS_STATUS_ALLOC_FAILED;
    if (d && workspace)
        status = cublasCreate(&d->handle);
    if (!status)
        status = cublasSetStream(d->handle, s); /* before the workspace, which it resets */
    if (!status)
        status = cublasSetWorkspace(d->handle, workspace, WORKSPACE);
    if (status) {
        gnn_dense_close(d);
        return NULL;
    }
    return d;
}

void gnn_dense_close(struct gnn_dense *d)
{
    if (d && d->handle)
        cublasDestroy(d->handle);
    free(d);
}

enum op_status gnn_dense_product(struct gnn_dense *d, size_t size, int at, int bt, int m, int n,
                                 int k, const void *a, const void *b, int add, void *c)
{
    const cublasOperation_t op_a = at ? CUBLAS_OP_T : CUBLAS_OP_N;
    const cublasOperation_t op_b = bt ? CUBLAS_OP_T : CUBLAS_OP_N;
    const int lda = at ? m : k, ldb = bt ? k : n;
    cublasStatus_t status;
    if (size == sizeof(float)) {
        const float one = 1, beta = (float)add;
        status = cublasGemmEx(d->handle, op_b, op_a, n, m, k, &one, b, CUDA_R_32F, ldb, a,
                              CUDA_R_32F, lda, &beta, c, CUDA_R_32F, n, CUBLAS_COMPUTE_32F,
                              CUBLAS_GEMM_DEFAULT);
    } else {
        const double one = 1, beta = add;
        status = cublasDgemm(d->handle, op_b, op_a, n, m, k, &one, b, ldb, a, lda, &beta, c, n);
    }
    return status ? OP_EDEVICE : OP_OK;
}

enum op_status gnn_dense_batch(struct gnn_dense *d, int count, int m, int n, int k, const float *a,
                               const float *b, float *c)
{
    const float one = 1, zero = 0;
    const cublasStatus_t status = cublasGemmStridedBatchedEx(
        d->handle, CUBLAS_OP_N, CUBLAS_OP_N, n, m, k, &one, b, CUDA_R_32F, n, (long long)k * n, a,
        CUDA_R_32F, k, 0, &zero, c, CUDA_R_32F, n, (long long)m * n, count, CUBLAS_COMPUTE_32F,
        CUBLAS_GEMM_DEFAULT);
    return status ? OP_EDEVICE : OP_OK;
}
