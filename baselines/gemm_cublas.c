/*
 * gemm_cublas.c - Y = X W^T by cuBLAS, half operands, float sums; of half W, or of
 * 4-bit W expanded to half before.
 *
 * cuBLAS is column-major: to it X [m][k] is X^T (k x m) and W [n][k] is W^T
 * (k x n), and what it is asked for is Y^T (n x m) = (W^T)^T X^T.
 */
#include <stdlib.h>

#include <cublas_v2.h>

#include "cublas_status.h"
#include "gemm_cublas.h"

/* Enough for every split along k that the heuristic may want. */
static const size_t WORKSPACE = (size_t)64 << 20;

/* Of one operand set.  The handle and the expanded W are those of the first set of
 * the case, as one program has one of them. */
struct state {
    cublasHandle_t handle;
    int owner;    /* of the handle */
    void *w;      /* expanded; NULL: W is half as it comes */
    void *packed; /* 4-bit W of this set */
};

void gemm_cublas_teardown(void *state)
{
    struct state *v = state;
    if (v && v->owner && v->handle)
        cublasDestroy(v->handle);
    free(v);
}

/* The workspace bound to the handle is taken from memory that is freed after it. */
static cublasStatus_t open_handle(struct state *v, void *workspace, op_stream s)
{
    cublasStatus_t status = cublasCreate(&v->handle);
    v->owner = 1;
    if (!status)
        status = cublasSetStream(v->handle, s); /* before the workspace, which it resets */
    if (!status)
        status = cublasSetWorkspace(v->handle, workspace, WORKSPACE);
    if (!status)
        status = cublasSetMathMode(v->handle, CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION);
    return status;
}

enum op_status gemm_cublas_setup(const struct gemm_problem *p, const struct gemm_args *args,
                                 const struct op_memory *memory, op_stream s, void **state)
{
    const struct state *first = *state;
    struct state *v = calloc(1, sizeof *v);
    void *workspace = first ? NULL : memory->take(memory->context, WORKSPACE);
    cublasStatus_t status = CUBLAS_STATUS_SUCCESS;
    (void)p, (void)args;
    *state = NULL;
    if (!v || (!first && !workspace)) {
        free(v);
        return OP_ENOMEM;
    }
    if (first)
        v->handle = first->handle;
    else
        status = open_handle(v, workspace, s);
    if (status) {
        gemm_cublas_teardown(v);
        return cublas_op_status(status);
    }
    *state = v;
    return OP_OK;
}

static enum op_status product(const struct gemm_problem *p, const struct gemm_args *a,
                              const void *w, const struct state *v)
{
    const float one = 1, zero = 0;
    return cublas_op_status(cublasGemmEx(v->handle, CUBLAS_OP_T, CUBLAS_OP_N, p->n, p->m, p->k, &one, w,
                                  CUDA_R_16F, p->k, a->x, CUDA_R_16F, p->k, &zero, a->y, CUDA_R_16F,
                                  p->n, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT));
}

enum op_status gemm_cublas_f16(const struct gemm_problem *p, const struct gemm_args *a, void *state,
                               op_stream s)
{
    (void)s;
    return product(p, a, a->w, state);
}

/* ---- 4 bits ---- */

double gemm_dequant_weight_bytes(const struct gemm_problem *p)
{
    return ((double)p->k / 2 + 3.0 * p->k / p->group) * p->n; /* zeros a byte each */
}

double gemm_dequant_extra_bytes(const struct gemm_problem *p)
{
    return 4.0 * p->n * p->k; /* written and read */
}

enum op_status gemm_dequant_setup(const struct gemm_problem *p, const struct gemm_args *args,
                                  const struct op_memory *memory, op_stream s, void **state)
{
    const struct state *first = *state;
    const size_t weights = (size_t)p->n * p->k;
    enum op_status status = gemm_cublas_setup(p, args, memory, s, state);
    struct state *v = *state;
    if (status)
        return status;
    v->packed = memory->take(memory->context, weights / 2);
    v->w = first ? first->w : memory->take(memory->context, 2 * weights);
    status = v->packed && v->w ? gemm_dequant_pack(p, args->w4.code, v->packed, s) : OP_ENOMEM;
    if (status) {
        gemm_cublas_teardown(v);
        *state = NULL;
    }
    return status;
}

enum op_status gemm_w4a16_dequant_cublas(const struct gemm_problem *p, const struct gemm_args *a,
                                         void *state, op_stream s)
{
    const struct state *v = state;
    enum op_status status = gemm_dequant_expand(p, v->packed, a->w4.scale, a->w4.zero, v->w, s);
    return status ? status : product(p, a, v->w, v);
}
