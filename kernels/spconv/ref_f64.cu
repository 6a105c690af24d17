/*
 * ref_f64.cu - sparse convolution in double precision on the GPU: decides what is
 * correct.  A thread makes an element; wgrad's sums, which are long, are cut among
 * the threads of a block.
 */
#include <cuda_fp16.h>

#include "bound.h"

constexpr int THREADS = 128;

static __device__ double load(const float *x, size_t i)
{
    return __ldg(x + i);
}

static __device__ double load(const half *x, size_t i)
{
    return __half2float(__ldg(x + i));
}

/* Forward and dgrad: rows of `from` by the partner of each tap. */
template <class T>
static __global__ __launch_bounds__(THREADS) void points(spconv_problem p, const int32_t *partner,
                                                         const T *from, const T *w, long rows,
                                                         double *want, float *bound, float *loose)
{
    const bool forward = p.pass == SPCONV_FORWARD;
    const int inner = forward ? p.cin : p.cout, columns = forward ? p.cout : p.cin;
    const int row_step = forward ? p.cout : 1, column_step = forward ? 1 : p.cout;
    const long at = (long)blockIdx.x * THREADS + threadIdx.x;
    const long row = at / columns;
    const int column = (int)(at % columns);
    double sum = 0, magnitude = 0;
    int terms = 0;
    if (row >= rows)
        return;
    for (int d = 0; d < p.taps; d++) {
        const int j = partner[row * p.taps + d];
        if (j < 0)
            continue;
        const T *x = from + (size_t)j * inner;
        const T *v = w + (size_t)d * p.cin * p.cout + (size_t)column * column_step;
        for (int i = 0; i < inner; i++) {
            const double product = load(x, i) * load(v, (size_t)i * row_step);
            sum += product;
            magnitude += fabs(product);
        }
        terms += inner;
    }
    want[at] = sum;
    spconv_bounds(&p, terms, sum, magnitude, bound + at, loose + at);
}

/* wgrad: a block an element, its threads equally many pairs of the tap. */
template <class T>
static __global__ __launch_bounds__(THREADS) void weights(spconv_problem p, spconv_map m,
                                                          const T *x, const T *g, double *want,
                                                          float *bound, float *loose)
{
    __shared__ double sums[2][THREADS];
    const long at = blockIdx.x;
    const int column = (int)(at % p.cout), channel = (int)(at / p.cout % p.cin);
    const int d = (int)(at / p.cout / p.cin), t = threadIdx.x;
    double sum = 0, magnitude = 0;
    for (int e = m.start[d] + t; e < m.start[d + 1]; e += THREADS) {
        const double product = load(x, (size_t)m.pair_in[e] * p.cin + channel) *
                               load(g, (size_t)m.pair_out[e] * p.cout + column);
        sum += product;
        magnitude += fabs(product);
    }
    sums[0][t] = sum;
    sums[1][t] = magnitude;
    for (int half = THREADS / 2; half; half /= 2) {
        __syncthreads();
        if (t < half) {
            sums[0][t] += sums[0][t + half];
            sums[1][t] += sums[1][t + half];
        }
    }
    if (t == 0) {
        want[at] = sums[0][0];
        spconv_bounds(&p, m.start[d + 1] - m.start[d], sums[0][0], sums[1][0], bound + at,
                      loose + at);
    }
}

template <class T>
static void launch(const struct spconv_problem *p, const struct spconv_args *a, double *want,
                   float *bound, float *loose, op_stream s)
{
    const struct spconv_map &m = a->map;
    const bool forward = p->pass == SPCONV_FORWARD;
    const long rows = forward ? p->out : p->in, columns = forward ? p->cout : p->cin;
    const unsigned blocks = (unsigned)((rows * columns + THREADS - 1) / THREADS);
    if (p->pass == SPCONV_WGRAD)
        weights<<<(unsigned)p->taps * p->cin * p->cout, THREADS, 0, s>>>(
            *p, m, (const T *)a->x, (const T *)a->g, want, bound, loose);
    else
        points<<<blocks, THREADS, 0, s>>>(*p, forward ? m.by_out : m.by_in,
                                          (const T *)(forward ? a->x : a->g), (const T *)a->w, rows,
                                          want, bound, loose);
}

OP_BEGIN
enum op_status spconv_ref_cuda(const struct spconv_problem *p, const struct spconv_args *a,
                               double *want, float *bound, float *loose, op_stream s)
{
    if (p->dtype == SPCONV_F16)
        launch<half>(p, a, want, bound, loose, s);
    else
        launch<float>(p, a, want, bound, loose, s);
    return cudaGetLastError() == cudaSuccess ? OP_OK : OP_EDEVICE;
}
OP_END
