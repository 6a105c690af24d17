/*
 * own_wgrad.cuh - gradient of the weights for Hopper: half operands, float sums and result.
 *
 *   dW_d = sum over the pairs (j, k) of tap d of x_j^T g_k
 *
 * Bound by fetching rows of X and G from the L2 cache.  A product over pairs, of which none
 * is absent: both operands are gathered rows, channels along them, so that wgmma takes both
 * transposed.
 *
 *   block    `chunk` pairs of one tap, 64 x Blocks channels of x, 64 x Wide of g
 *   warps    0-3 and 4-7   consumers: 64 channels of x each, or where there are only 64
 *                          half of every stage's pairs each, joined in the ring at the end
 *            8-9 or 8-11   producers
 *   ring     stage = 64 pairs: X [Blocks][64 pairs][64], G [Wide][64 pairs][64]
 *
 * A tap of one chunk goes to dW.  The sums of several are kept, [chunk][cin][cout], and added by a
 * second kernel in an order that does not depend on when they came: the same bits every time.
 */
#ifndef KERNELS_SPCONV_OWN_WGRAD_CUH
#define KERNELS_SPCONV_OWN_WGRAD_CUH

#include <cuda_fp16.h>

#include "../common/launch.cuh"
#include "../common/wgmma_smem.cuh"
#include "own_ring.cuh"
#include "spconv.h"

struct OwnWgradWork {
    const int32_t *pair_in, *pair_out;
    const half *x, *g;
    float *y, *partial; /* partial: [chunks][cin][cout] */
    int cin, cout, taps, chunk;
    int start[SPCONV_TAPS_MAX + 1], first_chunk[SPCONV_TAPS_MAX + 1];
};

constexpr int WGRAD_PAIRS = 64, WGRAD_CONSUMERS = 256, WGRAD_STAGES_MAX = 8;

template <int Blocks, int Wide> struct OwnWgradShape {
    static constexpr int RESIDENT = Wide <= 2 ? 2 : 1; /* on a multiprocessor */
    static constexpr int BLOCK = WGRAD_PAIRS * 128;
    static constexpr int STAGE = (Blocks + Wide) * BLOCK;
    static constexpr int FIT = (RESIDENT == 2 ? 100 : 200) * 1024 / STAGE;
    static constexpr int STAGES = FIT < WGRAD_STAGES_MAX ? FIT : WGRAD_STAGES_MAX;
    static constexpr int BYTES = STAGES * STAGE + 1024 + 16 * WGRAD_STAGES_MAX;
    static constexpr int PRODUCERS = RESIDENT == 2 ? 64 : 128;
    static constexpr int THREADS = WGRAD_CONSUMERS + PRODUCERS;
    static constexpr int ROWS = WGRAD_PAIRS / (PRODUCERS / 32); /* a warp gathers: 16 or 32 */
};

/* Blocks of 64 channels of the warp's rows, row i that of lane i. */
template <int Blocks, int Rows>
static __device__ __forceinline__ void gather_blocks(const half *from, int row_of_lane,
                                                     int channels, int first_channel,
                                                     uint32_t to)
{
    const int lane = threadIdx.x % 32, chunk = lane % 8;
#pragma unroll
    for (int first = 0; first < Rows; first += 4) {
        const int row = first + lane / 8;
        const int j = __shfl_sync(~0u, row_of_lane, row);
        const half *x = from + (size_t)(j < 0 ? 0 : j) * channels;
#pragma unroll
        for (int b = 0; b < Blocks; b++) {
            const int channel = first_channel + b * 64 + chunk * 8;
            const bool exists = j >= 0 && channel < channels;
            gather<16>(to + b * WGRAD_PAIRS * 128 + row * 128 + (chunk ^ row % 8) * 16,
                       exists ? x + channel : from, exists);
        }
    }
}

