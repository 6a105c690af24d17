/*
 * w4a16_strips.cuh - Y = X W^T for up to 16 tokens: half X, 4-bit W, group 128 (compute
 * capability 9.0).
 *
 * Bound by reading W once, and where W is small by how long a launch takes to end after the next
 * one might have begun.  Chunks of strips as w4a16_strips.h cuts them, products as w4a16_few.cuh
 * has them; each block ends with Y, no sums pass through global memory.
 *
 *   warp of a block   across: its share of the chunk's strips, 1 to 11
 *                     behind: every so-many-th group of k
 *   its ring          slots of two strips of one group, filled again once read
 *   X ring            of the warps that stand side by side: slots of one group
 *
 * A warp loads a group's X once for all strips that it has, which is why it has many.  W needs
 * nothing of the launch before, so that the rings fill while that one ends: half of a
 * multiprocessor's memory is for the launch before.
 *
 * Sums are added up over the warps behind one another in two steps through shared memory, then over
 * the blocks of a cluster, always in the same order:
 *
 *   behind      0    1    2    3    4    5    6    7
 *   first       0+4  1+5  2+6  3+7
 *   then        (0+4) + (1+5) + (2+6) + (3+7)            a warp each of the fragments
 *   cluster     block 0 + block 1 + ..
 */
#ifndef KERNELS_GEMM_W4A16_STRIPS_CUH
#define KERNELS_GEMM_W4A16_STRIPS_CUH

#include "../common/launch.cuh"
#include "../common/mbarrier.cuh"
#include "../common/tma.cuh"
#include "w4a16_few.cuh"
#include "w4a16_strips.h"

struct W4Strips {
    const unsigned char *packed;
    const half *x;
    half *y;
    int m, n, k;
    struct w4_strips_plan plan;
};

template <int Tokens, int Across, int Each> struct W4StripsForm {
    static constexpr int TILES = Tokens / 8, BEHIND = W4_STRIPS_WARPS / Across;
    static constexpr int FRAGMENTS = Across * Each * TILES; /* of a chunk */
};

/* ---- W: a ring of pairs of strips for each warp ---- */

template <bool Symmetric> struct W4StripsRing {
    static constexpr int STRIP = W4_CODES + W4_SCALES + (Symmetric ? 0 : W4_ZEROS);
    static constexpr int SLOT = W4_PAIR * STRIP;
    unsigned char *slots;
    uint32_t full; /* barrier of slot 0 */
    int slot = 0;  /* the next to be read */
    unsigned parity = 0;
    /* the next to be fetched, of lane 0; in shared memory, since registers are for sums */
    int4 *to;

    __device__ __forceinline__ void keep(const struct w4_strips_walk &walk)
    {
        int4 words[2];
        memcpy(words, &walk, sizeof walk);
        to[0] = words[0], to[1] = words[1];
    }

    /* By lane 0. */
    __device__ __forceinline__ void fetch(const W4Strips &p, int across, int into)
    {
        static_assert(sizeof(struct w4_strips_walk) == 2 * sizeof(int4), "");
        int4 words[2] = { to[0], to[1] };
        struct w4_strips_walk walk;
        memcpy(&walk, words, sizeof walk);
        if (!walk.rounds)
            return;
        const unsigned bytes = w4_strips_pair(&walk) * STRIP;
        mbarrier_expect(full + into * 8, bytes);
        bulk_copy(shared_address(slots + into * SLOT), p.packed + (size_t)walk.at * STRIP, bytes,
                  full + into * 8, l2_evict_first());
        w4_strips_next(&p.plan, across, &walk);
        keep(walk);
    }

    __device__ __forceinline__ const unsigned char *next()
    {
        mbarrier_wait(full + slot * 8, parity);
        return slots + slot * SLOT;
    }

    /* The slot has been read, and is filled again. */
    __device__ __forceinline__ void done(const W4Strips &p, int across, int lane)
    {
        __syncwarp();
        if (lane == 0)
            fetch(p, across, slot);
        if (++slot == p.plan.stages)
            slot = 0, parity ^= 1;
    }
};

/* ---- X: a ring of groups for the warps side by side, by threads, which need not wait for one
 * another as those would that start a bulk copy each ---- */

