/*
 * prefill.cu - attention of a prompt over itself that leaves the quantised cache behind.
 *
 * Bound by the tensor cores.  A block takes 128 tokens of one query head, 16 a warp, and walks
 * over tiles of 64 keys and values up to its last token, two tiles in shared memory; softmax
 * as it goes.  Tiles that hold the block's own tokens are written to the cache on the way,
 * from shared memory, by the block of the first query head of each KV head: keys and values
 * are read for the cache without another kernel.
 *
 *   scores  [16 tokens][64 keys]   A queries in registers, B keys by ldmatrix
 *   sums    [16 tokens][D]         A weights: C of the scores is A of this product
 *
 * Byte x of row t of a tile stands at x ^ 16 turn(t), so that 8 rows of a matrix lie in
 * different groups of banks.
 */
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include "../common/warp.cuh"
#include "prefill.h"
#include "value.h"
#include "warp_mma.cuh"

constexpr int WARPS = 8, THREADS = 32 * WARPS;
constexpr int QUERIES = 16 * WARPS; /* tokens of a block */
constexpr int KEYS = 64;            /* tokens of a tile */

struct Prompt {
    struct attn_problem p;
    struct prefill_args a;
};

/* ---- the cache ---- */

/* Where token t of sequence b stands; which: 0 keys, 1 values. */
static __device__ __forceinline__ unsigned char *page_of(const Prompt &g, int b, int which, int t)
{
    const size_t width = attn_table_pages(&g.p);
    return (unsigned char *)g.a.page[((size_t)b * 2 + which) * width + t / g.p.page];
}

/* Half a row, of which the neighbouring lane has the other: word(i) gives two elements,
 * i < D / 4. */
template <enum attn_scheme S, int D, class Word>
static __device__ __forceinline__ void write_row(const Prompt &g, unsigned char *page, int head,
                                                 int t, int side, Word word)
{
    const int rest = t % g.p.page;
    unsigned char *const to =
        page + attn_data_at(S, D, g.p.page, head, rest) + side * (attn_row_bytes(S, D) / 2);
    if constexpr (S == ATTN_KV16) {
#pragma unroll
        for (int i = 0; i < D / 4; i++)
            ((uint32_t *)to)[i] = word(i);
        return;
    }
    constexpr int LEVELS = S == ATTN_KV4 ? 15 : 255;
    float low = INFINITY, high = -INFINITY;
#pragma unroll
    for (int i = 0; i < D / 4; i++) {
        const uint32_t w = word(i);
        const float2 x = __half22float2(*(const half2 *)&w);
        low = fminf(low, fminf(x.x, x.y));
        high = fmaxf(high, fmaxf(x.x, x.y));
    }
    low = fminf(low, __shfl_xor_sync(ALL_LANES, low, 1));
    high = fmaxf(high, __shfl_xor_sync(ALL_LANES, high, 1));
    const struct attn_row row = attn_row_of(low, high, LEVELS);
    constexpr int BITS = S == ATTN_KV4 ? 4 : 8, PAIRS = 16 / BITS; /* pairs of elements a word */
#pragma unroll
    for (int i = 0; i < D / 4 / PAIRS; i++) {
        uint32_t codes = 0;
#pragma unroll
        for (int k = 0; k < PAIRS; k++) {
            const uint32_t w = word(i * PAIRS + k);
            const float2 x = __half22float2(*(const half2 *)&w);
            codes |= (uint32_t)attn_code(&row, x.x, LEVELS) << 2 * BITS * k |
                     (uint32_t)attn_code(&row, x.y, LEVELS) << (2 * BITS * k + BITS);
        }
        ((uint32_t *)to)[i] = codes;
    }
    if (side == 0) {
        *(half_bits *)(page + attn_scale_at(S, g.p.kv_heads, D, g.p.page, head, rest)) = row.scale;
        *(half_bits *)(page + attn_zero_at(S, g.p.kv_heads, D, g.p.page, head, rest)) = row.zero;
    }
}

