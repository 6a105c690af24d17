/*
 * awq2024_gemv.cu - Y = X W^T for one to seven tokens, half X, 4-bit W.
 *
 * Follows AWQ's code of February 2024.  A block makes eight channels, two bands
 * of four, for all tokens, so W is read and converted once.
 *
 *   thread t  row t/2%4 of each band; of every 2048 input channels, 32 from
 *             t/8*64 + t%2*32: 16 bytes of each band
 *   lane      bits  4 3     2 1     0
 *                   k       row     k       sums cross lanes over 16, 8 and 1
 *   warps     eight, added through shared memory
 *
 * The products are those of half2 { band 0, band 1 } with an element of X.
 * awq2024_gemv adds them up in half, as published: a thread's sum has 32
 * products for every 2048 input channels, then sums are float.
 * awq2024_gemv_f32 adds in float throughout.
 *
 * Meant to be bound by reading W; the products on the CUDA cores outweigh that
 * from about four tokens.  W's format: awq2024 of awq_layout.h.
 */
#include <cuda_fp16.h>

#include "../common/warp.cuh"
#include "ablation.cuh"
#include "awq_layout.h"
#include "dequant.cuh"
#include "mma.cuh"
#include "published.h"
#include "w4_pack.h"

constexpr int THREADS = 256, WARPS = THREADS / WARP;
constexpr int BANDS = 2, BAND = 4, CHANNELS = BANDS * BAND;
constexpr int CODES = 32;                    /* of a band and thread, in a step */
constexpr int STEP = THREADS * CODES / BAND; /* input channels of a step */
constexpr int TOKENS_MAX = 7;

/* Blocks that an SM holds at least; 0: no bound.  Left to itself the compiler
 * spills sums in half of four tokens and more, to hold more blocks. */
template <int M, class Sum> constexpr int resident = sizeof(Sum) == 8 || M < 4 ? 0 : M == 4 ? 3 : 2;

/* ---- dequantise: 32 codes of two rows, paired across the rows ---- */

/* Word a's pair t holds input channels 8t + 2a and the next: awq_layout.h. */
template <op_stage Stage>
static __device__ __forceinline__ void weights(uint4 packed, half scale, half shift,
                                               half2 (&pair)[CODES / 2])
{
    const uint32_t word[4] = { packed.x, packed.y, packed.z, packed.w };
#pragma unroll
    for (int a = 0; a < 4; a++) {
        half2 code[4];
        if constexpr (Stage != OP_NODEQ)
            dequant_u4(word[a], code);
#pragma unroll
        for (int t = 0; t < 4; t++)
            pair[4 * t + a] = Stage == OP_NODEQ
                                  ? half2_of(word[a])
                                  : __hfma2(code[t], __half2half2(scale), __half2half2(shift));
    }
}

/* ---- multiply: one element of X with the weights of two rows ---- */

static __device__ __forceinline__ void add(half2 &sum, half2 weight, half x)
{
    sum = __hfma2(weight, __half2half2(x), sum);
}

static __device__ __forceinline__ void add(float2 &sum, half2 weight, half x)
{
    const float2 w = __half22float2(weight);
    sum.x += w.x * __half2float(x);
    sum.y += w.y * __half2float(x);
}

/* Eight input channels of two rows. */
template <class Sum>
static __device__ __forceinline__ void multiply(Sum &sum, const half2 *row0, const half2 *row1,
                                                const half2 *x)
{
#pragma unroll
    for (int e = 0; e < 4; e++) {
        add(sum, __lows2half2(row0[e], row1[e]), __low2half(x[e]));
        add(sum, __highs2half2(row0[e], row1[e]), __high2half(x[e]));
    }
}

static __device__ __forceinline__ float2 as_float(half2 sum)
{
    return __half22float2(sum);
}

static __device__ __forceinline__ float2 as_float(float2 sum)
{
    return sum;
}

/* Over the lanes of a row. */
static __device__ __forceinline__ float row_sum(float v)
{
    v += __shfl_xor_sync(ALL_LANES, v, 16);
    v += __shfl_xor_sync(ALL_LANES, v, 8);
    return v + __shfl_xor_sync(ALL_LANES, v, 1);
}

/* ---- kernel ---- */

/*
 * Sum: half2 or float2, a band to a part.  Ablations: nodeq multiplies words as
 * they are; loadonly folds what is loaded; mmaonly multiplies words and X of
 * shared memory; deqonly converts words of shared memory and folds.
 */
