/*
 * quantise.cu - quantise.h on the GPU, to the bit as on the host.
 *
 * Bound by bytes: W is read twice, the second time from cache.  One warp takes a
 * group of W, or a row.
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

/* ---- integer codes: a warp takes what shares a scale, and loops over such rows ---- */

template <class T> static __device__ T warp_least(T v)
{
    for (int step = WARP / 2; step; step /= 2)
        v = min(v, __shfl_xor_sync(~0u, v, step));
    return v;
}

template <class T> static __device__ T warp_largest(T v)
{
    for (int step = WARP / 2; step; step /= 2)
        v = max(v, __shfl_xor_sync(~0u, v, step));
    return v;
}

static __device__ float largest_in(const half_bits *x, size_t length, int lane)
{
    float most = 0;
    for (size_t q = lane; q < length; q += WARP)
        most = fmaxf(most, fabsf(half_to_float(x[q])));
    return warp_largest(most);
}

#define EACH_ROW(row, rows)                                                                        \
    for (size_t row = (size_t)blockIdx.x * WARPS + threadIdx.x / WARP; row < (rows);               \
         row += (size_t)gridDim.x * WARPS)

static __global__ void quantise_int_x(const half_bits *x, size_t rows, size_t length, int top,
                                      signed char *code, half_bits *scale)
{
    const int lane = threadIdx.x % WARP;
    EACH_ROW (g, rows) {
        const half_bits *from = x + g * length;
        const float most = largest_in(from, length, lane);
        for (size_t q = lane; q < length; q += WARP)
            code[g * length + q] = int_x_code(half_to_float(from[q]), most, top);
        if (lane == 0)
            scale[g] = int_scale(most, top);
    }
}

/* Sums over k, of halves and of codes; either may be NULL. */
static __global__ void sum_x(const half_bits *x, const signed char *code, size_t rows,
                             size_t length, half_bits *sum, int *code_sum)
{
    const int lane = threadIdx.x % WARP;
    EACH_ROW (i, rows) {
        long long units = 0;
        int total = 0;
        for (size_t q = lane; q < length; q += WARP) {
            units += half_units(x[i * length + q]);
            total += code[i * length + q];
        }
        units = warp_sum(units);
        total = warp_sum(total);
        if (lane == 0 && sum)
            sum[i] = half_of_units(units);
        if (lane == 0 && code_sum)
            code_sum[i] = total;
    }
}

static __global__ void quantise_int_w(const half_bits *w, size_t rows, size_t length, int top,
                                      signed char *code, half_bits *scale)
{
    const int lane = threadIdx.x % WARP;
    EACH_ROW (g, rows) {
        const half_bits *from = w + g * length;
        const half_bits s = int_scale(largest_in(from, length, lane), top);
        for (size_t q = lane; q < length; q += WARP)
            code[g * length + q] = int_w_code(half_to_float(from[q]), s, top);
        if (lane == 0)
            scale[g] = s;
    }
}

static __global__ void quantise_w4_channel(const half_bits *w, size_t n, size_t k,
                                           unsigned char *code, half_bits *scale,
                                           half_bits *scaled_zero, unsigned char *zero)
{
    const int lane = threadIdx.x % WARP;
    EACH_ROW (j, n) {
        const half_bits *from = w + j * k;
        float low = 0, high = 0;
        for (size_t q = lane; q < k; q += WARP) {
            low = fminf(low, half_to_float(from[q]));
            high = fmaxf(high, half_to_float(from[q]));
        }
        const struct w4_group g = w4_group_of(warp_least(low), warp_largest(high), 0);
        for (size_t q = lane; q < k; q += WARP)
            code[j * k + q] = w4_code(half_to_float(from[q]), g);
        if (lane == 0) {
            scale[j] = g.scale;
            scaled_zero[j] = half_from_float(half_to_float(g.scale) * (float)g.zero);
            zero[j] = g.zero;
        }
    }
}

