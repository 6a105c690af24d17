/*
 * own.cu - pillars without a sort and without a matrix of points: points are put in place by
 * counts, and both layers run on tiles of 64 sorted points in shared memory.
 *
 *     pillar_bin      a thread a point: its cell, its number in the cell
 *     pillar_scan     a block 1024 cells: first point and number of each pillar
 *     pillar_place    a thread a point: to its place among those of its pillar
 *     pillar_net      a block a tile of 64 points: both layers, maxima by pillar
 *     pillar_finish   pillars that lie in more than one tile
 *
 * The second layer is split: W2 [h1; m1] = W2a h1 + W2b m1, and m1 is the same for all points of a
 * pillar.  What is added to all of them commutes with the maximum, and so does relu:
 *
 *     out = relu(max over points (W2a h1) + W2b m1 + b2)
 *
 * so W2b meets pillars instead of points, and one pass over the points makes both maxima.
 *
 *     tile    points 64 t .. 64 t + 63     pillars A A A A B B C C C ...
 *     scratch row t: maxima of the pillar that begins in tile t and ends behind it
 *
 * Results do not depend on the order in which points arrive: means are sums of integers, steps of
 * 2^-24 m from the cell's centre, and maxima are exact.
 *
 * Bound by shared memory and the issue of instructions: 6 GFLOP of a frame's 180 k points, of
 * which the split leaves half.
 */
#include <cuda_fp16.h>

#include <cstdlib>

#include "../flatten/rank.cuh"
#include "../gemm/mma.cuh"
#include "kernels.h"
#include "ordered.cuh"

constexpr int BIN_THREADS = 256, SCAN_THREADS = 256, CHUNK = 1024; /* cells of a scan's block */
constexpr int TILE = 64, THREADS = 256, GROUP = 8;                 /* GROUP: lanes a pillar */
constexpr int HIDDEN = PILLAR_HIDDEN, OUT = PILLAR_OUT, MERGED = HIDDEN + OUT;
constexpr int W1_STEP = 12;            /* 11 weights and the bias */
constexpr int H_STEP = HIDDEN + 8;     /* halves: rows of ldmatrix in different banks */
constexpr int D_STEP = OUT + 8;        /* floats: pairs of 8 rows in different banks */
constexpr float FIXED = 16777216.f;    /* steps of a metre */

struct pillar_state {
    int *cleared;   /* what a run zeroes first; parts of it follow */
    size_t clear_bytes;
    int *count;     /* [cells] points */
    int *chunk;     /* [2][chunks] points, pillars */
    unsigned *scratch; /* [tiles][MERGED] maxima as ordered integers */
    int2 *place;    /* [cells] first point, number of the pillar */
    int *cell, *rank;  /* [points] */
    float4 *point;  /* [points][2] x y z a | b, pillar, centre x, centre y */
    int *start;     /* [pillars + 1] */
    int *across;    /* [tiles] pillar that begins in the tile and ends behind it, or -1 */
    int *total;     /* points in cells */
    int cells, chunks, tiles, blocks;
};

/* ---- points to their places ---- */

__global__ void __launch_bounds__(BIN_THREADS)
pillar_bin(int points, pillar_grid g, const float *in, pillar_state s)
{
    extern __shared__ int sums[]; /* [2][chunks] */
    for (int i = threadIdx.x; i < 2 * s.chunks; i += BIN_THREADS)
        sums[i] = 0;
    __syncthreads();
    const int i = blockIdx.x * BIN_THREADS + threadIdx.x;
    if (i < points) {
        const float *v = in + (size_t)i * PILLAR_IN;
        const int cell = pillar_cell(&g, v[0], v[1], v[2]);
        s.cell[i] = cell;
        if (cell >= 0) {
            const int rank = atomicAdd(&s.count[cell], 1);
            s.rank[i] = rank;
            atomicAdd(&sums[cell / CHUNK], 1);
            if (!rank)
                atomicAdd(&sums[s.chunks + cell / CHUNK], 1);
        }
    }
    __syncthreads();
    for (int k = threadIdx.x; k < 2 * s.chunks; k += BIN_THREADS)
        if (sums[k])
            atomicAdd(&s.chunk[k], sums[k]);
}