template <int M, op_stage Stage, class Sum>
static __global__ __launch_bounds__(THREADS, (resident<M, Sum>)) void awq2024_gemv(
    int n, int k, int group_bits, const half *x, const uint4 *code, const half *scale,
    const half *shift, half *y)
{
    constexpr bool loads = Stage != OP_MMAONLY && Stage != OP_DEQONLY;
    __shared__ float part[WARPS][M * CHANNELS];
    __shared__ alignas(16) uint32_t constant[loads ? 4 : 4 * WARP];
    const int t = threadIdx.x, lane = t % WARP, row = t / 2 % BAND, j0 = blockIdx.x * CHANNELS;
    const uint4 *band = code + (size_t)j0 * k / CODES + t;
    Sum sum[M] = {};
    uint32_t fold = 0;

    if constexpr (!loads) {
        if (t < 4 * WARP)
            constant[t] = 0x3c003c00u * (t % 2);
        __syncthreads();
    }
#pragma unroll 1 /* in every ablation too */
    for (int p = t / 8 * 64 + t % 2 * CODES; p < k; p += STEP, band += THREADS) {
        uint4 packed[BANDS];
        half s[BANDS], z[BANDS];
        half2 pair[BANDS][CODES / 2];
#pragma unroll
        for (int b = 0; b < BANDS; b++) {
            if constexpr (loads) {
                const size_t at = (size_t)(p >> group_bits) * n + j0 + b * BAND + row;
                packed[b] = band[(size_t)b * k / 8];
                s[b] = scale[at];
                z[b] = shift[at];
            } else {
                packed[b] = reload(constant + 4 * lane);
                s[b] = z[b] = __ushort_as_half((unsigned short)packed[b].x);
            }
            if constexpr (Stage == OP_LOADONLY || Stage == OP_NODEQ)
                fold ^= __half_as_ushort(s[b]) ^ __half_as_ushort(z[b]);
            if constexpr (Stage == OP_LOADONLY)
                fold ^= folded(packed[b]);
            else
                weights<Stage == OP_MMAONLY ? OP_NODEQ : Stage>(packed[b], s[b], z[b], pair[b]);
            if constexpr (Stage == OP_DEQONLY)
                for (int e = 0; e < CODES / 2; e++)
                    fold ^= bits_of(pair[b][e]);
        }
#pragma unroll
        for (int i = 0; i < (Stage == OP_DEQONLY ? 0 : M); i++)
#pragma unroll
            for (int q = 0; q < CODES / 8; q++) {
                const uint4 eight = loads ? *(const uint4 *)(x + (size_t)i * k + p + q * 8)
                                          : reload(constant + 4 * i);
                if constexpr (Stage == OP_LOADONLY)
                    fold ^= folded(eight);
                else
                    multiply(sum[i], pair[0] + q * 4, pair[1] + q * 4, (const half2 *)&eight);
            }
    }
#pragma unroll
    for (int i = 0; i < M; i++) {
        float2 f = as_float(sum[i]);
        if constexpr (Stage == OP_LOADONLY || Stage == OP_DEQONLY)
            f.x = f.y = __uint_as_float(fold);
        if (Stage == OP_NODEQ && fold == FOLD_NEVER)
            f.x = 1;
        f.x = row_sum(f.x);
        f.y = row_sum(f.y);
        if ((lane & 25) == 0) {
            part[t / WARP][i * CHANNELS + row] = f.x;
            part[t / WARP][i * CHANNELS + BAND + row] = f.y;
        }
    }
    __syncthreads();
    if (t < M * CHANNELS) {
        float total = 0;
        for (int w = 0; w < WARPS; w++)
            total += part[w][t];
        y[(size_t)(t / CHANNELS) * n + j0 + t % CHANNELS] = __float2half(total);
    }
}

/* ---- launchers ---- */

template <int M, op_stage Stage, class Sum>
static enum op_status launch(const gemm_problem *p, const gemm_args *a, const void *state,
                             op_stream s)
{
    if constexpr (M > 1) {
        if (p->m < M)
            return launch<M - 1, Stage, Sum>(p, a, state, s);
    }
    const w4_packed *w = (const w4_packed *)state;
    size_t shared;
    if (!same_occupancy(awq2024_gemv<M, OP_COMPLETE, Sum>, awq2024_gemv<M, Stage, Sum>, THREADS, 0,
                        &shared))
        return OP_EDEVICE;
    awq2024_gemv<M, Stage, Sum><<<p->n / CHANNELS, THREADS, shared, s>>>(
        p->n, p->k, p->group == 64 ? 6 : 7, (const half *)a->x, (const uint4 *)w->code,
        (const half *)w->scale, (const half *)w->shift, (half *)a->y);
    return cudaGetLastError() == cudaSuccess ? OP_OK : OP_EDEVICE;
}

OP_BEGIN
enum op_status gemm_awq2024_gemv_setup(const struct gemm_problem *p, const struct gemm_args *a,
                                       const struct op_memory *memory, op_stream s, void **state)
{
    return w4_pack(W4_AWQ2024, p, a, memory, s, state);
}

#define LAUNCHER(name, stage, sum)                                                                 \
    enum op_status name(const struct gemm_problem *p, const struct gemm_args *a, void *state,      \
                        op_stream s)                                                               \
    {                                                                                              \
        return launch<TOKENS_MAX, stage, sum>(p, a, state, s);                                     \
    }
LAUNCHER(gemm_awq2024_gemv, OP_COMPLETE, half2)
LAUNCHER(gemm_awq2024_gemv_f32, OP_COMPLETE, float2)
LAUNCHER(gemm_awq2024_gemv_nodeq, OP_NODEQ, half2)
LAUNCHER(gemm_awq2024_gemv_loadonly, OP_LOADONLY, half2)
LAUNCHER(gemm_awq2024_gemv_mmaonly, OP_MMAONLY, half2)
LAUNCHER(gemm_awq2024_gemv_deqonly, OP_DEQONLY, half2)
OP_END