/* The cache alone: two threads a row. */
template <enum attn_scheme S, int D>
static __global__ void __launch_bounds__(THREADS) write_cache(const __grid_constant__ Prompt g)
{
    const int row = blockIdx.x * (THREADS / 2) + threadIdx.x / 2, side = threadIdx.x % 2;
    const int rows = g.p.batch * g.p.length * g.p.kv_heads;
    const int at = min(row, rows - 1); /* both lanes of a pair stay for the shuffle */
    const int head = at % g.p.kv_heads, token = at / g.p.kv_heads;
    const int b = token / g.p.length, t = token % g.p.length, which = blockIdx.y;
    const uint32_t *const from =
        (const uint32_t *)((const half *)(which ? g.a.v : g.a.k) + (size_t)at * D) + side * (D / 4);
    write_row<S, D>(g, page_of(g, b, which, t), head, t, side,
                    [&](int i) { return __ldg(from + i); });
}

/* ---- attention ---- */

template <int D> struct Tile {
    static constexpr int ROW = 2 * D, COLUMNS = ROW / 16, BYTES = KEYS * ROW;
    static __device__ __forceinline__ int turn(int row)
    {
        return ROW % 128 == 0 ? row % 8 : row / 2 % 4;
    }
    /* Rows behind the last token arrive as zeros. */
    static __device__ __forceinline__ void copy(const half *from, size_t stride, int first,
                                                int length, uint32_t to)
    {
        for (int i = threadIdx.x; i < KEYS * COLUMNS; i += THREADS) {
            const int row = i / COLUMNS, column = i % COLUMNS;
            const bool valid = first + row < length;
            copy_to(to + row * ROW + 16 * (column ^ turn(row)),
                    from + (valid ? first + row : 0) * stride + 8 * column, valid);
        }
    }
};

