/*
 * w4a8_stream.cuh - Y = X W^T for 9 to 16 tokens, few channels and long k: 8-bit X, 4-bit W per
 * channel or of progressive groups (compute capability 9.0).
 *
 * Bound by reading W once, and before that by how long a launch takes to end after the next one
 * might have begun: what is left then is X, products of a few groups and one sum over a cluster.
 * The product is taken transposed, as w4a8_portable.cuh does.  Blocks, ring and sums as
 * w4a8_stream.h draws them.
 *
 *   warps    8, two strips each, all tokens, every group of the block's slice.  A ninth that
 *            starts copies would cost the others registers, which go by quarters of a
 *            multiprocessor: thread 0 starts them, of a stage when the next one is multiplied
 *
 * W needs nothing of the launch before, so that the ring fills while that one ends.  The blocks of
 * a cluster then leave their sums in shared memory, and each makes Y of some quads from all of
 * them, in the order of slices.
 */
#ifndef KERNELS_GEMM_W4A8_STREAM_CUH
#define KERNELS_GEMM_W4A8_STREAM_CUH

#include "../common/launch.cuh"
#include "../common/mbarrier.cuh"
#include "../common/tma.cuh"
#include "mma.cuh"
#include "qserve_mma.cuh"
#include "w4a8_device.cuh"
#include "w4a8_stream.h"

struct W4A8Stream : W4A8Operands {
    struct w4a8_stream plan;
};

constexpr int STREAM_THREADS = W4A8_STREAM_WARPS * 32;
constexpr int STREAM_TILES = W4A8_STREAM_TOKENS / 8; /* of 8 tokens */

struct StreamRoom {
    unsigned char *base;
    W4A8Token *token;
    uint32_t full, empty; /* [stages] barriers */
    __device__ __forceinline__ StreamRoom(unsigned char *shared, const struct w4a8_stream &plan)
        : base(shared + ((1024 - (shared_address(shared) & 1023)) & 1023)),
          token((W4A8Token *)(base + plan.token_at)), full(shared_address(base) + plan.full_at),
          empty(full + 8 * W4A8_STREAM_STAGES)
    {
    }
};

/* ---- copies: thread 0 ---- */

/* Announces a stage and starts its W. */
template <bool Grouped>
static __device__ __forceinline__ void stream_w(const W4A8Stream &p, const StreamRoom &room,
                                                int tile, int group, int slot)
{
    const uint32_t full = room.full + 8 * slot;
    const uint32_t to = shared_address(room.base) + p.plan.w_at + slot * p.plan.w_bytes;
    const size_t at = w4a8_strip_at(tile * W4A8_STREAM_STRIPS, group, p.groups);
    const uint64_t policy = l2_evict_first();
    mbarrier_expect(full, W4A8_STREAM_X + p.plan.w_bytes);
    bulk_copy(to, p.packed + at * W4A8_CODES, W4A8_STREAM_STRIPS * W4A8_CODES, full, policy);
    if constexpr (Grouped)
        bulk_copy(to + W4A8_STREAM_STRIPS * W4A8_CODES, p.packed + p.code_bytes + at * W4A8_SCALES,
                  W4A8_STREAM_STRIPS * W4A8_SCALES, full, policy);
}

static __device__ __forceinline__ void stream_x(const CUtensorMap *x_map, const W4A8Stream &p,
                                                const StreamRoom &room, int group, int slot)
{
    bulk_copy_box(shared_address(room.base) + slot * W4A8_STREAM_X, x_map, group * W4A8_GROUP, 0,
                  room.full + 8 * slot);
}

/* ---- products and sums ---- */

/* Of the rows r and r+8 of a warp's two strips. */
template <bool Grouped>
static __device__ __forceinline__ void fetch_channels(const W4A8Stream &p, int channel, int lane,
                                                      uint32_t (&halves)[2][2])
{
#pragma unroll
    for (int strip = 0; strip < 2; strip++)
#pragma unroll
        for (int i = 0; i < 2; i++)
            halves[strip][i] =
                fetch_channel<Grouped>(p, channel + strip * W4A8_STRIP + lane / 4 + 8 * i);
}

