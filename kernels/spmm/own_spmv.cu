/*
 * own_spmv.cu - C = A B for one to four columns: a block makes a chunk of A.
 *
 * A row of B is one load, so the entries of A are most of the traffic: they are
 * read by 16 bytes a lane, in order, whatever the rows are.  Their products wait in
 * shared memory until lanes, as many to a row as the chunk's rows leave, add
 * them up.
 *
 *   chunk        ..xx xxxx xxxx xxxx xx..       loads begin at a multiple of 4
 *   thread         0    1    2    3   4         4 entries each, ROUNDS times
 *   products     [column][entry], 4 words of padding after 32, so that lanes of
 *                rows of 8, 16 or 32 entries do not meet in one bank
 *   sums         1, 2, .. 32 lanes a row
 *
 * Chunks hold equally many entries and rows, long rows are shared (own_plan.h).
 * Bound by the reading of A, or by the gathering of B from L2: several loads per
 * thread are under way before the first product.
 */
#include <cuda_runtime.h>

#include <stdlib.h>

#include "own_kernels.h"
#include "own_plan.h"
#include "own_tile.cuh"
#include "view.cuh"

/* Of a row of B and C, N floats. */
template <int N>
static __device__ __forceinline__ void load_row(const float *b, int col, float (&x)[N])
{
    if constexpr (N == 3) {
#pragma unroll
        for (int j = 0; j < N; j++)
            x[j] = __ldg(b + (size_t)(unsigned)col * N + j);
    } else {
        load_floats(b + (size_t)(unsigned)col * N, x);
    }
}

template <int N>
static __device__ __forceinline__ void store_row(float *c, const float (&sum)[N])
{
    if constexpr (N == 4)
        __stcs((float4 *)c, make_float4(sum[0], sum[1], sum[2], sum[3]));
    else if constexpr (N == 2)
        __stcs((float2 *)c, make_float2(sum[0], sum[1]));
    else
#pragma unroll
        for (int j = 0; j < N; j++)
            __stcs(c + j, sum[j]);
}

/* Entries of a chunk at most, the 3 before its first included; with padding. */
template <int ROUNDS> constexpr int CAPACITY = ROUNDS * SPMM_BLOCK * 4;
template <int ROUNDS> constexpr int PADDED = CAPACITY<ROUNDS> / 32 * 36;

static __device__ __forceinline__ int padded(int i)
{
    return i + i / 32 * 4;
}

/* Entries first .. first + 3; those past the end of A get value 0 and column 0. */
static __device__ __forceinline__ void load_four(const spmm_args &a, unsigned first, unsigned nnz,
                                                 int (&col)[4], float (&val)[4])
{
    if (first + 3 < nnz) {
        const int4 c = __ldcs((const int4 *)(a.a.col + first));
        const float4 v = __ldcs((const float4 *)((const float *)a.a.val + first));
        col[0] = c.x, col[1] = c.y, col[2] = c.z, col[3] = c.w;
        val[0] = v.x, val[1] = v.y, val[2] = v.z, val[3] = v.w;
        return;
    }
#pragma unroll
    for (int i = 0; i < 4; i++) {
        col[i] = first + i < nnz ? a.a.col[first + i] : 0;
        val[i] = first + i < nnz ? ((const float *)a.a.val)[first + i] : 0;
    }
}

/* Products of entries base .. end - 1 into shared memory. */
template <int N, int ROUNDS>
static __device__ __forceinline__ void multiply(const spmm_args &a, unsigned base, unsigned end,
                                                unsigned nnz, float (*product)[PADDED<ROUNDS>])
{
    int col[ROUNDS][4];
    float val[ROUNDS][4], x[ROUNDS][4][N];
#pragma unroll
    for (int r = 0; r < ROUNDS; r++) {
        const unsigned first = base + (r * SPMM_BLOCK + threadIdx.x) * 4;
        if (first < end)
            load_four(a, first, nnz, col[r], val[r]);
    }
#pragma unroll
    for (int r = 0; r < ROUNDS; r++)
        if (base + (r * SPMM_BLOCK + threadIdx.x) * 4 < end)
#pragma unroll
            for (int i = 0; i < 4; i++)
                load_row((const float *)a.b, col[r][i], x[r][i]);
#pragma unroll
    for (int r = 0; r < ROUNDS; r++) {
        const int at = (r * SPMM_BLOCK + threadIdx.x) * 4;
        if (base + at < end)
#pragma unroll
            for (int j = 0; j < N; j++)
                *(float4 *)(product[j] + padded(at)) =
                    make_float4(val[r][0] * x[r][0][j], val[r][1] * x[r][1][j],
                                val[r][2] * x[r][2][j], val[r][3] * x[r][3][j]);
    }
}

