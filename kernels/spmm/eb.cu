/*
 * eb.cu - C = A B, element balance: a worker owns consecutive entries of A.
 *
 * Follows the published kernels of DA-SpMM (arXiv 2202.08556).  Workers cross
 * rows, so that no row is too long for one; in exchange they add into C with
 * atomics, C is cleared first, and the row of every entry is needed: an array
 * (COO) in the published eight, a search in row_ptr in the _csr forms.
 *
 * W = min(n, 32) columns to a block, V = 4, 2 or 1 of them to a vector load.
 *
 *   eb_sr: worker = NE entries, one column         eb_pr: warp = 32 entries, V columns
 *
 *     entries  0      NE     2NE                     lane  0  1  2  3  4  5 .. 31
 *              |--w0--|--w1--|--w2--| ...            row   4  4  4  7  7  9 ..  9
 *     rows     aaabbbbbbbcdddddddd                   add   |------> |---> |----->
 *              add a, b; add b; add c, d ...         atomic by the first lane of each row
 *
 *     _rm: 256/W workers a block, W columns          _rm: W/V warps share the entries
 *     _cm: 256 workers a block, grid y = column      _cm: V = 1, grid y = column
 */
#include "../common/warp.cuh"
#include "shape.h"
#include "spmm.h"
#include "view.cuh"

/* ---- where the row of an entry comes from ---- */

struct FromCoo {
    __device__ static int first(const spmm_args &a, int, int p)
    {
        return __ldg(a.a.row + p);
    }
    __device__ static int next(const spmm_args &a, int, int p)
    {
        return __ldg(a.a.row + p);
    }
};

struct FromCsr {
    __device__ static int first(const spmm_args &a, int m, int p)
    {
        return row_search(a, m, p);
    }
    __device__ static int next(const spmm_args &a, int row, int p)
    {
        while (row_begin(a, row + 1) <= p) /* more than once where rows are empty */
            row++;
        return row;
    }
};

/* ---- sequential reduction: one thread adds up `count` entries ---- */

template <class Rows, class Index>
static __device__ __forceinline__ void add_chunk(const spmm_args &a, int m, int nnz, size_t chunk,
                                                 int count, const View<Index> &v)
{
    if (chunk * count >= nnz)
        return;
    const int begin = chunk * count, end = count < nnz - begin ? begin + count : nnz;
    int row = Rows::first(a, m, begin);
    float sum = 0;
#pragma unroll 4
    for (int p = begin; p < end; p++) {
        const int r = Rows::next(a, row, p);
        if (r != row) {
            atomicAdd(v.c_at(row), sum);
            sum = 0;
            row = r;
        }
        sum += value_at(a, p) * __ldg(v.b_at(column_at(a, p)));
    }
    atomicAdd(v.c_at(row), sum);
}

template <class Rows, class Index>
static __global__ void eb_seq_row_major(spmm_args a, int m, int n, int nnz, int count)
{
    const size_t chunk = (size_t)blockIdx.x * blockDim.y + threadIdx.y;
    const int j = blockIdx.y * SPMM_TILE + threadIdx.x;
    if (j < n)
        add_chunk<Rows>(a, m, nnz, chunk, count, row_major<Index>(a, n, j));
}

static __global__ __launch_bounds__(SPMM_BLOCK) void eb_seq_column_major(spmm_args a, int m, int k,
                                                                         int nnz, int count)
{
    const size_t chunk = (size_t)blockIdx.x * SPMM_BLOCK + threadIdx.x;
    add_chunk<FromCoo>(a, m, nnz, chunk, count, column_major(a, m, k, blockIdx.y));
}

/* ---- parallel reduction: the lanes of a warp add up 32 entries ---- */

/* Adds x of all lanes to the elements (row, 0 .. V-1) of v.c, V columns of which
 * `width` exist.  Rows ascend along the lanes. */
template <class Index, int V>
static __device__ __forceinline__ void add_by_row(float (&x)[V], int row, const View<Index> &v,
                                                  int width)
{
    const int lane = threadIdx.x % WARP;
    bool adds = lane == 0;
    if (__shfl_sync(ALL_LANES, row, 0) == __shfl_sync(ALL_LANES, row, WARP - 1)) {
#pragma unroll
        for (int i = 0; i < V; i++)
            x[i] = warp_sum(x[i]);
    } else {
#pragma unroll
        for (int d = 1; d < WARP; d *= 2) {
            const int other = __shfl_down_sync(ALL_LANES, row, d);
            const bool same = other == row && lane < WARP - d;
#pragma unroll
            for (int i = 0; i < V; i++) {
                const float y = __shfl_down_sync(ALL_LANES, x[i], d);
                x[i] += same ? y : 0;
            }
        }
        adds |= __shfl_up_sync(ALL_LANES, row, 1) != row;
    }
    if (!adds)
        return;
#pragma unroll
    for (int i = 0; i < V; i++)
        if (i < width)
            atomicAdd(v.c_at(row) + i, x[i]);
}