/* Threads take four neighbouring cells each. */
__global__ void __launch_bounds__(SCAN_THREADS)
pillar_scan(int side, pillar_state s, flatten_cell *cell, int32_t *count)
{
    __shared__ uint32_t sums[SCAN_THREADS / 32];
    constexpr int EACH = CHUNK / SCAN_THREADS;
    uint32_t points = 0, pillars = 0, points_before, pillars_before, unused;
    for (int k = threadIdx.x; k < (int)blockIdx.x; k += SCAN_THREADS) {
        points += s.chunk[k];
        pillars += s.chunk[s.chunks + k];
    }
    sum_before_all<SCAN_THREADS>(points, sums, &points_before);
    sum_before_all<SCAN_THREADS>(pillars, sums, &pillars_before);
    const int first = blockIdx.x * CHUNK + threadIdx.x * EACH;
    int n[EACH];
    points = pillars = 0;
    for (int k = 0; k < EACH; k++) {
        n[k] = first + k < s.cells ? s.count[first + k] : 0;
        points += n[k];
        pillars += n[k] > 0;
    }
    points = points_before + sum_before_all<SCAN_THREADS>(points, sums, &unused);
    pillars = pillars_before + sum_before_all<SCAN_THREADS>(pillars, sums, &unused);
    for (int k = 0; k < EACH; k++) {
        const int at = first + k;
        if (!n[k])
            continue;
        s.place[at] = make_int2(points, pillars);
        s.start[pillars] = points;
        cell[pillars] = { at % side, at / side };
        points += n[k];
        pillars++;
    }
    if (blockIdx.x == gridDim.x - 1 && threadIdx.x == SCAN_THREADS - 1) {
        s.start[pillars] = points;
        *s.total = points;
        *count = pillars;
    }
}

__global__ void __launch_bounds__(BIN_THREADS)
pillar_place(int points, pillar_grid g, const float *in, pillar_state s)
{
    const int i = blockIdx.x * BIN_THREADS + threadIdx.x;
    if (i >= points)
        return;
    const int cell = s.cell[i];
    if (cell < 0)
        return;
    const int2 place = s.place[cell];
    const float *v = in + (size_t)i * PILLAR_IN;
    float4 *to = s.point + 2 * (size_t)(place.x + s.rank[i]);
    to[0] = make_float4(v[0], v[1], v[2], v[3]);
    to[1] = make_float4(v[4], __int_as_float(place.y), pillar_centre(&g, cell % g.side),
                        pillar_centre(&g, cell / g.side));
}

/* ---- a tile ---- */

struct tile {
    float d[TILE * D_STEP];              /* W2a h1 of the points; then maxima, a row a pillar */
    alignas(16) half h[TILE * H_STEP];   /* h1, then m1, likewise */
    alignas(16) half w2[2][OUT * H_STEP]; /* W2a, W2b: rows of outputs */
    alignas(16) float w1[HIDDEN * W1_STEP];
    float b2[OUT];
    float4 point[TILE][2];
    float mean[TILE][4];                 /* by pillar, from the centre */
    unsigned long long sum[2][4];        /* of the pillars that reach out, first and last */
    int start[TILE + 1];                 /* of the pillars of the tile, among all points */
    int row_pillar[TILE];                /* of its rows: number in the tile */
    int target[TILE];                    /* row of the output; -1: none */
};

static __device__ void load_weights(tile *t, const float *w1, const float *b1, const half *w2,
                                    const float *b2)
{
    for (int i = threadIdx.x; i < HIDDEN * W1_STEP; i += THREADS) {
        const int o = i / W1_STEP, k = i % W1_STEP;
        t->w1[i] = k < PILLAR_RAW ? w1[o * PILLAR_RAW + k] : b1[o];
    }
    for (int i = threadIdx.x; i < OUT * 2 * HIDDEN / 8; i += THREADS) { /* eight at a time */
        const int o = i / (2 * HIDDEN / 8), k = i % (2 * HIDDEN / 8) * 8;
        *(uint4 *)&t->w2[k / HIDDEN][o * H_STEP + k % HIDDEN] = ((const uint4 *)w2)[i];
    }
    for (int i = threadIdx.x; i < OUT; i += THREADS)
        t->b2[i] = b2[i];
}

