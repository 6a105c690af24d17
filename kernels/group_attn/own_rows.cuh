/*
 * own_rows.cuh - all of the encoder that is done row by row, in one kernel a layer:
 *
 *     u = LN1(x + Wo o + bo)                 REST
 *     y = LN2(u + W2 gelu(W1 u + c1) + c2)   REST
 *     q k v of the next layer                QKV
 *
 * Four warps take 64 rows, a warp 16 of them, from o to q, k and v; nothing but weights goes
 * through shared memory.  A lane holds, of rows r = l / 4 and r + 8 of its warp, the eight
 * channels 32 a + 8 t .. + 7 for each a (t = l % 4), see own.h:
 *
 *     sums       d[4 (4 a + j) + 2 i + b]     channel 32 a + 8 t + 2 j + b of row r + 8 i
 *     operands   a[2 a + j / 2][j % 2 * 2 + i], the same two channels as halves
 *
 * Weights (256 KB a layer) pass once for all rows that a block holds at a time.  How they come
 * and how products are done is the Machine's: own_hopper.cuh, own_portable.cuh.  Bound by tensor
 * cores, 131072 multiply-adds a row, and by the weights' way from the L2 cache.
 *
 * The residual and what is normalised are floats from o to y; y itself is stored in halves.
 *
 * A Machine that is BRIEF takes the same steps in less code, which each warp meets once a tile:
 * loops stay loops, products begin with their bias, v comes before q and k, so that the embedding
 * is added in place, and what a tile needs last is looked up while its first product runs.  One
 * that is HELD has few registers.  STARTS: products begin with their bias; PAIRS: GELU in half.
 */
#ifndef KERNELS_GROUP_ATTN_OWN_ROWS_CUH
#define KERNELS_GROUP_ATTN_OWN_ROWS_CUH

#include "../common/launch.cuh"
#include "../common/warp.cuh"
#include "own.h"
#include "own_math.cuh"

constexpr int TILE = 64; /* rows of four warps */

enum { QKV = 1, REST = 2 }; /* Stages: one or both */

struct RowsWork {
    int n, slots, group, tiles;
    const int32_t *slot;           /* [n] rows in the order of this layer */
    const int32_t *rank;           /* [n] slots of the rows in the next; NULL: rows stay */
    const struct flatten_cell *cell;
    const half *table;             /* [side][64]: embedding */
    const half *o, *x;             /* [n][128] in the order of slots; without REST: x in rows */
    half *y;                       /* in the next order; in rows without QKV */
    half *qkv;                     /* [slots][3][128] */
    const half *blocks;            /* those of these stages, as own.h has them */
    const half *parameters;
};

template <int Stages> struct RowsShape {
    static constexpr int BLOCKS = (Stages & REST ? OWN_REST_BLOCKS : 0) +
                                  (Stages & QKV ? OWN_QKV_BLOCKS : 0);
    static constexpr int PARAMETERS = !(Stages & REST) ? OWN_FIRST
                                      : Stages & QKV   ? OWN_LAYER
                                                       : OWN_QKV_BIAS;
};

/* ---- a lane's channels of two rows ---- */

static __device__ __forceinline__ void load_rows(uint32_t (&a)[8][4], const half *x,
                                                 const int (&row)[2], int lane)
{
#pragma unroll
    for (int i = 0; i < 2; i++)
#pragma unroll
        for (int c = 0; c < 4; c++) {
            const uint4 v = *(const uint4 *)(x + (size_t)row[i] * OWN_CHANNELS + 32 * c +
                                             lane % 4 * 8);
            a[2 * c][i] = v.x, a[2 * c][i + 2] = v.y;
            a[2 * c + 1][i] = v.z, a[2 * c + 1][i + 2] = v.w;
        }
}

/* Chunk c of row i, as it is stored. */
static __device__ __forceinline__ uint4 chunk_of(const uint32_t (&a)[8][4], int i, int c)
{
    return make_uint4(a[2 * c][i], a[2 * c][i + 2], a[2 * c + 1][i], a[2 * c + 1][i + 2]);
}

template <int N>
static __device__ __forceinline__ void pack(const float (&d)[N], uint32_t (&a)[N / 8][4])
{
#pragma unroll
    for (int k = 0; k < N / 8; k++)
#pragma unroll
        for (int e = 0; e < 4; e++) {
            const int at = 8 * k + e / 2 * 4 + e % 2 * 2;
            a[k][e] = halves_of(d[at], d[at + 1]);
        }
}

