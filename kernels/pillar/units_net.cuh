/*
 * units_net.cuh - both layers on units of eight points, in registers, and maxima by pillar.
 *
 * First layer, by d = (x, y, z) - o, the pillar's centre, and its mean m of d:
 *
 *     W1 v + b1 = sum of (W1[k] + W1[5+k] + W1[8+k]) d[k] + W1[3] a + W1[4] b     of the point
 *               + W1[0] o.x + W1[1] o.y + W1[2] o.z - W1[5..7] m + b1             of the pillar
 *
 * Five inputs: products by tensor cores in three parts, x = hi + lo, both of 11 bits, so that
 * hi hi + hi lo + lo hi is right to 2^-22.  The 15 factors stand in two products of depth 8:
 *
 *     k            0..3                   4..7
 *     first A      hi of x y z a          hi of x y z a
 *           B      hi of weights          lo of weights
 *     second A     lo of x y z a          b hi, b lo, b hi, 0
 *            B     hi of weights          hi, hi, lo, 0 of b's weight
 *
 * The second layer is split: W2 [h1; m1] = W2a h1 + W2b m1, and m1 is the same for all points of a
 * pillar.  What is added to all of them commutes with the maximum, and so does relu:
 *
 *     out = relu(max over points (W2a h1) + W2b m1 + b2)
 *
 * h1 leaves the first product [points][outputs] as the second, W2a h1 [outputs][points], takes it:
 * the maximum of a unit is then one of two registers and four lanes.
 */
#ifndef KERNELS_PILLAR_UNITS_NET_CUH
#define KERNELS_PILLAR_UNITS_NET_CUH

#include <cuda_fp16.h>

#include "../common/tf32.cuh"
#include "../gemm/mma.cuh"
#include "ordered.cuh"
#include "units.cuh"

constexpr int H_STEP = HIDDEN + 8; /* halves: rows of ldmatrix in different banks */
constexpr int D_STEP = OUT + 8;    /* floats: rows of four units in different banks */

/* ---- weights of a block ---- */

struct tile {
    float d[UNITS * D_STEP];              /* by unit: what its pillar adds to the first layer, then
                                             maxima of W2a h1 */
    alignas(16) half m[UNITS * H_STEP];   /* by unit: maxima of h1 */
    alignas(16) half w2[2][OUT * H_STEP]; /* W2a, W2b: rows of outputs */
    uint32_t w1[3][HIDDEN / 8][32];       /* B of the first layer's products, by lane */
    float2 shift[6][HIDDEN / 2];          /* of the pillar: b1, W1 of o.x, o.y, minus that of m */
    float b2[OUT];
    unit_of unit[UNITS];
    int target[UNITS]; /* row of the output; -1: none */
};

static __device__ void load_second(tile *t, const half *w2, const float *b2)
{
    for (int i = threadIdx.x; i < OUT * 2 * HIDDEN / 8; i += THREADS) { /* eight at a time */
        const int o = i / (2 * HIDDEN / 8), k = i % (2 * HIDDEN / 8) * 8;
        *(uint4 *)&t->w2[k / HIDDEN][o * H_STEP + k % HIDDEN] = ((const uint4 *)w2)[i];
    }
    for (int i = threadIdx.x; i < OUT; i += THREADS)
        t->b2[i] = b2[i];
}

static __device__ __forceinline__ uint32_t low_part(float v, uint32_t high)
{
    return to_tf32(v - __uint_as_float(high & 0xffffe000u)); /* the rest of the bits is open */
}

