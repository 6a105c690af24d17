/*
 * ref_f64.cu - C = A B in double precision on the GPU: decides what is correct.
 *
 * The definition, summed in an order that a matrix with one endless row does
 * not make slow.  W columns to a warp, W a power of two, 32 at most:
 *
 *   lane    0 .. W-1 | W .. 2W-1 | ...      column  lane mod W
 *   entry   p        | p + 1     | ...      then a tree over the lanes of a column
 *
 * A block has eight rows.  Each warp takes one; rows of more than LONG entries
 * are then taken by all eight warps together, one row after another.
 */
#include <cuda_fp16.h>

#include "../common/warp.cuh"
#include "bound.h"
#include "shape.h"
#include "spmm.h"

constexpr int WARPS = 8;
constexpr int LONG = 1024;
constexpr int BLOCKS = 4; /* on a multiprocessor: without it ptxas wants 8 and spills on sm_80 */

/* Sum of products and of their absolute values. */
struct Sums {
    double want, magnitude;
};

static __device__ double load(const float *x, size_t i)
{
    return __ldg(x + i);
}

static __device__ double load(const half *x, size_t i)
{
    return __half2float(__ldg(x + i));
}

/* Entries first, first + step, ... below end, for the column of b. */
template <class T>
static __device__ Sums sum_entries(const spmm_matrix &a, const T *b, int n, long first, long end,
                                   long step)
{
    Sums s = { 0, 0 };
#pragma unroll 4
    for (long p = first; p < end; p += step) {
        const double product = load((const T *)a.val, p) * load(b, (size_t)__ldg(a.col + p) * n);
        s.want += product;
        s.magnitude += fabs(product);
    }
    return s;
}

/* Adds the lanes that have the same column; all of them get the sum. */
static __device__ Sums sum_lanes(Sums s, int width)
{
    for (int d = width; d < WARP; d *= 2) {
        s.want += __shfl_xor_sync(ALL_LANES, s.want, d);
        s.magnitude += __shfl_xor_sync(ALL_LANES, s.magnitude, d);
    }
    return s;
}

template <class T>
static __global__ __launch_bounds__(WARPS *WARP, BLOCKS) void reference(
    spmm_matrix a, const T *b, int m, int n, int width, spmm_dtype dtype, double *want, float *bound)
{
    __shared__ Sums part[WARPS][WARP];
    const int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
    const int j = blockIdx.y * WARP + lane % width, entry = lane / width, entries = WARP / width;
    const bool exists = j < n, writes = exists && lane < width;
    const long row0 = (long)blockIdx.x * WARPS;
    const T *column = b + (exists ? j : 0); /* lanes without a column stay in step */
    const auto store = [&](long row, long length, Sums s) {
        want[row * n + j] = s.want;
        bound[row * n + j] = spmm_bound(dtype, (double)length, s.want, s.magnitude);
    };

    if (row0 + warp < m) {
        const long row = row0 + warp, begin = a.row_ptr[row], end = a.row_ptr[row + 1];
        if (end - begin <= LONG) {
            const Sums s = sum_lanes(sum_entries(a, column, n, begin + entry, end, entries), width);
            if (writes)
                store(row, end - begin, s);
        }
    }
    for (long row = row0; row < row0 + WARPS && row < m; row++) {
        const long begin = a.row_ptr[row], end = a.row_ptr[row + 1];
        if (end - begin <= LONG)
            continue;
        part[warp][lane] = sum_lanes(sum_entries(a, column, n, begin + warp * entries + entry, end,
                                                 (long)WARPS * entries), width);
        __syncthreads();
        if (warp == 0 && writes) {
            Sums s = part[0][lane];
            for (int w = 1; w < WARPS; w++) {
                s.want += part[w][lane].want;
                s.magnitude += part[w][lane].magnitude;
            }
            store(row, end - begin, s);
        }
        __syncthreads();
    }
}

template <class T>
static void launch(const struct spmm_problem *p, const struct spmm_matrix *a, const void *b,
                   double *want, float *bound, op_stream s)
{
    const dim3 grid(spmm_div_up(p->m, WARPS), spmm_tiles(p->n));
    int width = 1;
    while (width < p->n && width < WARP)
        width *= 2;
    reference<<<grid, WARPS * WARP, 0, s>>>(*a, (const T *)b, p->m, p->n, width, p->dtype,
                                                want, bound);
}

OP_BEGIN
enum op_status spmm_ref_cuda(const struct spmm_problem *p, const struct spmm_matrix *a,
                             const void *b, double *want, float *bound, op_stream s)
{
    if (p->m < 1 || p->k < 1 || p->n < 1 || p->nnz < 0)
        return OP_EINVAL;
    if (p->n > SPMM_TILED_MAX)
        return OP_EUNSUPPORTED;
    if (p->dtype == SPMM_F16)
        launch<half>(p, a, b, want, bound, s);
    else
        launch<float>(p, a, b, want, bound, s);
    return cudaGetLastError() == cudaSuccess ? OP_OK : OP_EDEVICE;
}
OP_END
