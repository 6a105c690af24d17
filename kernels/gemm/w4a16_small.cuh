/*
 * w4a16_small.cuh - Y = X W^T for few tokens: half X, 4-bit W, group 128.
 *
 * Bound by reading W once.  The product is taken transposed: 16 output channels
 * are the rows of an mma's A tile and 8 tokens its columns, so one token pads to
 * 8, not to 16, and W goes from memory to A fragments without passing shared
 * memory a second time.  Strips of W as w4a16_layout.h draws them.
 *
 *   cluster    a run of strips, `chunk` of them at a time
 *   block      its part of k
 *   warp       across: its share of the chunk's strips, at most 4
 *              behind: every (warps/across)-th group of the block's k
 *
 * A warp loads, waits for and consumes its own ring of slots of strips; no other
 * warp is asked until the sums of a chunk are complete:
 *
 *   slot   0 [strips, group g]   1 [strips, g + behind]   2 ...   one mbarrier each
 *
 * Codes become half once (code - zero, exact), and a group's products are added
 * up apart and then scaled in float, which costs tokens/16 of what scaling the
 * weights would and rounds nothing to half.
 *
 *   sums   warps -> shared memory [behind][tokens][channels] -> added up in order
 *          -> (cluster > 1) added up over the blocks in order, each its part -> Y
 *
 * Copies are a policy: bulk copies (9.0) with X resident in shared memory, or
 * cp.async (8.0) with X beside the strips in each slot.
 */
#ifndef KERNELS_GEMM_W4A16_SMALL_CUH
#define KERNELS_GEMM_W4A16_SMALL_CUH

#include "../common/mbarrier.cuh"
#include "../common/tma.cuh"
#include "mma.cuh"
#include "w4a16_dequant.cuh"
#include "w4a16_shapes.h"

struct W4Small {
    const unsigned char *packed;
    const half *x;
    half *y;
    int m, n, k;
    struct w4_small_plan plan;
};

/* ---- copies ---- */

struct W4Bulk {
    static constexpr bool RESIDENT = true; /* X is loaded once */
};

template <int Stages> struct W4Async {
    static constexpr bool RESIDENT = false;
    static constexpr int STAGES = Stages;
};

/* What a warp takes at a time: strips first .. first + count - 1 of a chunk. */
struct W4Run {
    int first, count;
};

template <int Across>
static __device__ __forceinline__ W4Run warp_run(int chunk, int strips, int across)
{
    const int first = strips * across / Across;
    return { chunk + first, strips * (across + 1) / Across - first };
}

/* Calls copy(offset in the slot, source, bytes) for the strips of a run in one
 * group: neighbours of four come in one piece. */
template <class Copy>
static __device__ __forceinline__ void for_pieces(const unsigned char *packed, W4Run run, int group,
                                                  int groups, int strip_bytes, Copy copy)
{
    const int end = run.first + run.count;
    int offset = 0;
    for (int strip = run.first; strip < end;) {
        const int next = min(end, (strip / W4_NEAR + 1) * W4_NEAR);
        const int bytes = (next - strip) * strip_bytes;
        copy(offset, packed + w4_strip_at(strip, group, groups) * strip_bytes, bytes);
        offset += bytes;
        strip = next;
    }
}

/* ---- products of one strip ---- */

/* sum += scale * (codes - zeros) * X over one group; x as ldmatrix gives it,
 * four words for each two steps. */
