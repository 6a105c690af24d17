/*
 * published.cu - decode attention of QServe (arXiv 2405.04532) and the steps of its ablation.
 *
 * A block makes one query head of one sequence, head_dim 128; nothing is shared among the
 * query heads of a KV head, the sequence is not split.
 *
 *   scores   16 threads a key, 8 elements each; 16 keys at a time, 4 times unrolled
 *   softmax  scores in shared memory, float; weights as halves
 *   values   16 threads a token, 8 elements each, 4 rows unrolled; sums joined at the end
 *
 * A word of eight nibbles v0 .. v7, low first, gives pairs of halves in the order
 * (v0,v4) (v1,v5) (v2,v6) (v3,v7); the query is put in this order once.
 *
 * The steps, each with those before:
 *   naive        nibble by nibble, integer to float; a page looked up and checked for each key
 *   bits         two codes a mask, as halves 1024 + code
 *   control      pages by shifts, no branches around loads: keys behind the end are read
 *                (the table is padded) and dropped
 *   half_scores  products of query and key in half, eight of them summed in half
 *   half_values  products of weight and value in half, four rows summed in half
 *   published    scales and zero points of up to 2047 tokens copied to shared memory at the start
 *
 * Differs from what is published: the new token is rotated, quantised and in the cache already;
 * the size of a page is free.  Mended: the published code waits for its own copies of scales
 * and zero points and then reads those of other threads; see "the block" below.
 */
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include "../gemm/mma.cuh"
#include "kernels.h"
#include "value.h"

constexpr int THREADS = 256, DIMS = 128;
constexpr int LANES = 16;             /* threads of a key */
constexpr int KEYS = THREADS / LANES; /* keys at a time */
constexpr int ROWS = 4;               /* unrolled */
constexpr int AHEAD = 2048;           /* tokens whose scales fit shared memory */

template <enum attn_scheme S, bool Bits, bool Control, bool HalfScores, bool HalfValues,
          bool Prefetch>
struct Step {
    static constexpr enum attn_scheme SCHEME = S;
    static constexpr bool BITS = Bits, CONTROL = Control, HALF_SCORES = HalfScores,
                          HALF_VALUES = HalfValues, PREFETCH = Prefetch;
};

/* Codes of 8 elements as they stand in a page. */
template <enum attn_scheme S> struct Word;
template <> struct Word<ATTN_KV4> {
    typedef uint32_t type;
    static __device__ __forceinline__ int code(uint32_t w, int i)
    {
        return w >> 4 * i & 15;
    }
};
template <> struct Word<ATTN_KV8> {
    typedef uint2 type;
    static __device__ __forceinline__ int code(uint2 w, int i)
    {
        return (i < 4 ? w.x : w.y) >> 8 * (i % 4) & 255;
    }
};

/* Where the block reads; keys or values. */
struct Side {
    const void *const *page; /* of the sequence */
    const half *ahead;       /* scales in shared memory, zero points AHEAD behind; NULL: in pages */
    size_t data, scale, zero; /* of the head, within a page */
    int size, shift;          /* tokens of a page; log2, or -1 */
};

template <class P>
static __device__ __forceinline__ void locate(const Side &side, int t, int *page, int *rest)
{
    if (P::CONTROL && side.shift >= 0) {
        *page = t >> side.shift;
        *rest = t & (side.size - 1);
    } else {
        *page = t / side.size;
        *rest = t % side.size;
    }
}

template <class P> struct Row {
    typename Word<P::SCHEME>::type word;
    half scale, zero;
};

template <class P> static __device__ __forceinline__ Row<P> load(const Side &side, int t, int lane)
{
    typedef typename Word<P::SCHEME>::type word;
    Row<P> row;
    int page, rest;
    locate<P>(side, t, &page, &rest);
    const unsigned char *const from = (const unsigned char *)side.page[page];
    row.word = ((const word *)(from + side.data))[rest * LANES + lane];
    if (P::PREFETCH && side.ahead) {
        row.scale = side.ahead[t];
        row.zero = side.ahead[AHEAD + t];
    } else {
        row.scale = ((const half *)(from + side.scale))[rest];
        row.zero = ((const half *)(from + side.zero))[rest];
    }
    return row;
}