/* Takes 32 entries from p0 on; lanes past the last one stay in step with 0. */
template <class Rows, int V, class Index>
static __device__ __forceinline__ void add_entries(const spmm_args &a, int m, int nnz, int p0,
                                                   const View<Index> &v, bool whole, int width)
{
    const int p = p0 + threadIdx.x % WARP;
    int row = m - 1;
    float x[V] = {};
    if (p < nnz) {
        const float value = value_at(a, p);
        const float *b = v.b_at(column_at(a, p));
        row = Rows::first(a, m, p);
        if (whole) {
            load_floats(b, x);
        } else {
#pragma unroll
            for (int i = 0; i < V; i++)
                x[i] = i < width ? __ldg(b + i) : 0;
        }
#pragma unroll
        for (int i = 0; i < V; i++)
            x[i] *= value;
    }
    add_by_row(x, row, v, width);
}

/* Library: the last group of columns is loaded one by one, even where it is full. */
template <class Rows, class Index, int V, bool Library>
static __global__ __launch_bounds__(SPMM_BLOCK) void eb_par_row_major(spmm_args a, int m, int n,
                                                                      int nnz, int groups)
{
    const unsigned warp = blockIdx.x * SPMM_BLOCK_WARPS + threadIdx.x / WARP;
    const unsigned workers = gridDim.x * SPMM_BLOCK_WARPS / groups;
    const int j = blockIdx.y * SPMM_TILE + warp % groups * V;
    if (Library && (warp / groups >= workers || j >= n))
        return;
    const bool whole = !Library || j + V < n;
    const View v = row_major<Index>(a, n, j);
    /* no overflow: workers * 32 exceeds nnz by less than a block's share */
    for (unsigned p0 = warp / groups * WARP; p0 < (unsigned)nnz; p0 += workers * WARP)
        add_entries<Rows, V>(a, m, nnz, p0, v, whole, Library ? n - j : V);
}

static __global__ __launch_bounds__(SPMM_BLOCK) void eb_par_column_major(spmm_args a, int m, int k,
                                                                         int nnz)
{
    const size_t warp = (size_t)blockIdx.x * SPMM_BLOCK_WARPS + threadIdx.x / WARP;
    if (warp * WARP < nnz)
        add_entries<FromCoo, 1>(a, m, nnz, warp * WARP, column_major(a, m, k, blockIdx.y), true, 1);
}

/* ---- launchers ---- */

/* blocks along the entries, each worker count entries. */
template <class Rows>
static enum op_status launch_seq(const struct spmm_problem *p, const struct spmm_args *a,
                                 long blocks, long count, op_stream s)
{
    const int width = spmm_width(p->n);
    const dim3 grid(blocks, spmm_tiles(p->n)), block(width, SPMM_BLOCK / width);
    const enum op_status status = clear_c(p, a, s);
    if (status)
        return status;
    return launch_indexed(p, [&](auto zero) {
        eb_seq_row_major<Rows, decltype(zero)><<<grid, block, 0, s>>>(*a, p->m, p->n, p->nnz, count);
    });
}

template <class Rows, bool Library>
static enum op_status launch_par(const struct spmm_problem *p, const struct spmm_args *a,
                                 long blocks, op_stream s)
{
    const int groups = spmm_width(p->n) / spmm_vector(p->n);
    const dim3 grid(blocks, spmm_tiles(p->n));
    const enum op_status status = clear_c(p, a, s);
    if (status)
        return status;
    return launch_indexed(p, [&](auto zero) {
        typedef decltype(zero) Index;
        const int m = p->m, n = p->n;
        const int nnz = p->nnz;
        switch (spmm_vector(n)) {
        case 4:
            eb_par_row_major<Rows, Index, 4, Library><<<grid, SPMM_BLOCK, 0, s>>>(*a, m, n, nnz, groups);
            break;
        case 2:
            eb_par_row_major<Rows, Index, 2, Library><<<grid, SPMM_BLOCK, 0, s>>>(*a, m, n, nnz, groups);
            break;
        default:
            eb_par_row_major<Rows, Index, 1, Library><<<grid, SPMM_BLOCK, 0, s>>>(*a, m, n, nnz, groups);
            break;
        }
    });
}

