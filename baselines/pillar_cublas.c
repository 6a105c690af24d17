/*
 * pillar_cublas.c - the published form of pillars (kernels/pillar/published.cu) with its products
 * by cuBLAS: float numbers, rounded to TF32 as frameworks do by default on GPUs that have it.
 *
 * cuBLAS is column-major: row-major y = x w^T is y^T = w x^T to it.
 */
#include <stdlib.h>

#include <cublas_v2.h>

#include "../kernels/pillar/kernels.h"

static const size_t WORKSPACE = (size_t)32 << 20;

struct state {
    cublasHandle_t handle;
    void *published;
};

void pillar_scatter_teardown(void *state)
{
    struct state *v = state;
    if (!v)
        return;
    if (v->handle)
        cublasDestroy(v->handle);
    free(v->published);
    free(v);
}

enum op_status pillar_scatter_setup(const struct pillar_problem *p, const struct pillar_args *a,
                                    const struct op_memory *m, op_stream s, void **state)
{
    struct state *v = calloc(1, sizeof *v);
    *state = v;
    if (!v)
        return OP_ENOMEM;
    const enum op_status status = pillar_published_setup(p, a, m, s, &v->published);
    if (status)
        return status;
    void *workspace = m->take(m->context, WORKSPACE);
    if (!workspace)
        return OP_ENOMEM;
    if (cublasCreate(&v->handle) || cublasSetStream(v->handle, s) || /* before the workspace */
        cublasSetWorkspace(v->handle, workspace, WORKSPACE))
        return OP_EDEVICE;
    return OP_OK;
}

static enum op_status product(void *context, int rows, int n, int k, const float *x, const float *w,
                              float *y)
{
    const struct state *v = context;
    const float one = 1, zero = 0;
    return cublasGemmEx(v->handle, CUBLAS_OP_T, CUBLAS_OP_N, n, rows, k, &one, w, CUDA_R_32F, k, x,
                        CUDA_R_32F, k, &zero, y, CUDA_R_32F, n, CUBLAS_COMPUTE_32F_FAST_TF32,
                        CUBLAS_GEMM_DEFAULT)
               ? OP_EDEVICE
               : OP_OK;
}

enum op_status pillar_scatter(const struct pillar_problem *p, const struct pillar_args *a,
                              void *state, op_stream s)
{
    struct state *v = state;
    return pillar_published_run(p, a, v->published, product, v, s);
}