/* Pair i: elements i and i + 4, as halves. */
static __device__ __forceinline__ half2 pair_of(uint32_t word, int i)
{
    const half2 low = __floats2half2_rn(-1024, -1024), high = __floats2half2_rn(-64, -64);
    const half2 part = __floats2half2_rn(0.0625f, 0.0625f);
    const uint32_t from = i < 2 ? word : word >> 8;
    const uint32_t bits = (i % 2 ? from & 0x00f000f0 : from & 0x000f000f) | 0x64006400;
    const half2 x = *(const half2 *)&bits;
    return i % 2 ? __hfma2(x, part, high) : __hadd2(x, low);
}

/* All 8 elements as pairs of halves: only with BITS. */
template <class P>
static __device__ __forceinline__ void halves_of(const Row<P> &row, half2 (&x)[4])
{
    const half2 scale = __half2half2(row.scale), bias = __half2half2(__hneg(row.scale) * row.zero);
#pragma unroll
    for (int i = 0; i < 4; i++)
        x[i] = __hfma2(pair_of(row.word, i), scale, bias);
}

/* In the order of the elements. */
template <class P>
static __device__ __forceinline__ void floats_of(const Row<P> &row, float (&x)[8])
{
    if constexpr (P::BITS) {
        half2 pair[4];
        halves_of<P>(row, pair);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            x[i] = __low2float(pair[i]);
            x[i + 4] = __high2float(pair[i]);
        }
    } else {
        const float scale = __half2float(row.scale), zero = __half2float(row.zero);
#pragma unroll
        for (int i = 0; i < 8; i++)
            x[i] = ((float)Word<P::SCHEME>::code(row.word, i) - zero) * scale;
    }
}

/* ---- scores ---- */

struct Query {
    half2 pair[4];
    float plain[8];
};

template <class P>
static __device__ __forceinline__ float product(const Query &q, const Row<P> &row)
{
    if constexpr (P::HALF_SCORES) {
        half2 k[4], sum = __floats2half2_rn(0, 0);
        halves_of<P>(row, k);
#pragma unroll
        for (int i = 0; i < 4; i++)
            sum = __hfma2(q.pair[i], k[i], sum);
        return __low2float(sum) + __high2float(sum);
    } else {
        float k[8], sum = 0;
        floats_of<P>(row, k);
#pragma unroll
        for (int i = 0; i < 8; i++)
            sum += q.plain[i] * k[i];
        return sum;
    }
}

/* Of all keys into score; returns the thread's largest. */
template <class P>
static __device__ float scores(const Side &keys, const Query &q, int length, float *score)
{
    const int lane = threadIdx.x % LANES, first = threadIdx.x / LANES;
    float most = -INFINITY;
    for (int t0 = 0; t0 < length; t0 += KEYS * ROWS) {
        float sum[ROWS];
        if constexpr (P::CONTROL) {
            Row<P> row[ROWS];
#pragma unroll
            for (int i = 0; i < ROWS; i++)
                row[i] = load<P>(keys, min(t0 + i * KEYS + first, length - 1), lane);
#pragma unroll
            for (int i = 0; i < ROWS; i++)
                sum[i] = product<P>(q, row[i]);
        } else {
#pragma unroll
            for (int i = 0; i < ROWS; i++) {
                const int t = t0 + i * KEYS + first;
                sum[i] = 0;
                if (t < length)
                    sum[i] = product<P>(q, load<P>(keys, t, lane));
            }
        }
#pragma unroll
        for (int i = 0; i < ROWS; i++) {
            const int t = t0 + i * KEYS + first;
#pragma unroll
            for (int d = LANES / 2; d > 0; d /= 2)
                sum[i] += __shfl_xor_sync(0xffffffff, sum[i], d);
            sum[i] *= 0.08838834764831845f; /* 1/sqrt(128) */
            if (t < length) {
                most = fmaxf(most, sum[i]);
                if (lane == 0)
                    score[t] = sum[i];
            }
        }
    }
    return most;
}

