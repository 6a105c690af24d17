/*
 * rb.cu - C = A B, row balance: a worker owns a row of A.
 *
 * Follows the published kernels of DA-SpMM (arXiv 2202.08556).  Bound by the
 * reading of B: every entry gathers a row of it (row-major) or n scattered
 * elements (column-major).  A row much longer than the others is one worker's
 * alone, which is the weakness of row balance.
 *
 * W = min(n, 32) columns to a block, V = 4, 2 or 1 of them to a vector load.
 *
 *   rb_sr_rm  thread = (row, column)            rb_sr_cm  thread = row
 *
 *     block     x 0 .. W-1  columns, neighbours     block    x  256 rows
 *               y 256/W rows                        grid y   column
 *     grid y    tile of 32 columns
 *
 *   rb_pr_rm  warp = (row, V columns)           rb_pr_cm  warp = row
 *
 *     warp      0  1 .. W/V-1 | W/V ..  of the      warp     8 rows a block
 *     group     0  1 .. W/V-1 | 0 ..    x grid      grid y   column
 *     row       0             | 1
 *     lane      entries l, l+32, ...; a tree adds the lanes, lane 0 stores
 *
 * rb_sr_rm_any and rb_pr_rm_any are the library's forms for any n: the last
 * tile is checked against n, and the last group of columns is loaded one by
 * one, even where it is full.
 */
#include "../common/warp.cuh"
#include "shape.h"
#include "spmm.h"
#include "view.cuh"

/* ---- sequential reduction: one thread adds up a row ---- */

template <class Index>
static __device__ __forceinline__ float row_sum(const spmm_args &a, unsigned row,
                                                const View<Index> &v)
{
    const int end = row_begin(a, row + 1);
    float sum = 0;
    /* Left alone the compiler unrolls 16 times and lets each addition wait for
     * its load; by 8 it issues the loads first (1.2 to 1.4 times as fast on sm_90). */
#pragma unroll 8
    for (int p = row_begin(a, row); p < end; p++)
        sum += value_at(a, p) * __ldg(v.b_at(column_at(a, p)));
    return sum;
}

/* Any: n is no multiple of the tile. */
template <class Index, bool Any>
static __global__ __launch_bounds__(SPMM_BLOCK) void rb_seq_row_major(spmm_args a, int m, int n)
{
    const unsigned row = blockIdx.x * blockDim.y + threadIdx.y;
    const int j = blockIdx.y * SPMM_TILE + threadIdx.x;
    if (row >= m || (Any && j >= n))
        return;
    const View v = row_major<Index>(a, n, j);
    *v.c_at(row) = row_sum(a, row, v);
}

static __global__ __launch_bounds__(SPMM_BLOCK) void rb_seq_column_major(spmm_args a, int m, int k)
{
    const unsigned row = blockIdx.x * SPMM_BLOCK + threadIdx.x;
    if (row >= m)
        return;
    const View v = column_major(a, m, k, blockIdx.y);
    *v.c_at(row) = row_sum(a, row, v);
}

/* ---- parallel reduction: the lanes of a warp add up a row ---- */

/* Sums of V columns, in lane 0; whole: one vector load takes all V, otherwise
 * the first `width` are loaded one by one. */
template <class Index, int V>
static __device__ __forceinline__ void row_sums(const spmm_args &a, unsigned row,
                                                const View<Index> &v, bool whole, int width,
                                                float (&sum)[V])
{
    const int lane = threadIdx.x % WARP, end = row_begin(a, row + 1);
#pragma unroll
    for (int i = 0; i < V; i++)
        sum[i] = 0;
    for (int p = row_begin(a, row) + lane; p < end; p += WARP) {
        const float value = value_at(a, p);
        const float *b = v.b_at(column_at(a, p));
        float x[V];
        if (whole) {
            load_floats(b, x);
        } else {
#pragma unroll
            for (int i = 0; i < V; i++)
                x[i] = i < width ? __ldg(b + i) : 0;
        }
#pragma unroll
        for (int i = 0; i < V; i++)
            sum[i] += value * x[i];
    }
#pragma unroll
    for (int i = 0; i < V; i++)
        sum[i] = warp_sum(sum[i]);
}

/* Warps take rows in turn: `workers` rows at a time, `groups` warps to a row. */
template <class Index, int V, bool Any>
static __global__ void rb_par_row_major(spmm_args a, int m, int n, int groups)
{
    const unsigned warp = blockIdx.x * SPMM_BLOCK_WARPS + threadIdx.x / WARP;
    const unsigned workers = gridDim.x * SPMM_BLOCK_WARPS / groups;
    const int j = blockIdx.y * SPMM_TILE + warp % groups * V;
    if (Any && (warp / groups >= workers || j >= n))
        return;
    const bool whole = !Any || j + V < n;
    const View v = row_major<Index>(a, n, j);
    for (unsigned row = warp / groups; row < m; row += workers) {
        float sum[V];
        row_sums(a, row, v, whole, n - j, sum);
        if (threadIdx.x % WARP)
            continue;
        float *c = v.c_at(row);
        if (whole) {
            store_floats(c, sum);
        } else {
            for (int i = 0; i < V; i++)
                if (i < n - j)
                    c[i] = sum[i];
        }
    }
}