template <int D> struct Softmax {
    static constexpr int STEPS = D / 16;
    uint32_t query[STEPS][4]; /* A of 16 tokens */
    float sum[D / 8][4], most[2], weight[2];

    /* from: half, row of the warp's first token; rows that are not there are not read. */
    __device__ __forceinline__ void start(const half *from, size_t stride, int rows, int lane)
    {
        const int r = lane / 4, q = lane % 4;
#pragma unroll
        for (int i = 0; i < STEPS * 4; i++) {
            const int step = i / 4, row = r + i % 2 * 8, column = 16 * step + i / 2 % 2 * 8 + 2 * q;
            query[step][i % 4] = row < rows ? *(const uint32_t *)(from + row * stride + column) : 0;
        }
#pragma unroll
        for (int i = 0; i < D / 8 * 4; i++)
            sum[i / 4][i % 4] = 0;
        most[0] = most[1] = -INFINITY;
        weight[0] = weight[1] = 0;
    }

    /* first: of the tile's keys; token: of the warp's first query.  Masks keys behind a query. */
    __device__ __forceinline__ void tile(uint32_t keys, uint32_t values, int first, int token,
                                         float unit, int lane)
    {
        float score[KEYS / 8][4];
        using T = Tile<D>;
        const int r = lane / 4, q = lane % 4;
#pragma unroll
        for (int n = 0; n < KEYS / 8; n++) {
#pragma unroll
            for (int e = 0; e < 4; e++)
                score[n][e] = 0;
#pragma unroll
            for (int step = 0; step < STEPS; step += 2) { /* four columns of 8 keys */
                const int row = 8 * n + lane % 8, column = 2 * step + lane / 8;
                uint32_t d[4];
                load_matrices<false, false>(d, keys + row * T::ROW + 16 * (column ^ T::turn(row)));
                mma(score[n], query[step], d[0], d[1]);
                mma(score[n], query[step + 1], d[2], d[3]);
            }
        }
        if (first + KEYS > token + 1) {
#pragma unroll
            for (int i = 0; i < KEYS / 8 * 4; i++)
                if (first + i / 4 * 8 + 2 * q + i % 2 > token + r + i / 2 % 2 * 8)
                    score[i / 4][i % 4] = -INFINITY;
        }
#pragma unroll
        for (int h = 0; h < 2; h++) {
            float high = most[h];
#pragma unroll
            for (int n = 0; n < KEYS / 8; n++)
                high = fmaxf(high, fmaxf(score[n][2 * h], score[n][2 * h + 1]));
            high = fmaxf(high, __shfl_xor_sync(ALL_LANES, high, 1));
            high = fmaxf(high, __shfl_xor_sync(ALL_LANES, high, 2));
            const float by = exp2_approx((most[h] - high) * unit);
            most[h] = high;
            weight[h] *= by;
#pragma unroll
            for (int n = 0; n < D / 8; n++) {
                sum[n][2 * h] *= by;
                sum[n][2 * h + 1] *= by;
            }
#pragma unroll
            for (int n = 0; n < KEYS / 8; n++)
#pragma unroll
                for (int e = 2 * h; e < 2 * h + 2; e++) {
                    score[n][e] = exp2_approx(score[n][e] * unit - high * unit);
                    weight[h] += score[n][e];
                }
        }
#pragma unroll
        for (int k = 0; k < KEYS / 16; k++) {
            uint32_t p[4];
#pragma unroll
            for (int i = 0; i < 4; i++) {
                const half2 pair = __floats2half2_rn(score[2 * k + i / 2][2 * (i % 2)],
                                                     score[2 * k + i / 2][2 * (i % 2) + 1]);
                p[i] = *(const uint32_t *)&pair;
            }
#pragma unroll
            for (int n = 0; n < D / 8; n += 2) { /* two columns of 16 values */
                const int row = 16 * k + lane % 16, column = n + lane / 16;
                uint32_t d[4];
                load_matrices<true, false>(d, values + row * T::ROW + 16 * (column ^ T::turn(row)));
                mma(sum[n], p, d[0], d[1]);
                mma(sum[n + 1], p, d[2], d[3]);
            }
        }
    }

    __device__ __forceinline__ void store(half *to, size_t stride, int rows, int lane)
    {
        const int r = lane / 4, q = lane % 4;
#pragma unroll
        for (int h = 0; h < 2; h++) {
            weight[h] += __shfl_xor_sync(ALL_LANES, weight[h], 1);
            weight[h] += __shfl_xor_sync(ALL_LANES, weight[h], 2);
            if (r + 8 * h >= rows)
                continue;
            const float by = 1 / weight[h];
            half *const row = to + (r + 8 * h) * stride;
#pragma unroll
            for (int n = 0; n < D / 8; n++)
                *(half2 *)(row + 8 * n + 2 * q) =
                    __floats2half2_rn(sum[n][2 * h] * by, sum[n][2 * h + 1] * by);
        }
    }
};

/* A tile from shared memory to the cache: 64 rows of keys, 64 of values, two threads each. */
template <enum attn_scheme S, int D>
static __device__ __forceinline__ void write_tile(const Prompt &g, int b, int head, int first,
                                                  uint32_t keys, uint32_t values)
{
    using T = Tile<D>;
    const int which = threadIdx.x / (2 * KEYS), row = threadIdx.x / 2 % KEYS,
              side = threadIdx.x % 2;
    const int t = min(first + row, g.p.length - 1);
    const uint32_t from = (which ? values : keys) + (t - first) * T::ROW;
    write_row<S, D>(g, page_of(g, b, which, t), head, t, side, [&](int i) {
        const int at = side * (D / 4) + i;
        uint32_t word[1];
        load_words(from + 16 * (at / 4 ^ T::turn(t - first)) + 4 * (at % 4), word);
        return word[0];
    });
}

