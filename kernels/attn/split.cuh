/*
 * split.cuh - decode attention that splits the sequence, for any width of the cache.
 *
 * Bound by reading the cache once.  A block, of one warp to four, takes up to 16 query heads of
 * one KV head and all or a part of the sequence (split_plan.h), so that a key or value is read
 * and converted once for all of them.  Its warps do not meet before the end: each takes every
 * WARPS-th tile through a ring of its own in shared memory, with a running maximum and running
 * sums of its own.
 *
 *   scores    tile [16 tokens][D] x queries [D][8]    C: lane (r, q), tokens r, r+8, queries 2q ..
 *   weights   in registers; movmatrix turns C into B of the next product
 *   sums      values^T [D][16 tokens] x weights [16 tokens][8]
 *
 * Scales and zero points stay out of the products:
 *
 *   score = scale (sum code q - zero sum q)        starts at -zero sum q, is scaled once
 *   out   = sum (p scale) code - sum (p scale) zero   the second is one number a query
 *
 * Rows of the products are not neighbours in the sequence: row r of product i of a tile is
 * token r TILE/8 + i, so that the scales of a lane's tokens are neighbours, one load.
 *
 *   byte x of a tile, of token t, stands at x ^ 16 (t / (TILE/8))
 *
 * so that the 8 rows of a matrix lie in 8 different groups of banks.
 */
#ifndef KERNELS_ATTN_SPLIT_CUH
#define KERNELS_ATTN_SPLIT_CUH

#include "../common/warp.cuh"
#include "split_codes.cuh"
#include "split_merge.cuh"
#include "split_state.h"
#include "warp_mma.cuh"