static __global__ void quantise_w4_progressive(const half_bits *w, size_t n, size_t k, size_t group,
                                               unsigned char *code, half_bits *channel_scale,
                                               unsigned char *scale, unsigned char *zero)
{
    const int lane = threadIdx.x % WARP;
    EACH_ROW (j, n) {
        const half_bits *from = w + j * k;
        const half_bits s = int_scale(largest_in(from, k, lane), PROTECTED_TOP);
        if (lane == 0)
            channel_scale[j] = s;
        for (size_t first = 0; first < k; first += group) {
            int low = 0, high = 0;
            for (size_t q = first + lane; q < first + group; q += WARP) {
                const int w8 = int_w_code(half_to_float(from[q]), s, PROTECTED_TOP);
                low = min(low, w8);
                high = max(high, w8);
            }
            const struct progressive_group g =
                progressive_group_of(warp_least(low), warp_largest(high));
            for (size_t q = first + lane; q < first + group; q += WARP)
                code[j * k + q] = progressive_code(
                    int_w_code(half_to_float(from[q]), s, PROTECTED_TOP), g);
            if (lane == 0) {
                scale[(j * k + first) / group] = g.scale;
                zero[(j * k + first) / group] = g.zero;
            }
        }
    }
}

static __global__ void exact_rows(size_t rows, size_t length, int low, int high, int shifted,
                                  uint64_t seed, half_bits *to)
{
    const int lane = threadIdx.x % WARP;
    EACH_ROW (r, rows) {
        const struct exact_row e = exact_row_of(seed, r, low, high, shifted);
        for (size_t q = lane; q < length; q += WARP)
            to[r * length + q] = exact_half(seed, r, length, q, e);
    }
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

enum op_status gemm_quantise_int_x_cuda(const struct gemm_problem *p, enum gemm_scheme scheme,
                                        const void *x, signed char *code, void *scale,
                                        struct int_x_sums sums, op_stream s)
{
    const struct int_codes c = int_codes_of(p, scheme);
    if (!c.top || p->m < 1 || p->k < 1 || p->k % c.length || (sums.group_sum && p->k % p->group))
        return OP_EINVAL;
    const half_bits *from = (const half_bits *)x;
    const size_t m = p->m, k = p->k, rows = m * k / c.length;
    quantise_int_x<<<blocks_for(rows, WARPS), THREADS, 0, s>>>(from, rows, c.length, c.top, code,
                                                               (half_bits *)scale);
    if (sums.sum || sums.code_sum)
        sum_x<<<blocks_for(m, WARPS), THREADS, 0, s>>>(from, code, m, k, (half_bits *)sums.sum,
                                                       sums.code_sum);
    if (sums.group_sum)
        sum_x<<<blocks_for(m * k / p->group, WARPS), THREADS, 0, s>>>(
            from, code, m * k / p->group, p->group, NULL, sums.group_sum);
    return launched();
}

enum op_status gemm_quantise_int_w_cuda(const struct gemm_problem *p, enum gemm_scheme scheme,
                                        const void *w, signed char *code, void *scale, op_stream s)
{
    const struct int_codes c = int_codes_of(p, scheme);
    if (!c.top || p->n < 1 || p->k < 1 || p->k % c.length)
        return OP_EINVAL;
    const size_t rows = (size_t)p->n * p->k / c.length;
    quantise_int_w<<<blocks_for(rows, WARPS), THREADS, 0, s>>>((const half_bits *)w, rows, c.length,
                                                               c.top, code, (half_bits *)scale);
    return launched();
}

enum op_status gemm_quantise_w4_channel_cuda(const struct gemm_problem *p, const void *w,
                                             unsigned char *code, void *scale, void *scaled_zero,
                                             unsigned char *zero, op_stream s)
{
    if (p->n < 1 || p->k < 1)
        return OP_EINVAL;
    quantise_w4_channel<<<blocks_for(p->n, WARPS), THREADS, 0, s>>>(
        (const half_bits *)w, p->n, p->k, code, (half_bits *)scale, (half_bits *)scaled_zero, zero);
    return launched();
}

enum op_status gemm_quantise_w4_progressive_cuda(const struct gemm_problem *p, const void *w,
                                                 unsigned char *code, void *channel_scale,
                                                 unsigned char *scale, unsigned char *zero,
                                                 op_stream s)
{
    if (p->n < 1 || p->k < 1 || p->group < 1 || p->k % p->group)
        return OP_EINVAL;
    quantise_w4_progressive<<<blocks_for(p->n, WARPS), THREADS, 0, s>>>(
        (const half_bits *)w, p->n, p->k, p->group, code, (half_bits *)channel_scale, scale, zero);
    return launched();
}

enum op_status gemm_exact_rows_cuda(size_t rows, size_t length, int low, int high, int shifted,
                                    uint64_t seed, void *to, op_stream s)
{
    exact_rows<<<blocks_for(rows, WARPS), THREADS, 0, s>>>(rows, length, low, high, shifted, seed,
                                                           (half_bits *)to);
    return launched();
}

OP_END
