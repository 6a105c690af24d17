/*
 * split_merge.cuh - results of parts of a sequence become one, in the order of the parts.
 *
 * A part has for each query its largest score m, its sum of weights l and sums of weighted
 * values x, not divided:   with w_i = 2^(m_i - max m)   out = sum w_i x_i / sum w_i l_i
 */
#ifndef KERNELS_ATTN_SPLIT_MERGE_CUH
#define KERNELS_ATTN_SPLIT_MERGE_CUH

#include "../common/warp.cuh"
#include "warp_mma.cuh"

/* Of a query: its parts' maximum, its sum of weights. */
struct SplitTotal {
    float most, sum;
};

/* Shared memory of split_merge: w of all parts, room, totals. */
static __host__ __device__ constexpr int split_merge_floats(int queries, int parts)
{
    return 2 * queries * parts + 2 * queries;
}

static __device__ __forceinline__ float warp_max(float v)
{
#pragma unroll
    for (int d = 16; d > 0; d /= 2)
        v = fmaxf(v, __shfl_xor_sync(ALL_LANES, v, d));
    return v;
}

static __device__ __forceinline__ float warp_sum_all(float v)
{
#pragma unroll
    for (int d = 16; d > 0; d /= 2)
        v += __shfl_xor_sync(ALL_LANES, v, d);
    return v;
}

/*
 * All threads of the block call it.  stat(part, query) gives { m, l }, sums(part, query, d) four
 * neighbours of x; use(query, d, x, total) takes four neighbours of sum w_i x_i.
 */
template <int Warps, int D, class Stat, class Sums, class Use>
static __device__ __forceinline__ void split_merge(int queries, int parts, float *shared, Stat stat,
                                                   Sums sums, Use use)
{
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    float *const weight = shared, *const room = shared + queries * parts;
    SplitTotal *const total = (SplitTotal *)(room + queries * parts);
    if (parts <= 8) { /* a query a thread */
        for (int n = threadIdx.x; n < queries; n += 32 * Warps) {
            float most = -INFINITY, sum = 0;
            for (int i = 0; i < parts; i++) {
                const float2 s = stat(i, n);
                weight[n * parts + i] = s.x;
                room[n * parts + i] = s.y;
                most = fmaxf(most, s.x);
            }
            for (int i = 0; i < parts; i++) {
                const float w = exp2_approx(weight[n * parts + i] - most);
                weight[n * parts + i] = w;
                sum += w * room[n * parts + i];
            }
            total[n] = { most, sum };
        }
    } else { /* a query a warp */
        for (int n = warp; n < queries; n += Warps) {
            float most = -INFINITY, sum = 0;
            for (int i = lane; i < parts; i += 32) {
                const float2 s = stat(i, n);
                weight[n * parts + i] = s.x;
                room[n * parts + i] = s.y;
                most = fmaxf(most, s.x);
            }
            most = warp_max(most);
            for (int i = lane; i < parts; i += 32) {
                const float w = exp2_approx(weight[n * parts + i] - most);
                weight[n * parts + i] = w;
                sum += w * room[n * parts + i];
            }
            sum = warp_sum_all(sum);
            if (lane == 0)
                total[n] = { most, sum };
        }
    }
    __syncthreads();
    for (int at = threadIdx.x; at < queries * (D / 4); at += 32 * Warps) {
        const int n = at / (D / 4), d = at % (D / 4) * 4;
        float4 x = make_float4(0, 0, 0, 0);
#pragma unroll 16
        for (int i = 0; i < parts; i++) {
            const float4 y = sums(i, n, d);
            const float w = weight[n * parts + i];
            x.x += w * y.x;
            x.y += w * y.y;
            x.z += w * y.z;
            x.w += w * y.w;
        }
        use(n, d, x, total[n]);
    }
}

#endif
