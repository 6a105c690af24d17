/*
 * awq2023_gemv.cu - Y = X W^T for few tokens, half X, 4-bit W, float sums.
 *
 * Follows AWQ's code of September 2023.  A warp makes one output of one token:
 *
 *   block     4 warps, 4 channels; grid x n/4, grid z the tokens
 *   step      1024 input channels: a lane takes four words, 32 codes, all of
 *             one group, and the 32 elements of X beside them
 *
 * Every code is shifted, masked, converted and multiplied alone, so the cores
 * that convert bound it, not memory; every token reads and converts W again.
 * W's format: awq2023_gemv of awq_layout.h.
 */
#include <cuda_fp16.h>

#include "../common/warp.cuh"
#include "awq_layout.h"
#include "published.h"
#include "w4_pack.h"

constexpr int WARPS = 4;
constexpr int LANE_CODES = 32, STEP = WARP * LANE_CODES;

static __global__ __launch_bounds__(WARPS *WARP) void awq2023_gemv(gemm_problem p, int zero_words,
                                                                   const half *x, const uint4 *code,
                                                                   const half *scale,
                                                                   const uint32_t *zero, half *y)
{
    const int lane = threadIdx.x % WARP, j = blockIdx.x * WARPS + threadIdx.x / WARP;
    const size_t i = blockIdx.z;
    float sum = 0;
    for (int q = lane * LANE_CODES; q < p.k; q += STEP) {
        const int g = q / p.group;
        const uint4 packed = code[((size_t)j * p.k + q) / LANE_CODES];
        const uint32_t zeros = zero[(size_t)j * zero_words + g / 8];
        const float s = __half2float(scale[(size_t)j * 8 * zero_words + g]);
        const float z = (float)(zeros >> g % 8 * 4 & 15);
        const uint32_t word[4] = { packed.x, packed.y, packed.z, packed.w };
        const uint4 *from = (const uint4 *)(x + i * p.k + q);
#pragma unroll
        for (int w = 0; w < 4; w++) {
            const uint4 eight = from[w];
            const half *of_x = (const half *)&eight;
#pragma unroll
            for (int t = 0; t < 8; t++) {
                const float weight = s * ((float)(word[w] >> 4 * t & 15) - z);
                sum += weight * __half2float(of_x[t]);
            }
        }
    }
    sum = warp_sum(sum);
    if (lane == 0)
        y[i * p.n + j] = __float2half(sum);
}

OP_BEGIN
enum op_status gemm_awq2023_gemv_setup(const struct gemm_problem *p, const struct gemm_args *a,
                                       const struct op_memory *memory, op_stream s, void **state)
{
    return w4_pack(W4_AWQ2023_GEMV, p, a, memory, s, state);
}

enum op_status gemm_awq2023_gemv(const struct gemm_problem *p, const struct gemm_args *a,
                                 void *state, op_stream s)
{
    const struct w4_packed *w = (const struct w4_packed *)state;
    const dim3 grid(p->n / WARPS, 1, p->m);
    awq2023_gemv<<<grid, WARPS * WARP, 0, s>>>(*p, awq_zero_words(p->k, p->group),
                                               (const half *)a->x, (const uint4 *)w->code,
                                               (const half *)w->scale, w->zero, (half *)a->y);
    return cudaGetLastError() == cudaSuccess ? OP_OK : OP_EDEVICE;
}
OP_END
