/*
 * gemm_cublas.c - Y = X W^T by cuBLAS, half operands, float sums.
 *
 * cuBLAS is column-major: to it X [m][k] is X^T (k x m) and W [n][k] is W^T
 * (k x n), and what it is asked for is Y^T (n x m) = (W^T)^T X^T.
 */
#include <stdlib.h>

#include <cublas_v2.h>

#include "gemm_cublas.h"

/* Enough for every split along k that the heuristic may want. */
static const size_t WORKSPACE = (size_t)64 << 20;

static enum op_status status_of(cublasStatus_t s)
{
    switch (s) {
    case CUBLAS_STATUS_SUCCESS: return OP_OK;
    case CUBLAS_STATUS_NOT_SUPPORTED: return OP_EUNSUPPORTED;
    case CUBLAS_STATUS_ALLOC_FAILED: return OP_ENOMEM;
    default: return OP_EDEVICE;
    }
}

/* A handle of its own for every set of operands: the workspace bound to it is
 * taken from memory that is freed with them. */
enum op_status gemm_cublas_setup(const struct gemm_problem *p, const struct gemm_args *args,
                                 const struct op_memory *memory, op_stream s, void **state)
{
    cublasHandle_t handle = NULL;
    void *workspace = memory->take(memory->context, WORKSPACE);
    (void)p, (void)args;
    *state = NULL;
    if (!workspace)
        return OP_ENOMEM;
    cublasStatus_t status = cublasCreate(&handle);
    if (!status)
        status = cublasSetStream(handle, s); /* before the workspace, which it resets */
    if (!status)
        status = cublasSetWorkspace(handle, workspace, WORKSPACE);
    if (!status)
        status = cublasSetMathMode(handle, CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION);
    if (status) {
        gemm_cublas_teardown(handle);
        return status_of(status);
    }
    *state = handle;
    return OP_OK;
}

void gemm_cublas_teardown(void *state)
{
    if (state)
        cublasDestroy(state);
}

enum op_status gemm_cublas_f16(const struct gemm_problem *p, const struct gemm_args *a, void *state,
                               op_stream s)
{
    const float one = 1, zero = 0;
    (void)s;
    return status_of(cublasGemmEx(state, CUBLAS_OP_T, CUBLAS_OP_N, p->n, p->m, p->k, &one, a->w,
                                  CUDA_R_16F, p->k, a->x, CUDA_R_16F, p->k, &zero, a->y, CUDA_R_16F,
                                  p->n, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT));
}
