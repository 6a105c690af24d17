/*
 * w4a16_small.cuh - Y = X W^T for few tokens: half X, 4-bit W, group 128.
 *
 * Bound by reading W once.  The product is taken transposed: 16 output channels
 * are the rows of an mma's A tile and 8 tokens its columns, so one token pads to
 * 8, not to 16, and W goes from memory to A fragments without passing shared
 * memory a second time.  Strips of W as w4a16_layout.h draws them, tiles and the
 * units that blocks take as w4a16_shapes.h does.
 *
 *   warp of a block   across: its 2 or 4 of a tile's strips
 *                     behind: every (warps/across)-th unit of the block's run
 *   its ring          slots of two strips of one group, filled again once read
 *   X ring            of the warps that stand side by side: slots of one group
 *
 * W does not depend on the kernel before, so the rings for W fill before that one
 * has ended, where the launch allows the two to overlap; X waits for its end.
 *
 * Products as w4a16_few.cuh has them.  With more than 16 tokens that of the zeros weighs
 * more than subtracting, and code - zero (exact) is multiplied.
 *
 * Sums stay fragments, 16 bytes a lane, until they are stored: they are added up
 * over the warps behind each other in shared memory, over blocks in a workspace,
 * always in the same order.
 *
 * Copies of W are a policy: bulk copies (9.0), or cp.async (8.0) with across = 1.
 */
#ifndef KERNELS_GEMM_W4A16_SMALL_CUH
#define KERNELS_GEMM_W4A16_SMALL_CUH

#include "../common/launch.cuh"
#include "../common/mbarrier.cuh"
#include "../common/tma.cuh"
#include "w4a16_few.cuh"

struct W4Small {
    const unsigned char *packed, *packed_end;
    const half *x;
    half *y;
    float4 *workspace; /* [blocks][first, last tile of a block][fragments][32 lanes] */
    int *counters;     /* [tiles][warps], zero between launches */
    int m, n, k;
    struct w4_small_plan plan;
};

/* ---- copies ---- */

struct W4Bulk {
    static constexpr bool BULK = true;
};

template <int Stages> struct W4Async {
    static constexpr bool BULK = false;
    static constexpr int STAGES = Stages; /* 2 x_stages strips / 2 or fewer */
};

/* ---- sums of blocks ---- */

/* How many have counted before.  What they wrote then is visible to the warp, and
 * what the warp wrote to those who count later. */
static __device__ __forceinline__ int count(int *counter)
{
    int before;
    asm volatile("atom.acq_rel.gpu.global.add.s32 %0, [%1], 1;"
                 : "=r"(before)
                 : "l"(counter)
                 : "memory");
    return before;
}

/* ---- the kernel ---- */

