/*
 * rc.cu - C = A B for wide B: entries of A staged in shared memory.
 *
 * Row caching of GE-SpMM (SC 2020) as the dgSPARSE library uses it for more
 * than 32 columns.  A warp makes 32 CF columns of C; CF = 1, 2, 4 columns per
 * lane for n below 128, below 512, and above.
 *
 *   lane         0   1  ..  31          stage: one entry a lane, coalesced
 *   shared     [col|val|row] x 32
 *                \   |   /              32 steps: every lane reads the same entry,
 *   lane l     columns l, l+32, ..      a broadcast, and its own columns of B
 *
 *   rb_sr_rm_rc  warp = row; 32 entries at a time; a last bucket that is not full
 *                is filled with value 0 and column 0 and costs 32 steps all the same
 *   eb_sr_rm_rc  warp = 32 entries, row of each by a search in row_ptr; an atomic
 *                where the row changes and at the end; C is cleared first
 *
 * Bound by the gathering of B; staging saves the two broadcast loads a step.
 * The last tile of columns is always checked against n, even where it is full.
 */
#include "../common/warp.cuh"
#include "shape.h"
#include "spmm.h"
#include "view.cuh"

/* Where a lane's columns lie, and which of them exist. */
template <int CF> struct Lanes {
    int j;
    bool exists[CF];
};

template <int CF> static __device__ __forceinline__ Lanes<CF> lanes_of(int n)
{
    Lanes<CF> l;
    l.j = blockIdx.y * (WARP * CF) + threadIdx.x % WARP;
#pragma unroll
    for (int i = 0; i < CF; i++)
        l.exists[i] = l.j + WARP * i < n;
    return l;
}

template <int CF, bool Check>
static __device__ __forceinline__ void fma_columns(const Lanes<CF> &l, float value, const float *b,
                                                   float (&sum)[CF])
{
#pragma unroll
    for (int i = 0; i < CF; i++)
        if (!Check || l.exists[i])
            sum[i] += value * __ldg(b + WARP * i);
}

/* ---- row balance ---- */

template <class Index, int CF, bool Check>
static __device__ __forceinline__ void row_tile(const spmm_args &a, unsigned row, int n, int *col,
                                                float *val)
{
    const int lane = threadIdx.x % WARP, end = row_begin(a, row + 1);
    const Lanes<CF> l = lanes_of<CF>(n);
    const View v = row_major<Index>(a, n, l.j);
    float sum[CF] = {};
    for (int p = row_begin(a, row); p < end; p += WARP) {
        __syncwarp(); /* the bucket before has been read */
        col[lane] = p + lane < end ? column_at(a, p + lane) : 0;
        val[lane] = p + lane < end ? value_at(a, p + lane) : 0;
        __syncwarp();
#pragma unroll
        for (int t = 0; t < WARP; t++)
            fma_columns<CF, Check>(l, val[t], v.b_at(col[t]), sum);
    }
#pragma unroll
    for (int i = 0; i < CF; i++)
        if (!Check || l.exists[i])
            v.c_at(row)[WARP * i] = sum[i];
}

template <class Index, int CF>
static __global__ __launch_bounds__(SPMM_BLOCK) void row_caching(spmm_args a, int m, int n)
{
    __shared__ int col[SPMM_BLOCK];
    __shared__ float val[SPMM_BLOCK];
    const int first = threadIdx.x / WARP * WARP;
    const unsigned row = blockIdx.x * SPMM_BLOCK_WARPS + threadIdx.x / WARP;
    if (row >= m)
        return;
    if (blockIdx.y == gridDim.y - 1)
        row_tile<Index, CF, true>(a, row, n, col + first, val + first);
    else
        row_tile<Index, CF, false>(a, row, n, col + first, val + first);
}

/* ---- element balance ---- */

