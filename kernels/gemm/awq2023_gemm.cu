/*
 * awq2023_gemm.cu - Y = X W^T, half X, 4-bit W, the first published kernel.
 *
 * Follows AWQ's code of June 2023, behind the speedups of the paper's first
 * version.  Products by tensor cores with float sums.  k is cut into tiles of
 * 32 that eight slices take in turn; a slice leaves half partial sums and a
 * second kernel adds the eight in float.
 *
 *   block     16 tokens x 128 channels, one slice; two warps, side by side in n
 *   tile      X 16 x 32, W 32 x 128: 512 words, eight to a thread
 *   thread t  words t%16 of rows t/16, t/16+4, ...: its eight channels, and so
 *             its scales and zero points, stay the same
 *
 *   shared    a [16][32+8]  b [32][128+8] half; the padding keeps the rows of a
 *             ldmatrix in different banks
 *
 * Nothing is copied ahead: load, convert, store to shared memory, barrier,
 * multiply, barrier.  So it is bound by the latency of a load, hidden only by
 * other blocks.  W's format: awq2023 of awq_layout.h.
 */
#include "ablation.cuh"
#include "dequant.cuh"
#include "mma.cuh"
#include "published.h"
#include "w4_pack.h"

constexpr int TILE_M = 16, TILE_N = 128, TILE_K = 32;
constexpr int THREADS = 64, WARP_N = 64, PAD = 8;
constexpr int SLICES = 8;
constexpr int TILE_WORDS = TILE_N / 8;          /* of a row of W's tile */
constexpr int STEP_ROWS = THREADS / TILE_WORDS; /* rows that the threads load at a time */
constexpr int STEPS = TILE_K / STEP_ROWS;

struct Awq2023Tiles {
    alignas(16) half a[TILE_M][TILE_K + PAD];
    alignas(16) half b[TILE_K][TILE_N + PAD];
};

/* ---- dequantise: eight codes of neighbouring channels, (code - zero) * scale ---- */

/* Rounds once, in the product: a difference of codes is exact. */
template <op_stage Stage>
static __device__ __forceinline__ uint4 weights(uint32_t word, uint32_t zero_word, uint4 scale)
{
    if constexpr (Stage == OP_NODEQ) {
        return make_uint4(word, word, word, word);
    } else {
        const uint32_t s[4] = { scale.x, scale.y, scale.z, scale.w };
        half2 code[4], zero[4];
        uint32_t w[4];
        dequant_u4(word, code);
        dequant_u4(zero_word, zero);
#pragma unroll
        for (int t = 0; t < 4; t++)
            w[t] = bits_of(__hmul2(__hsub2(code[t], zero[t]), half2_of(s[t])));
        return make_uint4(w[0], w[1], w[2], w[3]);
    }
}

/* ---- multiply: a warp's 16 x 64 of the tile ---- */

static __device__ __forceinline__ void multiply(const Awq2023Tiles &t, int warp, int lane,
                                                float (&sum)[WARP_N / 8][4])
{
#pragma unroll
    for (int p = 0; p < TILE_K; p += 16) {
        uint32_t a[4];
        ldmatrix(a, &t.a[lane % 16][p + lane / 16 * 8]);
#pragma unroll
        for (int b = 0; b < WARP_N / 16; b++) {
            uint32_t w[4];
            ldmatrix_trans(w, &t.b[p + lane % 16][warp * WARP_N + b * 16 + lane / 16 * 8]);
            mma(sum[2 * b], a, w[0], w[1]);
            mma(sum[2 * b + 1], a, w[2], w[3]);
        }
    }
}

/* ---- kernels ---- */

/*
 * Ablations.  nodeq: a word stands for each of its four pairs.  loadonly: what
 * is loaded is folded, barriers remain.  mmaonly: the tiles are filled once.
 * deqonly: words, scales and zero points are read from shared memory each time.
 */