/* A lane's eight numbers of chunk c of a parameter. */
struct Eight {
    uint32_t two[4];
    __device__ __forceinline__ Eight(const half *parameter, int c, int lane)
    {
        const uint4 v = *(const uint4 *)(parameter + 32 * c + lane % 4 * 8);
        two[0] = v.x, two[1] = v.y, two[2] = v.z, two[3] = v.w;
    }
};

/* d += parameter, of chunks as many as d has */
template <int N>
static __device__ __forceinline__ void add(float (&d)[N], const half *parameter, int lane)
{
#pragma unroll
    for (int c = 0; c < N / 16; c++) {
        const Eight p(parameter, c, lane);
#pragma unroll
        for (int j = 0; j < 4; j++) {
            const float2 f = floats_of(p.two[j]);
            float *at = d + 4 * (4 * c + j);
            at[0] += f.x, at[1] += f.y, at[2] += f.x, at[3] += f.y;
        }
    }
}

/* d = parameter: sums of a product that adds to them. */
template <int N>
static __device__ __forceinline__ void start(float (&d)[N], const half *parameter, int lane)
{
#pragma unroll
    for (int c = 0; c < N / 16; c++) {
        const Eight p(parameter, c, lane);
#pragma unroll
        for (int j = 0; j < 4; j++) {
            const float2 f = floats_of(p.two[j]);
            float *at = d + 4 * (4 * c + j);
            at[0] = at[2] = f.x, at[1] = at[3] = f.y;
        }
    }
}

static __device__ __forceinline__ void add_rows(float (&d)[64], const uint32_t (&a)[8][4])
{
#pragma unroll
    for (int k = 0; k < 8; k++)
#pragma unroll
        for (int e = 0; e < 4; e++) {
            const float2 f = floats_of(a[k][e]);
            d[8 * k + e / 2 * 4 + e % 2 * 2] += f.x;
            d[8 * k + e / 2 * 4 + e % 2 * 2 + 1] += f.y;
        }
}

/* Sum over a row, which four lanes hold. */
static __device__ __forceinline__ float row_sum(float x)
{
    x += __shfl_xor_sync(ALL_LANES, x, 1);
    return x + __shfl_xor_sync(ALL_LANES, x, 2);
}

/* Layer norm of both rows; norm: factors, then what is added. */
static __device__ __forceinline__ void normalise(float (&d)[64], const half *norm, int lane)
{
    float mean[2], factor[2];
#pragma unroll
    for (int i = 0; i < 2; i++) {
        float sum = 0, square = 0;
#pragma unroll
        for (int j = 0; j < 16; j++)
            sum += d[4 * j + 2 * i] + d[4 * j + 2 * i + 1];
        mean[i] = row_sum(sum) * (1.0f / OWN_CHANNELS);
#pragma unroll
        for (int j = 0; j < 32; j++) {
            const float off = d[4 * (j / 2) + 2 * i + j % 2] - mean[i];
            square = fmaf(off, off, square);
        }
        factor[i] = rsqrtf(fmaf(row_sum(square), 1.0f / OWN_CHANNELS, (float)GROUP_ATTN_EPS));
    }
#pragma unroll
    for (int c = 0; c < 4; c++) {
        const Eight gain(norm, c, lane), offset(norm + OWN_CHANNELS, c, lane);
#pragma unroll
        for (int j = 0; j < 4; j++) {
            const float2 g = floats_of(gain.two[j]), o = floats_of(offset.two[j]);
            float *at = d + 4 * (4 * c + j);
#pragma unroll
            for (int i = 0; i < 2; i++) {
                at[2 * i] = fmaf((at[2 * i] - mean[i]) * factor[i], g.x, o.x);
                at[2 * i + 1] = fmaf((at[2 * i + 1] - mean[i]) * factor[i], g.y, o.y);
            }
        }
    }
}

/* ---- stages ---- */

/* Where a row goes, and its cell: in shared memory from the tile's begin to its end. */
struct Target {
    int to;
    struct flatten_cell cell;
};

template <int Stages>
static __device__ __forceinline__ Target target_of(const RowsWork &w, int row)
{
    Target target = { row, { 0, 0 } };
    if constexpr (Stages & QKV) {
        target.to = w.rank[row];
        target.cell = w.cell[row];
    }
    return target;
}

/* sum = x + Wo o + bo of slots `at`, by the first block of a pass.  LATE: lanes below 16 set their
 * target, that of `row`. */
