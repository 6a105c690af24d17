/*
 * wgrad.cu - gradient of the weights as TorchSparse++ computes it (arXiv 2311.12862).
 *
 *   dW_d [cin][cout] = sum over rows i of the input that have tap d of x_i^T g_partner(i, d)
 *
 *   block    32 channels of x by 64 of g, of one tap and one of 32 shares of the rows; rows in
 *            slices of 64, in the order of the input's table; a slice none of whose rows has
 *            the tap is skipped
 *
 *   A [64 rows][32]   B [64 rows][64], absent partners zero;  shares are summed afterwards
 */
#include <stdlib.h>

#include "implicit_math.cuh"
#include "plan.h"
#include "share.cuh"
#include "upload.cuh"
#include "wgrad.h"

constexpr int M = 32, N = 64, ROWS = 64, THREADS = 128, SHARES = 32;

struct WgradWork {
    const void *x, *g;
    float *parts;         /* [SHARES][taps][cin][cout], shared */
    const int32_t *index; /* [splits][rows][taps of a range] partners */
    const int32_t *row;   /* [splits][rows] */
    const uint32_t *mask; /* [splits][rows / ROWS]; NULL: all */
    int rows, range, taps, cin, cout;
};

/* ---- products of a slice, by dtype ---- */

struct WgradHalf {
    typedef half Element;
    static constexpr int PITCH_A = M + 8, PITCH_B = N + 8;
    float sum[4][4] = {};

    __device__ __forceinline__ void multiply(const half *a, const half *b)
    {
        const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
        const int m = warp / 2 * 16, n = warp % 2 * 32;
#pragma unroll
        for (int k = 0; k < ROWS; k += 16) {
            uint32_t fa[4], fb[2][4];
            ldmatrix_trans(fa, a + (k + lane / 16 * 8 + lane % 8) * PITCH_A + m + lane / 8 % 2 * 8);
            load_b16<PITCH_B, false>(fb, b, n, k);
#pragma unroll
            for (int j = 0; j < 4; j++)
                mma(sum[j], fa, fb[j / 2][j % 2 * 2], fb[j / 2][j % 2 * 2 + 1]);
        }
    }
    template <class F> __device__ __forceinline__ void each(F f) const
    {
        const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
        const int m = warp / 2 * 16 + lane / 4, n = warp % 2 * 32 + lane % 4 * 2;
#pragma unroll
        for (int j = 0; j < 4; j++)
#pragma unroll
            for (int e = 0; e < 4; e++)
                f(m + e / 2 * 8, n + j * 8 + e % 2, sum[j][e]);
    }
};

struct WgradTf32 : WgradHalf {
    typedef float Element;

    __device__ __forceinline__ void multiply(const float *a, const float *b)
    {
        const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, c = lane % 4;
        const int m = warp / 2 * 16 + lane / 4, n = warp % 2 * 32 + lane / 4;
#pragma unroll
        for (int k = c; k < ROWS; k += 8) {
            uint32_t fa[4];
#pragma unroll
            for (int h = 0; h < 4; h++)
                fa[h] = to_tf32(a[(k + h / 2 * 4) * PITCH_A + m + h % 2 * 8]);
#pragma unroll
            for (int j = 0; j < 4; j++)
                mma_tf32(sum[j], fa, to_tf32(b[k * PITCH_B + n + j * 8]),
                         to_tf32(b[(k + 4) * PITCH_B + n + j * 8]));
        }
    }
};

/* A thread has four by four, in rows of 16 threads. */
struct WgradFloat {
    typedef float Element;
    static constexpr int PITCH_A = M + 8, PITCH_B = N + 8;
    float sum[4][4] = {};

    __device__ __forceinline__ void multiply(const float *a, const float *b)
    {
        const int m = threadIdx.x / 16 * 4, n = threadIdx.x % 16 * 4;
#pragma unroll 8
        for (int k = 0; k < ROWS; k++)
#pragma unroll
            for (int i = 0; i < 4; i++)
#pragma unroll
                for (int j = 0; j < 4; j++)
                    sum[i][j] = fmaf(a[k * PITCH_A + m + i], b[k * PITCH_B + n + j], sum[i][j]);
    }
    template <class F> __device__ __forceinline__ void each(F f) const
    {
        const int m = threadIdx.x / 16 * 4, n = threadIdx.x % 16 * 4;
#pragma unroll
        for (int i = 0; i < 4; i++)
#pragma unroll
            for (int j = 0; j < 4; j++)
                f(m + i, n + j, sum[i][j]);
    }
};

/* ---- the kernel ---- */