template <enum attn_scheme S, int D, int Tiles, int Tile> struct Split {
    using C = Codes<S>;
    static constexpr int TILE = Tile, ROW = D * C::BITS / 8, COLUMNS = ROW / 16;
    static constexpr int STEPS = D / 16; /* of 16 elements */
    static constexpr int OWN = TILE / 8; /* neighbouring tokens of a lane's row */
    static constexpr int QUERIES = 8 * Tiles;
    static constexpr int PITCH = D + 4; /* floats of a result of a warp */
    static constexpr int DATA = TILE * ROW, LOADED = 2 * DATA + (C::SCALES ? 8 * TILE : 0);
    /* of the ring; also takes the result of a warp */
    static constexpr int RESULT = 4 * QUERIES * PITCH, STAGE = LOADED > RESULT ? LOADED : RESULT;
    static constexpr int SHARE = 32 / (TILE / 16); /* lanes that copy 16 tokens */
    static constexpr int COPIES = 16 * COLUMNS / SHARE;
    static_assert(COLUMNS * 16 == ROW && COPIES * SHARE == 16 * COLUMNS && DATA % 128 == 0, "");
    static_assert(STAGE % 128 == 0, "");
    static_assert(OWN * ROW % 128 == 0 && SHARE % 8 == 0, "r is turned within whole lines");

    /* ---- copies of a tile ---- */

    struct Pages {
        const unsigned char *k, *v;
        int token, rest; /* the first of 16; within its page */
    };

    /* Does not wait for the sequence's length: the table has an entry for each token of the
     * longest one. */
    static __device__ __forceinline__ Pages find(const SplitWork &w, int b, int token)
    {
        Pages g;
        const int width = attn_table_pages(&w.p), at = min(token, w.p.length - 1) / 16 * 16;
        const void *const *const table = w.a.page + (size_t)b * 2 * width;
        const int page = (int)((unsigned)at / (unsigned)w.p.page);
        g.token = token;
        g.rest = at - page * w.p.page;
        g.k = (const unsigned char *)table[page];
        g.v = (const unsigned char *)table[width + page];
        return g;
    }

    /* Tokens from end on arrive as zeros where none of their 16 is before it. */
    static __device__ __forceinline__ void copy(const SplitWork &w, const Pages &g, int head,
                                                int end, uint32_t stage, int lane)
    {
        const bool valid = g.token < end;
        const int sixteen = lane / SHARE, at = lane % SHARE;
        const int row = head * w.p.page + g.rest;
        const size_t data = (size_t)row * ROW + 16 * at;
#pragma unroll
        for (int i = 0; i < COPIES; i++) {
            constexpr int LINE = COLUMNS * OWN; /* 16-byte columns of a row's tokens */
            const int r = sixteen * 16 / OWN +
                          (LINE % SHARE == 0 ? i * SHARE / LINE : (at + i * SHARE) / LINE);
            const uint32_t to =
                (uint32_t)((16 * sixteen * ROW + 16 * at) ^ 16 * r) + 16 * SHARE * i;
            copy_to(stage + to, g.k + data + 16 * SHARE * i, valid);
            copy_to(stage + DATA + to, g.v + data + 16 * SHARE * i, valid);
        }
        if constexpr (C::SCALES) {
            const size_t all = (size_t)w.p.kv_heads * w.p.page;
            const int which = at / 2; /* keys' scales, keys' zeros, values' scales, values' zeros */
            if (at < 8)
                copy_to(stage + 2 * DATA + 2 * (which * TILE + 16 * sixteen + 8 * (at % 2)),
                        (which < 2 ? g.k : g.v) + all * (ROW + 2 * (which % 2)) +
                            2 * (row + 8 * (at % 2)),
                        valid);
        }
    }

    /* ---- what a lane keeps ---- */

    uint32_t query[STEPS][Tiles][2];
    float ones[Tiles][2]; /* sums of the queries 2q, 2q+1, in units of expanded codes */
    float most[Tiles][2], weight[Tiles][2],
        shift[Tiles][2]; /* maximum; sums of p; of p scale zero */
    float sum[STEPS][Tiles][4];
    float key_unit, value_unit; /* of a score, in powers of 2; of a value */

    /* Queries that meet a lane's codes of keys are RUN neighbours at a time, and those of a
     * register RUN / 2 apart. */
    static constexpr int RUN = 32 / C::BITS;

    static __device__ __forceinline__ void load_run(const half *from, bool valid,
                                                    uint32_t (&word)[2 * STEPS], int run)
    {
        uint32_t x[RUN / 2];
#pragma unroll
        for (int i = 0; i < RUN / 2; i++)
            x[i] = 0;
        if (valid)
            load_global(from, x);
#pragma unroll
        for (int i = 0; i < RUN / 2; i++)
            word[run * (RUN / 2) + i] = x[i];
    }

    static __device__ __forceinline__ half2 pair_of(const uint32_t (&word)[2 * STEPS], int pair)
    {
        const int first = pair / (RUN / 2) * (RUN / 2), i = pair % (RUN / 2);
        const int low = first + i / 2, high = low + RUN / 4;
        const uint32_t x =
            RUN == 2 ? word[pair] : __byte_perm(word[low], word[high], i % 2 ? 0x7632 : 0x5410);
        return *(const half2 *)&x;
    }

    /* first: half [count][D], queries of the block; lanes beyond count get zeros. */
    __device__ __forceinline__ void start(const SplitWork &w, const half *first, int count,
                                          int lane)
    {
        const float *const given = S == ATTN_KV8_STATIC ? w.a.scale : NULL;
        key_unit = C::UNIT * 1.4426950408889634f * rsqrtf((float)D) * (given ? given[0] : 1);
        value_unit = C::UNIT * (given ? given[1] : 1);
#pragma unroll
        for (int t = 0; t < Tiles; t++) {
            const int n = 8 * t + lane / 4;
            float all[4] = { 0, 0, 0, 0 };
            uint32_t word[2 * STEPS]; /* RUN neighbouring queries after another */
#pragma unroll
            for (int run = 0; run < 2 * STEPS / (RUN / 2); run++)
                load_run(first + n * D + run * 4 * RUN + lane % 4 * RUN, n < count, word, run);
#pragma unroll
            for (int step = 0; step < STEPS; step++) {
#pragma unroll
                for (int second = 0; second < 2; second++) {
                    half2 x = pair_of(word, 2 * step + second);
                    if (second && C::SECOND != 1)
                        x = __hmul2(x, __float2half2_rn(C::SECOND));
                    query[step][t][second] = *(uint32_t *)&x;
                }
                if (C::SCALES || S == ATTN_KV8_STATIC) {
                    const half2 one = __float2half2_rn(1), more = __float2half2_rn(1 / C::SECOND);
                    const uint32_t a[4] = { *(uint32_t *)&one, *(uint32_t *)&one,
                                            *(uint32_t *)&more, *(uint32_t *)&more };
                    mma(all, a, query[step][t][0], query[step][t][1]);
                }
            }
            for (int e = 0; e < 2; e++) {
                ones[t][e] = all[e] / C::UNIT;
                most[t][e] = -INFINITY;
                weight[t][e] = shift[t][e] = 0;
            }
        }
#pragma unroll
        for (int i = 0; i < STEPS * Tiles * 4; i++)
            sum[i / (Tiles * 4)][i / 4 % Tiles][i % 4] = 0;
    }

    /* ---- a tile ---- */

    /* The lane's OWN halves of array `which` behind a stage's data. */
    static __device__ __forceinline__ void scales_of(uint32_t stage, int which, int r,
                                                     float (&x)[OWN])
    {
        const uint32_t from = stage + 2 * DATA + 2 * (which * TILE + r * OWN);
        uint32_t word[OWN / 2];
        load_words(from, word);
#pragma unroll
        for (int i = 0; i < OWN / 2; i++) {
            const float2 pair = __half22float2(*(const half2 *)&word[i]);
            x[2 * i] = pair.x;
            x[2 * i + 1] = pair.y;
        }
    }

    template <bool Values, class Use>
    static __device__ __forceinline__ void each_step(uint32_t rows, int product, uint32_t turn,
                                                     Use use)
    {
#pragma unroll
        for (int column = 0; column < COLUMNS; column += 2) {
            uint32_t d[4] = { 0, 0, 0, 0 };
            const uint32_t at = (rows + product * 2 * ROW + 16 * column) ^ turn;
            const bool last = column + 1 == COLUMNS;
            if (last)
                load_matrices<Values, true>(d, at);
            else
                load_matrices<Values, false>(d, at);
#pragma unroll
            for (int step = 0; step < (last ? C::STEPS_OF_TWO / 2 : C::STEPS_OF_TWO); step++) {
                uint32_t e[4];
                C::expand(d, step, e);
                use(column / 2 * C::STEPS_OF_TWO + step, e);
            }
        }
    }

    /* from: the tile's first token, which is before end. */
    __device__ __forceinline__ void tile(uint32_t stage, int from, int end, int lane)
    {
        const int r = lane / 4;
        /* the row of the matrices that the lane points at */
        const uint32_t turn = 16 * (lane % 8);
        const uint32_t rows = stage + (lane % 8) * OWN * ROW + lane / 8 % 2 * ROW + lane / 16 * 16;
        float score[TILE / 16][Tiles][4];
        scores(stage, rows, turn, r, score);
        if (from + TILE > end) {
#pragma unroll
            for (int i = 0; i < TILE / 16 * Tiles * 4; i++) {
                const int product = i / (Tiles * 4), e = i % 4;
                if (from + r * OWN + 2 * product + e / 2 >= end)
                    score[product][i / 4 % Tiles][e] = -INFINITY;
            }
        }
        rescale(score);
        uint32_t p[TILE / 16][Tiles][2];
        weights(stage, r, score, p);
#pragma unroll
        for (int product = 0; product < TILE / 16; product++)
            each_step<true>(rows + DATA, product, turn, [&](int step, const uint32_t(&e)[4]) {
                const uint32_t a[4] = { e[0], e[2], e[1], e[3] };
#pragma unroll
                for (int t = 0; t < Tiles; t++)
                    mma(sum[step][t], a, p[product][t][0], p[product][t][1]);
            });
    }

    __device__ __forceinline__ void scores(uint32_t stage, uint32_t rows, uint32_t turn, int r,
                                           float (&score)[TILE / 16][Tiles][4])
    {
        float scale[OWN], zero[OWN];
        if constexpr (C::SCALES) {
            scales_of(stage, 0, r, scale);
            scales_of(stage, 1, r, zero);
        } else {
#pragma unroll
            for (int i = 0; i < OWN; i++) {
                scale[i] = 1;
                zero[i] = S == ATTN_KV8_STATIC ? 128 : 0;
            }
        }
#pragma unroll
        for (int product = 0; product < TILE / 16; product++) {
#pragma unroll
            for (int i = 0; i < Tiles * 4; i++)
                score[product][i / 4][i % 4] = -zero[2 * product + i % 4 / 2] * ones[i / 4][i % 2];
            each_step<false>(rows, product, turn, [&](int step, const uint32_t(&e)[4]) {
#pragma unroll
                for (int t = 0; t < Tiles; t++)
                    mma(score[product][t], e, query[step][t][0], query[step][t][1]);
            });
            const float unit[2] = { scale[2 * product] * key_unit,
                                    scale[2 * product + 1] * key_unit };
#pragma unroll
            for (int i = 0; i < Tiles * 4; i++)
                score[product][i / 4][i % 4] *= unit[i % 4 / 2];
        }
    }

    /* Takes the tile's maximum into the running one and the sums to it. */
    __device__ __forceinline__ void rescale(const float (&score)[TILE / 16][Tiles][4])
    {
        float high[Tiles][2];
        bool more = false;
#pragma unroll
        for (int i = 0; i < Tiles * 2; i++) {
            const int t = i / 2, e = i % 2;
            high[t][e] = most[t][e];
#pragma unroll
            for (int product = 0; product < TILE / 16; product++)
                high[t][e] =
                    fmaxf(high[t][e], fmaxf(score[product][t][e], score[product][t][e + 2]));
#pragma unroll
            for (int d = 4; d < 32; d *= 2)
                high[t][e] = fmaxf(high[t][e], __shfl_xor_sync(ALL_LANES, high[t][e], d));
            more |= high[t][e] > most[t][e];
        }
        if (!__any_sync(ALL_LANES, more))
            return;
#pragma unroll
        for (int i = 0; i < Tiles * 2; i++) {
            const int t = i / 2, e = i % 2;
            const float by = exp2_approx(most[t][e] - high[t][e]);
            most[t][e] = high[t][e];
            weight[t][e] *= by;
            shift[t][e] *= by;
#pragma unroll
            for (int step = 0; step < STEPS; step++) {
                sum[step][t][e] *= by;
                sum[step][t][e + 2] *= by;
            }
        }
    }

    /* B of the second product, from scores; their sums. */
    __device__ __forceinline__ void weights(uint32_t stage, int r,
                                            const float (&score)[TILE / 16][Tiles][4],
                                            uint32_t (&p)[TILE / 16][Tiles][2])
    {
        float scale[OWN], zero[OWN];
        if constexpr (C::SCALES) {
            scales_of(stage, 2, r, scale);
            scales_of(stage, 3, r, zero);
        }
#pragma unroll
        for (int i = 0; i < TILE / 16 * Tiles * 2; i++) {
            const int product = i / (Tiles * 2), t = i / 2 % Tiles, h = i % 2;
            const int own = 2 * product + h;
            float x = exp2_approx(score[product][t][2 * h] - (most[t][0] - C::BIAS));
            float y = exp2_approx(score[product][t][2 * h + 1] - (most[t][1] - C::BIAS));
            weight[t][0] += x;
            weight[t][1] += y;
            if constexpr (C::SCALES) {
                x *= scale[own];
                y *= scale[own];
            }
            const half2 pair = __floats2half2_rn(x, y);
            if constexpr (C::SCALES) { /* as rounded: errors of both sums then cancel */
                shift[t][0] += __low2float(pair) * zero[own];
                shift[t][1] += __high2float(pair) * zero[own];
            } else if constexpr (S == ATTN_KV8_STATIC) {
                shift[t][0] += __low2float(pair) * 128;
                shift[t][1] += __high2float(pair) * 128;
            }
            p[product][t][h] = transpose(*(const uint32_t *)&pair);
        }
    }

    /* ---- the end ---- */

    /* Result of the warp: [QUERIES][PITCH] floats, after D sums the maximum and the weights. */
    __device__ __forceinline__ void store(float *to, int lane)
    {
        const int r = lane / 4, q = lane % 4;
#pragma unroll
        for (int i = 0; i < Tiles * 2; i++) {
            const int t = i / 2, e = i % 2;
#pragma unroll
            for (int d = 4; d < 32; d *= 2) {
                weight[t][e] += __shfl_xor_sync(ALL_LANES, weight[t][e], d);
                shift[t][e] += __shfl_xor_sync(ALL_LANES, shift[t][e], d);
            }
            float *const row = to + (8 * t + 2 * q + e) * PITCH;
            const float off = shift[t][e] * (value_unit / C::UNIT);
#pragma unroll
            for (int step = 0; step < STEPS; step++) {
                row[C::value(step, 0, r)] = sum[step][t][e] * value_unit - off;
                row[C::value(step, 1, r)] = sum[step][t][e + 2] * (value_unit * C::SECOND) - off;
            }
            if (r == 0)
                *(float2 *)(row + D) = make_float2(most[t][e], weight[t][e]);
        }
    }
};