template <int Tiles, bool Symmetric, class Stages>
static __device__ __forceinline__ void multiply_strip(const unsigned char *strip, int lane,
                                                      const uint32_t (&x)[Tiles][4][4],
                                                      float (&sum)[Tiles][4])
{
    constexpr int CHAINS = Tiles > 2 ? 1 : 2; /* products that wait for each other: 4 or more */
    const uint4 low = ((const uint4 *)strip)[lane], high = ((const uint4 *)strip)[32 + lane];
    uint32_t word[8] = { low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w };
    const float2 scale = __half22float2(*(const half2 *)(strip + W4_CODES + lane / 4 * 4));
    const W4Zeros zeros = load_zeros<Symmetric>(strip, lane / 4);
    float part[CHAINS][Tiles][4] = {};
    if constexpr (!Stages::DEQUANT)
        word[0] ^= zeros.even ^ zeros.odd; /* or nothing would load them */
#pragma unroll
    for (int step = 0; step < 8; step++) {
        uint32_t a[4];
        weights<Stages>(word[step], zeros, a);
#pragma unroll
        for (int tile = 0; tile < Tiles; tile++) {
            const uint32_t *b = x[tile][step / 2] + step % 2 * 2;
            if constexpr (Stages::MMA)
                mma(part[step % CHAINS][tile], a, b[0], b[1]);
            else
                fold(part[0][tile][0], b[0] ^ b[1]);
        }
        if constexpr (!Stages::MMA)
            fold(part[0][0], a);
    }
#pragma unroll
    for (int tile = 0; tile < Tiles; tile++)
#pragma unroll
        for (int i = 0; i < 4; i++) {
            float v = part[0][tile][i];
            if constexpr (CHAINS == 2)
                v += part[1][tile][i];
            sum[tile][i] = fmaf(i < 2 ? scale.x : scale.y, v, sum[tile][i]);
        }
}

/* X fragments of one group: rows at the lane's address, tokens beyond the last
 * repeat it. */
template <int Tiles>
static __device__ __forceinline__ void load_x(const unsigned char *x, const int (&row)[Tiles],
                                              uint32_t (&f)[Tiles][4][4])
{
#pragma unroll
    for (int tile = 0; tile < Tiles; tile++)
#pragma unroll
        for (int pair = 0; pair < 4; pair++)
            ldmatrix(f[tile][pair], x + row[tile] + pair * 64);
}

/* ---- sums ---- */

static __device__ __forceinline__ float4 plus(float4 a, float4 b)
{
    return make_float4(a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w);
}

static __device__ __forceinline__ uint2 to_half(float4 v)
{
    return make_uint2(bits_of(__floats2half2_rn(v.x, v.y)), bits_of(__floats2half2_rn(v.z, v.w)));
}

/* Calls visit(token, channel) for the 4-channel pieces of a tile that fall to
 * this warp: `part` of `parts`. */
template <class Visit>
static __device__ __forceinline__ void for_outputs(int tokens, int channels, int part, int parts,
                                                   Visit visit)
{
    const int halves = (channels + 127) / 128; /* a warp's lanes cover 128 channels: 1 or 2 */
    for (int item = part; item < tokens * halves; item += parts) {
        const int token = halves == 2 ? item / 2 : item;
        const int channel = (halves == 2 ? item % 2 : 0) * 128 + threadIdx.x % 32 * 4;
        if (channel < channels)
            visit(token, channel);
    }
}

/* ---- the kernel ---- */

