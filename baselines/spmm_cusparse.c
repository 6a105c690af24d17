/*
 * spmm_cusparse.c - C = A B by cuSPARSE, generic interface.
 *
 * Descriptors, workspace and preprocessing belong to set-up; run is the product
 * alone, alpha 1 and beta 0.  Values and dense operands are float or half, sums
 * float.
 *
 * The block formats (spmm_blocks.h) are made by set-up: where the blocks lie on the host, the
 * values on the device.  Which sizes of blocks the library takes it says when it is called, so
 * set-up makes a first product, and goes on to the next size where that is refused.
 */
#include <stdlib.h>

#include <cuda_runtime_api.h>
#include <cusparse.h>

#include "spmm_blocks.h"
#include "spmm_cusparse.h"

enum format { CSR, COO, BSR, BELL };
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
    struct spmm_blocks blocks; /* BSR, BELL: on the device, as values */
    void *values;
    struct spmm_format format;
};

static const float one = 1, zero = 0;
static const cusparseOperation_t PLAIN = CUSPARSE_OPERATION_NON_TRANSPOSE;

static enum op_status status_of(cusparseStatus_t s)
{
    switch (s) {
    case CUSPARSE_STATUS_SUCCESS: return OP_OK;
    case CUSPARSE_STATUS_INVALID_VALUE: /* how it refuses a size of blocks */
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

static cudaDataType type_of(const struct spmm_problem *p)
{
    return p->dtype == SPMM_F16 ? CUDA_R_16F : CUDA_R_32F;
}

static cusparseStatus_t describe_matrix(const struct spmm_problem *p, const struct spmm_matrix *a,
                                        struct product *t)
{
    const cusparseIndexType_t index = CUSPARSE_INDEX_32I;
    const cusparseIndexBase_t base = CUSPARSE_INDEX_BASE_ZERO;
    const struct spmm_blocks *b = &t->blocks;
    const int s = b->size;
    switch (t->plan->format) {
    case CSR:
        return cusparseCreateConstCsr(&t->a, p->m, p->k, p->nnz, a->row_ptr, a->col, a->val, index,
                                      index, base, type_of(p));
    case COO:
        return cusparseCreateConstCoo(&t->a, p->m, p->k, p->nnz, a->row, a->col, a->val, index,
                                      base, type_of(p));
    case BSR:
        return cusparseCreateConstBsr(&t->a, p->m / s, p->k / s, b->places, s, s, b->ptr, b->col,
                                      t->values, index, index, base, type_of(p),
                                      CUSPARSE_ORDER_ROW);
    case BELL:
        return cusparseCreateConstBlockedEll(&t->a, p->m, p->k, s, (int64_t)b->width * s, b->col,
                                             t->values, index, base, type_of(p));
    }
    return CUSPARSE_STATUS_NOT_SUPPORTED;
}

static cusparseStatus_t describe(const struct spmm_problem *p, const struct spmm_args *args,
                                 struct product *t)
{
    const cudaDataType type = type_of(p);
    const int by_row = t->plan->layout && t->plan->layout[0] == 'r';
    const cusparseOrder_t order = by_row ? CUSPARSE_ORDER_ROW : CUSPARSE_ORDER_COL;
    cusparseStatus_t status = describe_matrix(p, &args->a, t);
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

/* Descriptors, workspace, analysis. */
static enum op_status make_ready(const struct spmm_problem *p, const struct spmm_args *args,
                                 const struct op_memory *memory, struct product *t)
{
    size_t bytes = 0;
    enum op_status status = status_of(describe(p, args, t));
    if (!status)
        status = status_of(buffer_size(t, &bytes));
    /* never NULL: the library has taken a NULL buffer of 0 bytes for an error */
    if (!status && !(t->buffer = memory->take(memory->context, bytes ? bytes : 16)))
        status = OP_ENOMEM;
    if (!status && t->plan->preprocess)
        status = status_of(preprocess(t));
    return status;
}

static void destroy(struct product *t)
{
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
    t->a = NULL;
    t->b = NULL;
    t->c = NULL;
    t->x = NULL;
    t->y = NULL;
}

/* ---- block formats ---- */

static enum op_status done(cudaError_t e)
{
    return e == cudaSuccess ? OP_OK : OP_EDEVICE;
}

/* A copy of host memory on the device. */
static enum op_status upload(const void *from, size_t bytes, const struct op_memory *memory,
                             op_stream s, int **to)
{
    *to = memory->take(memory->context, bytes ? bytes : 16);
    if (!*to)
        return OP_ENOMEM;
    return done(cudaMemcpyAsync(*to, from, bytes, cudaMemcpyHostToDevice, s));
}

/* The blocks of size `index` and their values on the device. */
static enum op_status take_blocks(const struct spmm_problem *p, const struct spmm_matrix *host,
                                  const struct spmm_matrix *a, int index,
                                  const struct op_memory *memory, op_stream s, struct product *t)
{
    const enum spmm_blocked format = t->plan->format == BSR ? SPMM_BSR : SPMM_BELL;
    struct spmm_blocks b;
    enum op_status status = spmm_blocks_make(p, host->row_ptr, host->col, format, index, &b);
    if (status)
        return status;
    const size_t values = (size_t)b.places * (size_t)b.size * (size_t)b.size;
    const size_t bytes = values * (p->dtype == SPMM_F16 ? 2 : 4);
    const size_t lines = ((size_t)(p->m / b.size) + 1) * sizeof *b.ptr;
    const size_t columns = (size_t)b.places * sizeof *b.col;
    t->blocks = b;
    t->format = (struct spmm_format){
        b.size, p->blocks[index] * b.size, (long)values,
        (double)bytes + (double)columns + (format == SPMM_BSR ? (double)lines : 0) };
    status = upload(b.ptr, lines, memory, s, &t->blocks.ptr);
    if (!status)
        status = upload(b.col, columns, memory, s, &t->blocks.col);
    if (!status && !(t->values = memory->take(memory->context, bytes)))
        status = OP_ENOMEM;
    if (!status)
        status = done(cudaMemsetAsync(t->values, 0, bytes, s));
    if (!status)
        status = spmm_blocks_fill(p, a, &t->blocks, t->values, s);
    if (cudaStreamSynchronize(s) != cudaSuccess && !status) /* b was read until here */
        status = OP_EDEVICE;
    spmm_blocks_free(&b);
    return status;
}

/* The first of the sizes that the library takes. */
static enum op_status make_blocks_ready(const struct spmm_problem *p,
                                        const struct spmm_matrix *host,
                                        const struct spmm_args *args,
                                        const struct op_memory *memory, op_stream s,
                                        struct product *t)
{
    int index[SPMM_SQUARES];
    const int count =
        spmm_blocks_order(p, t->plan->format == BSR ? SPMM_BSR : SPMM_BELL, index);
    enum op_status status = OP_EUNSUPPORTED;
    for (int i = 0; i < count && status == OP_EUNSUPPORTED; i++) {
        destroy(t);
        status = take_blocks(p, host, &args->a, index[i], memory, s, t);
        if (!status)
            status = make_ready(p, args, memory, t);
        if (!status)
            status = spmm_cusparse_run_matrix(p, args, t, s);
    }
    return status;
}

/* ---- set-up ---- */

static enum op_status setup(const struct plan *plan, const struct spmm_problem *p,
                            const struct spmm_matrix *host, const struct spmm_args *args,
                            const struct op_memory *memory, op_stream s, void **state)
{
    struct product *t = calloc(1, sizeof *t);
    enum op_status status = OP_ENOMEM;
    *state = NULL;
    if (!t)
        return OP_ENOMEM;
    t->plan = plan;
    status = status_of(handle_of(s, &t->handle));
    if (!status && (plan->format == BSR || plan->format == BELL))
        status = make_blocks_ready(p, host, args, memory, s, t);
    else if (!status)
        status = make_ready(p, args, memory, t);
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
    if (state)
        destroy(state);
    free(state);
}

void spmm_cusparse_format(const void *state, struct spmm_format *out)
{
    *out = ((const struct product *)state)->format;
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
        return setup(&plan, p, host, args, memory, s, state);                                     \
    }
#define SETUP_MATRIX(name, title, layout, format, algorithm, preprocess) \
    SETUP(MATRIX, name, layout, format, algorithm, preprocess)
#define SETUP_VECTOR(name, title, layout, format, algorithm, preprocess) \
    SETUP(VECTOR, name, layout, format, algorithm, preprocess)

SPMM_CUSPARSE_MATRIX(SETUP_MATRIX)
SPMM_CUSPARSE_BLOCKED(SETUP_MATRIX)
SPMM_CUSPARSE_VECTOR(SETUP_VECTOR)