/* Steps of the fixed grid from the centre of the cell to (x, y, z), added to sum. */
static __device__ __forceinline__ void add_point(const float4 &p, const float4 &q, float z_middle,
                                                 long long (&sum)[3])
{
    sum[0] += __float2ll_rn((p.x - q.z) * FIXED);
    sum[1] += __float2ll_rn((p.y - q.w) * FIXED);
    sum[2] += __float2ll_rn((p.z - z_middle) * FIXED);
}

static __device__ __forceinline__ void mean_of(float *mean, const long long (&sum)[3], int n)
{
    const double scale = 1. / ((double)n * FIXED);
    for (int a = 0; a < 3; a++)
        mean[a] = (float)((double)sum[a] * scale);
}

/* Means of pillars inside the tile: GROUP lanes each. */
static __device__ void inner_means(tile *t, int first_point, int rows, int pillars, float z_middle)
{
    const int lane = threadIdx.x % GROUP;
    for (int base = 0; base < pillars; base += THREADS / GROUP) { /* all lanes shuffle */
        const int k = base + threadIdx.x / GROUP;
        long long sum[3] = { 0, 0, 0 };
        const int start = k < pillars ? t->start[k] - first_point : 0;
        const int end = k < pillars ? t->start[k + 1] - first_point : 0;
        const bool inside = start >= 0 && end <= rows;
        if (inside)
            for (int r = start + lane; r < end; r += GROUP)
                add_point(t->point[r][0], t->point[r][1], z_middle, sum);
        for (int step = GROUP / 2; step; step /= 2)
            for (int a = 0; a < 3; a++)
                sum[a] += __shfl_xor_sync(0xffffffffu, sum[a], step);
        if (inside && end > start && !lane)
            mean_of(t->mean[k], sum, end - start);
    }
}

/* Mean of a pillar that reaches out of the tile: the whole block, all points from memory. */
static __device__ void outer_mean(tile *t, const float4 *point, int k, int which, float z_middle)
{
    const int start = t->start[k], end = t->start[k + 1];
    long long sum[3] = { 0, 0, 0 };
    for (int r = start + threadIdx.x; r < end; r += THREADS)
        add_point(point[2 * (size_t)r], point[2 * (size_t)r + 1], z_middle, sum);
    for (int step = 16; step; step /= 2)
        for (int a = 0; a < 3; a++)
            sum[a] += __shfl_xor_sync(0xffffffffu, sum[a], step);
    if (threadIdx.x % 32 == 0)
        for (int a = 0; a < 3; a++)
            atomicAdd(&t->sum[which][a], (unsigned long long)sum[a]);
    __syncthreads();
    if (!threadIdx.x) {
        const long long all[3] = { (long long)t->sum[which][0], (long long)t->sum[which][1],
                                   (long long)t->sum[which][2] };
        mean_of(t->mean[k], all, end - start);
    }
}

/* First layer: a thread 16 outputs of a row, eight at a time. */
static __device__ void first_layer(tile *t, int rows, float z_middle)
{
    const int row = threadIdx.x % TILE, part = threadIdx.x / TILE;
    float v[PILLAR_RAW] = {};
    if (row < rows) {
        const float4 p = t->point[row][0], q = t->point[row][1];
        const float *mean = t->mean[t->row_pillar[row]];
        const float dx = p.x - q.z, dy = p.y - q.w, dz = p.z - z_middle;
        v[0] = p.x, v[1] = p.y, v[2] = p.z, v[3] = p.w, v[4] = q.x;
        v[5] = dx - mean[0], v[6] = dy - mean[1], v[7] = dz - mean[2];
        v[8] = dx, v[9] = dy, v[10] = dz;
    }
#pragma unroll
    for (int eight = 0; eight < 2; eight++) {
        half2 packed[4];
#pragma unroll
        for (int c = 0; c < 8; c += 2) {
            float h[2];
#pragma unroll
            for (int e = 0; e < 2; e++) {
                const float4 *w =
                    (const float4 *)(t->w1 + (part * 16 + eight * 8 + c + e) * W1_STEP);
                const float4 a = w[0], b = w[1], d = w[2]; /* the last number is the bias */
                h[e] = d.w + a.x * v[0] + a.y * v[1] + a.z * v[2] + a.w * v[3] + b.x * v[4] +
                       b.y * v[5] + b.z * v[6] + b.w * v[7] + d.x * v[8] + d.y * v[9] + d.z * v[10];
                h[e] = fmaxf(h[e], 0);
            }
            packed[c / 2] = row < rows ? __floats2half2_rn(h[0], h[1]) : __floats2half2_rn(0, 0);
        }
        *(uint4 *)(t->h + row * H_STEP + part * 16 + eight * 8) = *(const uint4 *)packed;
    }
}

