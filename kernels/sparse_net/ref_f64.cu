/* ref_f64.cu - see ref_f64.h.  A thread an element. */
#include <cuda_fp16.h>

#include "ref_f64.h"

constexpr int THREADS = 256;

static unsigned blocks_of(size_t count)
{
    return (unsigned)((count + THREADS - 1) / THREADS);
}

static __device__ size_t my_index()
{
    return (size_t)blockIdx.x * THREADS + threadIdx.x;
}

static enum op_status launched()
{
    return cudaGetLastError() == cudaSuccess ? OP_OK : OP_EDEVICE;
}

static __global__ void finish(const double *sum, const float *bias, const half *residual,
                              size_t count, int columns, bool relu, double *y, half *row)
{
    const size_t i = my_index();
    if (i >= count)
        return;
    double v = sum[i] + bias[i % columns];
    if (residual)
        v += __half2float(residual[i]);
    v = relu && v < 0 ? 0 : v;
    if (y)
        y[i] = v;
    else
        row[i] = __float2half_rn((float)v);
}

static __global__ void add_terms(const half *from, int from_step, const double *from_sum, half *to,
                                 int to_step, size_t count, int columns, bool add)
{
    const size_t i = my_index();
    if (i >= count)
        return;
    const size_t row = i / columns, c = i % columns;
    const float term = from_sum ? __half2float(__float2half_rn((float)from_sum[i]))
                                : __half2float(from[row * from_step + c]);
    half *sum = to + row * to_step + c;
    *sum = __float2half_rn(add ? __half2float(*sum) + term : term);
}

static __global__ void mask(half *g, const half *y, size_t count)
{
    const size_t i = my_index();
    if (i < count && !(__half2float(y[i]) > 0))
        g[i] = __float2half_rn(0);
}

static __global__ void transpose(const int32_t *by_out, size_t count, int taps, int32_t *by_in)
{
    const size_t i = my_index();
    const int32_t j = i < count ? by_out[i] : -1;
    if (j >= 0)
        by_in[(size_t)j * taps + i % taps] = (int32_t)(i / taps);
}

/* Sum over the block, for all its threads. */
static __device__ double block_sum(double mine)
{
    __shared__ double part[THREADS];
    part[threadIdx.x] = mine;
    __syncthreads();
    for (int step = THREADS / 2; step; step /= 2) {
        if (threadIdx.x < step)
            part[threadIdx.x] += part[threadIdx.x + step];
        __syncthreads();
    }
    const double sum = part[0];
    __syncthreads();
    return sum;
}

static __device__ double root_mean_square(const double *x, size_t count)
{
    double sum = 0;
    for (size_t i = threadIdx.x; i < count; i += THREADS)
        sum += x[i] * x[i];
    return sqrt(block_sum(sum) / (double)count);
}

/* A block a tap; each sums the layer anew. */
static __global__ void bounds(const double *dw, size_t of_tap, double factor, float *bound)
{
    const size_t first = blockIdx.x * of_tap;
    const double all = root_mean_square(dw, gridDim.x * of_tap);
    const double own = root_mean_square(dw + first, of_tap);
    for (size_t i = threadIdx.x; i < of_tap; i += THREADS)
        bound[first + i] = (float)(factor * (own + all));
}

OP_BEGIN
enum op_status net_ref_finish(const double *sum, const float *bias, const void *residual,
                              long rows, int columns, int relu, double *y, void *row, op_stream s)
{
    const size_t count = (size_t)rows * columns;
    finish<<<blocks_of(count), THREADS, 0, s>>>(sum, bias, (const half *)residual, count, columns,
                                                relu, y, (half *)row);
    return launched();
}

enum op_status net_ref_add(struct ref_rows from, const double *from_sum, struct ref_rows to,
                           long rows, int columns, int add, op_stream s)
{
    const size_t count = (size_t)rows * columns;
    add_terms<<<blocks_of(count), THREADS, 0, s>>>((const half *)from.at, from.step, from_sum,
                                                   (half *)to.at, to.step, count, columns, add);
    return launched();
}

enum op_status net_ref_mask(void *g, const void *y, size_t count, op_stream s)
{
    mask<<<blocks_of(count), THREADS, 0, s>>>((half *)g, (const half *)y, count);
    return launched();
}

enum op_status net_ref_transpose(const int32_t *by_out, long rows, int taps, int32_t *by_in,
                                 op_stream s)
{
    const size_t count = (size_t)rows * taps;
    transpose<<<blocks_of(count), THREADS, 0, s>>>(by_out, count, taps, by_in);
    return launched();
}

enum op_status net_ref_bounds(const double *dw, int taps, size_t of_tap, double factor,
                              float *bound, op_stream s)
{
    bounds<<<taps, THREADS, 0, s>>>(dw, of_tap, factor, bound);
    return launched();
}
OP_END