template <op_stage Stage>
static __global__
__launch_bounds__(THREADS) void awq2023_gemm(gemm_problem p, const half *x, const uint32_t *code,
                                             const half *scale, const uint32_t *zero, half *partial)
{
    __shared__ Awq2023Tiles tiles;
    constexpr bool loads = Stage != OP_MMAONLY && Stage != OP_DEQONLY;
    const int across = p.n / TILE_N, count = (p.m + TILE_M - 1) / TILE_M * across;
    const int tile = blockIdx.x % count, slice = blockIdx.x / count;
    const int i0 = tile / across * TILE_M, j0 = tile % across * TILE_N;
    const int t = threadIdx.x, warp = t / 32, lane = t % 32;
    const int a_row = t / 4, a_col = t % 4 * 8;
    const int b_row = t / TILE_WORDS, b_word = t % TILE_WORDS;
    const int j = j0 + b_word * 8; /* first channel of the thread's words */
    float sum[WARP_N / 8][4] = {};
    uint32_t fold = 0;

    if constexpr (!loads) {
        for (int e = t; e < (int)(sizeof tiles / 4); e += THREADS)
            ((uint32_t *)&tiles)[e] = 0x3c003c00u * (e % 2);
        __syncthreads();
    }
#pragma unroll 1 /* in every ablation too */
    for (int p0 = slice * TILE_K; p0 < p.k; p0 += SLICES * TILE_K) {
        uint4 a = make_uint4(0, 0, 0, 0), s = a;
        uint32_t z = 0;
        __syncthreads(); /* the last tile has been used */
        if constexpr (loads) {
            const int g = p0 / p.group;
            if (i0 + a_row < p.m)
                a = *(const uint4 *)(x + (size_t)(i0 + a_row) * p.k + p0 + a_col);
            z = zero[(size_t)g * (p.n / 8) + j / 8];
            s = *(const uint4 *)(scale + (size_t)g * p.n + j);
        } else if constexpr (Stage == OP_DEQONLY) {
            s = reload(&tiles.b[a_row][a_col]);
            z = s.x;
        }
        if constexpr (Stage == OP_LOADONLY || Stage == OP_NODEQ)
            fold ^= folded(s) ^ z;
        if constexpr (Stage == OP_LOADONLY)
            fold ^= folded(a);
        else if constexpr (loads)
            *(uint4 *)&tiles.a[a_row][a_col] = a;
        if constexpr (Stage == OP_DEQONLY) {
#pragma unroll
            for (int step = 0; step < STEPS; step += 4) {
                const uint4 words = reload(&tiles.b[b_row + step][b_word * 8]);
                fold ^=
                    folded(weights<Stage>(words.x, z, s)) ^ folded(weights<Stage>(words.y, z, s)) ^
                    folded(weights<Stage>(words.z, z, s)) ^ folded(weights<Stage>(words.w, z, s));
            }
        } else if constexpr (loads) {
#pragma unroll
            for (int step = 0; step < STEPS; step++) {
                const int row = b_row + step * STEP_ROWS;
                const uint32_t word = code[(size_t)(p0 + row) * (p.n / 8) + j / 8];
                if constexpr (Stage == OP_LOADONLY)
                    fold ^= word;
                else
                    *(uint4 *)&tiles.b[row][b_word * 8] = weights<Stage>(word, z, s);
            }
        }
        __syncthreads();
        if constexpr (Stage != OP_LOADONLY && Stage != OP_DEQONLY)
            multiply(tiles, warp, lane, sum);
    }
    if constexpr (Stage == OP_LOADONLY || Stage == OP_DEQONLY) {
        for (int b = 0; b < WARP_N / 8; b++)
            for (int e = 0; e < 4; e++)
                sum[b][e] = __uint_as_float(fold);
    }
    if (Stage == OP_NODEQ && fold == FOLD_NEVER)
        sum[0][0] = 1;
#pragma unroll
    for (int b = 0; b < WARP_N / 8; b++)
#pragma unroll
        for (int r = 0; r < 2; r++) {
            const int i = i0 + lane / 4 + 8 * r;
            const int column = j0 + warp * WARP_N + b * 8 + lane % 4 * 2;
            if (i < p.m)
                *(half2 *)(partial + ((size_t)slice * p.m + i) * p.n + column) =
                    __floats2half2_rn(sum[b][2 * r], sum[b][2 * r + 1]);
        }
}