/* sums [16 rows 16 m ..][64 outputs 64 side ..] of h times one half of W2. */
static __device__ __forceinline__ void multiply(const tile *t, const half *w2, int m, int side,
                                                float (&sum)[8][4])
{
    const int lane = threadIdx.x % 32;
    const half *a_row = t->h + (16 * m + lane % 16) * H_STEP + lane / 16 * 8;
    const half *b_row = w2 + (64 * side + lane % 8 + lane / 16 * 8) * H_STEP + lane / 8 % 2 * 8;
#pragma unroll
    for (int j = 0; j < 8; j++)
        for (int e = 0; e < 4; e++)
            sum[j][e] = 0;
#pragma unroll
    for (int k = 0; k < HIDDEN; k += 16) {
        uint32_t a[4];
        ldmatrix(a, a_row + k);
#pragma unroll
        for (int j = 0; j < 8; j += 2) {
            uint32_t b[4];
            ldmatrix(b, b_row + 8 * j * H_STEP + k);
            mma(sum[j], a, b[0], b[1]);
            mma(sum[j + 1], a, b[2], b[3]);
        }
    }
}

static __device__ void points_through_second_layer(tile *t)
{
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const int m = warp % 4, side = warp / 4;
    float sum[8][4];
    multiply(t, t->w2[0], m, side, sum);
    float *d = t->d + (16 * m + lane / 4) * D_STEP + 64 * side + lane % 4 * 2;
#pragma unroll
    for (int j = 0; j < 8; j++) {
        *(float2 *)(d + 8 * j) = make_float2(sum[j][0], sum[j][1]);
        *(float2 *)(d + 8 * j + 8 * D_STEP) = make_float2(sum[j][2], sum[j][3]);
    }
}

/* Maxima of rows by pillar, in place: pillar k ends at row k or behind it, so that row k has been
 * read.  Those of pillars that reach out go to scratch.  Threads 0 .. 127 take a column of d, 128 ..
 * 159 two of h. */
static __device__ void reduce(tile *t, const pillar_state &s, int rows, int pillars, bool first_out,
                              bool last_out)
{
    const int x = threadIdx.x;
    float most[2] = { 0, 0 };
    if (x >= OUT + HIDDEN / 2)
        return;
    for (int r = 0, begin = 1; r < rows; r++) {
        const int k = t->row_pillar[r];
        float v[2] = { 0, 0 };
        if (x < OUT) {
            v[0] = t->d[r * D_STEP + x];
        } else {
            const float2 pair = __half22float2(*(const half2 *)(t->h + r * H_STEP + 2 * (x - OUT)));
            v[0] = pair.x, v[1] = pair.y;
        }
        most[0] = begin ? v[0] : fmaxf(most[0], v[0]);
        most[1] = begin ? v[1] : fmaxf(most[1], v[1]);
        begin = r + 1 == rows || t->row_pillar[r + 1] != k;
        if (!begin)
            continue;
        if ((!k && first_out) || (k == pillars - 1 && last_out)) {
            unsigned *to = s.scratch + (size_t)(t->start[k] / TILE) * MERGED;
            if (x < OUT) {
                atomicMax(to + HIDDEN + x, ordered(most[0]));
            } else {
                atomicMax(to + 2 * (x - OUT), ordered(most[0]));
                atomicMax(to + 2 * (x - OUT) + 1, ordered(most[1]));
            }
        } else if (x < OUT) {
            t->d[k * D_STEP + x] = most[0];
        } else {
            *(half2 *)(t->h + k * H_STEP + 2 * (x - OUT)) = __floats2half2_rn(most[0], most[1]);
        }
    }
}

