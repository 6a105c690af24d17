/*
 * ref_f64.cu - sparse convolution in double precision on the GPU: decides what is
 * correct.  A thread makes an element; in wgrad those of a block share the rows that they
 * read.
 */
#include <cuda_fp16.h>

#include "bound.h"

constexpr int THREADS = 128;
constexpr int SIDE = 16, PAIRS = 32; /* wgrad: elements of a block's tile, rows at a time */

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

/* wgrad: a block a tile of a tap, its threads an element each. */
template <class T>
static __global__ __launch_bounds__(SIDE *SIDE) void weights(spconv_problem p, spconv_map m,
                                                             const T *x, const T *g, double *want,
                                                             float *bound, float *loose)
{
    __shared__ double rows[2][PAIRS][SIDE]; /* of x and g */
    const int tiles = (p.cout + SIDE - 1) / SIDE;
    const int d = blockIdx.y, c0 = blockIdx.x / tiles * SIDE, k0 = blockIdx.x % tiles * SIDE;
    const int t = threadIdx.x, channel = t / SIDE, column = t % SIDE;
    const int start = m.start[d], end = m.start[d + 1];
    double sum = 0, magnitude = 0;
    for (int first = start; first < end; first += PAIRS) {
        for (int i = t; i < PAIRS * SIDE; i += SIDE * SIDE) {
            const int e = first + i / SIDE, c = c0 + i % SIDE, k = k0 + i % SIDE;
            rows[0][i / SIDE][i % SIDE] =
                e < end && c < p.cin ? load(x, (size_t)m.pair_in[e] * p.cin + c) : 0;
            rows[1][i / SIDE][i % SIDE] =
                e < end && k < p.cout ? load(g, (size_t)m.pair_out[e] * p.cout + k) : 0;
        }
        __syncthreads();
        for (int i = 0; i < PAIRS; i++) {
            const double product = rows[0][i][channel] * rows[1][i][column];
            sum += product;
            magnitude += fabs(product);
        }
        __syncthreads();
    }
    if (c0 + channel < p.cin && k0 + column < p.cout) {
        const long at = ((long)d * p.cin + c0 + channel) * p.cout + k0 + column;
        want[at] = sum;
        spconv_bounds(&p, end - start, sum, magnitude, bound + at, loose + at);
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
    const unsigned tiles = (unsigned)((p->cin + SIDE - 1) / SIDE * ((p->cout + SIDE - 1) / SIDE));
    if (p->pass == SPCONV_WGRAD)
        weights<<<dim3(tiles, (unsigned)p->taps), SIDE * SIDE, 0, s>>>(
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