template <int N, int ROUNDS>
static __global__ __launch_bounds__(SPMM_BLOCK) void own_stream(spmm_args a, own_plan plan,
                                                                unsigned nnz)
{
    __shared__ __align__(16) float product[N][PADDED<ROUNDS>];
    const int4 from = __ldg((const int4 *)plan.bound + blockIdx.x);
    const int4 to = __ldg((const int4 *)plan.bound + blockIdx.x + 1);
    const int rows = to.x - from.x + (to.z >= 0); /* the last one may go on in the next chunk */
    const unsigned base = from.y & ~3u;
    int lanes = 1;
    while (rows * lanes < SPMM_BLOCK && lanes < WARP)
        lanes *= 2;
    /* of the first row, before the products are waited for */
    int i = threadIdx.x / lanes;
    unsigned begin = 0, end = 0;
    if (i < rows)
        begin = row_begin(a, from.x + i), end = row_begin(a, from.x + i + 1);

    if (from.y < to.y)
        multiply<N, ROUNDS>(a, base, to.y, nnz, product);
    __syncthreads();
    for (int first = 0; first < rows; first += SPMM_BLOCK / lanes) {
        float sum[N] = {};
        const int start = max(begin, (unsigned)from.y) - base + threadIdx.x % lanes;
        const int stop = min(end, (unsigned)to.y) - base;
        for (int p = start; p < stop; p += lanes)
#pragma unroll
            for (int j = 0; j < N; j++)
                sum[j] += product[j][padded(p)];
        for (int d = lanes / 2; d; d /= 2)
#pragma unroll
            for (int j = 0; j < N; j++)
                sum[j] += __shfl_xor_sync(ALL_LANES, sum[j], d);
        if (i < rows && threadIdx.x % lanes == 0) {
            float *c = (float *)a.c + (size_t)(from.x + i) * N;
            if (i == rows - 1 && to.z >= 0)
                c = plan.carry + (size_t)to.z * N;
            else if (i == 0 && from.z >= 0)
                c = plan.carry + (from.z + 1LL) * N;
            store_row(c, sum);
        }
        i += SPMM_BLOCK / lanes;
        if (i < rows)
            begin = row_begin(a, from.x + i), end = row_begin(a, from.x + i + 1);
        else
            begin = end = 0;
    }
}

/* ---- set-up ---- */

/* Chunks as large as shared memory has room for, smaller where they would be fewer
 * than the blocks that a large device holds. */
static enum op_status set_up(const struct spmm_problem *p, const struct spmm_args *args,
                             int capacity, const struct op_memory *memory, op_stream s,
                             void **state)
{
    const int room = capacity - 3;
    int items = room - room / 4;
    struct own_plan *plan = (struct own_plan *)calloc(1, sizeof *plan);
    *state = NULL;
    if (!plan)
        return OP_ENOMEM;
    while (items > 256 && (p->m + p->nnz) / items < 132L * 8)
        items = items / 2;
    const enum op_status status = own_plan_chunks(p, args, items, room - items, memory, s, plan);
    if (status) {
        free(plan);
        return status;
    }
    *state = plan;
    return OP_OK;
}

/* ---- launches ---- */

template <int N, int ROUNDS>
static enum op_status launch(const struct spmm_problem *p, const struct spmm_args *a, void *state,
                             op_stream s)
{
    const struct own_plan *plan = (const struct own_plan *)state;
    own_stream<N, ROUNDS><<<plan->chunks, SPMM_BLOCK, 0, s>>>(*a, *plan, p->nnz);
    const enum op_status status = launched();
    return status ? status : own_plan_combine(p, a, plan, s);
}

OP_BEGIN
spmm_run_fn spmm_own_spmv, spmm_own_spmv_x2;
spmm_setup_fn spmm_own_spmv_setup, spmm_own_spmv_x2_setup;

/* Rounds of loads: eight rows of B a thread for one column, four for more. */
enum op_status spmm_own_spmv_setup(const struct spmm_problem *p, const struct spmm_matrix *,
                                   const struct spmm_args *args, const struct op_memory *memory,
                                   op_stream s, void **state)
{
    return set_up(p, args, p->n == 1 ? CAPACITY<2> : CAPACITY<1>, memory, s, state);
}

enum op_status spmm_own_spmv(const struct spmm_problem *p, const struct spmm_args *a, void *state,
                             op_stream s)
{
    switch (p->n) {
    case 1: return launch<1, 2>(p, a, state, s);
    case 2: return launch<2, 1>(p, a, state, s);
    case 3: return launch<3, 1>(p, a, state, s);
    case 4: return launch<4, 1>(p, a, state, s);
    }
    return OP_EUNSUPPORTED;
}

/* Twice the rounds. */
enum op_status spmm_own_spmv_x2_setup(const struct spmm_problem *p, const struct spmm_matrix *,
                                      const struct spmm_args *args, const struct op_memory *memory,
                                      op_stream s, void **state)
{
    return set_up(p, args, p->n == 1 ? CAPACITY<4> : CAPACITY<2>, memory, s, state);
}

enum op_status spmm_own_spmv_x2(const struct spmm_problem *p, const struct spmm_args *a,
                                void *state, op_stream s)
{
    switch (p->n) {
    case 1: return launch<1, 4>(p, a, state, s);
    case 2: return launch<2, 2>(p, a, state, s);
    case 3: return launch<3, 2>(p, a, state, s);
    case 4: return launch<4, 2>(p, a, state, s);
    }
    return OP_EUNSUPPORTED;
}

void spmm_own_spmv_teardown(void *state)
{
    free(state);
}
OP_END