/* Grid: x blocks of clusters, y tiles of tokens. */
template <int Tokens, int Warps, int Across, bool Symmetric, class Stages, class Copy>
static __global__ __launch_bounds__(Warps * 32, 1) void w4a16_small(const W4Small p)
{
    constexpr int TILES = Tokens / 8, BEHIND = Warps / Across;
    constexpr int STRIP = W4_CODES + W4_SCALES + (Symmetric ? 0 : W4_ZEROS);
    constexpr int SUMS = Across * W4_WARP_STRIPS * W4_STRIP + 4;
    extern __shared__ __align__(128) unsigned char shared[];
    float *sums = (float *)(shared + W4_BARRIER_BYTES); /* [BEHIND][Tokens][SUMS] */
    const uint32_t barrier = shared_address(shared);
    /* by shuffle, so that the compiler knows it is the same in all lanes */
    const int warp = __shfl_sync(~0u, threadIdx.x / 32, 0), lane = threadIdx.x % 32;
    const int across = warp / BEHIND, behind = warp % BEHIND;
    const int stages = p.plan.stages;

    /* what this block and this warp have to do */
    const int cluster = blockIdx.x >> p.plan.log2, rank = blockIdx.x - (cluster << p.plan.log2);
    const int begin = cluster * p.plan.base + min(cluster, p.plan.rest);
    const int end = begin + p.plan.base + (cluster < p.plan.rest);
    const int groups = p.k / W4_GROUP;
    const int k_begin = groups * rank >> p.plan.log2, k_end = groups * (rank + 1) >> p.plan.log2;
    const int first_token = blockIdx.y * Tokens, tokens = min(Tokens, p.m - first_token);
    const half *x = p.x + (size_t)first_token * p.k + k_begin * W4_GROUP;

    unsigned char *ring = shared + p.plan.ring_at + warp * stages * p.plan.slot_bytes;
    const unsigned char *x_shared = shared + p.plan.x_at;
    const uint32_t full = barrier + warp * W4_STAGES * 8; /* of slot 0 */
    const uint32_t x_full = barrier + Warps * W4_STAGES * 8;
    uint64_t once = 0;

    /* loads of one slot; both cursors walk over chunks, and over groups within */
    auto fetch = [&](int slot, int chunk, int group) {
        const W4Run run = warp_run<Across>(chunk, min(p.plan.chunk, end - chunk), across);
        unsigned char *to = ring + slot * p.plan.slot_bytes;
        if constexpr (!Stages::LOAD)
            return;
        if constexpr (Copy::RESIDENT) {
            if (lane)
                return;
            mbarrier_expect(full + slot * 8, run.count * STRIP);
            for_pieces(p.packed, run, group, groups, STRIP,
                       [&](int at, const unsigned char *from, int bytes) {
                           bulk_copy(shared_address(to) + at, from, bytes, full + slot * 8, once);
                       });
        } else {
            for_pieces(p.packed, run, group, groups, STRIP,
                       [&](int at, const unsigned char *from, int bytes) {
                           for (int i = lane * 16; i < bytes; i += 32 * 16)
                               copy_async(to + at + i, from + i, true);
                       });
            to += p.plan.warp_strips * STRIP;
            const half *rows = x + (group - k_begin) * W4_GROUP;
            for (int i = lane; i < tokens * 16; i += 32)
                copy_async(to + i / 16 * w4_x_stride(1) + i % 16 * 16,
                           rows + (size_t)(i / 16) * p.k + i % 16 * 8, true);
        }
    };
    int next_chunk = begin, next_group = k_begin + behind, next_slot = 0;
    auto fetch_next = [&] {
        if (next_group < k_end && next_chunk < end) {
            fetch(next_slot, next_chunk, next_group);
            if ((next_group += BEHIND) >= k_end) {
                next_group = k_begin + behind;
                next_chunk += p.plan.chunk;
            }
        }
        next_slot = next_slot + 1 == stages ? 0 : next_slot + 1;
        if constexpr (!Copy::RESIDENT)
            copy_commit();
    };

    if constexpr (Copy::RESIDENT && Stages::LOAD) {
        if (lane == 0) {
            once = l2_evict_first();
#pragma unroll
            for (int i = 0; i < W4_STAGES; i++)
                mbarrier_init(full + i * 8, 1);
            mbarrier_init(x_full + warp * 8, 1);
            mbarrier_init_done();
        }
        __syncwarp();
        fetch_next(); /* W takes longest to come */
        if (lane == 0) {
            const int bytes = (k_end - k_begin) * W4_GROUP * 2;
            const int rows = (tokens - warp + Warps - 1) / Warps; /* 0 without a token */
            mbarrier_expect(x_full + warp * 8, rows * bytes);
            for (int i = warp; i < tokens; i += Warps)
                bulk_copy(shared_address(x_shared) + i * w4_x_stride(p.plan.x_groups),
                          x + (size_t)i * p.k, bytes, x_full + warp * 8);
        }
        __syncwarp();
        for (int i = 1; i < stages; i++)
            fetch_next();
        __syncthreads(); /* the other warps' barriers for X are there */
#pragma unroll
        for (int i = 0; i < Warps; i++)
            mbarrier_wait(x_full + i * 8, 0);
    } else {
        for (int i = 0; i < stages; i++)
            fetch_next();
    }

    /* where the lane's rows of X begin, for ldmatrix */
    int row[TILES];
#pragma unroll
    for (int tile = 0; tile < TILES; tile++)
        row[tile] = min(tile * 8 + lane % 8, tokens - 1) *
                        w4_x_stride(Copy::RESIDENT ? p.plan.x_groups : 1) +
                    lane / 8 * 16;

    int slot = 0;
    unsigned parity = 0;
    for (int chunk = begin; chunk < end; chunk += p.plan.chunk) {
        const int strips = min(p.plan.chunk, end - chunk), channels = strips * W4_STRIP;
        const W4Run run = warp_run<Across>(chunk, strips, across);
        float sum[W4_WARP_STRIPS][TILES][4] = {};
        for (int group = k_begin + behind; group < k_end; group += BEHIND) {
            const unsigned char *here = ring + slot * p.plan.slot_bytes;
            if constexpr (!Stages::LOAD)
                ;
            else if constexpr (Copy::RESIDENT)
                mbarrier_wait(full + slot * 8, parity);
            else
                copy_wait<Copy::STAGES - 1>();
            __syncwarp();
            uint32_t f[TILES][4][4];
            load_x(Copy::RESIDENT ? x_shared + (group - k_begin) * W4_GROUP * 2
                                  : here + p.plan.warp_strips * STRIP,
                   row, f);
#pragma unroll
            for (int i = 0; i < W4_WARP_STRIPS; i++)
                if (i < run.count)
                    multiply_strip<TILES, Symmetric, Stages>(here + i * STRIP, lane, f, sum[i]);
            __syncwarp(); /* all lanes have read the slot */
            fetch_next();
            if (++slot == stages)
                slot = 0, parity ^= 1;
        }

        /* a block of the cluster may still read the last chunk's sums */
        if constexpr (Copy::RESIDENT)
            if (p.plan.cluster > 1 && chunk > begin)
                cluster_wait();
#pragma unroll
        for (int i = 0; i < W4_WARP_STRIPS; i++)
            if (i < run.count)
#pragma unroll
                for (int tile = 0; tile < TILES; tile++)
#pragma unroll
                    for (int e = 0; e < 4; e++)
                        sums[(behind * Tokens + tile * 8 + lane % 4 * 2 + e % 2) * SUMS +
                             (run.first - chunk + i) * W4_STRIP + lane / 4 + e / 2 * 8] =
                            sum[i][tile][e];
        __syncthreads();

        half *y = p.y + (size_t)first_token * p.n + chunk * W4_STRIP;
        const int stored = min(channels, p.n - chunk * W4_STRIP); /* n is a multiple of 8 */
        for_outputs(tokens, channels, warp, Warps, [&](int token, int channel) {
            float4 *at = (float4 *)(sums + token * SUMS + channel);
            float4 v = *at;
#pragma unroll
            for (int i = 1; i < BEHIND; i++)
                v = plus(v, at[i * Tokens * SUMS / 4]);
            if (p.plan.cluster > 1)
                *at = v;
            else if (channel < stored)
                *(uint2 *)(y + (size_t)token * p.n + channel) = to_half(v);
        });
        if (p.plan.cluster == 1) {
            __syncthreads();
            continue;
        }
        if constexpr (Copy::RESIDENT) {
            __syncwarp();
            cluster_arrive();
            cluster_wait();
            for_outputs(tokens, channels, warp * p.plan.cluster + rank, Warps * p.plan.cluster,
                        [&](int token, int channel) {
                            const uint32_t at = shared_address(sums + token * SUMS + channel);
                            float4 part[8];
#pragma unroll
                            for (int i = 0; i < 8; i++)
                                if (i < p.plan.cluster)
                                    part[i] = cluster_load(at, i);
                            float4 v = part[0];
#pragma unroll
                            for (int i = 1; i < 8; i++)
                                if (i < p.plan.cluster)
                                    v = plus(v, part[i]);
                            if (channel < stored)
                                *(uint2 *)(y + (size_t)token * p.n + channel) = to_half(v);
                        });
            __syncwarp();
            cluster_arrive();
        }
    }
    /* shared memory must outlive its readers */
    if constexpr (Copy::RESIDENT)
        if (p.plan.cluster > 1)
            cluster_wait();
}

#endif
