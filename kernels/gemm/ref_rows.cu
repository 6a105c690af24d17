/*
 * ref_rows.cu - chosen rows of Y = X W^T in double precision on the GPU.
 *
 * A warp makes one output channel for ROWS rows: its lanes walk k together, so
 * that W is read once per ROWS rows, and a tree adds the lanes.
 */
#include <cuda_fp16.h>

#include "../common/bound.h"
#include "../common/warp.cuh"
#include "gemm.h"

constexpr int WARPS = 8;
constexpr int ROWS = 4;

static __global__ __launch_bounds__(WARPS *WARP) void reference(const half *x, const half *w, int n,
                                                                int k, const int *row, int rows,
                                                                double *want, float *bound)
{
    const long j = (long)blockIdx.x * WARPS + threadIdx.x / WARP;
    const int lane = threadIdx.x % WARP, first = blockIdx.y * ROWS;
    const half *x_row[ROWS];
    double sum[ROWS] = {}, magnitude[ROWS] = {};
    if (j >= n)
        return;
#pragma unroll
    for (int i = 0; i < ROWS; i++) /* the last row again where there are no more */
        x_row[i] = x + (size_t)row[min(first + i, rows - 1)] * k;
    for (int p = lane; p < k; p += WARP) {
        const double weight = __half2float(w[(size_t)j * k + p]);
#pragma unroll
        for (int i = 0; i < ROWS; i++) {
            const double product = weight * __half2float(x_row[i][p]);
            sum[i] += product;
            magnitude[i] += fabs(product);
        }
    }
#pragma unroll
    for (int i = 0; i < ROWS; i++) {
        const double s = warp_sum(sum[i]), m = warp_sum(magnitude[i]);
        const size_t at = (size_t)(first + i) * n + j;
        if (lane == 0 && first + i < rows) {
            want[at] = s;
            bound[at] = bound_of_sum(1, k, s, m);
        }
    }
}

OP_BEGIN
enum op_status gemm_ref_rows_cuda(const struct gemm_problem *p, const void *x, const void *w,
                                  const int *row, int rows, double *want, float *bound,
                                  op_stream s)
{
    const dim3 grid((p->n + WARPS - 1) / WARPS, (rows + ROWS - 1) / ROWS);
    if (p->m < 1 || p->n < 1 || p->k < 1 || rows < 0)
        return OP_EINVAL;
    if (grid.y > 65535)
        return OP_EUNSUPPORTED;
    if (!rows)
        return OP_OK;
    reference<<<grid, WARPS * WARP, 0, s>>>((const half *)x, (const half *)w, p->n, p->k, row, rows,
                                            want, bound);
    return cudaGetLastError() == cudaSuccess ? OP_OK : OP_EDEVICE;
}
OP_END
