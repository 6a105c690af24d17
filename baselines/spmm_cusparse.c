/*
 * spmm_cusparse.c - C = A B by cuSPARSE, generic interface.
 *
 * Descriptors, workspace and preprocessing belong to set-up; run is the product
 * alone, alpha 1 and beta 0.  Values and dense operands are float or half, sums
 * float.
 */
#include <stdlib.h>

#include <cuda_runtime_api.h>
#include <cusparse.h>

#include "spmm_cusparse.h"

enum format { CSR, COO };
enum kind { MATRIX, VECTOR };

struct plan {
    enum kind kind;
    enum format format;
    int algorithm;      /* cusparseSpMMAlg_t or cusparseSpMVAlg_t */
    int preprocess;
    const char *layout; /* "row", "column"; NULL: VECTOR */
};

struct product {
    const struct plan *plan;
    cusparseHandle_t handle;
    cusparseConstSpMatDescr_t a;
    cusparseConstDnMatDescr_t b;
    cusparseDnMatDescr_t c;
    cusparseConstDnVecDescr_t x;
    cusparseDnVecDescr_t y;
    void *buffer;
};

static const float one = 1, zero = 0;
static const cusparseOperation_t PLAIN = CUSPARSE_OPERATION_NON_TRANSPOSE;

static enum op_status status_of(cusparseStatus_t s)
{
    switch (s) {
    case CUSPARSE_STATUS_SUCCESS: return OP_OK;
    case CUSPARSE_STATUS_NOT_SUPPORTED: return OP_EUNSUPPORTED;
    case CUSPARSE_STATUS_ALLOC_FAILED:
    case CUSPARSE_STATUS_INSUFFICIENT_RESOURCES: return OP_ENOMEM;
    default: return OP_EDEVICE;
    }
}

/* The handle of the stream.  One is kept for the life of the process: making
 * one takes longer than most products. */
static cusparseStatus_t handle_of(op_stream s, cusparseHandle_t *out)
{
    static cusparseHandle_t handle;
    static op_stream bound;
    cusparseStatus_t status = CUSPARSE_STATUS_SUCCESS;
    const int fresh = !handle;
    if (fresh)
        status = cusparseCreate(&handle);
    if (!status && (fresh || bound != s))
        status = cusparseSetStream(handle, s);
    if (!status)
        bound = s;
    *out = handle;
    return status;
}

static cusparseStatus_t describe(const struct spmm_problem *p, const struct spmm_args *args,
                                 struct product *t)
{
    const cudaDataType type = p->dtype == SPMM_F16 ? CUDA_R_16F : CUDA_R_32F;
    const struct spmm_matrix *a = &args->a;
    const int by_row = t->plan->layout && t->plan->layout[0] == 'r';
    const cusparseOrder_t order = by_row ? CUSPARSE_ORDER_ROW : CUSPARSE_ORDER_COL;
    cusparseStatus_t status;
    if (t->plan->format == CSR)
        status = cusparseCreateConstCsr(&t->a, p->m, p->k, p->nnz, a->row_ptr, a->col, a->val,
                                        CUSPARSE_INDEX_32I, CUSPARSE_INDEX_32I,
                                        CUSPARSE_INDEX_BASE_ZERO, type);
    else
        status = cusparseCreateConstCoo(&t->a, p->m, p->k, p->nnz, a->row, a->col, a->val,
                                        CUSPARSE_INDEX_32I, CUSPARSE_INDEX_BASE_ZERO, type);
    if (t->plan->kind == VECTOR) {
        if (!status)
            status = cusparseCreateConstDnVec(&t->x, p->k, args->b, type);
        if (!status)
            status = cusparseCreateDnVec(&t->y, p->m, args->c, type);
        return status;
    }
    if (!status)
        status = cusparseCreateConstDnMat(&t->b, p->k, p->n, by_row ? p->n : p->k, args->b, type,
                                          order);
    if (!status)
        status = cusparseCreateDnMat(&t->c, p->m, p->n, by_row ? p->n : p->m, args->c, type, order);
    return status;
}

static cusparseStatus_t buffer_size(const struct product *t, size_t *bytes)
{
    if (t->plan->kind == VECTOR)
        return cusparseSpMV_bufferSize(t->handle, PLAIN, &one, t->a, t->x, &zero, t->y, CUDA_R_32F,
                                       (cusparseSpMVAlg_t)t->plan->algorithm, bytes);
    return cusparseSpMM_bufferSize(t->handle, PLAIN, PLAIN, &one, t->a, t->b, &zero, t->c,
                                   CUDA_R_32F, (cusparseSpMMAlg_t)t->plan->algorithm, bytes);
}