template <class Machine, bool LATE>
static __device__ __forceinline__ void out_product(Machine &m, int block, const RowsWork &w,
                                                   const half *parameters, const int (&at)[2],
                                                   int row, int lane, Target *target,
                                                   float (&sum)[64])
{
    uint32_t a[8][4], x[8][4];
    Target found = {};

    load_rows(a, w.o, at, lane);
    if constexpr (Machine::STARTS)
        start(sum, parameters + OWN_OUT_BIAS, lane);
    m.template product<64, 8>(sum, a, m.take(block), Machine::STARTS);
    if constexpr (Machine::HELD) { /* x in the registers that o had */
        m.settle(sum);
        m.done(block);
    }
    load_rows(x, w.x, at, lane); /* on its way while the product runs */
    if constexpr (LATE)
        found = target_of<REST | QKV>(w, row);
    if constexpr (!Machine::HELD) {
        m.settle(sum);
        m.done(block);
    }
    add_rows(sum, x);
    if (LATE && lane < 16)
        target[lane] = found;
    if constexpr (!Machine::STARTS)
        add(sum, parameters + OWN_OUT_BIAS, lane);
}

/* sum += W2 gelu(W1 u + c1) + c2, a: u in halves; block: the next after that of out_product. */
template <class Machine>
static __device__ __forceinline__ void feed_forward(Machine &m, int block, const half *parameters,
                                                    int lane, const uint32_t (&a)[8][4],
                                                    float (&sum)[64])
{
    uint32_t hidden_halves[4][4];
    float hidden[32];

    m.hold(a);
    add(sum, parameters + OWN_FC2_BIAS, lane); /* the residual waits in the sums of fc2 */

    /* hidden channels 64 at a time: 64 outputs of fc1 are 64 rows of 128 bytes */
    uint32_t fc1 = 0, fc2 = 0;
#pragma unroll(Machine::BRIEF ? 1 : 4)
    for (int h = 0; h < 4; h++) {
        const int now = block + h / 2 * 2;
        const half *bias = parameters + OWN_FC1_BIAS + 64 * h;
        if (h % 2 == 0)
            fc1 = m.take(now);
        if constexpr (Machine::STARTS)
            start(hidden, bias, lane);
        m.product_held(hidden, a, fc1 + h % 2 * 64 * 128, Machine::STARTS);
        m.settle(hidden);
        if (h % 2)
            m.done(now);
        if constexpr (!Machine::STARTS)
            add(hidden, bias, lane);
        if constexpr (Machine::PAIRS) {
            pack(hidden, hidden_halves);
#pragma unroll
            for (int i = 0; i < 16; i++)
                hidden_halves[i / 4][i % 4] = gelu_of_twice_pair(hidden_halves[i / 4][i % 4]);
        } else {
#pragma unroll
            for (int i = 0; i < 32; i++)
                hidden[i] = gelu_of_twice(hidden[i]);
            pack(hidden, hidden_halves);
        }
        if (h % 2 == 0)
            fc2 = m.take(now + 1);
        m.template product<64, 4>(sum, hidden_halves, fc2 + h % 2 * OWN_BLOCK / 2, true);
        m.settle(sum);
        if (h % 2)
            m.done(now + 1);
    }
}

/* a = y of slots `at`; block: the first of the pass. */
template <class Machine, int Stages>
static __device__ __forceinline__ void rest_of_layer(Machine &m, int block, const RowsWork &w,
                                                     const half *parameters, const int (&at)[2],
                                                     int row, int lane, Target *target,
                                                     float (&sum)[64], uint32_t (&a)[8][4])
{
    constexpr bool LATE = Machine::BRIEF && Stages == (REST | QKV);
    out_product<Machine, LATE>(m, block, w, parameters, at, row, lane, target, sum);
    normalise(sum, parameters + OWN_NORM1, lane);
    pack(sum, a);
    feed_forward(m, block + 1, parameters, lane, a, sum);
    normalise(sum, parameters + OWN_NORM2, lane);
    pack(sum, a);
}

/* Embedding of the rows' cells added to a. */
static __device__ __forceinline__ void add_embedding(uint32_t (&a)[8][4], const half *table,
                                                     const struct flatten_cell (&cell)[2], int lane)
{
#pragma unroll
    for (int i = 0; i < 2; i++)
#pragma unroll
        for (int c = 0; c < 4; c++) {
            const int at = c < 2 ? cell[i].x : cell[i].y;
            const uint4 e = __ldg((const uint4 *)(table + (size_t)at * 64 + c % 2 * 32 +
                                                  lane % 4 * 8));
            a[2 * c][i] = add_halves(a[2 * c][i], e.x);
            a[2 * c][i + 2] = add_halves(a[2 * c][i + 2], e.y);
            a[2 * c + 1][i] = add_halves(a[2 * c + 1][i], e.z);
            a[2 * c + 1][i + 2] = add_halves(a[2 * c + 1][i + 2], e.w);
        }
}

