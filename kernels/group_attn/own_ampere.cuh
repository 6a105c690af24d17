/*
 * own_ampere.cuh - what own_rows.cuh needs, by mma.sync and cp.async (compute capability 8.0).
 *
 * Two teams of 64 rows to a block.  Three stages of weights: at take(i) all warps have met, so
 * that they are through with block i - 2 and its stage can receive block i + 1.
 */
#ifndef KERNELS_GROUP_ATTN_OWN_AMPERE_CUH
#define KERNELS_GROUP_ATTN_OWN_AMPERE_CUH

#include "../attn/warp_mma.cuh"
#include "../common/warp.cuh"
#include "own.h"
#include "own_rows.cuh"

template <int Cycle> struct Ampere {
    static constexpr int TEAMS = 2, THREADS = TEAMS * 4 * WARP, CLUSTER = 1;
    static constexpr bool BRIEF = false, STARTS = false, PAIRS = false, HELD = false;
    static constexpr bool IDLES = false; /* all warps meet in take */
    static constexpr int STAGES = 3;
    static constexpr int PARAMETERS = 0; /* from the caches: 99 KB at most, compute 8.6 */
    static constexpr int TARGETS = STAGES * OWN_BLOCK;
    static constexpr int BYTES = TARGETS + TEAMS * TILE * (int)sizeof(Target);

    uint32_t ring;
    const char *weights;
    unsigned blocks;

    __device__ __forceinline__ Ampere(uint4 *&memory, const half *from, unsigned all)
        : ring(shared_address(memory)), weights((const char *)from), blocks(all)
    {
    }

    __device__ __forceinline__ void begin() { fetch(0); }
    __device__ __forceinline__ void end() {}

    __device__ __forceinline__ void fetch(unsigned i)
    {
        const uint32_t to = ring + i % STAGES * OWN_BLOCK;
        const char *from = weights + (size_t)(i % Cycle) * OWN_BLOCK;
#pragma unroll 8
        for (int at = threadIdx.x * 16; at < OWN_BLOCK; at += THREADS * 16)
            copy_to(to + at, from + at, true);
        copy_commit();
    }

    __device__ __forceinline__ uint32_t take(unsigned i)
    {
        copy_wait<0>();
        __syncthreads();
        if (i + 1 < blocks)
            fetch(i + 1);
        return ring + i % STAGES * OWN_BLOCK;
    }

    __device__ __forceinline__ void done(unsigned) {}

    template <int N, int K>
    __device__ __forceinline__ void product(float (&d)[N], const uint32_t (&a)[K][4], uint32_t b,
                                            bool add)
    {
        const int lane = threadIdx.x % WARP, row = lane / 16 * 8 + lane % 8;
        const uint32_t at = b + row * 128;
        if (!add)
#pragma unroll
            for (int i = 0; i < N; i++)
                d[i] = 0;
#pragma unroll
        for (int k = 0; k < K; k++) {
            const uint32_t from = at + k / 4 * (OWN_BLOCK / 2) +
                                  ((k % 4 * 2 + lane / 8 % 2) ^ lane % 8) * 16;
#pragma unroll
            for (int n = 0; n < N / 4; n += 2) {
                uint32_t w[4];
                load_matrices<false, false>(w, from + n * 8 * 128);
                mma(*(float(*)[4])(d + 4 * n), a[k], w[0], w[1]);
                mma(*(float(*)[4])(d + 4 * n + 4), a[k], w[2], w[3]);
            }
        }
    }

    __device__ __forceinline__ void hold(const uint32_t (&)[8][4]) {}
    template <int N>
    __device__ __forceinline__ void product_held(float (&d)[N], const uint32_t (&a)[8][4],
                                                 uint32_t b, bool add)
    {
        product<N, 8>(d, a, b, add);
    }

    template <int N> __device__ __forceinline__ void settle(float (&)[N]) {}
};

#endif