template <int Across> struct W4StripsX {
    unsigned char *slots;
    uint32_t full, read; /* barriers of slot 0; read: with warps side by side only */
    int slot = 0;        /* the next to be read */
    unsigned parity = 0;
    int left;  /* groups to be fetched yet, of all chunks */
    int group; /* the next of them */

    __device__ __forceinline__ void fetch(const W4Strips &p, const w4_strips_walk &walk, int across,
                                          int lane, int into)
    {
        if (left <= 0)
            return;
        left--;
        const int piece = across * 32 + lane; /* 16 bytes; 16 to a row */
        const half *from = p.x + group * W4_GROUP + lane % 16 * 8;
        unsigned char *to = slots + into * p.plan.x_bytes + lane % 16 * 16;
#pragma unroll 1 /* unrolled it takes registers throughout */
        for (int i = piece / 16; i < p.m; i += Across * 2)
            copy_async(to + i * W4_X_STRIDE, from + (size_t)i * p.k, true);
        copy_arrive(full + into * 8);
        group += p.plan.stride;
        if (group >= p.plan.groups)
            group = walk.first;
    }

    /* This lane's row, for ldmatrix.  Tokens beyond the last repeat it, or are whatever is there:
     * their sums are not stored. */
    __device__ __forceinline__ const unsigned char *next(const W4Strips &p, int lane) const
    {
        mbarrier_wait(full + slot * 8, parity);
        return slots + slot * p.plan.x_bytes + min(lane % 8, p.m - 1) * W4_X_STRIDE + lane / 8 * 16;
    }

    /* The slot is in registers.  Warps side by side fill again the slot before, which by now the
     * other should have read. */
    __device__ __forceinline__ void done(const W4Strips &p, const w4_strips_walk &walk, int across,
                                         int lane, bool first)
    {
        __syncwarp();
        if constexpr (Across == 1) {
            fetch(p, walk, across, lane, slot);
        } else {
            if (lane == 0)
                mbarrier_arrive(read + slot * 8);
            if (!first && left > 0) {
                const int before = (slot ? slot : p.plan.x_stages) - 1;
                mbarrier_wait(read + before * 8, parity ^ (slot == 0));
                fetch(p, walk, across, lane, before);
            }
        }
        if (++slot == p.plan.x_stages)
            slot = 0, parity ^= 1;
    }
};

/* ---- sums ---- */

/* Of a chunk to Y.  sums: [BEHIND / 2][FRAGMENTS][32 lanes]. */
template <class Form, int Across, int Each>
static __device__ __forceinline__ void store_chunk(const W4Strips &p, float4 *sums, int chunk,
                                                   int warp, int lane, unsigned rank,
                                                   const float (&sum)[Each][Form::TILES][4])
{
    constexpr int TILES = Form::TILES, FRAGMENTS = Form::FRAGMENTS, LEFT = Form::BEHIND / 2;
    const int across = warp / Form::BEHIND, behind = warp % Form::BEHIND;
    auto part = [&](int b, int fragment) { return sums + (b * FRAGMENTS + fragment) * 32 + lane; };
    auto mine = [&](int i, int t) {
        return part(behind % LEFT, w4_strips_fragment(across, i, t, Each, TILES));
    };
    auto value = [&](int i, int t) {
        return make_float4(sum[i][t][0], sum[i][t][1], sum[i][t][2], sum[i][t][3]);
    };
    if (behind >= LEFT) {
#pragma unroll
        for (int i = 0; i < Each; i++)
#pragma unroll
            for (int t = 0; t < TILES; t++)
                *mine(i, t) = value(i, t);
    }
    __syncthreads();
    if (behind < LEFT) {
#pragma unroll
        for (int i = 0; i < Each; i++)
#pragma unroll
            for (int t = 0; t < TILES; t++)
                *mine(i, t) = plus(value(i, t), *mine(i, t));
    }
    __syncthreads();

    const int begin = w4_cut_begin(p.plan.cut, chunk), size = w4_cut_size(p.plan.cut, chunk);
    auto store = [&](int fragment, float4 v) {
        const int strip = w4_strips_of_fragment(fragment, size, Across, Each, TILES);
        if (strip >= 0)
            store_fragment(p.y, p.n, (begin + strip) * W4_STRIP, fragment % TILES * 8, p.m, lane,
                           v);
    };
    for (int f = warp; f < FRAGMENTS; f += W4_STRIPS_WARPS) {
        float4 v = *part(0, f);
#pragma unroll
        for (int b = 1; b < LEFT; b++)
            v = plus(v, *part(b, f));
        if (p.plan.cluster == 1)
            store(f, v);
        else
            *part(0, f) = v; /* nobody else reads or writes it before all have arrived */
    }
    if (p.plan.cluster == 1)
        return;
    cluster_arrive();
    cluster_wait();
    for (int f = rank * W4_STRIPS_WARPS + warp; f < FRAGMENTS;
         f += W4_STRIPS_WARPS * p.plan.cluster) {
        const uint32_t at = shared_address(part(0, f));
        float4 v = cluster_load(at, 0);
        for (int r = 1; r < p.plan.cluster; r++)
            v = plus(v, cluster_load(at, r));
        store(f, v);
    }
    cluster_arrive();
}

/* ---- the kernel ---- */

