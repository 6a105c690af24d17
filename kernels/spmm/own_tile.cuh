/*
 * own_tile.cuh - what the own row and merge kernels share: a group of lanes that
 * makes a tile of columns from entries of A.
 *
 * A lane takes V neighbouring columns by one load, Q times, L lanes make a tile;
 * E such teams take different entries.  T = L E lanes are a group, a power of two.
 *
 *   lane of the group    0     1    ..  L-1 |  L   ..                 T-1
 *   columns, q = 0       0..   V..      ..  |  0..                         V each
 *            q = 1       LV..               |
 *   entries              0, E, 2E, ..       |  1, E+1, ..                  E-1, ..
 *
 * A batch is STEPS entries a team: every lane loads W = STEPS / L of them,
 * neighbours beside each other, and hands them round by shuffles.  U loads of B
 * are started before the first is used.
 */
#ifndef KERNELS_SPMM_OWN_TILE_CUH
#define KERNELS_SPMM_OWN_TILE_CUH

#include "../common/warp.cuh"
#include "shape.h"
#include "spmm.h"

static constexpr __host__ __device__ int own_more(int a, int b)
{
    return a > b ? a : b;
}

/* Where a lane's columns of B and C lie.  A lane whose columns do not exist reads
 * those of the first lane, and stores nothing; with Q > 1 all exist. */
template <int V, int Q, int L> struct Columns {
    const char *b;
    unsigned stride; /* of a row of B, bytes */
    int j, n;
    bool exist;

    __device__ __forceinline__ Columns(const spmm_args &a, int n_, int l)
        : stride(n_ * 4u), j(blockIdx.y * (L * V * Q) + l * V), n(n_), exist(j < n_)
    {
        b = (const char *)((const float *)a.b + (exist ? j : 0));
    }

    /* One multiply-add makes the address: 32 by 32 bits onto 64. */
    __device__ __forceinline__ void load(int col, float (&x)[Q][V]) const
    {
        const float *row = (const float *)(b + (size_t)(unsigned)col * stride);
#pragma unroll
        for (int q = 0; q < Q; q++)
            load_floats(row + q * L * V, x[q]);
    }

    /* C is not read again here: it shall not displace B. */
    __device__ __forceinline__ void store(float *row, const float (&sum)[Q][V]) const
    {
        if (!exist)
            return;
#pragma unroll
        for (int q = 0; q < Q; q++) {
            float *c = row + j + q * L * V;
            if constexpr (V == 4)
                __stcs((float4 *)c, make_float4(sum[q][0], sum[q][1], sum[q][2], sum[q][3]));
            else if constexpr (V == 2)
                __stcs((float2 *)c, make_float2(sum[q][0], sum[q][1]));
            else
                __stcs(c, sum[q][0]);
        }
    }
};

template <int V, int Q> static __device__ __forceinline__ void clear(float (&sum)[Q][V])
{
#pragma unroll
    for (int q = 0; q < Q; q++)
#pragma unroll
        for (int i = 0; i < V; i++)
            sum[q][i] = 0;
}

template <int V, int Q>
static __device__ __forceinline__ void add(float value, const float (&x)[Q][V], float (&sum)[Q][V])
{
#pragma unroll
    for (int q = 0; q < Q; q++)
#pragma unroll
        for (int i = 0; i < V; i++)
            sum[q][i] += value * x[q][i];
}

/* The entries of a batch that a lane holds. */
template <int T, int W> struct Batch {
    int col[W];
    float val[W];

    __device__ __forceinline__ void load(const spmm_args &a, unsigned p, unsigned end, int lane)
    {
#pragma unroll
        for (int w = 0; w < W; w++) {
            const unsigned q = p + w * T + lane;
            col[w] = 0;
            val[w] = 0;
            if (q < end) {
                col[w] = __ldcs(a.a.col + q);
                val[w] = __ldcs((const float *)a.a.val + q);
            }
        }
    }

    /* Entry `step` of team e; all lanes of the warp take part. */
    template <int L> __device__ __forceinline__ int col_of(int step, int e) const
    {
        return L == 1 ? col[step] : __shfl_sync(ALL_LANES, col[step / L], from<L>(step, e), T);
    }

    template <int L> __device__ __forceinline__ float val_of(int step, int e) const
    {
        return L == 1 ? val[step] : __shfl_sync(ALL_LANES, val[step / L], from<L>(step, e), T);
    }

private:
    template <int L> static __device__ __forceinline__ int from(int step, int e)
    {
        return step % L * (T / L) + e;
    }
};

#endif
