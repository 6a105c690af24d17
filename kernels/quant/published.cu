/*
 * published.cu - QServe's kernels between the products, as published: a block a row, a thread
 * an element at a time, rows read again from memory for every pass.
 *
 *   NORM      one kernel, three passes over the row: mean square; largest and sum of the values
 *             rounded to half, the sum of each thread in half; codes, of values before rounding
 *   SILU      two kernels with halves between them: the activation, rounded, times up; quantise
 *   PLAIN     one kernel, two passes
 *   ADD       elementwise, four halves a thread, 512 a block: the addition of the framework
 *   ADD_NORM  ADD and NORM
 *   ROPE_KV   a warp takes a head of queries of a token: angles from powf, sinf and cosf, keys
 *             and values again for each head of queries that shares them; only the first writes
 *             them.  Scale and zero point go through memory to the lanes that need them
 *
 * NORM is the later of the two published: the earlier one subtracts the mean.  In ROPE_KV the
 * barrier of the block between writing and reading the scale is one of the warp: no other warp
 * reads it, and the warps of a block need not take as many tokens.
 */
#include <cuda_fp16.h>

#include "../common/warp.cuh"
#include "../gemm/quantise.h"
#include "cache.h"
#include "published.h"

constexpr int ROW_THREADS = 1024;

/* ---- reductions: within warps, then of what each warp found ---- */

template <bool Largest> static __device__ float reduce(float v)
{
    __shared__ float part[ROW_THREADS / WARP];
    const int lane = threadIdx.x % WARP, warps = (blockDim.x + WARP - 1) / WARP;
#pragma unroll
    for (int d = WARP / 2; d > 0; d /= 2) {
        const float other = __shfl_xor_sync(ALL_LANES, v, d);
        v = Largest ? fmaxf(v, other) : v + other;
    }
    __syncthreads();
    if (!lane)
        part[threadIdx.x / WARP] = v;
    __syncthreads();
    v = lane < warps ? part[lane] : 0;
#pragma unroll
    for (int d = WARP / 2; d > 0; d /= 2) {
        const float other = __shfl_xor_sync(ALL_LANES, v, d);
        v = Largest ? fmaxf(v, other) : v + other;
    }
    return v;
}

static __device__ __forceinline__ signed char code_of(float v)
{
    int code;
    asm("cvt.rni.sat.s8.f32 %0, %1;" : "=r"(code) : "f"(v));
    return (signed char)code;
}

/* ---- kernels ---- */

static __global__ void norm_quantise(const half *x, const half *gain, int n, signed char *code,
                                     half *scale, half *sum)
{
    const size_t first = (size_t)blockIdx.x * n;
    float squares = 0;
    for (int j = threadIdx.x; j < n; j += blockDim.x) {
        const float v = __half2float(x[first + j]);
        squares += v * v;
    }
    const float root = rsqrtf(reduce<false>(squares) / (float)n + QUANT_EPS);
    half most = __float2half(1e-6f), total = __float2half(0.0f);
    for (int j = threadIdx.x; j < n; j += blockDim.x) {
        const half v = __float2half_rn(__half2float(x[first + j]) * root * __half2float(gain[j]));
        most = __hmax(__habs(v), most);
        total = __hadd(total, v);
    }
    const float largest = reduce<true>(__half2float(most));
    const float all = reduce<false>(__half2float(total)), inverse = 127.0f / largest;
    for (int j = threadIdx.x; j < n; j += blockDim.x)
        code[first + j] =
            code_of(__half2float(x[first + j]) * root * __half2float(gain[j]) * inverse);
    if (!threadIdx.x) {
        scale[blockIdx.x] = __float2half_rn(largest / 127.0f);
        sum[blockIdx.x] = __float2half_rn(all);
    }
}

static __global__ void quantise(const half *x, int n, signed char *code, half *scale, half *sum)
{
    const size_t first = (size_t)blockIdx.x * n;
    float most = 0, total = 0;
    for (int j = threadIdx.x; j < n; j += blockDim.x) {
        const float v = __half2float(x[first + j]);
        total += v;
        most = fmaxf(most, fabsf(v));
    }
    const float largest = reduce<true>(most), all = reduce<false>(total);
    const float inverse = 127.0f / largest;
    for (int j = threadIdx.x; j < n; j += blockDim.x)
        code[first + j] = code_of(__half2float(x[first + j]) * inverse);
    if (!threadIdx.x) {
        scale[blockIdx.x] = __float2half_rn(largest / 127.0f);
        sum[blockIdx.x] = __float2half_rn(all);
    }
}