static enum op_status launch_par_cm(const struct spmm_problem *p, const struct spmm_args *a,
                                    long blocks, op_stream s)
{
    const dim3 grid(blocks, p->n);
    const enum op_status status = clear_c(p, a, s);
    if (status || !blocks)
        return status;
    eb_par_column_major<<<grid, SPMM_BLOCK, 0, s>>>(*a, p->m, p->k, p->nnz);
    return launched();
}

OP_BEGIN
spmm_run_fn spmm_eb_sr_rm, spmm_eb_pr_rm, spmm_eb_sr_cm, spmm_eb_pr_cm, spmm_eb_pr_cm_mended;
spmm_run_fn spmm_eb_sr_rm_csr, spmm_eb_pr_rm_csr;

/* As many workers as rows, rounded up to a block: about the mean row length each. */
enum op_status spmm_eb_sr_rm(const struct spmm_problem *p, const struct spmm_args *a, void *,
                             op_stream s)
{
    const long per_block = SPMM_BLOCK / spmm_width(p->n);
    const long blocks = spmm_div_up(p->m, per_block);
    return launch_seq<FromCoo>(p, a, blocks, spmm_div_up(p->nnz, blocks * per_block), s);
}

enum op_status spmm_eb_pr_rm(const struct spmm_problem *p, const struct spmm_args *a, void *,
                             op_stream s)
{
    return launch_par<FromCoo, false>(p, a, spmm_warp_blocks(p), s);
}

/* With one column the layouts are the same and so are the published kernels. */
enum op_status spmm_eb_sr_cm(const struct spmm_problem *p, const struct spmm_args *a, void *state,
                             op_stream s)
{
    if (p->n == 1)
        return spmm_eb_sr_rm(p, a, state, s);
    const long blocks = spmm_div_up(p->m, SPMM_BLOCK);
    const dim3 grid(blocks, p->n);
    const enum op_status status = clear_c(p, a, s);
    if (status)
        return status;
    eb_seq_column_major<<<grid, SPMM_BLOCK, 0, s>>>(*a, p->m, p->k, p->nnz,
                                                 spmm_div_up(p->nnz, blocks * SPMM_BLOCK));
    return launched();
}

/* As published: the grid counts entries per block as if a warp took one, so that
 * 31 of 32 blocks find nothing to do. */
enum op_status spmm_eb_pr_cm(const struct spmm_problem *p, const struct spmm_args *a, void *state,
                             op_stream s)
{
    if (p->n == 1)
        return spmm_eb_pr_rm(p, a, state, s);
    return launch_par_cm(p, a, spmm_div_up(p->nnz, SPMM_BLOCK_WARPS), s);
}

enum op_status spmm_eb_pr_cm_mended(const struct spmm_problem *p, const struct spmm_args *a, void *,
                                    op_stream s)
{
    return launch_par_cm(p, a, spmm_div_up(p->nnz, SPMM_BLOCK), s);
}

/* Chunks of nnz / (32 m) entries, as the library; chunks past the last entry are
 * not launched. */
enum op_status spmm_eb_sr_rm_csr(const struct spmm_problem *p, const struct spmm_args *a, void *,
                                 op_stream s)
{
    const long per_block = SPMM_BLOCK / spmm_width(p->n);
    const long count = p->nnz ? spmm_div_up(p->nnz, 32L * p->m) : 1;
    const long blocks = spmm_div_up(spmm_div_up(p->nnz, count), per_block);
    return launch_seq<FromCsr>(p, a, blocks ? blocks : 1, count, s);
}

/* m warps per group of columns, fewer where there are fewer entries. */
enum op_status spmm_eb_pr_rm_csr(const struct spmm_problem *p, const struct spmm_args *a, void *,
                                 op_stream s)
{
    const long groups = spmm_width(p->n) / spmm_vector(p->n);
    const long warps = spmm_least(spmm_div_up(p->nnz, WARP), p->m) * groups;
    const long blocks = spmm_div_up(warps, SPMM_BLOCK_WARPS);
    return launch_par<FromCsr, true>(p, a, blocks ? blocks : 1, s);
}
OP_END