/* Products of a stage: 64 of k at a time, whose weights serve all tokens. */
template <bool Grouped, class Stages>
static __device__ __forceinline__ void multiply_stage(const unsigned char *w, uint32_t x, int warp,
                                                      int lane, int (&sum)[2][STREAM_TILES][4])
{
    const unsigned char *codes = w + 2 * warp * W4A8_CODES + lane * 16;
    const unsigned char *scales_at =
        w + W4A8_STREAM_STRIPS * W4A8_CODES + 2 * warp * W4A8_SCALES + lane / 4 * 4;
#pragma unroll
    for (int block = 0; block < 2; block++) {
        uint32_t a[2][2][4];
#pragma unroll
        for (int strip = 0; strip < 2; strip++) {
            const uint4 v = *(const uint4 *)(codes + strip * W4A8_CODES + block * 512);
            const uint32_t word[4] = { v.x, v.y, v.z, v.w };
            uint32_t pair = 0;
            if constexpr (Grouped)
                pair = *(const uint32_t *)(scales_at + strip * W4A8_SCALES);
            const W4A8Scales scales = scales_of(pair);
#pragma unroll
            for (int i = 0; i < 8; i++)
                a[strip][i / 4][i % 4] =
                    Stages::DEQUANT ? weights<Grouped>(word[i / 2], i % 2, scales) : word[i % 4];
            if constexpr (Grouped && !Stages::DEQUANT) /* or nothing would load them */
                a[strip][0][0] ^= pair;
        }
        /* rows of all tiles are alike modulo 8, so that they differ by a constant */
        const uint32_t row = x + w4a8_stream_x_at(lane % 8, block * 4 + lane / 8);
#pragma unroll
        for (int tile = 0; tile < STREAM_TILES; tile++) {
            uint32_t b[4];
            if constexpr (Stages::MMA)
                ldmatrix(b, row + tile * 8 * W4A8_GROUP);
#pragma unroll
            for (int strip = 0; strip < 2; strip++) {
                if constexpr (Stages::MMA) {
                    mma_u8(sum[strip][tile], a[strip][0], b[0], b[1]);
                    mma_u8(sum[strip][tile], a[strip][1], b[2], b[3]);
                } else {
#pragma unroll
                    for (int i = 0; i < 4; i++) /* each once */
                        sum[strip][tile][i] ^= (int)a[strip][tile][i];
                }
            }
        }
    }
}

/* All blocks' sums of this block's quads -> Y.  All threads of the cluster meet once; the caller
 * sees to it that shared memory outlives its readers. */
template <bool Grouped>
static __device__ __forceinline__ void
stream_out(const W4A8Stream &p, const StreamRoom &room, int channel, int lane,
           const uint32_t (&halves)[2][2], const int (&sum)[2][STREAM_TILES][4])
{
    constexpr int QUADS = W4A8_STREAM_QUADS;
    const int slices = p.plan.slices, rank = (int)cluster_rank();
    /* all warps are through with the ring, and the copies into it have ended */
    __syncthreads();
#pragma unroll
    for (int quad = 0; quad < QUADS; quad++) {
        const int(&v)[4] = sum[quad / (STREAM_TILES)][quad % (STREAM_TILES)];
        *(int4 *)(room.base + w4a8_stream_quad_at(quad, threadIdx.x)) =
            make_int4(v[0], v[1], v[2], v[3]);
    }
    cluster_arrive();
    cluster_wait();
    const int end = w4a8_first_unit(rank + 1, slices, QUADS);
    for (int quad = w4a8_first_unit(rank, slices, QUADS); quad < end; quad++) {
        const int strip = quad / (STREAM_TILES), token = quad % (STREAM_TILES)*8;
        const uint32_t from = shared_address(room.base) + w4a8_stream_quad_at(quad, threadIdx.x);
        const W4A8Token t[2] = { room.token[token + lane % 4 * 2],
                                 room.token[token + lane % 4 * 2 + 1] };
        /* all on their way at a time: of blocks that are not there, the last one's again */
        int4 part[W4A8_STREAM_SLICES], v = make_int4(0, 0, 0, 0);
#pragma unroll
        for (int other = 0; other < W4A8_STREAM_SLICES; other++)
            part[other] = cluster_load_s32(from, min(other, slices - 1));
#pragma unroll
        for (int other = 0; other < W4A8_STREAM_SLICES; other++)
            if (other < slices) {
                v.x += part[other].x, v.y += part[other].y;
                v.z += part[other].z, v.w += part[other].w;
            }
        const uint32_t low = strip ? halves[1][0] : halves[0][0];
        const uint32_t high = strip ? halves[1][1] : halves[0][1];
        store_strip<Grouped>(p, channel + strip * W4A8_STRIP, token, lane, v,
                             channel_of<Grouped>(low, false), channel_of<Grouped>(high, true), t);
    }
}

