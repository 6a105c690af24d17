/*
 * ref_f64.cu - sparse convolution in double precision on the GPU: decides what is
 * correct.  A block makes a tile of the result from operands in shared memory; taps
 * that none of its rows has are passed over.
 */
#include <cuda_fp16.h>

#include "bound.h"

constexpr int SIDE = 16, THREADS = SIDE * SIDE;
constexpr int TILE = 2 * SIDE, DEPTH = 16; /* forward and dgrad: rows and columns, terms at a time */
constexpr int PAIRS = 32;                  /* wgrad: rows at a time of a tile of SIDE */

static __device__ double load(const float *x, size_t i)
{
    return __ldg(x + i);
}

static __device__ double load(const half *x, size_t i)
{
    return __half2float(__ldg(x + i));
}

/* Forward and dgrad: rows of `from` by the partner of each tap; a thread makes two by two.  Without
 * bounds a term is one operation instead of three. */
template <class T, bool Bounds>
static __global__ __launch_bounds__(THREADS) void points(spconv_problem p, const int32_t *partner,
                                                         const T *from, const T *w, long rows,
                                                         double *want, float *bound, float *loose)
{
    __shared__ double x[TILE][DEPTH], v[DEPTH][TILE + 1];
    __shared__ int source[TILE];
    const bool forward = p.pass == SPCONV_FORWARD;
    const int inner = forward ? p.cin : p.cout, columns = forward ? p.cout : p.cin;
    const int t = threadIdx.x, first_column = blockIdx.y * TILE;
    const long first_row = (long)blockIdx.x * TILE;
    double sum[2][2] = {}, magnitude[2][2] = {};
    int terms[2] = {};
    for (int d = 0; d < p.taps; d++) {
        const bool mine = t < TILE && first_row + t < rows;
        const int j = mine ? partner[(first_row + t) * p.taps + d] : -1;
        if (t < TILE)
            source[t] = j;
        if (!__syncthreads_or(j >= 0))
            continue;
        for (int i = 0; i < 2; i++)
            terms[i] += source[t / SIDE + i * SIDE] >= 0 ? inner : 0;
        for (int first = 0; first < inner; first += DEPTH) {
            for (int e = t; e < TILE * DEPTH; e += THREADS) {
                const int row = e / DEPTH, k = e % DEPTH;
                x[row][k] = source[row] >= 0 && first + k < inner
                                ? load(from, (size_t)source[row] * inner + first + k)
                                : 0;
            }
            for (int e = t; e < TILE * DEPTH; e += THREADS) { /* neighbours in memory first */
                const int k = forward ? e / TILE : e % DEPTH, c = forward ? e % TILE : e / DEPTH;
                const size_t tap = (size_t)d * p.cin * p.cout;
                const int column = first_column + c;
                v[k][c] = column < columns && first + k < inner
                              ? load(w, forward ? tap + (size_t)(first + k) * p.cout + column
                                                : tap + (size_t)column * p.cout + first + k)
                              : 0;
            }
            __syncthreads();
            for (int k = 0; k < DEPTH; k++)
                for (int i = 0; i < 2; i++)
                    for (int c = 0; c < 2; c++) {
                        const double product =
                            x[t / SIDE + i * SIDE][k] * v[k][t % SIDE + c * SIDE];
                        sum[i][c] += product;
                        if (Bounds)
                            magnitude[i][c] += fabs(product);
                    }
            __syncthreads();
        }
    }
    for (int i = 0; i < 2; i++)
        for (int c = 0; c < 2; c++) {
            const long row = first_row + t / SIDE + i * SIDE;
            const int column = first_column + t % SIDE + c * SIDE;
            const long at = row * columns + column;
            if (row >= rows || column >= columns)
                continue;
            want[at] = sum[i][c];
            if (Bounds)
                spconv_bounds(&p, terms[i], sum[i][c], magnitude[i][c], bound + at, loose + at);
        }
}

/* wgrad: a block a tile of a tap, its threads an element each. */
template <class T, bool Bounds>
static __global__ __launch_bounds__(THREADS) void weights(spconv_problem p, spconv_map m,
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
        for (int i = t; i < PAIRS * SIDE; i += THREADS) {
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
            if (Bounds)
                magnitude += fabs(product);
        }
        __syncthreads();
    }
    if (c0 + channel < p.cin && k0 + column < p.cout) {
        const long at = ((long)d * p.cin + c0 + channel) * p.cout + k0 + column;
        want[at] = sum;
        if (Bounds)
            spconv_bounds(&p, end - start, sum, magnitude, bound + at, loose + at);
    }
}

template <class T, bool Bounds>
static void launch(const struct spconv_problem *p, const struct spconv_args *a, double *want,
                   float *bound, float *loose, op_stream s)
{
    const struct spconv_map &m = a->map;
    const bool forward = p->pass == SPCONV_FORWARD;
    const long rows = forward ? p->out : p->in, columns = forward ? p->cout : p->cin;
    const unsigned tiles = (unsigned)((p->cin + SIDE - 1) / SIDE * ((p->cout + SIDE - 1) / SIDE));
    const dim3 grid((unsigned)((rows + TILE - 1) / TILE), (unsigned)((columns + TILE - 1) / TILE));
    if (p->pass == SPCONV_WGRAD)
        weights<T, Bounds><<<dim3(tiles, (unsigned)p->taps), THREADS, 0, s>>>(
            *p, m, (const T *)a->x, (const T *)a->g, want, bound, loose);
    else
        points<T, Bounds><<<grid, THREADS, 0, s>>>(*p, forward ? m.by_out : m.by_in,
                                                   (const T *)(forward ? a->x : a->g),
                                                   (const T *)a->w, rows, want, bound, loose);
}

OP_BEGIN
enum op_status spconv_ref_cuda(const struct spconv_problem *p, const struct spconv_args *a,
                               double *want, float *bound, float *loose, op_stream s)
{
    if (p->dtype == SPCONV_F16)
        bound ? launch<half, true>(p, a, want, bound, loose, s)
              : launch<half, false>(p, a, want, bound, loose, s);
    else
        bound ? launch<float, true>(p, a, want, bound, loose, s)
              : launch<float, false>(p, a, want, bound, loose, s);
    return cudaGetLastError() == cudaSuccess ? OP_OK : OP_EDEVICE;
}
OP_END
