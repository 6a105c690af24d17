/*
 * gemm_lt_cublas.c - Y = X W^T by the fastest of cuBLASLt's first algorithms, half
 * or e4m3 operands with float sums, or INT8 ones with INT32 sums, which a kernel
 * scales to Y.
 *
 * Set-up asks the heuristic for ALGORITHMS candidates and times each on the
 * operands of the first set, the L2 flushed before; the other sets of a case take
 * its choice.  Matrices are column-major as in gemm_cublas.c: W transposed, X not,
 * which is also the one form that e4m3 and INT8 have.
 *
 * Where the library has no INT8 algorithm for so few tokens, X is copied into a
 * buffer of FEWEST rows before each product.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <cublasLt.h>
#include <cuda_runtime_api.h>

#include "cublas_status.h"
#include "gemm_cublas.h"

enum { ALGORITHMS = 16, REPEATS = 5, FEWEST = 32 };
static const size_t WORKSPACE = (size_t)64 << 20;

/* What the sets of a case share belongs to the first. */
struct state {
    cublasLtHandle_t handle;
    int owner; /* of the handle */
    cublasLtMatmulDesc_t product;
    cublasLtMatrixLayout_t w, x, y;
    cublasLtMatmulAlgo_t algorithm;
    void *workspace;
    int rows;  /* of X: m, or FEWEST */
    void *few; /* X of FEWEST rows; NULL: as it comes */
    int *acc;  /* INT32 sums [rows][n]; NULL: Y is written by the product */
    char choice[80];
};

static void forget(struct state *v)
{
    if (v->product)
        cublasLtMatmulDescDestroy(v->product);
    if (v->w)
        cublasLtMatrixLayoutDestroy(v->w);
    if (v->x)
        cublasLtMatrixLayoutDestroy(v->x);
    if (v->y)
        cublasLtMatrixLayoutDestroy(v->y);
    v->product = NULL;
    v->w = v->x = v->y = NULL;
}

void gemm_lt_teardown(void *state)
{
    struct state *v = state;
    if (!v)
        return;
    forget(v);
    if (v->owner && v->handle)
        cublasLtDestroy(v->handle);
    free(v);
}

const char *gemm_lt_choice(const void *state)
{
    return ((const struct state *)state)->choice;
}

/* ---- the product ---- */

static cublasStatus_t set(cublasLtMatmulDesc_t d, cublasLtMatmulDescAttributes_t key,
                          const void *value, size_t bytes)
{
    return cublasLtMatmulDescSetAttribute(d, key, value, bytes);
}

static cublasStatus_t describe(const struct gemm_problem *p, const struct gemm_args *a,
                               cudaDataType_t type, struct state *v)
{
    const cublasOperation_t transposed = CUBLAS_OP_T;
    const uint64_t m = (uint64_t)v->rows, n = (uint64_t)p->n, k = (uint64_t)p->k;
    const int integer = type == CUDA_R_8I;
    cublasStatus_t s = cublasLtMatmulDescCreate(&v->product,
                                                integer ? CUBLAS_COMPUTE_32I : CUBLAS_COMPUTE_32F,
                                                integer ? CUDA_R_32I : CUDA_R_32F);
    if (!s)
        s = set(v->product, CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof transposed);
    if (!s && type == CUDA_R_8F_E4M3)
        s = set(v->product, CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, &a->w8_scale,
                sizeof a->w8_scale);
    if (!s && type == CUDA_R_8F_E4M3)
        s = set(v->product, CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, &a->x8_scale,
                sizeof a->x8_scale);
    if (!s)
        s = cublasLtMatrixLayoutCreate(&v->w, type, k, n, p->k);
    if (!s)
        s = cublasLtMatrixLayoutCreate(&v->x, type, k, m, p->k);
    if (!s)
        s = cublasLtMatrixLayoutCreate(&v->y, integer ? CUDA_R_32I : CUDA_R_16F, n, m, p->n);
    return s;
}

static cublasStatus_t multiply(const struct state *v, const cublasLtMatmulAlgo_t *algorithm,
                               const void *w, const void *x, void *y, op_stream s)
{
    const float ones[] = { 1, 0 };
    const int integers[] = { 1, 0 };
    const void *one = v->acc ? (const void *)integers : ones;
    const void *zero = v->acc ? (const void *)(integers + 1) : ones + 1;
    void *to = v->acc ? v->acc : y;
    return cublasLtMatmul(v->handle, v->product, one, w, v->w, v->few ? v->few : x, v->x, zero, to,
                          v->y, to, v->y, algorithm, v->workspace, WORKSPACE, s);
}

/* ---- choosing ---- */

