/*
 * own_spmv.cu - C = A B for one to four columns: a block makes a chunk of A.
 *
 * A row of B is one load, so the entries of A are most of the traffic: they are
 * read in order, whatever the rows are.  Neighbouring lanes take neighbouring
 * entries, whose columns lie closest: the fewer lines of B a warp asks for at a
 * time, the faster it gets them.  The products wait in shared memory until
 * lanes, as many to a row as the chunk's rows leave, add them up.
 *
 *   chunk        .xxx xxxx xxxx xxxx xx..      loads begin at a multiple of 32
 *   thread        012 3 ..        255          one entry each, R times
 *   products     [column][entry], a word of padding after 32, so that lanes of
 *                rows of 8, 16 or 32 entries do not meet in one bank
 *   sums         1, 2, .. 32 lanes a row; a row with more than 16 entries a lane
 *                waits for a whole warp
 *
 * Chunks hold equally many entries and rows, long rows are shared (own_plan.h):
 * the block that makes the last piece of one adds them up, in order, so that
 * there is one launch.  Bound by the reading of A, or by the gathering of B.
 */
#include <cuda_runtime.h>

#include <stdlib.h>

#include "own_kernels.h"
#include "own_plan.h"
#include "own_rules.h"
#include "own_stream.cuh"
#include "shape.h"
#include "view.cuh"

/* R, entries a thread: 8 where A is large; else 4, or there are too few blocks for the SMs. */
constexpr int ALIGNED = 32; /* up to 31 entries before a chunk are read with it */
constexpr int STEPS = 16;   /* of a lane, in a row */

static __host__ __device__ constexpr int capacity(int rounds)
{
    return rounds * SPMM_BLOCK;
}

/* ---- what the threads of a block share ---- */

template <int N, int R> struct Shared {
    float product[N][capacity(R) / 32 * 33];
    int waiting[capacity(R) / STEPS]; /* rows for a whole warp */
    int rows;                         /* of them */
    int last[2]; /* whether the piece at the begin, at the end, was the last */
};

static __device__ __forceinline__ int padded(int i)
{
    return i + i / 32;
}

/* Products of entries base .. end - 1. */
template <int N, int R>
static __device__ __forceinline__ void multiply(const spmm_args &a, unsigned base, unsigned end,
                                                Shared<N, R> &shared)
{
    int col[R];
    float val[R], x[R][N];
#pragma unroll
    for (int r = 0; r < R; r++) {
        const unsigned p = base + r * SPMM_BLOCK + threadIdx.x;
        if (p < end) {
            col[r] = __ldcs(a.a.col + p);
            val[r] = __ldcs((const float *)a.a.val + p);
        }
    }
#pragma unroll
    for (int r = 0; r < R; r++)
        if (base + r * SPMM_BLOCK + threadIdx.x < end)
            load_row((const float *)a.b, col[r], x[r]);
#pragma unroll
    for (int r = 0; r < R; r++) {
        const int at = r * SPMM_BLOCK + threadIdx.x;
        if (base + at < end)
#pragma unroll
            for (int j = 0; j < N; j++)
                shared.product[j][padded(at)] = val[r] * x[r][j];
    }
}

template <int N, int R>
static __device__ __forceinline__ void add_products(const Shared<N, R> &shared, int start,
                                                    int stop, int lanes, float (&sum)[N])
{
#pragma unroll 4
    for (int p = start; p < stop; p += lanes)
#pragma unroll
        for (int j = 0; j < N; j++)
            sum[j] += shared.product[j][padded(p)];
}

/* ---- rows that chunks share ---- */

/* By all threads: the pieces in order, in the same order each time. */
template <int N, int R>
static __device__ void add_pieces(const spmm_args &a, const own_plan &plan, int cut,
                                  Shared<N, R> &shared)
{
    own_cut *of = plan.cut + cut;
    float sum[N] = {};
    __threadfence();
    sum_pieces(plan, of, threadIdx.x, SPMM_BLOCK, sum);
    sum_group(sum, WARP);
#pragma unroll
    for (int j = 0; j < N; j++)
        if (threadIdx.x % WARP == 0)
            shared.product[j][threadIdx.x / WARP] = sum[j];
    __syncthreads();
    if (threadIdx.x)
        return;
    for (int w = 1; w < SPMM_BLOCK_WARPS; w++)
#pragma unroll
        for (int j = 0; j < N; j++)
            sum[j] += shared.product[j][w];
    store_row((float *)a.c + (size_t)of->row * N, sum);
    of->arrived = 0; /* for the next launch */
}

/* ---- kernel ---- */