/* ahead: stages whose W is on its way. */
template <bool Grouped, class Stages>
static __device__ __forceinline__ void stream_slice(const CUtensorMap *x_map, const W4A8Stream &p,
                                                    const StreamRoom &room, int tile, int begin,
                                                    int end, int ahead)
{
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const int channel = (tile * W4A8_STREAM_STRIPS + 2 * warp) * W4A8_STRIP;
    uint32_t halves[2][2];
    fetch_channels<Grouped>(p, channel, lane, halves);
    wait_for_previous();
    if (Stages::LOAD && threadIdx.x == 0)
        for (int i = 0; i < ahead; i++)
            stream_x(x_map, p, room, begin + i, i);
    if (threadIdx.x < W4A8_STREAM_TOKENS) /* seen after the barriers below */
        room.token[threadIdx.x] = load_token<Grouped>(p, threadIdx.x);
    int sum[2][STREAM_TILES][4] = {};
    struct w4a8_place_in_ring at = { 0, 0 };
    for (int group = begin; group < end; group++) {
        const int next = group - 1 + p.plan.stages; /* of the stage before this one */
        if (Stages::LOAD && threadIdx.x == 0 && group > begin && next < end) {
            const struct w4a8_place_in_ring before = w4a8_ring_before(at, p.plan.stages);
            mbarrier_wait(room.empty + 8 * before.slot, before.parity);
            stream_w<Grouped>(p, room, tile, next, before.slot);
            stream_x(x_map, p, room, next, before.slot);
        }
        __syncwarp();
        if constexpr (Stages::LOAD)
            mbarrier_wait(room.full + 8 * at.slot, at.parity);
        multiply_stage<Grouped, Stages>(room.base + p.plan.w_at + at.slot * p.plan.w_bytes,
                                        shared_address(room.base) + at.slot * W4A8_STREAM_X, warp,
                                        lane, sum);
        __syncwarp();
        if (lane == 0)
            mbarrier_arrive(room.empty + 8 * at.slot);
        at = w4a8_ring_next(at, p.plan.stages);
    }
    stream_out<Grouped>(p, room, channel, lane, halves, sum);
}

/* ---- the kernel ---- */

/* Grid: tiles, each of as many blocks as there are slices. */
template <bool Grouped, class Stages>
static __global__ __launch_bounds__(STREAM_THREADS,
                                    2) void w4a8_stream(const __grid_constant__ CUtensorMap x_map,
                                                        const __grid_constant__ W4A8Stream p)
{
    extern __shared__ __align__(1024) unsigned char shared[];
    const StreamRoom room(shared, p.plan);
    const int tile = blockIdx.x / p.plan.slices, rank = blockIdx.x % p.plan.slices;
    const int begin = w4a8_first_unit(rank, p.plan.slices, p.groups);
    const int end = w4a8_first_unit(rank + 1, p.plan.slices, p.groups);
    const int ahead = min(p.plan.stages, end - begin);
    if (threadIdx.x == 0) {
        let_next_start();
        tma_map_fetch(&x_map);
        for (int i = 0; i < p.plan.stages; i++) {
            mbarrier_init(room.full + 8 * i, 1);
            mbarrier_init(room.empty + 8 * i, W4A8_STREAM_WARPS);
        }
        mbarrier_init_done();
        for (int i = 0; Stages::LOAD && i < ahead; i++)
            stream_w<Grouped>(p, room, tile, begin + i, i);
    }
    __syncthreads();
    stream_slice<Grouped, Stages>(&x_map, p, room, tile, begin, end, ahead);
    cluster_arrive();
    cluster_wait();
}

#endif