template <enum attn_scheme S, bool Write, int D>
static __global__ void __launch_bounds__(THREADS, 1) prefill(const __grid_constant__ Prompt g)
{
    using T = Tile<D>;
    static_assert(2 * 2 * KEYS == THREADS, "two threads a row of keys or values");
    extern __shared__ __align__(128) uint4 memory[];
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const int block = gridDim.x - 1 - blockIdx.x; /* the longest first */
    const int h = blockIdx.y, b = blockIdx.z, ratio = g.p.heads / g.p.kv_heads, head = h / ratio;
    const int first = block * QUERIES, token = first + 16 * warp;
    const size_t stride = (size_t)g.p.kv_heads * D, wide = (size_t)g.p.heads * D;
    const size_t base = (size_t)b * g.p.length;
    const half *const k = (const half *)g.a.k + base * stride + head * D;
    const half *const v = (const half *)g.a.v + base * stride + head * D;
    const size_t row = (base + token) * wide + (size_t)h * D;
    const int end = min(first + QUERIES, g.p.length), tiles = (end + KEYS - 1) / KEYS;
    const float unit = 1.4426950408889634f * rsqrtf((float)D);
    const uint32_t ring = shared_address(memory);
    const auto copy = [&](int tile) {
        if (tile < tiles) {
            const uint32_t to = ring + tile % 2 * 2 * T::BYTES;
            T::copy(k, stride, tile * KEYS, g.p.length, to);
            T::copy(v, stride, tile * KEYS, g.p.length, to + T::BYTES);
        }
        copy_commit();
    };
    copy(0);
    Softmax<D> s;
    const int rows = g.p.length - token; /* that are there; at most 16 count */
    s.start((const half *)g.a.q + row, wide, rows, lane);
    for (int tile = 0; tile < tiles; tile++) {
        const uint32_t keys = ring + tile % 2 * 2 * T::BYTES, values = keys + T::BYTES;
        copy_wait<0>();
        __syncthreads(); /* the tile is there, the one before has been read */
        copy(tile + 1);
        if (tile * KEYS <= token + 15 && rows > 0)
            s.tile(keys, values, tile * KEYS, token, unit, lane);
        if (Write && h % ratio == 0 && tile * KEYS >= first)
            write_tile<S, D>(g, b, head, tile * KEYS, keys, values);
    }
    if (rows > 0)
        s.store((half *)g.a.out + row, wide, rows, lane);
}

/* ---- launchers ---- */

template <enum attn_scheme S, bool Write, int D>
static enum op_status launch(const Prompt &g, op_stream s)
{
    const int shared = 4 * Tile<D>::BYTES;
    const dim3 grid((g.p.length + QUERIES - 1) / QUERIES, g.p.heads, g.p.batch);
    if (cudaFuncSetAttribute((const void *)prefill<S, Write, D>,
                             cudaFuncAttributeMaxDynamicSharedMemorySize, shared) != cudaSuccess)
        return OP_EDEVICE;
    prefill<S, Write, D><<<grid, THREADS, shared, s>>>(g);
    if (!Write) {
        const int rows = g.p.batch * g.p.length * g.p.kv_heads;
        const dim3 blocks((rows + THREADS / 2 - 1) / (THREADS / 2), 2);
        write_cache<S, D><<<blocks, THREADS, 0, s>>>(g);
    }
    return cudaGetLastError() == cudaSuccess ? OP_OK : OP_EDEVICE;
}

template <enum attn_scheme S, bool Write>
static enum op_status run(const struct attn_problem *p, const struct prefill_args *a, op_stream s)
{
    const Prompt g = { *p, *a };
    if (attn_meaningless(p) || p->length % p->page)
        return OP_EINVAL;
    switch (p->head_dim) {
    case 64:
        return launch<S, Write, 64>(g, s);
    case 96:
        return launch<S, Write, 96>(g, s);
    case 128:
        return launch<S, Write, 128>(g, s);
    default:
        return OP_EUNSUPPORTED;
    }
}

OP_BEGIN

#define LAUNCHER(name, scheme, fused)                                                              \
    enum op_status name(const struct attn_problem *p, const struct prefill_args *a, void *state,   \
                        op_stream s)                                                               \
    {                                                                                              \
        (void)state;                                                                               \
        return run<scheme, fused>(p, a, s);                                                        \
    }
LAUNCHER(prefill_kv4, ATTN_KV4, true)
LAUNCHER(prefill_kv8, ATTN_KV8, true)
LAUNCHER(prefill_kv16, ATTN_KV16, true)
LAUNCHER(prefill_kv4_apart, ATTN_KV4, false)
LAUNCHER(prefill_kv8_apart, ATTN_KV8, false)
LAUNCHER(prefill_kv16_apart, ATTN_KV16, false)

OP_END