static __device__ void load_first(tile *t, const float *w1, const float *b1, float z_middle)
{
    const int lane = threadIdx.x % 32, j = threadIdx.x / 32, c = lane % 4;
    const float *w = w1 + (8 * j + lane / 4) * PILLAR_RAW;
    const float one = c < 3 ? w[c] + w[5 + c] + w[8 + c] : w[3];
    const uint32_t high = to_tf32(one), high_b = to_tf32(w[4]);
    t->w1[0][j][lane] = high;
    t->w1[1][j][lane] = low_part(one, high);
    t->w1[2][j][lane] = c < 2 ? high_b : c == 2 ? low_part(w[4], high_b) : 0;
    for (int i = threadIdx.x; i < HIDDEN; i += THREADS) {
        const float *row = w1 + i * PILLAR_RAW;
        const float add[6] = { b1[i] + row[2] * z_middle, row[0], row[1], -row[5], -row[6],
                               -row[7] };
        for (int k = 0; k < 6; k++)
            ((float *)t->shift[k])[i] = add[k];
    }
}
static_assert(THREADS / 32 == HIDDEN / 8, "a warp of load_first makes eight outputs");

/* ---- a warp's four units ---- */

/* Lane l: of row l / 4 of each unit number l % 4 of d and a, and b; lanes 0 .. 7 half a unit_of. */
struct fetched {
    float v[OF_WARP], b[OF_WARP];
    uint4 unit;
};

static __device__ __forceinline__ fetched fetch(const units_state &s, int first, int units)
{
    const int lane = threadIdx.x % 32;
    fetched f = {};
#pragma unroll
    for (int u = 0; u < OF_WARP; u++)
        if (first + u < units) {
            const size_t point = (size_t)(first + u) * UNIT + lane / 4;
            const float *row = (const float *)(s.point + 2 * point);
            f.v[u] = row[lane % 4];
            f.b[u] = row[4];
        }
    if (lane < 2 * OF_WARP && first + lane / 2 < units)
        f.unit = s.unit[2 * (size_t)first + lane];
    return f;
}

/* What is left of a row without a point is that of the first. */
static __device__ __forceinline__ void repeat_first(fetched *f, const unit_of *unit, int first)
{
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int u = 0; u < OF_WARP; u++) {
        const int n = unit[u].points - UNIT * (first + u - unit[u].first);
        const float v = __shfl_sync(ALL, f->v[u], lane % 4);
        const float b = __shfl_sync(ALL, f->b[u], lane % 4);
        f->v[u] = lane / 4 < n ? f->v[u] : v;
        f->b[u] = lane / 4 < n ? f->b[u] : b;
    }
}

/* What pillars of the units add to the first layer, to their rows of d. */
static __device__ __forceinline__ void shifts(tile *t, int row)
{
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int u = 0; u < OF_WARP; u++) {
        const unit_of *p = &t->unit[row + u];
        const float by[] = { p->x, p->y, p->mean[0], p->mean[1], p->mean[2] };
        float2 sum = t->shift[0][lane];
#pragma unroll
        for (int k = 0; k < 5; k++) {
            const float2 w = t->shift[k + 1][lane];
            sum.x += w.x * by[k];
            sum.y += w.y * by[k];
        }
        *(float2 *)(t->d + (row + u) * D_STEP + 2 * lane) = sum;
    }
}

/* h1 of two units: h[0], h[1] pairs of outputs 8 j + 2 (lane % 4) of the point in row lane / 4. */
static __device__ __forceinline__ void first_layer(const tile *t, int row, const float *v,
                                                   const float *b, uint32_t *h0, uint32_t *h1)
{
    const int lane = threadIdx.x % 32, c = lane % 4;
    uint32_t high[4], low[4];
#pragma unroll
    for (int u = 0; u < 2; u++) {
        const uint32_t of_b = to_tf32(b[u]), rest = low_part(b[u], of_b);
        high[u] = high[u + 2] = to_tf32(v[u]);
        low[u] = low_part(v[u], high[u]);
        low[u + 2] = c == 3 ? 0 : c == 1 ? rest : of_b;
    }
#pragma unroll
    for (int j = 0; j < HIDDEN / 8; j++) {
        const float2 x = *(const float2 *)(t->d + row * D_STEP + 8 * j + 2 * c);
        const float2 y = *(const float2 *)(t->d + (row + 1) * D_STEP + 8 * j + 2 * c);
        float sum[4] = { x.x, x.y, y.x, y.y };
        const uint32_t w = t->w1[0][j][lane];
        mma_tf32(sum, high, w, t->w1[1][j][lane]);
        mma_tf32(sum, low, w, t->w1[2][j][lane]);
        const half2 p = __floats2half2_rn(fmaxf(sum[0], 0), fmaxf(sum[1], 0));
        const half2 q = __floats2half2_rn(fmaxf(sum[2], 0), fmaxf(sum[3], 0));
        h0[j] = *(const uint32_t *)&p;
        h1[j] = *(const uint32_t *)&q;
    }
}