/* Two rows of a lane. */
struct Rows {
    int to[2];    /* where they go */
    bool live[2]; /* there is one */
    __device__ __forceinline__ Rows(const RowsWork &w, const Target *target, int slot, bool any,
                                    int lane)
    {
#pragma unroll
        for (int i = 0; i < 2; i++) {
            live[i] = any && slot + 8 * i < w.n;
            to[i] = target[lane / 4 + 8 * i].to;
        }
    }
};

/* One of q, k, v: sums into rows of qkv, and into the slots that repeat them as keys. */
static __device__ __forceinline__ void store_third(const float (&sum)[64], half *qkv,
                                                   const RowsWork &w, const Rows &rows, int lane)
{
    uint32_t a[8][4];
    pack(sum, a);
#pragma unroll
    for (int i = 0; i < 2; i++) {
        half *at = qkv + (size_t)rows.to[i] * 3 * OWN_CHANNELS + lane % 4 * 8;
        const int again = rows.to[i] + w.group;
        if (!rows.live[i])
            continue;
#pragma unroll
        for (int c = 0; c < 4; c++)
            *(uint4 *)(at + 32 * c) = chunk_of(a, i, c);
        if (again >= w.n && again < w.slots) {
            at += (size_t)w.group * 3 * OWN_CHANNELS;
#pragma unroll
            for (int c = 0; c < 4; c++)
                *(uint4 *)(at + 32 * c) = chunk_of(a, i, c);
        }
    }
}

/* a: y in halves. */
template <class Machine>
static __device__ __forceinline__ void next_qkv(Machine &m, int block, const RowsWork &w,
                                                const half *bias, const Rows &rows,
                                                const struct flatten_cell (&cell)[2], int lane,
                                                uint32_t (&a)[8][4], float (&sum)[64])
{
    uint32_t placed[8][4];
#pragma unroll
    for (int k = 0; k < 8; k++)
#pragma unroll
        for (int e = 0; e < 4; e++)
            placed[k][e] = a[k][e];
    add_embedding(placed, w.table, cell, lane);
#pragma unroll
    for (int third = 0; third < 3; third++) {
        if constexpr (Machine::STARTS)
            start(sum, bias + third * OWN_CHANNELS, lane);
        const uint32_t from = m.take(block + third);
        m.template product<64, 8>(sum, third == 2 ? a : placed, from, Machine::STARTS);
        m.settle(sum);
        m.done(block + third);
        if constexpr (!Machine::STARTS)
            add(sum, bias + third * OWN_CHANNELS, lane);
        store_third(sum, w.qkv + third * OWN_CHANNELS, w, rows, lane);
    }
}

/* y into the rows that it goes to. */
static __device__ __forceinline__ void store_rows(const uint32_t (&a)[8][4], half *y,
                                                  const Rows &rows, int lane)
{
#pragma unroll
    for (int i = 0; i < 2; i++)
        if (rows.live[i])
#pragma unroll
            for (int c = 0; c < 4; c++)
                *(uint4 *)(y + (size_t)rows.to[i] * OWN_CHANNELS + 32 * c + lane % 4 * 8) =
                    chunk_of(a, i, c);
}

/* The same in less code: y itself is stored too, and becomes what q and k are made of.  Blocks are
 * taken in the order v, q, k. */
template <class Machine>
static __device__ __forceinline__ void next_vqk(Machine &m, int block, const RowsWork &w,
                                                const half *bias, const Target *target, int slot,
                                                bool any, int lane, uint32_t (&a)[8][4],
                                                float (&sum)[64])
{
#pragma unroll 1
    for (int i = 0; i < 3; i++) {
        const int third = i ? i - 1 : 2;
        if (!i)
            store_rows(a, w.y, Rows(w, target, slot, any, lane), lane);
        const uint32_t from = m.take(block + i);
        start(sum, bias + third * OWN_CHANNELS, lane);
        m.template product<64, 8>(sum, a, from, true);
        m.settle(sum);
        m.done(block + i);
        const Rows rows(w, target, slot, any, lane);
        store_third(sum, w.qkv + third * OWN_CHANNELS, w, rows, lane);
        if (!i) { /* behind v, whose registers are free again */
            const struct flatten_cell cell[2] = { target[lane / 4].cell,
                                                  target[lane / 4 + 8].cell };
            add_embedding(a, w.table, cell, lane);
        }
    }
}

/* ---- a tile ---- */

