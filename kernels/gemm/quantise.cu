/*
 * quantise.cu - quantise.h on the GPU, to the bit as on the host.
 *
 * Bound by bytes: W is read twice, the second time from cache.  One warp takes a
 * group of W.
 */
#include "../common/warp.cuh"
#include "quantise.h"

constexpr int THREADS = 256, WARPS = THREADS / WARP;

static enum op_status launched(void)
{
    return cudaGetLastError() == cudaSuccess ? OP_OK : OP_EDEVICE;
}

static unsigned blocks_for(size_t count, size_t per_block)
{
    const size_t blocks = (count + per_block - 1) / per_block;
    return (unsigned)(blocks < 65536 ? blocks : 65536);
}

static __global__ void quantise_w4(const half_bits *w, size_t groups, int group, int symmetric,
                                   unsigned char *code, half_bits *scale, unsigned char *zero)
{
    const int lane = threadIdx.x % WARP;
    for (size_t g = (size_t)blockIdx.x * WARPS + threadIdx.x / WARP; g < groups;
         g += (size_t)gridDim.x * WARPS) {
        const half_bits *from = w + g * group;
        float low = INFINITY, high = -INFINITY;
        for (int i = lane; i < group; i += WARP) {
            low = fminf(low, half_to_float(from[i]));
            high = fmaxf(high, half_to_float(from[i]));
        }
        for (int step = WARP / 2; step; step /= 2) {
            low = fminf(low, __shfl_xor_sync(~0u, low, step));
            high = fmaxf(high, __shfl_xor_sync(~0u, high, step));
        }
        const struct w4_group q = w4_group_of(low, high, symmetric);
        for (int i = lane; i < group; i += WARP)
            code[g * group + i] = w4_code(half_to_float(from[i]), q);
        if (lane == 0) {
            scale[g] = q.scale;
            zero[g] = q.zero;
        }
    }
}

static __global__ void exact_codes(size_t count, uint64_t seed, unsigned char *code)
{
    for (size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x; i < count;
         i += (size_t)gridDim.x * THREADS)
        code[i] = exact_code(seed, i);
}

static __global__ void exact_groups(size_t groups, uint64_t seed, int symmetric, half_bits *scale,
                                    unsigned char *zero)
{
    for (size_t g = (size_t)blockIdx.x * THREADS + threadIdx.x; g < groups;
         g += (size_t)gridDim.x * THREADS) {
        const struct w4_group q = exact_group(seed, g, symmetric);
        scale[g] = q.scale;
        zero[g] = q.zero;
    }
}

static __global__ void exact_halves(size_t count, uint64_t seed, half_bits *x)
{
    for (size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x; i < count;
         i += (size_t)gridDim.x * THREADS)
        x[i] = half_from_float(exact_x(seed, i));
}

/* Bits of floats that are not negative order as they do; *largest starts at 0. */
static __global__ void largest_of(const half_bits *x, size_t count, float *largest)
{
    float mine = 0;
    for (size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x; i < count;
         i += (size_t)gridDim.x * THREADS)
        mine = fmaxf(mine, fabsf(half_to_float(x[i])));
    for (int step = WARP / 2; step; step /= 2)
        mine = fmaxf(mine, __shfl_xor_sync(~0u, mine, step));
    if (threadIdx.x % WARP == 0)
        atomicMax((int *)largest, __float_as_int(mine));
}

static __global__ void scale_of(float *largest, int unit)
{
    *largest = unit ? 1.0f : fp8_scale_of(*largest);
}

static __global__ void quantise_fp8(const half_bits *x, size_t count, const float *scale,
                                    unsigned char *code)
{
    const float s = *scale;
    for (size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x; i < count;
         i += (size_t)gridDim.x * THREADS)
        code[i] = e4m3_from_float(half_to_float(x[i]) / s);
}

OP_BEGIN

enum op_status gemm_quantise_w4_cuda(const struct gemm_problem *p, const void *w, int symmetric,
                                     unsigned char *code, void *scale, unsigned char *zero,
                                     op_stream s)
{
    if (p->n < 1 || p->k < 1 || p->group < 1 || p->k % p->group)
        return OP_EINVAL;
    const size_t groups = (size_t)p->n * p->k / p->group;
    quantise_w4<<<blocks_for(groups, WARPS), THREADS, 0, s>>>(
        (const half_bits *)w, groups, p->group, symmetric, code, (half_bits *)scale, zero);
    return launched();
}

enum op_status gemm_exact_w4_cuda(const struct gemm_problem *p, uint64_t seed, int symmetric,
                                  unsigned char *code, void *scale, unsigned char *zero,
                                  op_stream s)
{
    if (p->n < 1 || p->k < 1 || p->group < 1 || p->k % p->group)
        return OP_EINVAL;
    const size_t count = (size_t)p->n * p->k, groups = count / p->group;
    exact_codes<<<blocks_for(count, THREADS), THREADS, 0, s>>>(count, seed, code);
    exact_groups<<<blocks_for(groups, THREADS), THREADS, 0, s>>>(groups, seed, symmetric,
                                                                 (half_bits *)scale, zero);
    return launched();
}

enum op_status gemm_exact_x_cuda(size_t count, uint64_t seed, void *x, op_stream s)
{
    exact_halves<<<blocks_for(count, THREADS), THREADS, 0, s>>>(count, seed, (half_bits *)x);
    return launched();
}

enum op_status gemm_quantise_fp8_cuda(const void *from, size_t count, int unit, void *to,
                                      float *scale, op_stream s)
{
    const unsigned blocks = blocks_for(count, 8 * THREADS);
    if (cudaMemsetAsync(scale, 0, sizeof *scale, s) != cudaSuccess)
        return OP_EDEVICE;
    largest_of<<<blocks, THREADS, 0, s>>>((const half_bits *)from, count, scale);
    scale_of<<<1, 1, 0, s>>>(scale, unit);
    quantise_fp8<<<blocks, THREADS, 0, s>>>((const half_bits *)from, count, scale,
                                            (unsigned char *)to);
    return launched();
}

OP_END