/* Grid: x blocks, y tiles of tokens. */
template <int Tokens, int Warps, int Across, int Strips, bool Symmetric, class Stages, class Copy>
static __global__
__launch_bounds__(Warps * 32, Tokens * Strips > 64 ? 1 : Tokens > 8 || Warps > 8 ? 2 : 3)
void w4a16_small(const W4Small p)
{
    constexpr bool LEAST = Tokens <= 16; /* registers do not hold more sums of X */
    constexpr int TILES = Tokens / 8, BEHIND = Warps / Across, SLOTS = Strips / W4_PAIR;
    /* registers do not hold 32 tokens' X for a whole group */
    constexpr int HALVES = Tokens > 16 ? 2 : 1, STEPS = 8 / HALVES;
    constexpr int STRIP = W4_CODES + W4_SCALES + (Symmetric ? 0 : W4_ZEROS);
    constexpr int FRAGMENTS = Across * Strips * TILES;
    constexpr int OWN = (FRAGMENTS + Warps - 1) / Warps; /* that a warp adds up and stores */
    static_assert(Copy::BULK || Across == 1, "");
    extern __shared__ __align__(128) unsigned char shared[];
    /* by shuffle, so that the compiler knows it is the same in all lanes */
    const int warp = __shfl_sync(~0u, threadIdx.x / 32, 0), lane = threadIdx.x % 32;
    const int across = warp / BEHIND, behind = warp % BEHIND;
    const int stages = p.plan.stages, x_stages = p.plan.x_stages, groups = p.plan.groups;
    const int begin = w4_first_unit(&p.plan, blockIdx.x);
    const int end = w4_first_unit(&p.plan, blockIdx.x + 1);
    const int first_token = blockIdx.y * Tokens, tokens = min(Tokens, p.m - first_token);

    unsigned char *ring = shared + p.plan.ring_at + warp * stages * p.plan.slot_bytes;
    unsigned char *x_ring = shared + p.plan.x_at + behind * x_stages * p.plan.x_bytes;
    const uint32_t full = shared_address(shared) + warp * W4_STAGES * 8; /* of slot 0 */
    const uint32_t x_full =
        shared_address(shared) + (Warps * W4_STAGES + behind * 2 * W4_X_STAGES) * 8;
    const uint32_t x_read = x_full + W4_X_STAGES * 8;
    uint64_t once = 0;

    /* ---- loads of W: a slot after the other ---- */
    int to_unit = begin + behind, to_stop = 0, to_pair = 0; /* to_stop: where a tile ends */
    const unsigned char *from = NULL;
    auto locate = [&] {
        const int tile = to_unit / groups;
        to_stop = (tile + 1) * groups;
        from = p.packed + w4_strip_at((tile * Across + across) * Strips, to_unit - tile * groups,
                                      groups, W4_NEAR) * STRIP;
    };
    auto fetch = [&](int slot) {
        if (to_unit < end) {
            if constexpr (Stages::LOAD) {
                unsigned char *to = ring + slot * (W4_PAIR * STRIP);
                const unsigned char *pair = from + to_pair * (W4_PAIR * STRIP);
                const int bytes = pair < p.packed_end ? W4_PAIR * STRIP : 0;
                if constexpr (Copy::BULK) {
                    if (lane == 0) {
                        mbarrier_expect(full + slot * 8, bytes);
                        if (bytes)
                            bulk_copy(shared_address(to), pair, bytes, full + slot * 8, once);
                    }
                } else {
                    for (int i = lane * 16; i < bytes; i += 32 * 16)
                        copy_async(to + i, pair + i, true);
                }
            }
            if (++to_pair == SLOTS) {
                to_pair = 0;
                to_unit += BEHIND;
                from += BEHIND * W4_NEAR * STRIP;
                if (to_unit >= to_stop)
                    locate();
            }
        }
        if constexpr (!Copy::BULK)
            copy_commit();
    };

    /* ---- loads of X: a part each of the warps that share it.  By threads, since a
     * bulk copy a row would have lanes wait for each other; group may be beyond the
     * last, in a tile to come ---- */
    auto fetch_x = [&](int unit, int group, int slot) {
        if (unit >= end || !Stages::LOAD)
            return;
        while (group >= groups)
            group -= groups;
        const int piece = across * 32 + lane; /* 16 bytes; 16 to a row */
        const half *rows = p.x + (size_t)(first_token + piece / 16) * p.k + group * W4_GROUP +
                           lane % 16 * 8;
        unsigned char *to =
            x_ring + slot * p.plan.x_bytes + piece / 16 * W4_X_STRIDE + lane % 16 * 16;
#pragma unroll
        for (int i = 0; i < Tokens; i += Across * 2)
            if (i + piece / 16 < tokens)
                copy_async(to + i * W4_X_STRIDE, rows + (size_t)i * p.k, true);
        if constexpr (Copy::BULK)
            copy_arrive(x_full + slot * 8);
    };
    auto fetch_first_x = [&] {
        const int group = (begin + behind) % groups;
        for (int i = 0; i < x_stages; i++)
            fetch_x(begin + behind + i * BEHIND, group + i * BEHIND, i);
    };

    locate();
    if constexpr (Copy::BULK) {
        if (lane == 0) {
            once = l2_evict_first();
            for (int i = 0; i < W4_STAGES; i++)
                mbarrier_init(full + i * 8, 1);
            if (across == 0)
                for (int i = 0; i < W4_X_STAGES; i++) {
                    mbarrier_init(x_full + i * 8, Across * 32);
                    mbarrier_init(x_read + i * 8, Across);
                }
            mbarrier_init_done();
        }
        __syncwarp();
        for (int i = 0; i < stages; i++)
            fetch(i);
        let_next_start();
        if constexpr (Across > 1)
            __syncthreads(); /* the barriers for X are there */
        wait_for_previous();
        fetch_first_x();
    } else {
        fetch_first_x();
        for (int i = 0; i < stages; i++)
            fetch(i);
    }

    /* where the lane's rows of X begin, for ldmatrix; tokens beyond the last repeat
     * it, or are whatever shared memory holds and are not stored */
    const int row = min(lane % 8, tokens - 1) * W4_X_STRIDE + lane / 8 * 16;

    int unit = begin + behind, slot = 0, at_x = 0;
    unsigned parity = 0, x_parity = 0; /* of the slots that come */
    auto fetch_next_x = [&](int now, int tile) {
        const int group = now - tile * groups;
        if constexpr (Across == 1) {
            fetch_x(now + x_stages * BEHIND, group + x_stages * BEHIND, at_x);
        } else if constexpr (Stages::LOAD) {
            /* the slot before this: by now the other warps should have read it */
            if (now >= begin + BEHIND) {
                const int ahead = (x_stages - 1) * BEHIND;
                const int before = (at_x ? at_x : x_stages) - 1;
                mbarrier_wait(x_read + before * 8, x_parity ^ (at_x == 0));
                fetch_x(now + ahead, group + ahead, before);
            }
        }
    };
    for (int tile = begin / groups; tile * groups < end; tile++) {
        const int stop = min(end, (tile + 1) * groups);
        float sum[Strips][TILES][4] = {};
        for (; unit < stop; unit += BEHIND) {
            const unsigned char *x = x_ring + at_x * p.plan.x_bytes;
            if constexpr (!Stages::LOAD)
                ;
            else if constexpr (Copy::BULK)
                mbarrier_wait(x_full + at_x * 8, x_parity);
            else
                copy_wait<Copy::STAGES - SLOTS>();
            __syncwarp();
#pragma unroll 1
            for (int h = 0; h < HALVES; h++) {
                uint32_t f[TILES][STEPS / 2][4];
                load_x<TILES, STEPS>(x + row + h * (W4_GROUP / HALVES * 2), f);
                float x_sum[TILES][4] = {};
                if constexpr (LEAST && Stages::MMA)
                    add_x<TILES, STEPS>(f, x_sum);
                if (h == HALVES - 1) {
                    __syncwarp(); /* all lanes have read X */
                    if constexpr (Across > 1 && Stages::LOAD)
                        if (lane == 0)
                            mbarrier_arrive(x_read + at_x * 8);
                    if constexpr (HALVES == 1)
                        fetch_next_x(unit, tile);
                }
#pragma unroll
                for (int pair = 0; pair < SLOTS; pair++) {
                    const bool wraps = slot + pair >= stages;
                    const int at = slot + pair - (wraps ? stages : 0);
                    if constexpr (Stages::LOAD && Copy::BULK)
                        if (h == 0)
                            mbarrier_wait(full + at * 8, parity ^ wraps);
                    multiply_pair<TILES, STEPS, LEAST, Symmetric, Stages>(
                        ring + at * (W4_PAIR * STRIP), lane, h, f, x_sum, sum + pair * W4_PAIR);
                    if (h == HALVES - 1) {
                        __syncwarp(); /* all lanes have read the slot */
                        if constexpr (HALVES > 1)
                            if (pair == SLOTS - 1)
                                fetch_next_x(unit, tile); /* X has left the registers */
                        fetch(at);
                    }
                }
            }
            slot += SLOTS;
            if (slot >= stages)
                slot -= stages, parity ^= 1;
            if (++at_x == x_stages)
                at_x = 0, x_parity ^= 1;
        }

        /* over the warps behind each other; a warp gets OWN of the fragments */
        float4 own[OWN];
        auto fragment_of = [&](int i) { return BEHIND > 1 ? warp + i * Warps : warp * OWN + i; };
        if constexpr (BEHIND > 1) {
            float4 *sums = (float4 *)(shared + W4_BARRIER_BYTES); /* [BEHIND][FRAGMENTS][32] */
#pragma unroll
            for (int i = 0; i < Strips; i++)
#pragma unroll
                for (int t = 0; t < TILES; t++)
                    sums[(behind * FRAGMENTS + (across * Strips + i) * TILES + t) * 32 + lane] =
                        make_float4(sum[i][t][0], sum[i][t][1], sum[i][t][2], sum[i][t][3]);
            __syncthreads();
#pragma unroll
            for (int i = 0; i < OWN; i++) {
                const int at = min(fragment_of(i), FRAGMENTS - 1) * 32 + lane;
                own[i] = sums[at];
#pragma unroll
                for (int b = 1; b < BEHIND; b++)
                    own[i] = plus(own[i], sums[b * FRAGMENTS * 32 + at]);
            }
            if (stop < end)
                __syncthreads(); /* before the next tile's sums */
            if (fragment_of(0) >= FRAGMENTS)
                continue;
        } else {
#pragma unroll
            for (int i = 0; i < OWN; i++)
                own[i] = make_float4(sum[i / TILES][i % TILES][0], sum[i / TILES][i % TILES][1],
                                     sum[i / TILES][i % TILES][2], sum[i / TILES][i % TILES][3]);
        }

        /* over the blocks that have a part of the tile; whoever comes last adds up */
        const int tile_begin = tile * groups;
        if (begin > tile_begin || end < tile_begin + groups) {
            const int first = w4_block_of(&p.plan, tile_begin);
            const int last = w4_block_of(&p.plan, tile_begin + groups - 1);
            const int starts_before = w4_first_unit(&p.plan, first) < tile_begin;
            auto part_of = [&](int block) {
                const int part = block * 2 + (block == first && starts_before);
                return p.workspace + (size_t)part * FRAGMENTS * 32 + lane;
            };
            float4 *mine = part_of(blockIdx.x);
#pragma unroll
            for (int i = 0; i < OWN; i++)
                if (OWN * Warps == FRAGMENTS || fragment_of(i) < FRAGMENTS)
                    __stcg(mine + fragment_of(i) * 32, own[i]);
            __syncwarp();
            int arrived = 0, *counter = p.counters + tile * Warps + warp;
            if (lane == 0)
                arrived = count(counter);
            if (__shfl_sync(~0u, arrived, 0) < last - first)
                continue;
            if (lane == 0)
                *counter = 0;
            for (int block = first; block <= last; block++) {
                const float4 *part = part_of(block);
                float4 v[OWN];
#pragma unroll
                for (int i = 0; i < OWN; i++)
                    v[i] = __ldcg(part + min(fragment_of(i), FRAGMENTS - 1) * 32);
#pragma unroll
                for (int i = 0; i < OWN; i++)
                    own[i] = block > first ? plus(own[i], v[i]) : v[i];
            }
        }
#pragma unroll
        for (int i = 0; i < OWN; i++) {
            const int fragment = fragment_of(i);
            if (OWN * Warps == FRAGMENTS || fragment < FRAGMENTS)
                store_fragment(p.y + (size_t)first_token * p.n, p.n,
                               (tile * Across * Strips + fragment / TILES) * W4_STRIP,
                               fragment % TILES * 8, tokens, lane, own[i]);
        }
    }
}

#endif