/* Rows of m1 in h and of maxima in d to rows t->target of out. */
static __device__ void finish(const tile *t, int rows, half *out)
{
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const int m = warp % 4, side = warp / 4;
    if (16 * m >= rows)
        return;
    float sum[8][4];
    multiply(t, t->w2[1], m, side, sum);
#pragma unroll
    for (int up = 0; up < 2; up++) {
        const int row = 16 * m + lane / 4 + 8 * up, to = row < rows ? t->target[row] : -1;
        if (to < 0)
            continue;
#pragma unroll
        for (int j = 0; j < 8; j++) {
            const int c = 64 * side + 8 * j + lane % 4 * 2;
            const float x = sum[j][2 * up] + t->d[row * D_STEP + c] + t->b2[c];
            const float y = sum[j][2 * up + 1] + t->d[row * D_STEP + c + 1] + t->b2[c + 1];
            *(half2 *)(out + (size_t)to * OUT + c) = __floats2half2_rn(fmaxf(x, 0), fmaxf(y, 0));
        }
    }
}

/* Points, pillars and their first points of tile number `number`; pillars that reach out are no
 * targets. */
static __device__ void load_tile(tile *t, const pillar_state &s, int first_point, int rows,
                                 int first, int pillars)
{
    const int x = threadIdx.x;
    for (int i = x; i < 2 * rows; i += THREADS)
        t->point[i / 2][i % 2] = s.point[2 * (size_t)first_point + i];
    if (x <= pillars)
        t->start[x] = s.start[first + x];
    if (x < 8)
        t->sum[x / 4][x % 4] = 0;
    __syncthreads();
    if (x < rows)
        t->row_pillar[x] = __float_as_int(t->point[x][1].y) - first;
    if (x < pillars)
        t->target[x] = t->start[x] < first_point || t->start[x + 1] > first_point + rows ? -1
                                                                                         : first + x;
}

static __device__ __forceinline__ int pillar_of(const pillar_state &s, int point)
{
    return __float_as_int(s.point[2 * (size_t)point + 1].y);
}

__global__ void __launch_bounds__(THREADS, 2)
pillar_net(float z_middle, pillar_state s, const float *w1, const float *b1, const half *w2,
           const float *b2, half *out)
{
    extern __shared__ uint4 memory[];
    tile *t = (tile *)memory;
    const int total = *s.total;
    load_weights(t, w1, b1, w2, b2);
    for (int number = blockIdx.x; number * TILE < total; number += gridDim.x) {
        const int first_point = number * TILE, rows = min(TILE, total - first_point);
        const int first = pillar_of(s, first_point);
        const int pillars = pillar_of(s, first_point + rows - 1) - first + 1;
        load_tile(t, s, first_point, rows, first, pillars);
        __syncthreads();
        const bool first_out = t->target[0] < 0, last_out = t->target[pillars - 1] < 0;
        inner_means(t, first_point, rows, pillars, z_middle);
        if (first_out)
            outer_mean(t, s.point, 0, 0, z_middle);
        if (last_out && pillars > 1)
            outer_mean(t, s.point, pillars - 1, 1, z_middle);
        if (!threadIdx.x)
            s.across[number] = last_out && t->start[pillars - 1] >= first_point
                                   ? first + pillars - 1
                                   : -1;
        __syncthreads();
        first_layer(t, rows, z_middle);
        __syncthreads();
        points_through_second_layer(t);
        __syncthreads();
        reduce(t, s, rows, pillars, first_out, last_out);
        __syncthreads();
        finish(t, pillars, out);
        __syncthreads(); /* all of the tile is free */
    }
}

/* Rows of scratch as rows of a tile. */
__global__ void __launch_bounds__(THREADS, 2)
pillar_finish(pillar_state s, const float *w1, const float *b1, const half *w2, const float *b2,
              half *out)
{
    extern __shared__ uint4 memory[];
    tile *t = (tile *)memory;
    const int tiles = (*s.total + TILE - 1) / TILE, first = blockIdx.x * TILE;
    const int rows = min(TILE, tiles - first);
    if (rows <= 0)
        return;
    load_weights(t, w1, b1, w2, b2);
    if ((int)threadIdx.x < TILE)
        t->target[threadIdx.x] = (int)threadIdx.x < rows ? s.across[first + threadIdx.x] : -1;
    __syncthreads();
    for (int i = threadIdx.x; i < TILE * MERGED; i += THREADS) {
        const int r = i / MERGED, c = i % MERGED;
        const float x = r < rows && t->target[r] >= 0
                            ? unordered(s.scratch[(size_t)(first + r) * MERGED + c])
                            : 0;
        if (c < HIDDEN)
            t->h[r * H_STEP + c] = __float2half_rn(x);
        else
            t->d[r * D_STEP + c - HIDDEN] = x;
    }
    __syncthreads();
    finish(t, rows, out);
}

