/*
 * ref_f64.cu - Y = A X in double precision on the GPU, for the reference of a step.
 *
 * A warp makes 32 columns of a row, entry after entry: the definition, with the
 * entries four at a time so that their loads overlap.  All other steps of the
 * reference are those of elementwise.cu in double.
 */
#include "gnn.h"

constexpr int WARPS = 8;

static __global__ __launch_bounds__(WARPS * 32) void aggregate(struct gnn_graph a, int nodes,
                                                               int width,
                                                               const double *__restrict__ x,
                                                               double *__restrict__ y)
{
    const int row = blockIdx.x * WARPS + threadIdx.x / 32;
    const int j = blockIdx.y * 32 + threadIdx.x % 32;
    if (row >= nodes || j >= width)
        return;
    double sum = 0;
#pragma unroll 4
    for (int e = a.row_ptr[row]; e < a.row_ptr[row + 1]; e++)
        sum += (double)__ldg(a.val + e) * __ldg(x + (size_t)__ldg(a.col + e) * width + j);
    y[(size_t)row * width + j] = sum;
}

static __global__ void widen(size_t n, const float *from, double *to)
{
    for (size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x; i < n;
         i += (size_t)gridDim.x * blockDim.x)
        to[i] = from[i];
}

static enum op_status launched(void)
{
    return cudaGetLastError() == cudaSuccess ? OP_OK : OP_EDEVICE;
}

OP_BEGIN
enum op_status gnn_cuda_aggregate_f64(int nodes, const struct gnn_graph *a, int width,
                                      const double *x, double *y, op_stream s)
{
    const dim3 grid((nodes + WARPS - 1) / WARPS, (width + 31) / 32);
    aggregate<<<grid, WARPS * 32, 0, s>>>(*a, nodes, width, x, y);
    return launched();
}

enum op_status gnn_cuda_widen(size_t n, const float *from, double *to, op_stream s)
{
    widen<<<1024, 256, 0, s>>>(n, from, to);
    return launched();
}
OP_END