static __global__ __launch_bounds__(SPMM_BLOCK) void rb_par_column_major(spmm_args a, int m, int k)
{
    const unsigned row = blockIdx.x * SPMM_BLOCK_WARPS + threadIdx.x / WARP;
    if (row >= m)
        return;
    const View v = column_major(a, m, k, blockIdx.y);
    float sum[1];
    row_sums(a, row, v, true, 1, sum);
    if (threadIdx.x % WARP == 0)
        *v.c_at(row) = sum[0];
}

/* ---- launchers ---- */

template <bool Any>
static enum op_status launch_seq(const struct spmm_problem *p, const struct spmm_args *a,
                                 op_stream s)
{
    const int width = spmm_width(p->n), rows = SPMM_BLOCK / width;
    const dim3 grid(spmm_div_up(p->m, rows), spmm_tiles(p->n)), block(width, rows);
    return launch_indexed(p, [&](auto zero) {
        rb_seq_row_major<decltype(zero), Any><<<grid, block, 0, s>>>(*a, p->m, p->n);
    });
}

template <bool Any>
static enum op_status launch_par(const struct spmm_problem *p, const struct spmm_args *a,
                                 long blocks, op_stream s)
{
    const int groups = spmm_width(p->n) / spmm_vector(p->n);
    const dim3 grid(blocks, spmm_tiles(p->n));
    return launch_indexed(p, [&](auto zero) {
        typedef decltype(zero) Index;
        const int m = p->m, n = p->n;
        switch (spmm_vector(n)) {
        case 4: rb_par_row_major<Index, 4, Any><<<grid, SPMM_BLOCK, 0, s>>>(*a, m, n, groups); break;
        case 2: rb_par_row_major<Index, 2, Any><<<grid, SPMM_BLOCK, 0, s>>>(*a, m, n, groups); break;
        default: rb_par_row_major<Index, 1, Any><<<grid, SPMM_BLOCK, 0, s>>>(*a, m, n, groups); break;
        }
    });
}

OP_BEGIN
spmm_run_fn spmm_rb_sr_rm, spmm_rb_pr_rm, spmm_rb_sr_cm, spmm_rb_pr_cm;
spmm_run_fn spmm_rb_sr_rm_any, spmm_rb_pr_rm_any;

enum op_status spmm_rb_sr_rm(const struct spmm_problem *p, const struct spmm_args *a, void *,
                             op_stream s)
{
    return launch_seq<false>(p, a, s);
}

enum op_status spmm_rb_sr_rm_any(const struct spmm_problem *p, const struct spmm_args *a, void *,
                                 op_stream s)
{
    return launch_seq<true>(p, a, s);
}

enum op_status spmm_rb_pr_rm(const struct spmm_problem *p, const struct spmm_args *a, void *,
                             op_stream s)
{
    return launch_par<false>(p, a, spmm_warp_blocks(p), s);
}

/* A warp for every row and group, whatever the number of entries. */
enum op_status spmm_rb_pr_rm_any(const struct spmm_problem *p, const struct spmm_args *a, void *,
                                 op_stream s)
{
    const long groups = spmm_width(p->n) / spmm_vector(p->n);
    const long rows = spmm_least(p->m, 1 << 24); /* the rest in further turns */
    return launch_par<true>(p, a, spmm_div_up(rows * groups, SPMM_BLOCK_WARPS), s);
}

/* With one column the layouts are the same and so are the published kernels. */
enum op_status spmm_rb_sr_cm(const struct spmm_problem *p, const struct spmm_args *a, void *state,
                             op_stream s)
{
    if (p->n == 1)
        return spmm_rb_sr_rm(p, a, state, s);
    const dim3 grid(spmm_div_up(p->m, SPMM_BLOCK), p->n);
    rb_seq_column_major<<<grid, SPMM_BLOCK, 0, s>>>(*a, p->m, p->k);
    return launched();
}

enum op_status spmm_rb_pr_cm(const struct spmm_problem *p, const struct spmm_args *a, void *state,
                             op_stream s)
{
    if (p->n == 1)
        return spmm_rb_pr_rm(p, a, state, s);
    const dim3 grid(spmm_div_up(p->m, SPMM_BLOCK_WARPS), p->n);
    rb_par_column_major<<<grid, SPMM_BLOCK, 0, s>>>(*a, p->m, p->k);
    return launched();
}
OP_END