template <int Bytes> static __device__ __forceinline__ void copy(void *to, const void *from, bool valid)
{
    if constexpr (Bytes == 16)
        *(uint4 *)to = valid ? __ldg((const uint4 *)from) : make_uint4(0, 0, 0, 0);
    else if constexpr (Bytes == 4)
        *(uint32_t *)to = valid ? __ldg((const uint32_t *)from) : 0;
    else
        *(uint16_t *)to = valid ? __ldg((const uint16_t *)from) : 0;
}

/* ROWS rows of Wide channels from `channel` on; partner(row) is the row of `from`, or -1. */
template <class T, int Wide, int Pitch, int Vector, class F>
static __device__ __forceinline__ void load_rows(T *to, const T *from, int channels, int channel,
                                                 F partner)
{
    constexpr int ACROSS = Wide / Vector, STEP = THREADS / ACROSS;
    const int c = threadIdx.x % ACROSS * Vector;
#pragma unroll 4
    for (int row = threadIdx.x / ACROSS; row < ROWS; row += STEP) {
        const int j = partner(row);
        const bool exists = j >= 0 && channel + c < channels;
        copy<Vector * (int)sizeof(T)>(to + row * Pitch + c,
                                      exists ? from + (size_t)j * channels + channel + c : from,
                                      exists);
    }
}

template <class Math, int Vector>
static __global__ __launch_bounds__(THREADS) void wgrad(const __grid_constant__ WgradWork p)
{
    typedef typename Math::Element T;
    __shared__ __align__(16) T a[ROWS * Math::PITCH_A];
    __shared__ __align__(16) T b[ROWS * Math::PITCH_B];
    const int across = (p.cout + N - 1) / N, tap = blockIdx.y, split = tap / p.range;
    const int m0 = blockIdx.x / across * M, n0 = blockIdx.x % across * N;
    const int slices = p.rows / ROWS;
    Math math;

    for (int slice = blockIdx.z; slice < slices; slice += SHARES) {
        if (p.mask && !(__ldg(p.mask + split * slices + slice) >> tap % p.range & 1))
            continue;
        const size_t first = (size_t)split * p.rows + slice * ROWS;
        __syncthreads();
        load_rows<T, M, Math::PITCH_A, Vector>(a, (const T *)p.x, p.cin, m0, [&](int row) {
            return __ldg(p.row + first + row);
        });
        load_rows<T, N, Math::PITCH_B, Vector>(b, (const T *)p.g, p.cout, n0, [&](int row) {
            return __ldg(p.index + (first + row) * p.range + tap % p.range);
        });
        __syncthreads();
        math.multiply(a, b);
    }
    float *to = p.parts + ((size_t)blockIdx.z * p.taps + tap) * p.cin * p.cout;
    math.each([&](int m, int n, float v) {
        if (m0 + m < p.cin && n0 + n < p.cout)
            to[(size_t)(m0 + m) * p.cout + n0 + n] = v;
    });
}

static __global__ __launch_bounds__(256) void sum_shares(const float *parts, float *y, size_t count)
{
    const size_t i = (size_t)blockIdx.x * 256 + threadIdx.x;
    if (i >= count)
        return;
    float sum = 0;
    for (int s = 0; s < SHARES; s++)
        sum += parts[s * count + i];
    y[i] = sum;
}

/* ---- set-up ---- */

struct Wgrad {
    WgradWork work;
    void (*kernel)(WgradWork);
    double slots;
};

template <class Math, int Widest> static void use(Wgrad *v)
{
    const int both = v->work.cin | v->work.cout;
    v->kernel = both % Widest == 0 ? wgrad<Math, Widest> : wgrad<Math, 1>;
}

/* Partners, rows and masks of 64 rows in the order of the plan, on the device. */
static enum op_status upload_plan(const struct spconv_plan *plan, const struct spconv_table *t,
                                  bool sorted, const struct op_memory *memory, op_stream s,
                                  WgradWork *work)
{
    const int rows = plan->tiles * SPCONV_TILE;
    const size_t all = (size_t)plan->splits * rows, slices = all / ROWS;
    int32_t *index = (int32_t *)malloc(all * plan->taps * sizeof *index);
    uint32_t *mask = (uint32_t *)malloc(slices * sizeof *mask);
    enum op_status status = index && mask ? OP_OK : OP_ENOMEM;
    if (status == OP_OK) {
        spconv_plan_index(plan, t, index, NULL);
        for (size_t i = 0; i < slices; i++)
            mask[i] = spconv_plan_mask(plan, (int)(i * ROWS / rows), (int)(i * ROWS % rows), ROWS);
    }
    work->index = upload(memory, s, index, all * plan->taps, &status);
    work->row = upload(memory, s, plan->row, all, &status);
    work->mask = sorted ? upload(memory, s, mask, slices, &status) : NULL;
    work->rows = rows;
    work->range = plan->taps;
    free(index);
    free(mask);
    return status;
}