template <int Blocks, int Wide>
static __device__ __forceinline__ void wgrad_produce(const OwnWgradWork &p, uint32_t ring,
                                                     uint32_t full, uint32_t empty, int begin,
                                                     int end, int row0, int column0)
{
    typedef OwnWgradShape<Blocks, Wide> Shape;
    const int lane = threadIdx.x % 32;
    const int my_rows = (threadIdx.x - WGRAD_CONSUMERS) / 32 * Shape::ROWS;
    OwnSlot stage = { 0, 1 };
    auto pair_of = [&](const int32_t *pair, int first) {
        const int e = first + my_rows + lane;
        return lane < Shape::ROWS && e < end ? __ldg(pair + e) : -1;
    };
    int in = pair_of(p.pair_in, begin), out = pair_of(p.pair_out, begin);
    for (int first = begin; first < end; first += WGRAD_PAIRS) {
        const uint32_t at = ring + stage.index * Shape::STAGE + my_rows * 128;
        const int next_in = pair_of(p.pair_in, first + WGRAD_PAIRS);
        const int next_out = pair_of(p.pair_out, first + WGRAD_PAIRS);
        mbarrier_wait(empty + 8 * stage.index, stage.parity);
        gather_blocks<Blocks, Shape::ROWS>(p.x, in, p.cin, row0, at);
        gather_blocks<Wide, Shape::ROWS>(p.g, out, p.cout, column0, at + Blocks * Shape::BLOCK);
        arrive_with_copies(full + 8 * stage.index);
        stage.next(Shape::STAGES);
        in = next_in;
        out = next_out;
    }
}

/* Two warpgroups have half of the same sums each, the first adds those of the second.  meet: room
 * for them.  false: this is the second, and done. */
template <int Count>
static __device__ __forceinline__ bool wgrad_halves(float (&sum)[Count], float *meet,
                                                    int warpgroup)
{
    meet += threadIdx.x % 128;
    own_sync<WGRAD_CONSUMERS>(1); /* nobody reads the ring any more */
    if (warpgroup == 1)
#pragma unroll
        for (int j = 0; j < Count; j++)
            meet[j * 128] = sum[j];
    own_sync<WGRAD_CONSUMERS>(1);
    if (warpgroup == 0)
#pragma unroll
        for (int j = 0; j < Count; j++)
            sum[j] += meet[j * 128];
    return warpgroup == 0;
}

/* to: [cin][cout], of the chunk; meet: the ring, as floats. */
template <int Blocks, int Wide>
static __device__ __forceinline__ void wgrad_consume(const OwnWgradWork &p, uint32_t ring,
                                                     uint32_t full, uint32_t empty, int stages,
                                                     float *to, float *meet, int row0, int column0)
{
    typedef OwnWgradShape<Blocks, Wide> Shape;
    constexpr int STEPS = Blocks == 2 ? 4 : 2; /* of 16 pairs */
    const int warp = __shfl_sync(~0u, threadIdx.x / 32, 0), lane = threadIdx.x % 32;
    const int warpgroup = warp / 4;
    const uint32_t block = Blocks == 2 ? warpgroup * Shape::BLOCK : 0;
    const int first_step = Blocks == 2 ? 0 : warpgroup * 2;
    OwnSlot stage = { 0, 0 };
    float sum[Wide * 32];

    for (int i = 0; i < stages; i++) {
        const uint32_t x = ring + stage.index * Shape::STAGE + block;
        const uint32_t g = ring + stage.index * Shape::STAGE + Blocks * Shape::BLOCK;
        mbarrier_wait(full + 8 * stage.index, stage.parity);
        wgmma_see_writes();
        wgmma_fence();
#pragma unroll
        for (int step = 0; step < STEPS; step++) {
            const int behind = (first_step + step) * 128; /* 16 rows of 128 bytes, / 16 */
            wgmma_smem<1, 1>(sum, wgmma_operand_trans(x, Shape::BLOCK) + behind,
                             wgmma_operand_trans(g, Shape::BLOCK) + behind, i || step);
        }
        wgmma_commit();
        wgmma_wait<0>();
        __syncwarp();
        if (lane == 0)
            mbarrier_arrive(empty + 8 * stage.index);
        stage.next(Shape::STAGES);
    }
    if (Blocks == 1 && !wgrad_halves(sum, meet, warpgroup))
        return;
    const int row = row0 + (Blocks == 2 ? warpgroup * 64 : 0) + warp % 4 * 16 + lane / 4;
    const int column = column0 + lane % 4 * 2;
    to += (size_t)row * p.cout + column;
#pragma unroll
    for (int j = 0; j < Wide * 8; j++)
#pragma unroll
        for (int h = 0; h < 2; h++)
            if (row + 8 * h < p.cin && column + 8 * j < p.cout)
                *(float2 *)(to + (size_t)8 * h * p.cout + 8 * j) =
                    make_float2(sum[4 * j + 2 * h], sum[4 * j + 2 * h + 1]);
}

