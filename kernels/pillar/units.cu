/*
 * units.cu - pillars without a sort and without a matrix of points: points are put in place by
 * counts, eight to a unit, and both layers run in registers.
 *
 *     units_bin      a thread a point: its cell, its number in the cell, sums of coordinates
 *     units_scan     a block 1024 cells: first unit, number and mean of each pillar
 *     units_place    a thread a point: to its place in the units of its pillar
 *     units_net      a warp four units: both layers, maxima; a block merges 32 units by pillar
 *     units_finish   pillars that lie in more than one block's 32 units
 *
 * A unit has points of one pillar: one to eight, the rest repeats the first, which no maximum
 * sees.  Neighbouring lanes whose points are in one cell (neighbours of a scan often are) count
 * them by one atomic.  Each counter is set back to zero by the kernel behind the one that reads it.
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
 *
 * Results do not depend on the order in which points arrive: means are sums of integers, steps of
 * 2^-24 m from the cell's centre, and maxima are exact.
 *
 * Bound by tensor cores, 10 us of a frame's 184 k points, and by the latency of five kernels.
 */
#include <cuda_fp16.h>

#include <cstdlib>

#include "../common/tf32.cuh"
#include "../flatten/rank.cuh"
#include "../gemm/mma.cuh"
#include "kernels.h"
#include "ordered.cuh"

constexpr unsigned ALL = 0xffffffffu;
constexpr int BIN_THREADS = 1024, SCAN_THREADS = 256, PLACE_THREADS = 256;
constexpr int CHUNK = 1024;         /* cells of a scan's block; a multiple of 4 SCAN_THREADS */
constexpr int UNIT = 8;             /* points */
constexpr int UNITS = 32, OF_WARP = 4, THREADS = UNITS / OF_WARP * 32;
constexpr int HIDDEN = PILLAR_HIDDEN, OUT = PILLAR_OUT, MERGED = HIDDEN + OUT;
constexpr int H_STEP = HIDDEN + 8;  /* halves: rows of ldmatrix in different banks */
constexpr int D_STEP = OUT + 8;     /* floats: rows of four units in different banks */
constexpr float FIXED = 16777216.f; /* steps of a metre */
typedef unsigned long long wide;

/* What is known of a unit, or with where = unit and pillar, of a pillar. */
struct alignas(16) unit_of {
    float mean[3];
    int pillar;
    float x, y;       /* centre of the cell */
    int points, first; /* of the pillar, its first unit */
};
static_assert(sizeof(unit_of) == 32, "two words of 16 bytes");

struct units_state {
    int *count;        /* [chunks CHUNK] points of a cell; all zero between runs */
    wide *sum;         /* [cells][4] coordinates from the centre, in steps; likewise */
    int *chunk;        /* [2][chunks] units, pillars; likewise */
    unsigned *scratch; /* [tiles][MERGED] maxima as ordered integers of the pillar that begins in
                          the tile and ends behind it; likewise */
    uint4 *pillar;     /* [cells][2] unit_of */
    int2 *at;          /* [points] cell or -1, number in it */
    uint4 *unit;       /* [units][2] unit_of */
    float4 *point;     /* [units][UNIT][2] d a | b - - - */
    int *across;       /* [tiles] pillar that begins in the tile and ends behind it, or -1 */
    int *units;        /* in use */
    int cells, chunks, tiles, blocks;
};

/* ---- points to their places ---- */

static __device__ __forceinline__ float3 from_centre(const pillar_grid &g, int cell, float x,
                                                     float y, float z)
{
    return make_float3(x - pillar_centre(&g, cell % g.side), y - pillar_centre(&g, cell / g.side),
                       z - g.z_middle);
}

__global__ void __launch_bounds__(BIN_THREADS)
units_bin(int points, pillar_grid g, const float *in, units_state s)
{
    extern __shared__ unsigned begun[]; /* [chunks] units << 16 | pillars */
    for (int k = threadIdx.x; k < s.chunks; k += BIN_THREADS)
        begun[k] = 0;
    __syncthreads();
    const int i = blockIdx.x * BIN_THREADS + threadIdx.x, lane = threadIdx.x % 32;
    int cell = -1;
    long long sum[3] = { 0, 0, 0 };
    if (i < points) {
        const float *v = in + (size_t)i * PILLAR_IN;
        cell = pillar_cell(&g, v[0], v[1], v[2]);
        if (cell >= 0) {
            const float3 d = from_centre(g, cell, v[0], v[1], v[2]);
            sum[0] = __float2ll_rn(d.x * FIXED);
            sum[1] = __float2ll_rn(d.y * FIXED);
            sum[2] = __float2ll_rn(d.z * FIXED);
        }
    }
    /* A run: lanes start .. end - 1 have one cell. */
    const int before = __shfl_up_sync(ALL, cell, 1);
    const unsigned heads = __ballot_sync(ALL, !lane || before != cell);
    const unsigned behind = heads & (0xfffffffeu << lane);
    const int start = 31 - __clz((int)(heads & (ALL >> (31 - lane))));
    const int end = behind ? __ffs((int)behind) - 1 : 32;
    for (int step = 1; step < 32; step *= 2)
        for (int a = 0; a < 3; a++) {
            const long long other = __shfl_down_sync(ALL, sum[a], step);
            sum[a] += lane + step < end ? other : 0;
        }
    int base = 0;
    if (lane == start && cell >= 0) {
        const int n = end - start;
        base = atomicAdd(&s.count[cell], n);
        for (int a = 0; a < 3; a++)
            atomicAdd(&s.sum[4 * (size_t)cell + a], (wide)sum[a]);
        const int units = (base + n + UNIT - 1) / UNIT - (base + UNIT - 1) / UNIT;
        if (units)
            atomicAdd(&begun[cell / CHUNK], (unsigned)units << 16 | !base);
    }
    base = __shfl_sync(ALL, base, start);
    if (i < points)
        s.at[i] = make_int2(cell, base + lane - start);
    __syncthreads();
    for (int k = threadIdx.x; k < s.chunks; k += BIN_THREADS)
        if (begun[k]) {
            atomicAdd(&s.chunk[k], (int)(begun[k] >> 16));
            if (begun[k] & 0xffff)
                atomicAdd(&s.chunk[s.chunks + k], (int)(begun[k] & 0xffff));
        }
}

