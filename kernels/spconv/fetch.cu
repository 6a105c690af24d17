/*
 * fetch.cu - fetch-on-demand: weight-stationary sparse convolution without buffers, as in
 * TorchSparse++ (arXiv 2311.12862) and PCEngine.
 *
 *   block    128 pairs of one tap x 32 columns: gathers rows of x in slices of 32 channels,
 *            multiplies, adds the result to y with atomics
 *
 *   blocks in x   | tap 0   | tap 1 | tap 2     ...   each tap rounded up to 128 pairs; found
 *                 ^0        ^first_block[1]           by halving
 *
 * Published in half: sums and atomics in half.  With float sums y is a float buffer, converted
 * afterwards.  A launch a tap is the form before the taps were fused.
 */
#include <stdlib.h>

#include "fetch.h"
#include "implicit.cuh"
#include "upload.cuh"

constexpr int FETCH_COLUMNS = 32, FETCH_K = 32;

struct FetchWork {
    const int32_t *pair_in, *pair_out;
    const void *x, *w;
    void *y;
    int channels, columns, taps, first_of_launch; /* block */
    int start[SPCONV_TAPS_MAX + 1], first_block[SPCONV_TAPS_MAX + 1];
};

static __device__ __forceinline__ void add_pair(half *y, float v0, float v1, bool both)
{
    if (both && ((uintptr_t)y & 3) == 0) {
        atomicAdd((half2 *)y, __floats2half2_rn(v0, v1));
        return;
    }
    atomicAdd(y, __float2half_rn(v0));
    if (both)
        atomicAdd(y + 1, __float2half_rn(v1));
}

static __device__ __forceinline__ void add_pair(float *y, float v0, float v1, bool both)
{
    atomicAdd(y, v0);
    if (both)
        atomicAdd(y + 1, v1);
}

/* The tap of a block. */
static __device__ __forceinline__ int tap_of(const FetchWork &p, int block)
{
    int low = 0, high = p.taps; /* first_block[low] <= block < first_block[high] */
    while (high - low > 1) {
        const int middle = (low + high) / 2;
        if (p.first_block[middle] <= block)
            low = middle;
        else
            high = middle;
    }
    return low;
}

template <class Math, class Out, int Vector>
static __global__ __launch_bounds__(256) void fetch_on_demand(const __grid_constant__ FetchWork p)
{
    typedef ImplicitTile<Math, FETCH_COLUMNS, FETCH_K, false, Vector,
                         ImplicitOptions<true, false, 1>> Tile;
    typedef typename Math::Element T;
    extern __shared__ uint4 memory[];
    T *stage = (T *)memory;
    const int block = p.first_of_launch + blockIdx.x, first_column = blockIdx.y * FETCH_COLUMNS;
    const int tap = tap_of(p, block);
    const int first = p.start[tap] + (block - p.first_block[tap]) * IMPLICIT_ROWS;
    const int pairs = min(p.start[tap + 1] - first, IMPLICIT_ROWS);
    const T *w = (const T *)p.w + (size_t)tap * p.channels * p.columns;
    Math math;

    for (int channel = 0; channel < p.channels; channel += FETCH_K) {
        __syncthreads();
        Tile::load(stage, threadIdx.x, p.pair_in + first, 1, pairs, (const T *)p.x, w, p.channels,
                   p.columns, first_column, channel);
        __syncthreads();
        math.multiply(stage, stage + Tile::A_ELEMENTS);
    }
    math.each([&](int r, int c, float v0, float v1) {
        const int column = first_column + c;
        if (r < pairs && column < p.columns)
            add_pair((Out *)p.y + (size_t)__ldg(p.pair_out + first + r) * p.columns + column, v0,
                     v1, column + 1 < p.columns);
    });
}

static __global__ __launch_bounds__(256) void to_half(const float *from, half *to, size_t count)
{
    const size_t i = (size_t)blockIdx.x * 256 + threadIdx.x;
    if (i < count)
        to[i] = __float2half_rn(from[i]);
}

/* ---- launches ---- */

typedef HalfMathOf<FetchWarps<FETCH_COLUMNS>, FETCH_COLUMNS, FETCH_K, false> FetchHalf;
typedef HalfSumMath<FETCH_COLUMNS, FETCH_K> FetchHalfSum;
typedef Tf32MathOf<FetchWarps<FETCH_COLUMNS>, FETCH_COLUMNS, FETCH_K, false> FetchTf32;

/* Eight threads across, four columns and four rows each. */
struct FetchFloat : FetchWarps<FETCH_COLUMNS> {
    typedef float Element;
    static constexpr int PAD_A = 4, PAD_B = 8;
    static constexpr int PITCH_A = FETCH_K + PAD_A, PITCH_B = FETCH_COLUMNS + PAD_B;
    float sum[4][4] = {};

    __device__ __forceinline__ void multiply(const float *a, const float *b)
    {
        const int row = threadIdx.x / 8, column = threadIdx.x % 8 * 4;
#pragma unroll 8
        for (int k = 0; k < FETCH_K; k++)
#pragma unroll
            for (int i = 0; i < 4; i++)
#pragma unroll
                for (int e = 0; e < 4; e++)
                    sum[i][e] = fmaf(a[(row + 32 * i) * PITCH_A + k], b[k * PITCH_B + column + e],
                                     sum[i][e]);
    }
    template <class F> __device__ __forceinline__ void each(F f) const
    {
        const int row = threadIdx.x / 8, column = threadIdx.x % 8 * 4;
#pragma unroll
        for (int i = 0; i < 4; i++)
#pragma unroll
            for (int e = 0; e < 4; e += 2)
                f(row + 32 * i, column + e, sum[i][e], sum[i][e + 1]);
    }
};