/* y = sum of the slices, eight neighbours a thread */
static __global__ void awq2023_gemm_sum(size_t size, const half *partial, half *y)
{
    const size_t at = ((size_t)blockIdx.x * blockDim.x + threadIdx.x) * 8;
    float2 sum[4] = {};
    uint4 out;
    if (at >= size)
        return;
#pragma unroll
    for (int slice = 0; slice < SLICES; slice++) {
        const uint4 v = *(const uint4 *)(partial + slice * size + at);
        const uint32_t pair[4] = { v.x, v.y, v.z, v.w };
#pragma unroll
        for (int e = 0; e < 4; e++) {
            const float2 f = __half22float2(half2_of(pair[e]));
            sum[e].x += f.x;
            sum[e].y += f.y;
        }
    }
    out.x = bits_of(__floats2half2_rn(sum[0].x, sum[0].y));
    out.y = bits_of(__floats2half2_rn(sum[1].x, sum[1].y));
    out.z = bits_of(__floats2half2_rn(sum[2].x, sum[2].y));
    out.w = bits_of(__floats2half2_rn(sum[3].x, sum[3].y));
    *(uint4 *)(y + at) = out;
}

/* ---- launchers ---- */

template <op_stage Stage>
static enum op_status launch(const gemm_problem *p, const gemm_args *a, const void *state,
                             op_stream s)
{
    const w4_packed *w = (const w4_packed *)state;
    const size_t size = (size_t)p->m * p->n;
    const int tiles = (p->m + TILE_M - 1) / TILE_M * (p->n / TILE_N);
    const unsigned adders = (unsigned)((size / 8 + 255) / 256);
    size_t shared;
    if (!same_occupancy(awq2023_gemm<OP_COMPLETE>, awq2023_gemm<Stage>, THREADS, 0, &shared))
        return OP_EDEVICE;
    half *partial = (half *)w->work;
    awq2023_gemm<Stage><<<tiles * SLICES, THREADS, shared, s>>>(
        *p, (const half *)a->x, w->code, (const half *)w->scale, w->zero, partial);
    awq2023_gemm_sum<<<adders, 256, 0, s>>>(size, partial, (half *)a->y);
    return cudaGetLastError() == cudaSuccess ? OP_OK : OP_EDEVICE;
}

OP_BEGIN
enum op_status gemm_awq2023_gemm_setup(const struct gemm_problem *p, const struct gemm_args *a,
                                       const struct op_memory *memory, op_stream s, void **state)
{
    const enum op_status status = w4_pack(W4_AWQ2023, p, a, memory, s, state);
    if (status)
        return status;
    struct w4_packed *w = (struct w4_packed *)*state;
    w->work = memory->take(memory->context, (size_t)SLICES * p->m * p->n * sizeof(half));
    if (w->work)
        return OP_OK;
    w4_packed_free(w);
    *state = NULL;
    return OP_ENOMEM;
}

#define LAUNCHER(name, stage)                                                                      \
    enum op_status name(const struct gemm_problem *p, const struct gemm_args *a, void *state,      \
                        op_stream s)                                                               \
    {                                                                                              \
        return launch<stage>(p, a, state, s);                                                      \
    }
LAUNCHER(gemm_awq2023_gemm, OP_COMPLETE)
LAUNCHER(gemm_awq2023_gemm_nodeq, OP_NODEQ)
LAUNCHER(gemm_awq2023_gemm_loadonly, OP_LOADONLY)
LAUNCHER(gemm_awq2023_gemm_mmaonly, OP_MMAONLY)
LAUNCHER(gemm_awq2023_gemm_deqonly, OP_DEQONLY)
OP_END