static __device__ __forceinline__ uint32_t greater2(uint32_t x, uint32_t y)
{
    const half2 z = __hmax2(*(const half2 *)&x, *(const half2 *)&y);
    return *(const uint32_t *)&z;
}

/* Maxima over rows, lane / 4, of eight pairs: the lane gets that of pair lane / 4. */
static __device__ __forceinline__ uint32_t maxima_of_rows(const uint32_t (&h)[8])
{
    const int lane = threadIdx.x % 32;
    uint32_t x[8];
#pragma unroll
    for (int j = 0; j < 8; j++)
        x[j] = h[j];
#pragma unroll
    for (int keep = 4; keep; keep /= 2) { /* rows with bit `keep` take the upper half */
        const bool upper = lane / 4 & keep;
#pragma unroll
        for (int j = 0; j < keep; j++) {
            const uint32_t mine = upper ? x[j + keep] : x[j], give = upper ? x[j] : x[j + keep];
            x[j] = greater2(mine, __shfl_xor_sync(ALL, give, 4 * keep));
        }
    }
    return x[0];
}

/* Maxima over columns, lane % 4, of a value a unit: the lane gets that of unit lane % 4. */
static __device__ __forceinline__ float maximum_of_columns(float (&x)[OF_WARP])
{
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int keep = 2; keep; keep /= 2) {
        const bool upper = lane & keep;
#pragma unroll
        for (int u = 0; u < keep; u++) {
            const float mine = upper ? x[u + keep] : x[u], give = upper ? x[u] : x[u + keep];
            x[u] = fmaxf(mine, __shfl_xor_sync(ALL, give, keep));
        }
    }
    return x[0];
}

/* Maxima of W2a h1 to rows of d. */
static __device__ __forceinline__ void second_layer(tile *t, int row,
                                                    const uint32_t (&h)[OF_WARP][8])
{
    const int lane = threadIdx.x % 32;
    const half *a_row = t->w2[0] + lane % 16 * H_STEP + lane / 16 * 8;
    float *d = t->d + (row + lane % 4) * D_STEP + lane / 4;
#pragma unroll 1
    for (int i = 0; i < OUT / 16; i++) {
        float sum[OF_WARP][4] = {};
#pragma unroll
        for (int k = 0; k < HIDDEN / 16; k++) {
            uint32_t a[4];
            ldmatrix(a, a_row + 16 * i * H_STEP + 16 * k);
#pragma unroll
            for (int u = 0; u < OF_WARP; u++)
                mma(sum[u], a, h[u][2 * k], h[u][2 * k + 1]);
        }
        float upper[OF_WARP], lower[OF_WARP];
#pragma unroll
        for (int u = 0; u < OF_WARP; u++) {
            upper[u] = fmaxf(sum[u][0], sum[u][1]);
            lower[u] = fmaxf(sum[u][2], sum[u][3]);
        }
        d[16 * i] = maximum_of_columns(upper);
        d[16 * i + 8] = maximum_of_columns(lower);
    }
}

/* ---- a block's 32 units ---- */

/* Pillars of the tile: bits of units that begin and end one, as far as the tile shows. */
struct spans {
    unsigned starts, ends;
    bool from_before, goes_on; /* the first began before, the last ends behind the tile */
};