static cusparseStatus_t preprocess(const struct product *t)
{
    if (t->plan->kind == VECTOR)
        return cusparseSpMV_preprocess(t->handle, PLAIN, &one, t->a, t->x, &zero, t->y, CUDA_R_32F,
                                       (cusparseSpMVAlg_t)t->plan->algorithm, t->buffer);
    return cusparseSpMM_preprocess(t->handle, PLAIN, PLAIN, &one, t->a, t->b, &zero, t->c,
                                   CUDA_R_32F, (cusparseSpMMAlg_t)t->plan->algorithm, t->buffer);
}

static enum op_status setup(const struct plan *plan, const struct spmm_problem *p,
                            const struct spmm_args *args, const struct op_memory *memory,
                            op_stream s, void **state)
{
    struct product *t = calloc(1, sizeof *t);
    size_t bytes = 0;
    enum op_status status = OP_ENOMEM;
    *state = NULL;
    if (!t)
        return OP_ENOMEM;
    t->plan = plan;
    status = status_of(handle_of(s, &t->handle));
    if (!status)
        status = status_of(describe(p, args, t));
    if (!status)
        status = status_of(buffer_size(t, &bytes));
    /* never NULL: the library has taken a NULL buffer of 0 bytes for an error */
    if (!status && !(t->buffer = memory->take(memory->context, bytes ? bytes : 16)))
        status = OP_ENOMEM;
    if (!status && plan->preprocess)
        status = status_of(preprocess(t));
    if (!status && cudaStreamSynchronize(s) != cudaSuccess)
        status = OP_EDEVICE;
    if (status) {
        spmm_cusparse_teardown(t);
        return status;
    }
    *state = t;
    return OP_OK;
}

void spmm_cusparse_teardown(void *state)
{
    struct product *t = state;
    if (!t)
        return;
    if (t->a)
        cusparseDestroySpMat(t->a);
    if (t->b)
        cusparseDestroyDnMat(t->b);
    if (t->c)
        cusparseDestroyDnMat(t->c);
    if (t->x)
        cusparseDestroyDnVec(t->x);
    if (t->y)
        cusparseDestroyDnVec(t->y);
    free(t);
}

enum op_status spmm_cusparse_run_matrix(const struct spmm_problem *p, const struct spmm_args *args,
                                        void *state, op_stream s)
{
    struct product *t = state;
    (void)p, (void)args;
    cusparseStatus_t status = handle_of(s, &t->handle);
    if (!status)
        status = cusparseSpMM(t->handle, PLAIN, PLAIN, &one, t->a, t->b, &zero, t->c, CUDA_R_32F,
                              (cusparseSpMMAlg_t)t->plan->algorithm, t->buffer);
    return status_of(status);
}

enum op_status spmm_cusparse_run_vector(const struct spmm_problem *p, const struct spmm_args *args,
                                        void *state, op_stream s)
{
    struct product *t = state;
    (void)p, (void)args;
    cusparseStatus_t status = handle_of(s, &t->handle);
    if (!status)
        status = cusparseSpMV(t->handle, PLAIN, &one, t->a, t->x, &zero, t->y, CUDA_R_32F,
                              (cusparseSpMVAlg_t)t->plan->algorithm, t->buffer);
    return status_of(status);
}

/* One set-up function per row of the table. */
#define SETUP(kind_, name_, layout_, format_, algorithm_, preprocess_)                            \
    enum op_status spmm_cusparse_##name_(const struct spmm_problem *p,                            \
                                         const struct spmm_matrix *host,                          \
                                         const struct spmm_args *args,                            \
                                         const struct op_memory *memory, op_stream s,             \
                                         void **state)                                            \
    {                                                                                             \
        static const struct plan plan = { kind_, format_, algorithm_, preprocess_, layout_ };     \
        (void)host;                                                                               \
        return setup(&plan, p, args, memory, s, state);                                           \
    }
#define SETUP_MATRIX(name, title, layout, format, algorithm, preprocess) \
    SETUP(MATRIX, name, layout, format, algorithm, preprocess)
#define SETUP_VECTOR(name, title, layout, format, algorithm, preprocess) \
    SETUP(VECTOR, name, layout, format, algorithm, preprocess)

SPMM_CUSPARSE_MATRIX(SETUP_MATRIX)
SPMM_CUSPARSE_VECTOR(SETUP_VECTOR)