static cublasStatus_t candidates(const struct state *v,
                                 cublasLtMatmulHeuristicResult_t found[ALGORITHMS], int *count)
{
    /* split sums may not pass through half */
    const uint32_t schemes = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
    cublasLtMatmulPreference_t wish = NULL;
    cublasStatus_t s = cublasLtMatmulPreferenceCreate(&wish);
    *count = 0;
    if (!s)
        s = cublasLtMatmulPreferenceSetAttribute(wish, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                                 &WORKSPACE, sizeof WORKSPACE);
    if (!s)
        s = cublasLtMatmulPreferenceSetAttribute(wish, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
                                                 &schemes, sizeof schemes);
    if (!s)
        s = cublasLtMatmulAlgoGetHeuristic(v->handle, v->product, v->w, v->x, v->y, v->y, wish,
                                           ALGORITHMS, found, count);
    if (wish)
        cublasLtMatmulPreferenceDestroy(wish);
    return !s && !*count ? CUBLAS_STATUS_NOT_SUPPORTED : s;
}

static int by_value(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* Scratch that replaces what is in the L2, and two events. */
struct clock {
    void *scratch;
    size_t bytes;
    cudaEvent_t begin, end;
};

/* Median milliseconds of one algorithm; INFINITY where it fails to launch. */
static float time_of(const struct state *v, const cublasLtMatmulAlgo_t *algorithm, const void *w,
                     const void *x, void *y, const struct clock *c, op_stream s)
{
    float ms[REPEATS];
    if (multiply(v, algorithm, w, x, y, s)) /* loads its code */
        return INFINITY;
    for (int r = 0; r < REPEATS; r++) {
        /* the flush keeps the device busy until all three behind it are enqueued */
        if (cudaMemsetAsync(c->scratch, r, c->bytes, s) || cudaEventRecord(c->begin, s) ||
            multiply(v, algorithm, w, x, y, s) || cudaEventRecord(c->end, s) ||
            cudaEventSynchronize(c->end) || cudaEventElapsedTime(&ms[r], c->begin, c->end))
            return INFINITY;
    }
    qsort(ms, REPEATS, sizeof *ms, by_value);
    return ms[REPEATS / 2];
}

static int config(const cublasLtMatmulAlgo_t *a, cublasLtMatmulAlgoConfigAttributes_t key)
{
    int value = -1;
    size_t written;
    if (cublasLtMatmulAlgoConfigGetAttribute(a, key, &value, sizeof value, &written))
        return -1;
    return value;
}

static enum op_status choose(struct state *v, const void *w, const void *x, void *y,
                             const struct op_memory *memory, op_stream s)
{
    cublasLtMatmulHeuristicResult_t found[ALGORITHMS];
    struct clock c = { 0 };
    int count, best = -1, device = 0, l2 = 0;
    float least = INFINITY;
    enum op_status status = cublas_op_status(candidates(v, found, &count));
    if (status)
        return status;
    status = OP_EDEVICE;
    if (cudaGetDevice(&device) || cudaDeviceGetAttribute(&l2, cudaDevAttrL2CacheSize, device) ||
        cudaEventCreate(&c.begin) || cudaEventCreate(&c.end))
        goto done;
    c.bytes = 2 * (size_t)l2;
    c.scratch = memory->take(memory->context, c.bytes ? c.bytes : 1);
    if (!c.scratch) {
        status = OP_ENOMEM;
        goto done;
    }
    for (int i = 0; i < count; i++) {
        if (found[i].state)
            continue;
        const float ms = time_of(v, &found[i].algo, w, x, y, &c, s);
        if (ms < least) {
            least = ms;
            best = i;
        }
    }
    if (best < 0) {
        status = OP_EUNSUPPORTED;
        goto done;
    }
    v->algorithm = found[best].algo;
    snprintf(v->choice, sizeof v->choice, "%d of %d: algo %d tile %d stages %d split %d%s",
             best + 1, count, config(&v->algorithm, CUBLASLT_ALGO_CONFIG_ID),
             config(&v->algorithm, CUBLASLT_ALGO_CONFIG_TILE_ID),
             config(&v->algorithm, CUBLASLT_ALGO_CONFIG_STAGES_ID),
             config(&v->algorithm, CUBLASLT_ALGO_CONFIG_SPLITK_NUM),
             v->few ? ", X padded" : "");
    status = OP_OK;
done:
    if (c.begin)
        cudaEventDestroy(c.begin);
    if (c.end)
        cudaEventDestroy(c.end);
    cudaGetLastError(); /* of an algorithm that did not launch */
    return status;
}

/* ---- rows ---- */

static enum op_status take_sums(const struct gemm_problem *p, const struct op_memory *memory,
                                struct state *v)
{
    const size_t rows = p->m < FEWEST ? FEWEST : (size_t)p->m;
    v->acc = memory->take(memory->context, rows * (size_t)p->n * sizeof *v->acc);
    return v->acc ? OP_OK : OP_ENOMEM;
}

/* From now on X is copied into rows that are there; those beyond m stay zero. */
static enum op_status pad(const struct gemm_problem *p, const struct op_memory *memory,
                          struct state *v, op_stream s)
{
    const size_t bytes = (size_t)FEWEST * (size_t)p->k;
    forget(v);
    v->rows = FEWEST;
    v->few = memory->take(memory->context, bytes);
    if (!v->few)
        return OP_ENOMEM;
    return cudaMemsetAsync(v->few, 0, bytes, s) ? OP_EDEVICE : OP_OK;
}

static enum op_status open_state(const struct gemm_problem *p, const struct gemm_args *a,
                                 cudaDataType_t type, const void *w, const void *x,
                                 const struct op_memory *memory, op_stream s, void **state)
{
    const struct state *first = *state;
    struct state *v = calloc(1, sizeof *v);
    enum op_status status;
    *state = NULL;
    if (!v)
        return OP_ENOMEM;
    if (first) {
        v->handle = first->handle;
        v->workspace = first->workspace;
        v->algorithm = first->algorithm;
        v->rows = first->rows;
        v->few = first->few;
        v->acc = first->acc;
        status = cublas_op_status(describe(p, a, type, v));
    } else {
        v->owner = 1;
        v->rows = p->m;
        v->workspace = memory->take(memory->context, WORKSPACE);
        status = v->workspace ? cublas_op_status(cublasLtCreate(&v->handle)) : OP_ENOMEM;
        if (!status && type == CUDA_R_8I)
            status = take_sums(p, memory, v);
        if (!status)
            status = cublas_op_status(describe(p, a, type, v));
        if (!status)
            status = choose(v, w, x, a->y, memory, s);
        if (status == OP_EUNSUPPORTED && type == CUDA_R_8I && p->m < FEWEST) {
            status = pad(p, memory, v, s);
            if (!status)
                status = cublas_op_status(describe(p, a, type, v));
            if (!status)
                status = choose(v, w, x, a->y, memory, s);
        }
    }
    if (status) {
        gemm_lt_teardown(v);
        return status;
    }
    *state = v;
    return OP_OK;
}

enum op_status gemm_lt_f16_setup(const struct gemm_problem *p, const struct gemm_args *a,
                                 const struct op_memory *memory, op_stream s, void **state)
{
    return open_state(p, a, CUDA_R_16F, a->w, a->x, memory, s, state);
}

enum op_status gemm_lt_fp8_setup(const struct gemm_problem *p, const struct gemm_args *a,
                                 const struct op_memory *memory, op_stream s, void **state)
{
    return open_state(p, a, CUDA_R_8F_E4M3, a->w8, a->x8, memory, s, state);
}

enum op_status gemm_lt_int8_setup(const struct gemm_problem *p, const struct gemm_args *a,
                                  const struct op_memory *memory, op_stream s, void **state)
{
    return open_state(p, a, CUDA_R_8I, a->int_w.code, a->int_x.code, memory, s, state);
}

enum op_status gemm_lt_f16(const struct gemm_problem *p, const struct gemm_args *a, void *state,
                           op_stream s)
{
    const struct state *v = state;
    (void)p;
    return cublas_op_status(multiply(v, &v->algorithm, a->w, a->x, a->y, s));
}

enum op_status gemm_lt_fp8(const struct gemm_problem *p, const struct gemm_args *a, void *state,
                           op_stream s)
{
    const struct state *v = state;
    (void)p;
    return cublas_op_status(multiply(v, &v->algorithm, a->w8, a->x8, a->y, s));
}

/* INT32 sums only. */
enum op_status gemm_lt_int8_alone(const struct gemm_problem *p, const struct gemm_args *a,
                                  void *state, op_stream s)
{
    const struct state *v = state;
    if (v->few && cudaMemcpyAsync(v->few, a->int_x.code, (size_t)p->m * (size_t)p->k,
                                  cudaMemcpyDeviceToDevice, s))
        return OP_EDEVICE;
    return cublas_op_status(multiply(v, &v->algorithm, a->int_w.code, a->int_x.code, NULL, s));
}

enum op_status gemm_lt_int8(const struct gemm_problem *p, const struct gemm_args *a, void *state,
                            op_stream s)
{
    const struct state *v = state;
    enum op_status status = gemm_lt_int8_alone(p, a, state, s);
    return status ? status : gemm_int8_scale(p, a, v->acc, s);
}

/* The sums written and read; X once more where it is padded is a few rows. */
double gemm_lt_int8_extra_bytes(const struct gemm_problem *p)
{
    return 8.0 * p->m * p->n;
}