/* Sums of integers over n points to their mean, metres; the sums are left zero. */
static __device__ __forceinline__ void take_mean(wide *sum, int n, float (&mean)[3])
{
    const double scale = 1. / ((double)n * FIXED);
    for (int a = 0; a < 3; a++) {
        mean[a] = (float)((double)(long long)sum[a] * scale);
        sum[a] = 0;
    }
}

/* Threads take four neighbouring cells each.  Units and pillars are summed as one: units << 32 |
 * pillars. */
__global__ void __launch_bounds__(SCAN_THREADS)
units_scan(pillar_grid g, units_state s, flatten_cell *cell, int32_t *count)
{
    __shared__ wide sums[SCAN_THREADS / 32];
    constexpr int EACH = CHUNK / SCAN_THREADS;
    static_assert(EACH == 4, "an int4 of counts");
    wide own = 0, before, unused;
    for (int k = threadIdx.x; k < (int)blockIdx.x; k += SCAN_THREADS)
        own += (wide)s.chunk[k] << 32 | (unsigned)s.chunk[s.chunks + k];
    sum_before_all<SCAN_THREADS>(own, sums, &before);
    const int begin = blockIdx.x * CHUNK + threadIdx.x * EACH;
    const int4 counts = *(const int4 *)(s.count + begin);
    const int n[EACH] = { counts.x, counts.y, counts.z, counts.w };
    own = 0;
    for (int k = 0; k < EACH; k++)
        own += (wide)((n[k] + UNIT - 1) / UNIT) << 32 | (n[k] > 0);
    if (own)
        *(int4 *)(s.count + begin) = make_int4(0, 0, 0, 0);
    before += sum_before_all<SCAN_THREADS>(own, sums, &unused);
    for (int k = 0; k < EACH; k++) {
        const int at = begin + k, pillar = (int)(unsigned)before;
        if (!n[k])
            continue;
        unit_of p = { { 0, 0, 0 }, pillar, pillar_centre(&g, at % g.side),
                      pillar_centre(&g, at / g.side), n[k], (int)(before >> 32) };
        take_mean(s.sum + 4 * (size_t)at, n[k], p.mean);
        s.pillar[2 * (size_t)at] = ((const uint4 *)&p)[0];
        s.pillar[2 * (size_t)at + 1] = ((const uint4 *)&p)[1];
        cell[pillar] = { at % g.side, at / g.side };
        before += (wide)((n[k] + UNIT - 1) / UNIT) << 32 | 1;
    }
    if (blockIdx.x == gridDim.x - 1 && threadIdx.x == SCAN_THREADS - 1) {
        *s.units = (int)(before >> 32);
        *count = (int)(unsigned)before;
    }
}

__global__ void __launch_bounds__(PLACE_THREADS)
units_place(int points, pillar_grid g, const float *in, units_state s)
{
    const int i = blockIdx.x * PLACE_THREADS + threadIdx.x;
    if (!blockIdx.x)
        for (int k = threadIdx.x; k < 2 * s.chunks; k += PLACE_THREADS)
            s.chunk[k] = 0;
    if (i >= points)
        return;
    const int2 at = s.at[i];
    if (at.x < 0)
        return;
    const float *v = in + (size_t)i * PILLAR_IN;
    const uint4 where = s.pillar[2 * (size_t)at.x + 1];
    const int unit = (int)where.w + at.y / UNIT;
    const float3 d = from_centre(g, at.x, v[0], v[1], v[2]);
    float4 *to = s.point + 2 * ((size_t)unit * UNIT + at.y % UNIT);
    to[0] = make_float4(d.x, d.y, d.z, v[3]);
    to[1] = make_float4(v[4], 0, 0, 0);
    if (at.y % UNIT)
        return;
    s.unit[2 * (size_t)unit] = s.pillar[2 * (size_t)at.x];
    s.unit[2 * (size_t)unit + 1] = where;
}

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

