/*
 * own_stream.cuh - how a group of 256 threads adds up the rows of a chunk of A, one to four
 * columns, once the products of its entries are in shared memory.
 *
 *   products     [column][entry], a word of padding after 32, so that lanes of
 *                rows of 8, 16 or 32 entries do not meet in one bank
 *   sums         1, 2, .. 32 lanes a row; a row with more than 16 entries a lane
 *                waits for a whole warp
 *
 * Chunks hold equally many entries and rows, long rows are shared (own_plan.h):
 * the group that makes the last piece of one adds them up, in order, so that
 * there is one launch.
 */
#ifndef KERNELS_SPMM_OWN_STREAM_CUH
#define KERNELS_SPMM_OWN_STREAM_CUH

#include "../common/warp.cuh"
#include "own_plan.h"
#include "shape.h"
#include "view.cuh"

namespace own_stream_form {
constexpr int ALIGNED = 32; /* up to 31 entries before a chunk are read with it */
constexpr int STEPS = 16;   /* of a lane, in a row */
}

/* Entries of a chunk, R of them a thread. */
static __host__ __device__ constexpr int own_capacity(int rounds)
{
    return rounds * SPMM_BLOCK;
}

/* Entries that a chunk may have, wherever it begins. */
static __host__ __device__ constexpr int own_room(int rounds)
{
    return own_capacity(rounds) - (own_stream_form::ALIGNED - 1);
}

static __device__ __forceinline__ int own_aligned(int entry)
{
    return entry & ~(own_stream_form::ALIGNED - 1);
}

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

/* ---- what the threads of a group share ---- */

template <int N, int R> struct Shared {
    float product[N][own_capacity(R) / 32 * 33];
    int waiting[own_capacity(R) / own_stream_form::STEPS]; /* rows for a whole warp */
    int rows;                                              /* of them */
    int last[2]; /* whether the piece at the begin, at the end, was the last */
};

static __device__ __forceinline__ int padded(int i)
{
    return i + i / 32;
}

/* In every lane the sum over all `lanes` of a group. */
template <int N> static __device__ __forceinline__ void sum_group(float (&sum)[N], int lanes)
{
    for (int d = lanes / 2; d; d /= 2)
#pragma unroll
        for (int j = 0; j < N; j++)
            sum[j] += __shfl_xor_sync(ALL_LANES, sum[j], d);
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

/* Notes whether all pieces are made now, one of them by this thread. */
template <int N>
static __device__ void store_piece(const own_plan &plan, int slot, int cut, const float (&sum)[N],
                                   int *last)
{
    own_cut *of = plan.cut + cut;
    store_row(plan.carry + (size_t)slot * N, sum);
    __threadfence();
    *last = atomicAdd(&of->arrived, 1) == of->pieces - 1;
}

/* By all threads of the group: the pieces in order, in the same order each time. */
template <int N, int R, class Group>
static __device__ void add_pieces(float *c, const own_plan &plan, int cut, Shared<N, R> &shared,
                                  Group group)
{
    own_cut *of = plan.cut + cut;
    const float *carry = plan.carry + (size_t)of->first * N;
    float sum[N] = {};
    __threadfence();
    for (int i = group.t; i < of->pieces; i += SPMM_BLOCK)
#pragma unroll
        for (int j = 0; j < N; j++)
            sum[j] += __ldcg(carry + (size_t)i * N + j);
    sum_group(sum, WARP);
#pragma unroll
    for (int j = 0; j < N; j++)
        if (group.t % WARP == 0)
            shared.product[j][group.t / WARP] = sum[j];
    group.sync();
    if (group.t)
        return;
    for (int w = 1; w < SPMM_BLOCK_WARPS; w++)
#pragma unroll
        for (int j = 0; j < N; j++)
            sum[j] += shared.product[j][w];
    store_row(c + (size_t)of->row * N, sum);
    of->arrived = 0; /* for the next launch */
}

/* ---- the rows of a chunk ---- */

/* Lanes a row, a power of two, so that the rows of a chunk keep the group busy. */
static __device__ __forceinline__ int own_lanes(int rows)
{
    int lanes = 1;
    while (rows * lanes < SPMM_BLOCK && lanes < WARP)
        lanes *= 2;
    return lanes;
}

/* Rows of a chunk; the last one may go on in the next chunk. */
static __device__ __forceinline__ int own_chunk_rows(const int4 &from, const int4 &to)
{
    return to.x - from.x + (to.z >= 0);
}

/*
 * Adds up the products of the chunk from .. to, whose first entry in shared memory is `base`,
 * and stores its rows at c.  row_ptr is A's; begin and end are those of row
 * group.t / own_lanes(rows) of the chunk, 0 behind its last: loaded by the caller, before the
 * products are waited for.  The group has met since the products and the counters of `shared`
 * were written, and meets again before they change.
 */
template <int N, int R, class Group>
static __device__ __forceinline__ void add_chunk(const int *row_ptr, float *c,
                                                 const own_plan &plan, const int4 &from,
                                                 const int4 &to, int base, int begin, int end,
                                                 Shared<N, R> &shared, Group group)
{
    const int rows = own_chunk_rows(from, to), lanes = own_lanes(rows);
    int i = group.t / lanes;
    const auto store = [&](int row, const float (&sum)[N]) {
        if (row == rows - 1 && to.z >= 0)
            store_piece(plan, to.z, to.w, sum, &shared.last[1]);
        else if (row == 0 && from.z >= 0)
            store_piece(plan, from.z + 1, from.w, sum, &shared.last[0]);
        else
            store_row(c + (size_t)(from.x + row) * N, sum);
    };
    for (int first = 0; first < rows; first += SPMM_BLOCK / lanes) {
        float sum[N] = {};
        const int start = max(begin, from.y) - base, stop = min(end, to.y) - base;
        const bool waits = lanes < WARP && stop - start > own_stream_form::STEPS * lanes;
        if (!waits)
            add_products(shared, start + group.t % lanes, stop, lanes, sum);
        sum_group(sum, lanes);
        if (i < rows && group.t % lanes == 0) {
            if (waits)
                shared.waiting[atomicAdd(&shared.rows, 1)] = i;
            else
                store(i, sum);
        }
        i += SPMM_BLOCK / lanes;
        begin = end = 0;
        if (i < rows)
            begin = __ldg(row_ptr + from.x + i), end = __ldg(row_ptr + from.x + i + 1);
    }
    group.sync();
    for (int w = group.t / WARP; w < shared.rows; w += SPMM_BLOCK_WARPS) {
        float sum[N] = {};
        const int row = shared.waiting[w];
        const int start = max(__ldg(row_ptr + from.x + row), from.y) - base;
        const int stop = min(__ldg(row_ptr + from.x + row + 1), to.y) - base;
        add_products(shared, start + group.t % WARP, stop, WARP, sum);
        sum_group(sum, WARP);
        if (group.t % WARP == 0)
            store(row, sum);
    }
    if (from.z < 0 && to.z < 0)
        return;
    group.sync();
    if (shared.last[0])
        add_pieces(c, plan, from.w, shared, group);
    group.sync();
    if (shared.last[1])
        add_pieces(c, plan, to.w, shared, group);
}

#endif