struct Fetch {
    FetchWork work;
    void (*kernel)(FetchWork);
    float *sums;     /* float sums of half operands; NULL: y itself */
    bool fused;
    size_t shared;
};

template <class Math, class Out, int Vector> static void use(Fetch *v)
{
    v->kernel = fetch_on_demand<Math, Out, Vector>;
    v->shared = ImplicitTile<Math, FETCH_COLUMNS, FETCH_K, false, Vector,
                             ImplicitOptions<true, false, 1>>::SHARED;
}

template <class Math, class Out, int Widest> static void use_vector(Fetch *v)
{
    const int both = v->work.channels | v->work.columns;
    if (both % Widest == 0)
        use<Math, Out, Widest>(v);
    else if (both % 2 == 0)
        use<Math, Out, 2>(v);
    else
        use<Math, Out, 1>(v);
}

static enum op_status setup(const struct spconv_problem *p, const struct spconv_map *host,
                            bool fused, bool float_sums, const struct op_memory *memory,
                            void **state)
{
    *state = NULL;
    if (p->pass != SPCONV_FORWARD || (float_sums && p->dtype != SPCONV_F16))
        return OP_EUNSUPPORTED;
    Fetch *v = (Fetch *)calloc(1, sizeof *v);
    if (!v)
        return OP_ENOMEM;
    enum op_status status = OP_OK;
    v->fused = fused;
    v->work.channels = p->cin;
    v->work.columns = p->cout;
    v->work.taps = p->taps;
    for (int d = 0; d <= p->taps; d++) {
        v->work.start[d] = host->start[d];
        v->work.first_block[d] =
            d ? v->work.first_block[d - 1] +
                    (host->start[d] - host->start[d - 1] + IMPLICIT_ROWS - 1) / IMPLICIT_ROWS
              : 0;
    }
    if (float_sums) {
        use_vector<FetchHalf, float, 8>(v);
        v->sums = scratch<float>(memory, (size_t)p->out * p->cout, &status);
    } else if (p->dtype == SPCONV_F16) {
        use_vector<FetchHalfSum, half, 8>(v);
    } else if (p->dtype == SPCONV_TF32) {
        use_vector<FetchTf32, float, 4>(v);
    } else {
        use_vector<FetchFloat, float, 4>(v);
    }
    if (status != OP_OK) {
        free(v);
        return status;
    }
    *state = v;
    return OP_OK;
}

OP_BEGIN
#define SETUP(name, fused, float_sums)                                                         \
    enum op_status name(const struct spconv_problem *p, const struct spconv_map *host,         \
                        const struct spconv_args *a, const struct op_memory *m, op_stream s,   \
                        void **state)                                                          \
    {                                                                                          \
        (void)a, (void)s;                                                                      \
        return setup(p, host, fused, float_sums, m, state);                                    \
    }
SETUP(spconv_fetch_setup, true, false)
SETUP(spconv_fetch_offset_setup, false, false)
SETUP(spconv_fetch_f32_setup, true, true)
#undef SETUP

enum op_status spconv_fetch(const struct spconv_problem *p, const struct spconv_args *a,
                            void *state, op_stream s)
{
    const Fetch *v = (const Fetch *)state;
    const size_t count = (size_t)p->out * p->cout;
    const unsigned across = (unsigned)(p->cout + FETCH_COLUMNS - 1) / FETCH_COLUMNS;
    const size_t element = v->sums || p->dtype != SPCONV_F16 ? 4 : 2;
    FetchWork work = v->work;
    work.pair_in = a->map.pair_in;
    work.pair_out = a->map.pair_out;
    work.x = a->x;
    work.w = a->w;
    work.y = v->sums ? v->sums : a->y;
    if (cudaMemsetAsync(work.y, 0, count * element, s))
        return OP_EDEVICE;
    for (int d = 0; d < p->taps; d += v->fused ? p->taps : 1) {
        work.first_of_launch = work.first_block[d];
        const int end = work.first_block[v->fused ? p->taps : d + 1];
        if (end > work.first_of_launch)
            v->kernel<<<dim3(end - work.first_of_launch, across), 256, v->shared, s>>>(work);
    }
    if (v->sums)
        to_half<<<(unsigned)((count + 255) / 256), 256, 0, s>>>(v->sums, (half *)a->y, count);
    return cudaGetLastError() == cudaSuccess ? OP_OK : OP_EDEVICE;
}

void spconv_fetch_teardown(void *state)
{
    free(state);
}

void spconv_fetch_counts(const struct spconv_problem *p, const void *state,
                         struct spconv_counts *counts)
{
    const Fetch *v = (const Fetch *)state;
    const double sums = v->sums || p->dtype != SPCONV_F16 ? 4 : 2;
    counts->slots = (double)v->work.first_block[p->taps] * IMPLICIT_ROWS;
    counts->extra_bytes = 8.0 * (double)p->pairs + 2 * sums * (double)p->pairs * p->cout;
}
OP_END