/* What follows from channels, once the plan is there; frees v where it fails. */
static enum op_status use_channels(const struct spconv_problem *p, enum op_status status,
                                   const struct op_memory *memory, Wgrad *v, void **state)
{
    v->work.cin = p->cin;
    v->work.cout = p->cout;
    v->work.parts =
        shared_scratch<float>(memory, (size_t)SHARES * p->taps * p->cin * p->cout, &status);
    if (p->dtype == SPCONV_F16)
        use<WgradHalf, 8>(v);
    else if (p->dtype == SPCONV_TF32)
        use<WgradTf32, 4>(v);
    else
        use<WgradFloat, 4>(v);
    if (status != OP_OK) {
        free(v);
        return status;
    }
    *state = v;
    return OP_OK;
}

static enum op_status setup(const struct spconv_problem *p, const struct spconv_map *host,
                            int splits, const struct op_memory *memory, op_stream s, void **state)
{
    const struct spconv_table t = { host->by_in, p->in, p->taps };
    struct spconv_plan plan = {};
    *state = NULL;
    if (p->pass != SPCONV_WGRAD || splits > p->taps)
        return OP_EUNSUPPORTED;
    Wgrad *v = (Wgrad *)calloc(1, sizeof *v);
    if (!v)
        return OP_ENOMEM;
    v->work.taps = p->taps;
    enum op_status status = spconv_plan_make(&t, splits ? splits : 1,
                                             splits ? SPCONV_BY_MASK : SPCONV_AS_IS, &plan);
    if (status == OP_OK) {
        v->slots = splits ? spconv_plan_slots(&plan, ROWS)
                          : (double)plan.tiles * SPCONV_TILE * p->taps;
        status = upload_plan(&plan, &t, splits > 0, memory, s, &v->work);
    }
    spconv_plan_free(&plan);
    return use_channels(p, status, memory, v, state);
}

OP_BEGIN
enum op_status spconv_wgrad_setup_like(const struct spconv_problem *p, const void *like,
                                       const struct op_memory *memory, op_stream s, void **state)
{
    Wgrad *v = (Wgrad *)malloc(sizeof *v);
    (void)s;
    *state = NULL;
    if (!v)
        return OP_ENOMEM;
    *v = *(const Wgrad *)like;
    return use_channels(p, OP_OK, memory, v, state);
}

#define SETUP(name, splits)                                                                    \
    enum op_status name(const struct spconv_problem *p, const struct spconv_map *host,         \
                        const struct spconv_args *a, const struct op_memory *m, op_stream s,   \
                        void **state)                                                          \
    {                                                                                          \
        (void)a;                                                                               \
        return setup(p, host, splits, m, s, state);                                            \
    }
SETUP(spconv_wgrad_0_setup, 0)
SETUP(spconv_wgrad_1_setup, 1)
SETUP(spconv_wgrad_2_setup, 2)
SETUP(spconv_wgrad_3_setup, 3)
SETUP(spconv_wgrad_4_setup, 4)
#undef SETUP

enum op_status spconv_wgrad(const struct spconv_problem *p, const struct spconv_args *a,
                            void *state, op_stream s)
{
    const Wgrad *v = (const Wgrad *)state;
    const size_t count = (size_t)p->taps * p->cin * p->cout;
    WgradWork work = v->work;
    work.x = a->x;
    work.g = a->g;
    const dim3 grid(((p->cin + M - 1) / M) * ((p->cout + N - 1) / N), p->taps, SHARES);
    v->kernel<<<grid, THREADS, 0, s>>>(work);
    sum_shares<<<(unsigned)((count + 255) / 256), 256, 0, s>>>(work.parts, (float *)a->y, count);
    return cudaGetLastError() == cudaSuccess ? OP_OK : OP_EDEVICE;
}

void spconv_wgrad_teardown(void *state)
{
    free(state);
}

void spconv_wgrad_counts(const struct spconv_problem *p, const void *state,
                         struct spconv_counts *counts)
{
    const Wgrad *v = (const Wgrad *)state;
    counts->slots = v->slots;
    counts->extra_bytes = 8.0 * SHARES * p->taps * p->cin * p->cout;
}
OP_END