static __device__ __forceinline__ spans spans_of(const tile *t, int first, int here)
{
    const int lane = threadIdx.x % 32;
    const bool valid = lane < here;
    const bool start =
        valid && (!lane || t->unit[lane].pillar != t->unit[lane ? lane - 1 : 0].pillar);
    const unit_of *last = &t->unit[here - 1];
    spans p;
    p.starts = __ballot_sync(ALL, start);
    p.ends = p.starts >> 1 | 1u << (here - 1);
    p.from_before = t->unit[0].first < first;
    p.goes_on = last->first + (last->points + UNIT - 1) / UNIT > first + here;
    return p;
}

struct columns_of_d {
    typedef float value;
    static __device__ value *at(tile *t, int row, int x) { return t->d + row * D_STEP + x; }
    static __device__ value greater(value x, value y) { return fmaxf(x, y); }
    static __device__ void merge(unsigned *scratch, int x, value v)
    {
        atomicMax(scratch + HIDDEN + x, ordered(v));
    }
};

struct pairs_of_m {
    typedef half2 value;
    static __device__ value *at(tile *t, int row, int x)
    {
        return (half2 *)(t->m + row * H_STEP + 2 * x);
    }
    static __device__ value greater(value x, value y) { return __hmax2(x, y); }
    static __device__ void merge(unsigned *scratch, int x, value v)
    {
        const float2 pair = __half22float2(v);
        atomicMax(scratch + 2 * x, ordered(pair.x));
        atomicMax(scratch + 2 * x + 1, ordered(pair.y));
    }
};

/* Maxima of a column by pillar, to the row of its first unit: all rows up to there are read.  Those
 * of pillars that reach out go to scratch. */
template <class Columns>
static __device__ __forceinline__ void merge(tile *t, const units_state &s, const spans &p,
                                             int here, int x)
{
    typename Columns::value most = *Columns::at(t, 0, x);
    int start = 0;
#pragma unroll 1
    for (int base = 0; base < here; base += 8) {
        typename Columns::value v[8];
#pragma unroll
        for (int e = 0; e < 8; e++)
            v[e] = *Columns::at(t, base + e, x);
#pragma unroll
        for (int e = 0; e < 8; e++) {
            const int u = base + e;
            if (p.starts >> u & 1) {
                start = u;
                most = v[e];
            } else {
                most = Columns::greater(most, v[e]);
            }
            if (!(p.ends >> u & 1))
                continue;
            if ((!start && p.from_before) || (u == here - 1 && p.goes_on))
                Columns::merge(s.scratch + (size_t)(t->unit[u].first / UNITS) * MERGED, x, most);
            else if (start != u)
                *Columns::at(t, start, x) = most;
        }
    }
}

/* Rows of m and of maxima in d to rows t->target of out. */
static __device__ void finish(const tile *t, half *out)
{
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const int m = warp % 2, side = warp / 2; /* 16 rows by 32 outputs */
    const half *a_row = t->m + (16 * m + lane % 16) * H_STEP + lane / 16 * 8;
    const half *b_row =
        t->w2[1] + (32 * side + lane % 8 + lane / 16 * 8) * H_STEP + lane / 8 % 2 * 8;
    float sum[4][4] = {};
#pragma unroll
    for (int k = 0; k < HIDDEN; k += 16) {
        uint32_t a[4];
        ldmatrix(a, a_row + k);
#pragma unroll
        for (int j = 0; j < 4; j += 2) {
            uint32_t b[4];
            ldmatrix(b, b_row + 8 * j * H_STEP + k);
            mma(sum[j], a, b[0], b[1]);
            mma(sum[j + 1], a, b[2], b[3]);
        }
    }
#pragma unroll
    for (int up = 0; up < 2; up++) {
        const int row = 16 * m + lane / 4 + 8 * up, to = t->target[row];
        if (to < 0)
            continue;
#pragma unroll
        for (int j = 0; j < 4; j++) {
            const int c = 32 * side + 8 * j + lane % 4 * 2;
            const float x = sum[j][2 * up] + t->d[row * D_STEP + c] + t->b2[c];
            const float y = sum[j][2 * up + 1] + t->d[row * D_STEP + c + 1] + t->b2[c + 1];
            *(half2 *)(out + (size_t)to * OUT + c) = __floats2half2_rn(fmaxf(x, 0), fmaxf(y, 0));
        }
    }
}
static_assert(THREADS == 256 && UNITS == 32 && OUT == 128, "finish: 2 x 4 warps");