/* ---- launchers ---- */

OP_BEGIN

enum op_status pillar_own_setup(const struct pillar_problem *p, const struct pillar_args *a,
                                const struct op_memory *m, op_stream stream, void **state)
{
    pillar_state *s = (pillar_state *)calloc(1, sizeof *s);
    int device = 0, sms = 0, blocks = 0;
    (void)a, (void)stream;
    *state = s;
    if (!s)
        return OP_ENOMEM;
    s->cells = p->grid.side * p->grid.side;
    s->chunks = (s->cells + CHUNK - 1) / CHUNK;
    s->tiles = (p->points + TILE - 1) / TILE;
    if (cudaGetDevice(&device) != cudaSuccess ||
        cudaDeviceGetAttribute(&sms, cudaDevAttrMultiProcessorCount, device) != cudaSuccess ||
        cudaFuncSetAttribute(pillar_net, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             sizeof(tile)) != cudaSuccess ||
        cudaFuncSetAttribute(pillar_finish, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             sizeof(tile)) != cudaSuccess ||
        cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, pillar_net, THREADS,
                                                      sizeof(tile)) != cudaSuccess || !blocks)
        return OP_EDEVICE;
    s->blocks = min(s->tiles, sms * blocks);
    const size_t points = (size_t)p->points, cells = (size_t)s->cells;
    const size_t merged = (size_t)s->tiles * MERGED;
    s->clear_bytes = (cells + 2 * (size_t)s->chunks + merged) * sizeof(int);
    s->cleared = (int *)m->take(m->context, s->clear_bytes);
    s->place = (int2 *)m->take(m->context, cells * sizeof(int2));
    s->cell = (int *)m->take(m->context, points * sizeof(int));
    s->rank = (int *)m->take(m->context, points * sizeof(int));
    s->point = (float4 *)m->take(m->context, points * 2 * sizeof(float4));
    s->start = (int *)m->take(m->context, ((size_t)pillar_most(p) + 1) * sizeof(int));
    s->across = (int *)m->take(m->context, (size_t)s->tiles * sizeof(int));
    s->total = (int *)m->take(m->context, sizeof(int));
    if (!s->cleared || !s->place || !s->cell || !s->rank || !s->point || !s->start || !s->across ||
        !s->total)
        return OP_ENOMEM;
    s->count = s->cleared;
    s->chunk = s->count + cells;
    s->scratch = (unsigned *)(s->chunk + 2 * s->chunks);
    return OP_OK;
}

enum op_status pillar_own(const struct pillar_problem *p, const struct pillar_args *a, void *state,
                          op_stream stream)
{
    const pillar_state *s = (const pillar_state *)state;
    const int blocks = (p->points + BIN_THREADS - 1) / BIN_THREADS;
    const half *w2 = (const half *)a->w2;
    half *out = (half *)a->out;
    if (cudaMemsetAsync(s->cleared, 0, s->clear_bytes, stream) != cudaSuccess)
        return OP_EDEVICE;
    pillar_bin<<<blocks, BIN_THREADS, 2 * s->chunks * sizeof(int), stream>>>(p->points, p->grid,
                                                                             a->in, *s);
    pillar_scan<<<s->chunks, SCAN_THREADS, 0, stream>>>(p->grid.side, *s, a->cell, a->count);
    pillar_place<<<blocks, BIN_THREADS, 0, stream>>>(p->points, p->grid, a->in, *s);
    pillar_net<<<s->blocks, THREADS, sizeof(tile), stream>>>(p->grid.z_middle, *s, a->w1, a->b1, w2,
                                                             a->b2, out);
    pillar_finish<<<(s->tiles + TILE - 1) / TILE, THREADS, sizeof(tile), stream>>>(
        *s, a->w1, a->b1, w2, a->b2, out);
    return cudaGetLastError() == cudaSuccess ? OP_OK : OP_EDEVICE;
}

OP_END