static __device__ __forceinline__ void store_halves(half *to, float4 x, float by)
{
    half2 pair[2] = { __floats2half2_rn(x.x * by, x.y * by),
                      __floats2half2_rn(x.z * by, x.w * by) };
    *(uint2 *)to = *(const uint2 *)pair;
}

template <enum attn_scheme S, int D, int Tiles, int Tile, int Warps, int Stages, int Blocks>
static __global__ void __launch_bounds__(32 * Warps, Blocks)
    split_attention(const __grid_constant__ SplitWork w)
{
    using T = Split<S, D, Tiles, Tile>;
    extern __shared__ __align__(128) uint4 memory[];
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const int b = blockIdx.z, head = blockIdx.y / w.plan.groups, group = blockIdx.y % w.plan.groups;
    const int begin = blockIdx.x * w.plan.chunk, sixteen = 16 * (lane / T::SHARE);
    const auto token_of = [&](int tile) { return begin + tile * T::TILE; };
    typename T::Pages first[Stages - 1];
#pragma unroll
    for (int i = 0; i < Stages - 1; i++)
        first[i] = T::find(w, b, token_of(warp + i * Warps) + sixteen);
    const int length = w.a.length[b];
    if (begin >= length)
        return;
    const int end = min(begin + w.plan.chunk, length);
    const int tiles = (end - begin + T::TILE - 1) / T::TILE;
    const int ratio = w.p.heads / w.p.kv_heads;
    const int count = min(ratio - group * T::QUERIES, T::QUERIES);
    const size_t query = ((size_t)b * w.p.heads + head * ratio + group * T::QUERIES) * D;
    const uint32_t ring = shared_address(memory) + warp * Stages * T::STAGE;

    int next = warp; /* tile to be copied, its pages looked up */
    typename T::Pages pages;
    const auto advance = [&](const typename T::Pages &from, int slot) {
        if (next < tiles)
            T::copy(w, from, head, end, ring + slot * T::STAGE, lane);
        copy_commit();
        next += Warps;
    };
#pragma unroll
    for (int i = 0; i < Stages - 1; i++)
        advance(first[i], i);
    pages = T::find(w, b, token_of(next) + sixteen);

    T t;
    t.start(w, (const half *)w.a.q + query, count, lane);
    int slot = 0;
    for (int tile = warp; tile < tiles; tile += Warps) {
        copy_wait<Stages - 2>();
        __syncwarp(); /* all lanes' copies are there, and all have read the tile before */
        advance(pages, slot == 0 ? Stages - 1 : slot - 1);
        pages = T::find(w, b, token_of(next) + sixteen);
        t.tile(ring + slot * T::STAGE, token_of(tile), end, lane);
        slot = slot + 1 == Stages ? 0 : slot + 1;
    }
    copy_wait<0>();
    __syncthreads();

    float *const own = (float *)memory, *const rest = own + Warps * T::QUERIES * T::PITCH;
    t.store(own + warp * T::QUERIES * T::PITCH, lane);
    __syncthreads();
    const int parts = (length + w.plan.chunk - 1) / w.plan.chunk;
    const size_t item = (size_t)b * gridDim.y + blockIdx.y;
    half *const out = (half *)w.a.out + query;
    /* of this item: sums [splits][QUERIES][D], statistics [splits][QUERIES] */
    float *const sums = w.part + item * w.plan.splits * T::QUERIES * D;
    float2 *const stats = w.stat + item * w.plan.splits * T::QUERIES;
    split_merge<Warps, D>(
        count, Warps, rest,
        [&](int i, int n) { return *(const float2 *)(own + (i * T::QUERIES + n) * T::PITCH + D); },
        [&](int i, int n, int d) {
            return *(const float4 *)(own + (i * T::QUERIES + n) * T::PITCH + d);
        },
        [&](int n, int d, float4 x, SplitTotal total) {
            const size_t at = (size_t)blockIdx.x * T::QUERIES + n;
            if (parts == 1) {
                store_halves(out + n * D + d, x, 1 / total.sum);
                return;
            }
            __stcg((float4 *)(sums + at * D + d), x);
            if (d == 0)
                __stcg(stats + at, make_float2(total.most, total.sum));
        });
    if (parts == 1)
        return;
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) {
        const int before = atomicAdd(w.count + item, 1);
        *(int *)memory = before;
        if (before == parts - 1)
            w.count[item] = 0;
        __threadfence();
    }
    __syncthreads();
    if (*(const int *)memory != parts - 1)
        return;
    __syncthreads(); /* before its place is used again */
    split_merge<Warps, D>(
        count, parts, own, [&](int i, int n) { return __ldcg(stats + (size_t)i * T::QUERIES + n); },
        [&](int i, int n, int d) {
            return __ldcg((const float4 *)(sums + ((size_t)i * T::QUERIES + n) * D + d));
        },
        [&](int n, int d, float4 x, SplitTotal total) {
            store_halves(out + n * D + d, x, 1 / total.sum);
        });
}

#endif
