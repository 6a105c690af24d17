/*
 * own_hopper.cuh - what own_rows.cuh needs, by wgmma and the bulk copy engine (compute capability
 * 9.0a).
 *
 * Three warpgroups of 64 rows to a block, two blocks to a cluster: each fetches half of every
 * block of weights for both.  A ring of STAGES blocks; with i the number of a block:
 *
 *     take(i)   waits for block i; thread 0 first has block i + AHEAD fetched, into the stage of
 *               block i - SLACK, when all warps of both thread blocks are done with that one
 *     done(i)   the warp reads block i no more
 *
 * A warp is done with block i - SLACK when it takes block i.  A product runs on until settle.
 */
#ifndef KERNELS_GROUP_ATTN_OWN_HOPPER_CUH
#define KERNELS_GROUP_ATTN_OWN_HOPPER_CUH

#include "../common/launch.cuh"
#include "../common/mbarrier.cuh"
#include "../common/tma.cuh"
#include "../common/warp.cuh"
#include "../common/wgmma.cuh"
#include "../gemm/mma.cuh"
#include "own.h"
#include "own_rows.cuh"

template <int Cycle, bool Brief> struct HopperRing {
    static constexpr bool BRIEF = Brief;
    static constexpr int TEAMS = 3, THREADS = TEAMS * 4 * WARP, CLUSTER = 2;
    static constexpr bool IDLES = true;
    static constexpr int STAGES = 6, SLACK = 2, AHEAD = STAGES - SLACK;
    /* behind the ring, whose stages begin at multiples of 1024 */
    static constexpr int BARRIERS = STAGES * OWN_BLOCK, PARAMETERS = BARRIERS + STAGES * 16;
    static constexpr int TARGETS = PARAMETERS + OWN_LAYER * 2;
    static constexpr int BYTES = TARGETS + TEAMS * TILE * (int)sizeof(Target) + 1024;
    static constexpr int SHARE = OWN_BLOCK / CLUSTER;

    uint32_t ring;
    const char *weights; /* Cycle blocks, taken again and again up to `blocks` */
    unsigned blocks;

    /* Moves memory so that the parameters are where PARAMETERS says. */
    __device__ __forceinline__ HopperRing(uint4 *&memory, const half *from, unsigned all)
        : weights((const char *)from), blocks(all)
    {
        const uint32_t at = shared_address(memory);
        ring = (at + 1023) / 1024 * 1024;
        memory = (uint4 *)((char *)memory + (ring - at));
        if (threadIdx.x == 0) {
            for (int s = 0; s < STAGES; s++) {
                mbarrier_init(full(s), 1);
                mbarrier_init(empty(s), CLUSTER * THREADS / WARP);
            }
            mbarrier_init_done();
        }
    }

    __device__ __forceinline__ uint32_t full(unsigned i)
    {
        return ring + BARRIERS + i % STAGES * 8;
    }
    __device__ __forceinline__ uint32_t empty(unsigned i) { return full(i) + STAGES * 8; }

    __device__ __forceinline__ void fill()
    {
        cluster_arrive();
        cluster_wait();
        if (threadIdx.x == 0)
            for (unsigned i = 0; i < STAGES && i < blocks; i++)
                fetch(i);
    }

    /* Weights are fetched before the launch before has ended; nothing else is. */
    __device__ __forceinline__ void begin()
    {
        if (!Brief)
            fill();
        let_next_start();
        wait_for_previous();
    }

    /* No block of the cluster leaves while another may still write to it. */
    __device__ __forceinline__ void end()
    {
        cluster_arrive();
        cluster_wait();
    }

    /* Where block i of a cycle stands among the weights: the last three are q k v. */
    static __device__ __forceinline__ unsigned place(unsigned i)
    {
        constexpr int QKV_AT = Cycle - OWN_QKV_BLOCKS;
        if (!Brief || Cycle == OWN_REST_BLOCKS || (int)i < QKV_AT)
            return i;
        return i == QKV_AT ? Cycle - 1 : i - 1;
    }

    __device__ __forceinline__ void fetch(unsigned i)
    {
        const int share = (int)cluster_rank() * SHARE;
        mbarrier_expect(full(i), OWN_BLOCK);
        bulk_copy_to(ring + i % STAGES * OWN_BLOCK + share,
                     weights + (size_t)place(i % Cycle) * OWN_BLOCK + share, SHARE, full(i),
                     (1u << CLUSTER) - 1);
    }

    __device__ __forceinline__ uint32_t take(unsigned i)
    {
        const unsigned next = i + AHEAD;
        if (threadIdx.x == 0 && next >= STAGES && next < blocks) {
            const unsigned last = next - STAGES;
            mbarrier_wait(empty(last), last / STAGES & 1);
            fetch(next);
        }
        __syncwarp();
        mbarrier_wait(full(i), i / STAGES & 1);
        return ring + i % STAGES * OWN_BLOCK;
    }

    __device__ __forceinline__ void done(unsigned i)
    {
        if (threadIdx.x % WARP < CLUSTER)
            mbarrier_free_at(empty(i), threadIdx.x % WARP);
    }

    /* d = a b, + d if add: b N / 32 * 64 outputs by K * 16 inputs, from this address on. */
    template <int N, int K>
    __device__ __forceinline__ void product(float (&d)[N], const uint32_t (&a)[K][4], uint32_t b,
                                            bool add)
    {
        wgmma_fence();
#pragma unroll
        for (int k = 0; k < K; k++)
            wgmma(d, a[k], wgmma_operand(b + k / 4 * (OWN_BLOCK / 2)) + k % 4 * 2, add || k);
        wgmma_commit();
    }

    /* All products are through; d is not looked at before. */
    template <int N> __device__ __forceinline__ void settle(float (&d)[N])
    {
        wgmma_wait<0>();
#pragma unroll
        for (int i = 0; i < N; i++)
            asm volatile("" : "+f"(d[i])::"memory");
    }
};

template <int Cycle> using Hopper = HopperRing<Cycle, false>;
template <int Cycle> using HopperBrief = HopperRing<Cycle, true>;

#endif