static __global__ void silu_times_up(const half *x, int n, half *y)
{
    const size_t first = (size_t)blockIdx.x * n;
    for (int j = threadIdx.x; j < n; j += blockDim.x) {
        const float gate = __half2float(__ldg(x + 2 * first + j));
        const half active = __float2half_rn(gate / (1.0f + expf(-gate)));
        y[first + j] = __hmul(active, __ldg(x + 2 * first + n + j));
    }
}

constexpr int ADD_BLOCK = 128, ADD_EACH = 4;

static __global__ void add(const half *x, const half *residual, half *y, size_t count)
{
    const size_t at = ((size_t)blockIdx.x * ADD_BLOCK + threadIdx.x) * ADD_EACH;
    if (at + ADD_EACH <= count) {
        const uint2 a = *(const uint2 *)(x + at), b = *(const uint2 *)(residual + at);
        half2 low = __hadd2(*(half2 *)&a.x, *(half2 *)&b.x);
        half2 high = __hadd2(*(half2 *)&a.y, *(half2 *)&b.y);
        *(uint2 *)(y + at) = make_uint2(*(uint32_t *)&low, *(uint32_t *)&high);
    } else {
        for (size_t i = at; i < count; i++)
            y[i] = __hadd(x[i], residual[i]);
    }
}

/* ---- rotation and cache ---- */

constexpr int ROPE_TOKENS = 3, ROPE_GRID = 1024;

/* What a lane loads and stores at once. */
template <class T, int Count> struct alignas(sizeof(T) * Count) Lane {
    T v[Count];
};

/* Each values of the lane: lanes 0 .. 15 of the first half of a head, the others of the second,
 * which turn with them. */
template <int Each>
static __device__ void turn(half (&v)[Each], int channel, int head_dim, int token, bool second)
{
#pragma unroll
    for (int t = 0; t < Each; t++) {
        const float mine = __half2float(v[t]);
        const float other = __shfl_xor_sync(ALL_LANES, mine, WARP / 2);
        const float angle =
            (float)token / powf(QUANT_ROPE_BASE, (float)(2 * (channel + t)) / (float)head_dim);
        const float c = cosf(angle), s = sinf(angle);
        v[t] = __float2half_rn(second ? mine * c + other * s : mine * c - other * s);
    }
}

template <int Each>
static __device__ void extremes(const half (&v)[Each], bool masked, float &low, float &high)
{
    low = 0x1p60f, high = -0x1p60f;
#pragma unroll
    for (int t = 0; t < Each; t++)
        if (!masked) {
            low = fminf(low, __half2float(v[t]));
            high = fmaxf(high, __half2float(v[t]));
        }
#pragma unroll
    for (int d = WARP / 2; d > 0; d /= 2) {
        low = fminf(low, __shfl_xor_sync(ALL_LANES, low, d));
        high = fmaxf(high, __shfl_xor_sync(ALL_LANES, high, d));
    }
}

template <int Each>
static __device__ void store(const half (&v)[Each], const attn_row &row, int at, int levels,
                             unsigned char *to)
{
    Lane<unsigned char, Each> code;
#pragma unroll
    for (int t = 0; t < Each; t++)
        code.v[t] = (unsigned char)quant_published_code(&row, __half2float(v[t]), levels);
    if (levels != 15) {
        *(Lane<unsigned char, Each> *)(to + at) = code;
        return;
    }
    Lane<unsigned char, Each / 2> pair;
#pragma unroll
    for (int t = 0; t < Each / 2; t++)
        pair.v[t] = (unsigned char)(code.v[2 * t] | code.v[2 * t + 1] << 4);
    *(Lane<unsigned char, Each / 2> *)(to + at / 2) = pair;
}