/* Over the block; all threads get it. */
template <bool Max> static __device__ float block_join(float v, float *part)
{
#pragma unroll
    for (int d = 16; d > 0; d /= 2) {
        const float other = __shfl_xor_sync(0xffffffff, v, d);
        v = Max ? fmaxf(v, other) : v + other;
    }
    __syncthreads();
    if (threadIdx.x % 32 == 0)
        part[threadIdx.x / 32] = v;
    __syncthreads();
    v = part[0];
    for (int i = 1; i < THREADS / 32; i++)
        v = Max ? fmaxf(v, part[i]) : v + part[i];
    return v;
}

/* ---- values ---- */

template <class P>
static __device__ void values(const Side &side, const half *weight, int length, float (&out)[8])
{
    const int lane = threadIdx.x % LANES, first = threadIdx.x / LANES;
#pragma unroll
    for (int i = 0; i < 8; i++)
        out[i] = 0;
    for (int t0 = first; t0 < length; t0 += KEYS * ROWS) {
        half2 sum[4];
#pragma unroll
        for (int i = 0; i < 4; i++)
            sum[i] = __floats2half2_rn(0, 0);
        Row<P> row[ROWS];
        if constexpr (P::CONTROL) {
#pragma unroll
            for (int i = 0; i < ROWS; i++)
                row[i] = load<P>(side, min(t0 + i * KEYS, length - 1), lane);
        }
#pragma unroll
        for (int i = 0; i < ROWS; i++) {
            const int t = t0 + i * KEYS;
            if (t >= length)
                continue;
            if constexpr (!P::CONTROL)
                row[i] = load<P>(side, t, lane);
            if constexpr (P::HALF_VALUES) {
                half2 v[4];
                halves_of<P>(row[i], v);
#pragma unroll
                for (int k = 0; k < 4; k++)
                    sum[k] = __hfma2(__half2half2(weight[t]), v[k], sum[k]);
            } else {
                float v[8];
                floats_of<P>(row[i], v);
#pragma unroll
                for (int k = 0; k < 8; k++)
                    out[k] += __half2float(weight[t]) * v[k];
            }
        }
        if constexpr (P::HALF_VALUES) {
#pragma unroll
            for (int k = 0; k < 4; k++) {
                out[k] += __low2float(sum[k]);
                out[k + 4] += __high2float(sum[k]);
            }
        }
    }
}

/* ---- the block ---- */

/* Scales and zero points of the first tokens, 8 of them a copy. */
static __device__ void fetch_ahead(const Side &side, int length, half *to)
{
    for (int i = threadIdx.x; i < (length + 7) / 8; i += THREADS) {
        const unsigned char *const page = (const unsigned char *)side.page[8 * i / side.size];
        const int rest = 8 * i % side.size;
        copy_async(to + 8 * i, page + side.scale + 2 * rest, true);
        copy_async(to + AHEAD + 8 * i, page + side.zero + 2 * rest, true);
    }
}

template <class P>
static __device__ Side side_of(const attn_problem &p, const attn_args &a, int b, int head,
                               int which, int shift)
{
    const int width = attn_table_pages(&p);
    return { a.page + ((size_t)b * 2 + which) * width,
             NULL,
             attn_data_at(P::SCHEME, DIMS, p.page, head, 0),
             attn_scale_at(P::SCHEME, p.kv_heads, DIMS, p.page, head, 0),
             attn_zero_at(P::SCHEME, p.kv_heads, DIMS, p.page, head, 0),
             p.page,
             shift };
}