__global__ void __launch_bounds__(THREADS, 2)
units_net(float z_middle, units_state s, const float *w1, const float *b1, const half *w2,
          const float *b2, half *out)
{
    extern __shared__ uint4 memory[];
    tile *t = (tile *)memory;
    const int units = *s.units, x = threadIdx.x, row = x / 32 * OF_WARP, lane = x % 32;
    int first = blockIdx.x * UNITS;
    fetched now = fetch(s, first + row, units);
    load_first(t, w1, b1, z_middle);
    load_second(t, w2, b2);
    __syncthreads();
    for (; first < units; first += gridDim.x * UNITS) {
        const int here = min(UNITS, units - first);
        if (lane < 2 * OF_WARP)
            ((uint4 *)(t->unit + row))[lane] = now.unit;
        __syncwarp();
        repeat_first(&now, t->unit + row, first + row);
        shifts(t, row);
        __syncwarp();
        uint32_t h[OF_WARP][8];
#pragma unroll
        for (int u = 0; u < OF_WARP; u += 2)
            first_layer(t, row + u, now.v + u, now.b + u, h[u], h[u + 1]);
#pragma unroll
        for (int u = 0; u < OF_WARP; u++)
            *(uint32_t *)(t->m + (row + u) * H_STEP + 8 * (lane / 4) + 2 * (lane % 4)) =
                maxima_of_rows(h[u]);
        __syncwarp(); /* all have read what second_layer overwrites */
        second_layer(t, row, h);
        now = fetch(s, first + (int)gridDim.x * UNITS + row, units);
        __syncthreads();
        const spans p = spans_of(t, first, here);
        if (x < OUT) {
            merge<columns_of_d>(t, s, p, here, x);
        } else if (x < OUT + HIDDEN / 2) {
            merge<pairs_of_m>(t, s, p, here, x - OUT);
        } else if (x >= THREADS - UNITS) {
            const int start = 31 - __clz((int)p.starts); /* of the last pillar */
            const bool out_of_tile = (!lane && p.from_before) || (lane == start && p.goes_on);
            t->target[lane] = p.starts >> lane & 1 && !out_of_tile ? t->unit[lane].pillar : -1;
            if (!lane)
                s.across[first / UNITS] = p.goes_on && t->unit[start].first >= first
                                              ? t->unit[start].pillar
                                              : -1;
        }
        __syncthreads();
        finish(t, out);
        __syncthreads(); /* all of the tile is free */
    }
}

/* Rows of scratch as rows of a tile. */
__global__ void __launch_bounds__(THREADS, 2)
units_finish(units_state s, const half *w2, const float *b2, half *out)
{
    extern __shared__ uint4 memory[];
    tile *t = (tile *)memory;
    const int tiles = (*s.units + UNITS - 1) / UNITS, first = blockIdx.x * UNITS;
    if (first >= tiles)
        return;
    if ((int)threadIdx.x < UNITS) {
        const int number = first + (int)threadIdx.x;
        t->target[threadIdx.x] = number < tiles ? s.across[number] : -1;
    }
    load_second(t, w2, b2);
    __syncthreads();
    for (int i = threadIdx.x; i < UNITS * MERGED; i += THREADS) {
        const int r = i / MERGED, c = i % MERGED;
        unsigned *from = s.scratch + (size_t)first * MERGED + i;
        float x = 0;
        if (t->target[r] >= 0) {
            x = unordered(*from);
            *from = 0;
        }
        if (c < HIDDEN)
            t->m[r * H_STEP + c] = __float2half_rn(x);
        else
            t->d[r * D_STEP + c - HIDDEN] = x;
    }
    __syncthreads();
    finish(t, out);
}

#endif