/* ---- launchers ---- */

OP_BEGIN

enum op_status pillar_units_setup(const struct pillar_problem *p, const struct pillar_args *a,
                                  const struct op_memory *m, op_stream stream, void **state)
{
    units_state *s = (units_state *)calloc(1, sizeof *s);
    int device = 0, sms = 0, blocks = 0;
    (void)a;
    *state = s;
    if (!s)
        return OP_ENOMEM;
    const size_t points = (size_t)p->points, most = (size_t)pillar_most(p);
    const size_t units = min(points, points / UNIT + most); /* n points: at most n / 8 + 7 / 8 */
    s->cells = p->grid.side * p->grid.side;
    s->chunks = (s->cells + CHUNK - 1) / CHUNK;
    s->tiles = (int)((units + UNITS - 1) / UNITS);
    if (cudaGetDevice(&device) != cudaSuccess ||
        cudaDeviceGetAttribute(&sms, cudaDevAttrMultiProcessorCount, device) != cudaSuccess ||
        cudaFuncSetAttribute(units_net, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             sizeof(tile)) != cudaSuccess ||
        cudaFuncSetAttribute(units_finish, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             sizeof(tile)) != cudaSuccess ||
        cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, units_net, THREADS,
                                                      sizeof(tile)) != cudaSuccess || !blocks)
        return OP_EDEVICE;
    s->blocks = min(s->tiles, sms * blocks);
    const size_t cells = (size_t)s->cells, tiles = (size_t)s->tiles;
    const size_t counts = (size_t)s->chunks * CHUNK * sizeof(int);
    const size_t sums = cells * 4 * sizeof(wide), chunks = 2 * (size_t)s->chunks * sizeof(int);
    const size_t scratch = tiles * MERGED * sizeof(unsigned);
    s->count = (int *)m->take(m->context, counts);
    s->sum = (wide *)m->take(m->context, sums);
    s->chunk = (int *)m->take(m->context, chunks);
    s->scratch = (unsigned *)m->take(m->context, scratch);
    s->pillar = (uint4 *)m->take(m->context, cells * sizeof(unit_of));
    s->at = (int2 *)m->take(m->context, points * sizeof(int2));
    s->unit = (uint4 *)m->take(m->context, units * sizeof(unit_of));
    s->point = (float4 *)m->take(m->context, units * UNIT * 2 * sizeof(float4));
    s->across = (int *)m->take(m->context, tiles * sizeof(int));
    s->units = (int *)m->take(m->context, sizeof(int));
    if (!s->count || !s->sum || !s->chunk || !s->scratch || !s->pillar || !s->at || !s->unit ||
        !s->point || !s->across || !s->units)
        return OP_ENOMEM;
    if (cudaMemsetAsync(s->count, 0, counts, stream) != cudaSuccess ||
        cudaMemsetAsync(s->sum, 0, sums, stream) != cudaSuccess ||
        cudaMemsetAsync(s->chunk, 0, chunks, stream) != cudaSuccess ||
        cudaMemsetAsync(s->scratch, 0, scratch, stream) != cudaSuccess)
        return OP_EDEVICE;
    return OP_OK;
}

enum op_status pillar_units_part(const struct pillar_problem *p, const struct pillar_args *a,
                                 void *state, enum pillar_units_end end, op_stream stream)
{
    const units_state *s = (const units_state *)state;
    const half *w2 = (const half *)a->w2;
    half *out = (half *)a->out;
    units_bin<<<(p->points + BIN_THREADS - 1) / BIN_THREADS, BIN_THREADS, s->chunks * sizeof(int),
                stream>>>(p->points, p->grid, a->in, *s);
    if (end >= PILLAR_UNITS_PLACED) {
        units_scan<<<s->chunks, SCAN_THREADS, 0, stream>>>(p->grid, *s, a->cell, a->count);
        units_place<<<(p->points + PLACE_THREADS - 1) / PLACE_THREADS, PLACE_THREADS, 0, stream>>>(
            p->points, p->grid, a->in, *s);
    }
    if (end >= PILLAR_UNITS_NET)
        units_net<<<s->blocks, THREADS, sizeof(tile), stream>>>(p->grid.z_middle, *s, a->w1, a->b1,
                                                                w2, a->b2, out);
    if (end >= PILLAR_UNITS_ALL)
        units_finish<<<(s->tiles + UNITS - 1) / UNITS, THREADS, sizeof(tile), stream>>>(*s, w2,
                                                                                       a->b2, out);
    return cudaGetLastError() == cudaSuccess ? OP_OK : OP_EDEVICE;
}

enum op_status pillar_units(const struct pillar_problem *p, const struct pillar_args *a, void *state,
                            op_stream stream)
{
    return pillar_units_part(p, a, state, PILLAR_UNITS_ALL, stream);
}

OP_END