template <class P>
static __global__ void __launch_bounds__(THREADS)
    decode_attention(const attn_problem p, const attn_args a, int shift)
{
    extern __shared__ uint4 memory[]; /* scores and weights, then sums [KEYS][DIMS] */
    __shared__ __align__(16) half ahead[P::PREFETCH ? 4 * AHEAD : 8];
    __shared__ float part[THREADS / 32];
    const int h = blockIdx.x, b = blockIdx.y, lane = threadIdx.x % LANES;
    const int length = a.length[b], head = h / (p.heads / p.kv_heads);
    const size_t row = ((size_t)b * p.heads + h) * DIMS;
    float *const score = (float *)memory;
    half *const weight = (half *)(score + p.length);
    Side keys = side_of<P>(p, a, b, head, 0, shift), vals = side_of<P>(p, a, b, head, 1, shift);
    if constexpr (P::PREFETCH)
        if (length < AHEAD) {
            fetch_ahead(keys, length, ahead);
            fetch_ahead(vals, length, ahead + 2 * AHEAD);
            copy_commit();
            copy_wait<0>();
            __syncthreads(); /* the barrier that the published code lacks */
            keys.ahead = ahead;
            vals.ahead = ahead + 2 * AHEAD;
        }
    Query q;
    const half *const from = (const half *)a.q + row + 8 * lane;
#pragma unroll
    for (int i = 0; i < 8; i++)
        q.plain[i] = __half2float(from[i]);
#pragma unroll
    for (int i = 0; i < 4; i++)
        q.pair[i] = __halves2half2(from[i], from[i + 4]);
    const float most = block_join<true>(scores<P>(keys, q, length, score), part);
    float sum = 0;
    for (int t = threadIdx.x; t < length; t += THREADS)
        sum += score[t] = __expf(score[t] - most);
    sum = block_join<false>(sum, part);
    for (int t = threadIdx.x; t < length; t += THREADS)
        weight[t] = __float2half(score[t] / (sum + 1e-6f));
    __syncthreads();
    float out[8];
    values<P>(vals, weight, length, out);
    __syncthreads(); /* all weights are read: their place takes the sums */
    float(*const joined)[DIMS] = (float(*)[DIMS])memory;
#pragma unroll
    for (int i = 0; i < 8; i++)
        joined[threadIdx.x / LANES][8 * lane + i] = out[i];
    __syncthreads();
    if (threadIdx.x < DIMS) {
        float all = 0;
        for (int i = 0; i < KEYS; i++)
            all += joined[i][threadIdx.x];
        ((half *)a.out)[row + threadIdx.x] = __float2half(all);
    }
}

/* ---- launchers ---- */

template <class P>
static enum op_status launch(const struct attn_problem *p, const struct attn_args *a, op_stream s)
{
    const size_t need = ((size_t)p->length * 6 + 15) / 16 * 16, least = 4 * KEYS * DIMS;
    const size_t shared = need > least ? need : least;
    int shift = 0;
    if (attn_meaningless(p))
        return OP_EINVAL;
    if (p->head_dim != DIMS)
        return OP_EUNSUPPORTED;
    while (1 << shift < p->page)
        shift++;
    if (1 << shift != p->page)
        shift = -1;
    if (shared > 16384 &&
        cudaFuncSetAttribute(decode_attention<P>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             (int)shared) != cudaSuccess)
        return OP_EUNSUPPORTED;
    decode_attention<P><<<dim3(p->heads, p->batch), THREADS, shared, s>>>(*p, *a, shift);
    return cudaGetLastError() == cudaSuccess ? OP_OK : OP_EDEVICE;
}

OP_BEGIN

#define LAUNCHER(name, ...)                                                                        \
    enum op_status name(const struct attn_problem *p, const struct attn_args *a, void *state,      \
                        op_stream s)                                                               \
    {                                                                                              \
        (void)state;                                                                               \
        return launch<Step<__VA_ARGS__>>(p, a, s);                                                 \
    }
LAUNCHER(attn_kv4_naive, ATTN_KV4, false, false, false, false, false)
LAUNCHER(attn_kv4_bits, ATTN_KV4, true, false, false, false, false)
LAUNCHER(attn_kv4_control, ATTN_KV4, true, true, false, false, false)
LAUNCHER(attn_kv4_half_scores, ATTN_KV4, true, true, true, false, false)
LAUNCHER(attn_kv4_half_values, ATTN_KV4, true, true, true, true, false)
LAUNCHER(attn_kv4_published, ATTN_KV4, true, true, true, true, true)
LAUNCHER(attn_kv8_published, ATTN_KV8, false, true, false, false, true)

OP_END