template <class Machine, int Stages>
static __device__ __forceinline__ void rows_tile(Machine &m, int block, const RowsWork &w,
                                                 const half *parameters, Target *target, int tile,
                                                 bool any)
{
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP % 4;
    const int slot = tile * TILE + warp * 16 + lane / 4;
    const int at[2] = { min(slot, w.n - 1), min(slot + 8, w.n - 1) };
    const int own = min(tile * TILE + warp * 16 + lane % 16, w.n - 1); /* looked up by this lane */
    constexpr bool LATE = Machine::BRIEF && Stages == (REST | QKV);
    float sum[64];
    uint32_t a[8][4];

    target += threadIdx.x / WARP * 16;
    __syncwarp(); /* all lanes have read what the tile before left */
    if (!LATE && lane < 16)
        target[lane] = target_of<Stages>(w, w.slot[own]);
    if constexpr (Stages & REST) {
        rest_of_layer<Machine, Stages>(m, block, w, parameters, at, LATE ? w.slot[own] : 0, lane,
                                       target, sum, a);
    } else {
        const int row[2] = { w.slot[at[0]], w.slot[at[1]] };
        load_rows(a, w.x, row, lane);
    }
    __syncwarp();
    const int first = block + (Stages & REST ? OWN_REST_BLOCKS : 0);
    const half *bias = parameters + (Stages & REST ? OWN_QKV_BIAS : 0);
    if constexpr (Machine::BRIEF && Stages & QKV) {
        next_vqk(m, first, w, bias, target, slot, any, lane, a, sum);
    } else {
        const Rows rows(w, target, slot, any, lane);
        store_rows(a, w.y, rows, lane);
        if constexpr (Stages & QKV) {
            const struct flatten_cell cell[2] = { target[lane / 4].cell,
                                                  target[lane / 4 + 8].cell };
            next_qkv(m, first, w, bias, rows, cell, lane, a, sum);
        }
    }
}

/* Rows of o and x into the L2 cache, a line of each by every thread. */
static __device__ __forceinline__ void fetch_ahead(const RowsWork &w, int tile)
{
    const int thread = threadIdx.x % (4 * WARP);
    const size_t at = (size_t)min(tile * TILE + thread / 2, w.n - 1) * OWN_CHANNELS +
                      thread % 2 * (OWN_CHANNELS / 2);
    asm volatile("prefetch.global.L2 [%0];" ::"l"(w.o + at));
    asm volatile("prefetch.global.L2 [%0];" ::"l"(w.x + at));
}

/* Tiles in equal shares to the clusters of blocks, CLUSTER * TEAMS of a share at a time. */
template <class Machine, int Stages>
__global__ void __launch_bounds__(Machine::THREADS, 1) encoder_rows(RowsWork w)
{
    constexpr int BLOCKS = RowsShape<Stages>::BLOCKS, STEP = Machine::TEAMS * Machine::CLUSTER;
    extern __shared__ uint4 memory[]; /* the Machine's, parameters, a Target for each row */
    const int clusters = gridDim.x / Machine::CLUSTER, cluster = blockIdx.x / Machine::CLUSTER;
    const int begin = share_begin(w.tiles, cluster, clusters);
    const int end = share_begin(w.tiles, cluster + 1, clusters);
    const int blocks = (end - begin + STEP - 1) / STEP * BLOCKS; /* of weights */
    uint4 *shared = memory;
    Machine m(shared, w.blocks, blocks);
    Target *target = (Target *)((char *)shared + Machine::TARGETS);
    const half *parameters = w.parameters;
    if constexpr (Machine::BRIEF)
        m.fill();
    if constexpr (Machine::PARAMETERS) {
        half *copy = (half *)((char *)shared + Machine::PARAMETERS);
        for (int i = threadIdx.x; i < RowsShape<Stages>::PARAMETERS / 8; i += Machine::THREADS)
            ((uint4 *)copy)[i] = __ldg((const uint4 *)w.parameters + i);
        parameters = copy;
    }
    __syncthreads();
    m.begin();
    int tile = begin + threadIdx.x / (4 * WARP) * Machine::CLUSTER + blockIdx.x % Machine::CLUSTER;
    for (int block = 0; block < blocks; block += BLOCKS, tile += STEP) {
        if (Machine::BRIEF && Stages & REST && tile + STEP < end)
            fetch_ahead(w, tile + STEP);
        if (Machine::IDLES && tile >= end) /* the ring turns for the other teams */
#pragma unroll 1
            for (int b = block; b < block + BLOCKS; b++) {
                m.take(b);
                m.done(b);
            }
        else
            rows_tile<Machine, Stages>(m, block, w, parameters, target, tile,
                                       Machine::IDLES || tile < end);
    }
    m.end();
}

#endif
