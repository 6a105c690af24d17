/*
 * own_hopper.cuh - what own_rows.cuh needs, by wgmma and the bulk copy engine (compute capability
 * 9.0a).
 *
 * Three or four warpgroups of 64 rows to a block, two blocks to a cluster: each fetches half of
 * every block of weights for both.  A ring of STAGES blocks; with i the number of a block:
 *
 *     take(i)   waits for block i; thread 0 first has block i + AHEAD fetched, into the stage of
 *               block i - SLACK, when all warps of both thread blocks are done with that one
 *     done(i)   the warp reads block i no more
 *
 * A warp is done with block i - SLACK when it takes block i.  A product runs on until settle.
 *
 * Four warpgroups leave 128 registers to a thread: what fc1 multiplies is then held in shared
 * memory, at the price of two stages.
 */
#ifndef KERNELS_GROUP_ATTN_OWN_HOPPER_CUH
#define KERNELS_GROUP_ATTN_OWN_HOPPER_CUH

#include "../common/launch.cuh"
#include "../common/mbarrier.cuh"
#include "../common/tma.cuh"
#include "../common/warp.cuh"
#include "../common/wgmma_smem.cuh"
#include "../gemm/mma.cuh"
#include "own.h"
#include "own_rows.cuh"

static __device__ __forceinline__ void store_word(uint32_t shared, uint32_t x)
{
    asm volatile("st.shared.u32 [%0], %1;" ::"r"(shared), "r"(x) : "memory");
}

template <int Cycle, int Teams, bool Brief, bool Lean = false> struct HopperRing {
    static constexpr bool BRIEF = Brief, HELD = Teams > 3;
    static constexpr bool STARTS = Brief || Lean, PAIRS = Lean; /* own_rows.cuh */
    static constexpr int TEAMS = Teams, THREADS = TEAMS * 4 * WARP, CLUSTER = 2;
    static constexpr bool IDLES = true;
    static constexpr int STAGES = HELD ? 4 : 6, SLACK = 2, AHEAD = STAGES - SLACK;
    /* behind the ring, whose stages begin at multiples of 1024, as the teams' held rows do */
    static constexpr int ROWS = STAGES * OWN_BLOCK, TEAM_ROWS = TILE * OWN_CHANNELS * 2;
    static constexpr int BARRIERS = ROWS + (HELD ? TEAMS * TEAM_ROWS : 0);
    static constexpr int PARAMETERS = BARRIERS + STAGES * 16;
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
        __syncwarp(); /* thread 0 comes from the barriers */
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

    /* ---- an operand of several products, in registers or held in shared memory ---- */

    __device__ __forceinline__ uint32_t team_rows()
    {
        return ring + ROWS + threadIdx.x / (4 * WARP) * TEAM_ROWS;
    }

    __device__ __forceinline__ void team_sync()
    {
        asm volatile("bar.sync %0, %1;" ::"r"(threadIdx.x / (4 * WARP) + 1), "n"(4 * WARP)
                     : "memory");
    }

    /* Row i in 128 bytes, of each half of the places; 16-byte chunk c at 16 (c ^ i % 8). */
    __device__ __forceinline__ void hold(const uint32_t (&a)[8][4])
    {
        if constexpr (HELD) {
            const int lane = threadIdx.x % WARP, row = threadIdx.x / WARP % 4 * 16 + lane / 4;
            const uint32_t to = team_rows() + row * 128 + lane % 4 * 4;
            team_sync(); /* the products of the tile before have been waited for */
#pragma unroll
            for (int k = 0; k < 8; k++)
#pragma unroll
                for (int e = 0; e < 4; e++) {
                    const int chunk = (k % 4 * 2 + e / 2) ^ lane / 4;
                    store_word(to + k / 4 * (TEAM_ROWS / 2) + e % 2 * 8 * 128 + chunk * 16,
                               a[k][e]);
                }
            wgmma_see_writes();
            team_sync();
        }
    }

    /* product of what is held. */
    template <int N>
    __device__ __forceinline__ void product_held(float (&d)[N], const uint32_t (&a)[8][4],
                                                 uint32_t b, bool add)
    {
        if constexpr (!HELD) {
            product<N, 8>(d, a, b, add);
        } else {
            const uint32_t rows = team_rows();
            wgmma_fence();
#pragma unroll
            for (int k = 0; k < 8; k++)
                wgmma_smem<0, 0>(d, wgmma_operand(rows + k / 4 * (TEAM_ROWS / 2)) + k % 4 * 2,
                                 wgmma_operand(b + k / 4 * (OWN_BLOCK / 2)) + k % 4 * 2,
                                 add || k);
            wgmma_commit();
        }
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

template <int Cycle> using Hopper = HopperRing<Cycle, 3, false>;
/* Fewer instructions for the same tile. */
template <int Cycle> using HopperLean = HopperRing<Cycle, 3, false, true>;
/* The last layer's rows, which end at y, would not keep to 128 registers. */
template <int Cycle> using HopperWide = HopperRing<Cycle, Cycle == OWN_REST_BLOCKS ? 3 : 4, true>;

#endif