template <int CF, bool Check>
static __device__ __forceinline__ void add_columns(const Lanes<CF> &l, float *c, float (&sum)[CF])
{
#pragma unroll
    for (int i = 0; i < CF; i++) {
        if (!Check || l.exists[i])
            atomicAdd(c + WARP * i, sum[i]);
        sum[i] = 0;
    }
}

template <class Index, int CF, bool Check>
static __device__ __forceinline__ void entry_tile(const spmm_args &a, int n, const int *row,
                                                  const int *col, const float *val)
{
    const Lanes<CF> l = lanes_of<CF>(n);
    const View v = row_major<Index>(a, n, l.j);
    float sum[CF] = {};
    int current = row[0];
#pragma unroll
    for (int t = 0; t < WARP; t++) {
        if (row[t] != current) {
            add_columns<CF, Check>(l, v.c_at(current), sum);
            current = row[t];
        }
        fma_columns<CF, Check>(l, val[t], v.b_at(col[t]), sum);
    }
    add_columns<CF, Check>(l, v.c_at(current), sum);
}

template <class Index, int CF>
static __global__ __launch_bounds__(SPMM_BLOCK) void entry_caching(spmm_args a, int m, int n,
                                                                   int nnz)
{
    __shared__ int row[SPMM_BLOCK], col[SPMM_BLOCK];
    __shared__ float val[SPMM_BLOCK];
    const int own = threadIdx.x, first = own / WARP * WARP;
    const unsigned p = blockIdx.x * SPMM_BLOCK + own;
    if (p - own % WARP >= (unsigned)nnz)
        return;
    const bool inside = p < (unsigned)nnz;
    row[own] = inside ? row_search(a, m, p) : m - 1;
    col[own] = inside ? column_at(a, p) : 0;
    val[own] = inside ? value_at(a, p) : 0;
    __syncwarp();
    if (blockIdx.y == gridDim.y - 1)
        entry_tile<Index, CF, true>(a, n, row + first, col + first, val + first);
    else
        entry_tile<Index, CF, false>(a, n, row + first, col + first, val + first);
}

/* ---- launchers ---- */

template <int CF>
static enum op_status launch_rows(const struct spmm_problem *p, const struct spmm_args *a,
                                  op_stream s)
{
    const dim3 grid(spmm_div_up(p->m, SPMM_BLOCK_WARPS), spmm_div_up(p->n, WARP * CF));
    return launch_indexed(p, [&](auto zero) {
        row_caching<decltype(zero), CF><<<grid, SPMM_BLOCK, 0, s>>>(*a, p->m, p->n);
    });
}

template <int CF>
static enum op_status launch_entries(const struct spmm_problem *p, const struct spmm_args *a,
                                     op_stream s)
{
    const dim3 grid(spmm_div_up(p->nnz, SPMM_BLOCK), spmm_div_up(p->n, WARP * CF));
    const enum op_status status = clear_c(p, a, s);
    if (status || !p->nnz)
        return status;
    return launch_indexed(p, [&](auto zero) {
        entry_caching<decltype(zero), CF><<<grid, SPMM_BLOCK, 0, s>>>(*a, p->m, p->n, p->nnz);
    });
}

OP_BEGIN
spmm_run_fn spmm_rb_sr_rm_rc, spmm_eb_sr_rm_rc;

enum op_status spmm_rb_sr_rm_rc(const struct spmm_problem *p, const struct spmm_args *a, void *,
                                op_stream s)
{
    return p->n < 128   ? launch_rows<1>(p, a, s)
           : p->n < 512 ? launch_rows<2>(p, a, s)
                        : launch_rows<4>(p, a, s);
}

enum op_status spmm_eb_sr_rm_rc(const struct spmm_problem *p, const struct spmm_args *a, void *,
                                op_stream s)
{
    return p->n < 128   ? launch_entries<1>(p, a, s)
           : p->n < 512 ? launch_entries<2>(p, a, s)
                        : launch_entries<4>(p, a, s);
}
OP_END