template <int Blocks, int Wide>
static __global__ __launch_bounds__(OwnWgradShape<Blocks, Wide>::THREADS,
                                    OwnWgradShape<Blocks, Wide>::RESIDENT) void
own_wgrad(const __grid_constant__ OwnWgradWork p)
{
    typedef OwnWgradShape<Blocks, Wide> Shape;
    extern __shared__ __align__(1024) unsigned char shared[];
    const uint32_t ring = (shared_address(shared) + 1023) & ~1023u;
    const uint32_t full = ring + Shape::STAGES * Shape::STAGE, empty = full + 8 * WGRAD_STAGES_MAX;
    if (threadIdx.x == 0) {
        for (int i = 0; i < Shape::STAGES; i++) {
            mbarrier_init(full + 8 * i, Shape::PRODUCERS);
            mbarrier_init(empty + 8 * i, WGRAD_CONSUMERS / 32);
        }
        mbarrier_init_done();
    }
    int tap = 0;
    while (p.first_chunk[tap + 1] <= (int)blockIdx.x)
        tap++;
    const int begin = p.start[tap] + ((int)blockIdx.x - p.first_chunk[tap]) * p.chunk;
    const int end = min(begin + p.chunk, p.start[tap + 1]);
    const int row0 = blockIdx.y * Blocks * 64, column0 = blockIdx.z * Wide * 64;
    const size_t size = (size_t)p.cin * p.cout;
    float *to = p.first_chunk[tap + 1] - p.first_chunk[tap] == 1 ? p.y + tap * size
                                                                 : p.partial + blockIdx.x * size;
    __syncthreads();
    if (threadIdx.x >= WGRAD_CONSUMERS) {
        if constexpr (Shape::RESIDENT == 1)
            asm volatile("setmaxnreg.dec.sync.aligned.u32 56;");
        wgrad_produce<Blocks, Wide>(p, ring, full, empty, begin, end, row0, column0);
    } else {
        if constexpr (Shape::RESIDENT == 1)
            asm volatile("setmaxnreg.inc.sync.aligned.u32 224;");
        wgrad_consume<Blocks, Wide>(p, ring, full, empty,
                                    (end - begin + WGRAD_PAIRS - 1) / WGRAD_PAIRS, to,
                                    (float *)(shared + (ring - shared_address(shared))), row0,
                                    column0);
    }
    __syncthreads(); /* copies arrive in the name of threads that are still there */
}

constexpr int JOIN_THREADS = 256, JOIN_LANES = JOIN_THREADS / 32; /* that share a tap's chunks */

/* Sums of chunks, blockIdx.y is the tap: a thread adds every JOIN_LANES-th chunk to four numbers,
 * the first then what those of its lane have, in order.  Zeros where a tap has no pair. */
static __global__ __launch_bounds__(JOIN_THREADS) void
join_chunks(const __grid_constant__ OwnWgradWork p)
{
    __shared__ float4 meet[JOIN_LANES][32];
    const int tap = blockIdx.y, first = p.first_chunk[tap];
    const int chunks = p.first_chunk[tap + 1] - first;
    const int size = p.cin * p.cout / 4, lane = threadIdx.x / 32;
    const int at = blockIdx.x * 32 + threadIdx.x % 32; /* cin and cout are multiples of 8 */
    wait_for_previous(); /* by all: who waits for this kernel waits for the one before it too */
    if (chunks == 1)
        return;
    const float4 *from = (const float4 *)p.partial + (size_t)first * size + at;
    float4 sum = make_float4(0, 0, 0, 0);
#pragma unroll 4
    for (int k = at < size ? lane : chunks; k < chunks; k += JOIN_LANES) {
        const float4 v = __ldcg(from + (size_t)k * size);
        sum.x += v.x, sum.y += v.y, sum.z += v.z, sum.w += v.w;
    }
    meet[lane][threadIdx.x % 32] = sum;
    __syncthreads();
    if (lane > 0 || at >= size)
        return;
    for (int k = 1; k < JOIN_LANES; k++) {
        const float4 v = meet[k][threadIdx.x];
        sum.x += v.x, sum.y += v.y, sum.z += v.z, sum.w += v.w;
    }
    ((float4 *)p.y)[(size_t)tap * size + at] = sum;
}

#endif