template <int N, int R>
static __global__ __launch_bounds__(SPMM_BLOCK) void own_stream(spmm_args a, own_plan plan)
{
    __shared__ Shared<N, R> shared;
    const int4 from = __ldg((const int4 *)plan.bound + blockIdx.x);
    const int4 to = __ldg((const int4 *)plan.bound + blockIdx.x + 1);
    const int rows = to.x - from.x + (to.z >= 0); /* the last one may go on in the next chunk */
    const int base = from.y & ~(ALIGNED - 1);
    int lanes = 1;
    while (rows * lanes < SPMM_BLOCK && lanes < WARP)
        lanes *= 2;
    /* of the first row, before the products are waited for */
    int i = threadIdx.x / lanes, begin = 0, end = 0;
    if (i < rows)
        begin = row_begin(a, from.x + i), end = row_begin(a, from.x + i + 1);

    const auto store = [&](int row, const float (&sum)[N]) {
        if (row == rows - 1 && to.z >= 0)
            shared.last[1] = store_piece(plan, to.z, to.w, sum);
        else if (row == 0 && from.z >= 0)
            shared.last[0] = store_piece(plan, from.z + 1, from.w, sum);
        else
            store_row((float *)a.c + (size_t)(from.x + row) * N, sum);
    };
    if (threadIdx.x == 0)
        shared.rows = shared.last[0] = shared.last[1] = 0;
    multiply(a, base, to.y, shared);
    __syncthreads();
    for (int first = 0; first < rows; first += SPMM_BLOCK / lanes) {
        float sum[N] = {};
        const int start = max(begin, from.y) - base, stop = min(end, to.y) - base;
        const bool waits = lanes < WARP && stop - start > STEPS * lanes;
        if (!waits)
            add_products(shared, start + threadIdx.x % lanes, stop, lanes, sum);
        sum_group(sum, lanes);
        if (i < rows && threadIdx.x % lanes == 0) {
            if (waits)
                shared.waiting[atomicAdd(&shared.rows, 1)] = i;
            else
                store(i, sum);
        }
        i += SPMM_BLOCK / lanes;
        begin = end = 0;
        if (i < rows)
            begin = row_begin(a, from.x + i), end = row_begin(a, from.x + i + 1);
    }
    __syncthreads();
    for (int w = threadIdx.x / WARP; w < shared.rows; w += SPMM_BLOCK_WARPS) {
        float sum[N] = {};
        const int row = shared.waiting[w];
        const int start = max(row_begin(a, from.x + row), from.y) - base;
        const int stop = min(row_begin(a, from.x + row + 1), to.y) - base;
        add_products(shared, start + threadIdx.x % WARP, stop, WARP, sum);
        sum_group(sum, WARP);
        if (threadIdx.x % WARP == 0)
            store(row, sum);
    }
    if (from.z < 0 && to.z < 0)
        return;
    __syncthreads();
    if (shared.last[0])
        add_pieces(a, plan, from.w, shared);
    __syncthreads();
    if (shared.last[1])
        add_pieces(a, plan, to.w, shared);
}

/* ---- set-up and launches ---- */

struct Stream {
    own_plan plan;
    int rounds; /* R */
};

template <int N>
static enum op_status launch(const struct spmm_args *a, const Stream *of, op_stream s)
{
    if (of->rounds == 8)
        own_stream<N, 8><<<of->plan.chunks, SPMM_BLOCK, 0, s>>>(*a, of->plan);
    else
        own_stream<N, 4><<<of->plan.chunks, SPMM_BLOCK, 0, s>>>(*a, of->plan);
    return launched();
}

OP_BEGIN
spmm_run_fn spmm_own_spmv;
spmm_setup_fn spmm_own_spmv_setup;

enum op_status spmm_own_spmv_setup(const struct spmm_problem *p, const struct spmm_matrix *,
                                   const struct spmm_args *args, const struct op_memory *memory,
                                   op_stream s, void **state)
{
    const int rounds = own_spmv_rounds(p), room = capacity(rounds) - (ALIGNED - 1);
    const int items = own_spmv_rule(p, room);
    Stream *of = (Stream *)calloc(1, sizeof *of);
    *state = NULL;
    if (!of)
        return OP_ENOMEM;
    of->rounds = rounds;
    const enum op_status status =
        own_plan_chunks(p, args, items, room - items, memory, s, &of->plan);
    if (status) {
        free(of);
        return status;
    }
    *state = of;
    return OP_OK;
}

enum op_status spmm_own_spmv(const struct spmm_problem *p, const struct spmm_args *a, void *state,
                             op_stream s)
{
    const Stream *of = (const Stream *)state;
    switch (p->n) {
    case 1: return launch<1>(a, of, s);
    case 2: return launch<2>(a, of, s);
    case 3: return launch<3>(a, of, s);
    case 4: return launch<4>(a, of, s);
    }
    return OP_EUNSUPPORTED;
}

void spmm_own_spmv_teardown(void *state)
{
    free(state);
}
OP_END