template <int Each> static __global__ void rope_cache(const quant_problem p, const quant_args a)
{
    const enum attn_scheme scheme = p.bits == 4 ? ATTN_KV4 : ATTN_KV8;
    const int levels = attn_levels(scheme), lane = threadIdx.x % WARP;
    const bool second = lane >= WARP / 2, masked = lane % (WARP / 2) * Each >= p.head_dim / 2;
    const int channel = lane % (WARP / 2) * Each, at = channel + second * (p.head_dim / 2);
    const int head = blockIdx.y, ratio = p.heads / p.kv_heads, kv = head / ratio;
    const int rotated = (p.heads + p.kv_heads) * p.head_dim;
    const int pages = (p.length + p.page - 1) / p.page + 1;
    for (int i = blockIdx.x * ROPE_TOKENS + threadIdx.x / WARP; i < p.m;
         i += gridDim.x * ROPE_TOKENS) {
        const int sequence = i / p.length, token = i % p.length, local = token % p.page;
        const half *x = (const half *)a.x + (size_t)i * p.n + at;
        half *y = (half *)a.y + (size_t)i * rotated + at;
        Lane<half, Each> v[3] = {};
        const int from[3] = { head, p.heads + kv, p.heads + p.kv_heads + kv };
#pragma unroll
        for (int part = 0; part < 3; part++)
            if (!masked)
                v[part] = *(const Lane<half, Each> *)(x + from[part] * p.head_dim);
        turn<Each>(v[0].v, channel, p.head_dim, token, second);
        turn<Each>(v[1].v, channel, p.head_dim, token, second);
        unsigned char *page[2];
        float low[2], high[2];
#pragma unroll
        for (int w = 0; w < 2; w++) {
            page[w] = (unsigned char *)a.page[((size_t)sequence * 2 + w) * pages + token / p.page];
            extremes<Each>(v[1 + w].v, masked, low[w], high[w]);
        }
        const size_t scale_at = attn_scale_at(scheme, p.kv_heads, p.head_dim, p.page, kv, local);
        const size_t zero_at = attn_zero_at(scheme, p.kv_heads, p.head_dim, p.page, kv, local);
        if (!lane)
            for (int w = 0; w < 2; w++) {
                const attn_row row = quant_published_row(low[w], high[w], levels);
                *(volatile half_bits *)(page[w] + scale_at) = row.scale;
                *(volatile half_bits *)(page[w] + zero_at) = row.zero;
            }
        __syncwarp();
        attn_row row[2];
        for (int w = 0; w < 2; w++) {
            row[w].inverse =
                1.0f / half_to_float(*(volatile const half_bits *)(page[w] + scale_at));
            row[w].shift = half_to_float(*(volatile const half_bits *)(page[w] + zero_at));
        }
        if (masked)
            continue;
        *(Lane<half, Each> *)(y + head * p.head_dim) = v[0];
        if (head != kv * ratio)
            continue;
        const size_t data = attn_data_at(scheme, p.head_dim, p.page, kv, local);
        *(Lane<half, Each> *)(y + (p.heads + kv) * p.head_dim) = v[1];
        store<Each>(v[1].v, row[0], at, levels, page[0] + data);
        store<Each>(v[2].v, row[1], at, levels, page[1] + data);
    }
}

/* ---- launchers ---- */

static enum op_status launched(void)
{
    return cudaGetLastError() == cudaSuccess ? OP_OK : OP_EDEVICE;
}

static int threads_of(int n)
{
    return n < ROW_THREADS ? (n + WARP - 1) / WARP * WARP : ROW_THREADS;
}

static enum op_status run_rope(const quant_problem *p, const quant_args *a, op_stream s)
{
    const int tokens = (p->m + ROPE_TOKENS - 1) / ROPE_TOKENS;
    const int share = (ROPE_GRID + p->heads - 1) / p->heads;
    const dim3 grid(share < tokens ? share : tokens, p->heads);
    if (p->heads % p->kv_heads)
        return OP_EUNSUPPORTED;
    if (p->head_dim <= 64)
        rope_cache<2><<<grid, WARP * ROPE_TOKENS, 0, s>>>(*p, *a);
    else if (p->head_dim <= 128)
        rope_cache<4><<<grid, WARP * ROPE_TOKENS, 0, s>>>(*p, *a);
    else
        rope_cache<8><<<grid, WARP * ROPE_TOKENS, 0, s>>>(*p, *a);
    return launched();
}

OP_BEGIN

enum op_status quant_published(const struct quant_problem *p, const struct quant_args *a,
                               void *state, op_stream s)
{
    const int threads = threads_of(p->n), n = p->n;
    const half *x = (const half *)a->x;
    half *scale = (half *)a->scale, *sum = (half *)a->sum;
    if (p->kernel == QUANT_ADD || p->kernel == QUANT_ADD_NORM) {
        const size_t count = (size_t)p->m * n;
        add<<<(unsigned)((count + ADD_BLOCK * ADD_EACH - 1) / (ADD_BLOCK * ADD_EACH)), ADD_BLOCK, 0,
              s>>>(x, (const half *)a->residual, (half *)a->y, count);
        x = (const half *)a->y;
    }
    switch (p->kernel) {
    case QUANT_NORM:
    case QUANT_ADD_NORM:
        norm_quantise<<<p->m, threads, 0, s>>>(x, (const half *)a->gain, n, a->code, scale, sum);
        break;
    case QUANT_SILU:
        silu_times_up<<<p->m, threads, 0, s>>>(x, n, (half *)state);
        quantise<<<p->m, threads, 0, s>>>((const half *)state, n, a->code, scale, sum);
        break;
    case QUANT_PLAIN:
        quantise<<<p->m, threads, 0, s>>>(x, n, a->code, scale, sum);
        break;
    case QUANT_ROPE_KV:
        return run_rope(p, a, s);
    case QUANT_ADD:
        break;
    }
    return launched();
}
OP_END