/* Grid: clusters of blocks.  With 16 tokens up to 12 registers are spilled: the sums of the last
 * strips, once a group. */
template <int Tokens, int Across, int Each, bool Symmetric>
static __global__ __launch_bounds__(W4_STRIPS_WARPS * 32, 2) void w4a16_strips(const W4Strips p)
{
    using Form = W4StripsForm<Tokens, Across, Each>;
    constexpr int TILES = Form::TILES, STEPS = W4_GROUP / 16;
    extern __shared__ __align__(128) unsigned char shared[];
    /* by shuffle, so that the compiler knows it is the same in all lanes */
    const int warp = __shfl_sync(~0u, threadIdx.x / 32, 0), lane = threadIdx.x % 32;
    const int across = warp / Form::BEHIND, behind = warp % Form::BEHIND;
    const unsigned rank = p.plan.cluster > 1 ? cluster_rank() : 0;
    const int cluster = blockIdx.x / p.plan.cluster;
    const struct w4_strips_walk begin = w4_strips_begin(&p.plan, cluster, rank, across, behind);

    W4StripsRing<Symmetric> w;
    w.slots = shared + p.plan.ring_at + warp * p.plan.stages * p.plan.slot_bytes;
    w.full = shared_address(shared) + warp * W4_STRIPS_STAGES * 8;
    w.to = (int4 *)(shared + W4_STRIPS_WALKS) + 2 * warp;
    W4StripsX<Across> x;
    x.slots = shared + p.plan.x_at + behind * p.plan.x_stages * p.plan.x_bytes;
    x.full = shared_address(shared) +
             (W4_STRIPS_WARPS * W4_STRIPS_STAGES + behind * 2 * W4_STRIPS_X_STAGES) * 8;
    x.read = x.full + W4_STRIPS_X_STAGES * 8;
    x.group = begin.first;
    x.left = w4_strips_items(&p.plan, &begin);
    if (lane == 0) {
        for (int i = 0; i < W4_STRIPS_STAGES; i++)
            mbarrier_init(w.full + i * 8, 1);
        if (across == 0)
            for (int i = 0; i < W4_STRIPS_X_STAGES; i++) {
                mbarrier_init(x.full + i * 8, Across * 32);
                mbarrier_init(x.read + i * 8, Across);
            }
        mbarrier_init_done();
        w.keep(begin);
        for (int i = 0; i < p.plan.stages; i++)
            w.fetch(p, across, i);
    }
    __syncwarp();
    let_next_start();
    if constexpr (Across > 1)
        __syncthreads(); /* the barriers for X are there */
    wait_for_previous();
    for (int i = 0; i < p.plan.x_stages; i++)
        x.fetch(p, begin, across, lane, i);

    float4 *sums = (float4 *)(shared + W4_STRIPS_SUMS);
    bool first = true; /* of the warp's groups */
    for (int round = 0; round < p.plan.rounds; round++) {
        const int chunk = cluster + round * p.plan.clusters;
        const int size = w4_cut_size(p.plan.cut, chunk);
        /* Each, or one less */
        const bool whole =
            w4_strips_share(size, across + 1, Across) - w4_strips_share(size, across, Across) ==
            Each;
        float sum[Each][TILES][4] = {};
#pragma unroll 1
        for (int group = begin.first; group < p.plan.groups; group += p.plan.stride) {
            uint32_t f[TILES][STEPS / 2][4];
            float x_sum[TILES][4];
            load_x<TILES, STEPS>(x.next(p, lane), f);
            x.done(p, begin, across, lane, first);
            first = false;
            add_x<TILES, STEPS>(f, x_sum);
#pragma unroll
            for (int t = 0; t < TILES; t++) /* the same in all rows: fewer registers */
                x_sum[t][2] = x_sum[t][0], x_sum[t][3] = x_sum[t][1];
#pragma unroll
            for (int i = 0; i < Each; i += W4_PAIR) {
                if (i + W4_PAIR < Each || (i + W4_PAIR == Each && whole)) {
                    multiply_pair<TILES, STEPS, true, Symmetric, W4Full>(w.next(), lane, 0, f,
                                                                         x_sum, sum + i);
                    w.done(p, across, lane);
                } else if (i + W4_PAIR == Each || whole) {
                    multiply_pair<TILES, STEPS, true, Symmetric, W4Full, 1>(w.next(), lane, 0, f,
                                                                            x_sum, sum + i);
                    w.done(p, across, lane);
                }
            }
        }
        if (round) { /* the sums before have been read */
            if (p.plan.cluster > 1)
                cluster_wait();
            else
                __syncthreads();
        }
        store_chunk<Form, Across, Each>(p, sums, chunk, warp, lane, rank, sum);
    }
    if (p.plan.cluster > 1)
        cluster_wait(); /* before its memory goes */
}

#endif
