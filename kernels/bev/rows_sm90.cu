/*
 * rows_sm90.cu - the detector behind the encoder, its layers of stride 1 by wgmma: 317 of 329 GFLOP.
 * The one of stride 2 and the outputs are those of own.cu.  The first layer reads a map that pillars
 * are scattered to, and that is zero between runs: what has been written is cleared behind it.
 *
 * A product takes 64 cells of a row of the input and makes 64 outputs for each of the three taps
 * along x at once; taps are put together behind it:
 *
 *     D [64 cells][3 dx][64 outputs] = sum over dy, channels of X [y + dy - 1] W [dy][dx]
 *     out [cell i] = D [i][0] + D [i + 1][1] + D [i + 2][2]           62 cells of 64
 *
 * so that a row of cells is read from shared memory once for 192 columns, both operands lie at
 * multiples of 1024 bytes, and no cell is unfolded.  A block keeps the weights of its 64 outputs
 * and 64 or 128 channels, and walks down columns of 62 cells: each row of the input comes once and
 * serves three rows of the output.
 *
 *     weights  [dy][64 channels][dx][64 outputs] of 128 bytes
 *     ring     STAGES rows [64 channels][64 cells] of 128 bytes, all in the 128-byte swizzle
 *
 *     warp 8         copies rows into the ring, by the bulk copy engine; outside the map are zeros
 *     warpgroup g    rows g, g + 2, ... of the output: while one puts its taps together the other
 *                    multiplies
 *
 * 256 channels are taken in two halves: the first leaves its sums in float.  Layers of one tap make
 * 128 outputs of 64 cells, of the transposed one those of one cell of four.
 *
 * Bound by tensor cores; a product m64n192k16 takes 96 clocks and reads 8 KB of shared memory, 64
 * clocks.
 */
#include <cuda_fp16.h>

#include <cstdlib>
#include <cstring>

#include "../common/launch.cuh"
#include "../common/mbarrier.cuh"
#include "../common/tma.cuh"
#include "../common/wgmma_smem.cuh"
#include "../gemm/mma.cuh"
#include "kernels.h"

constexpr unsigned ALL = 0xffffffffu;
constexpr int CELLS = 64, OUTS = 64, STEP = 64; /* STEP: channels of a row */
constexpr int TEAMS = 2, TEAM = 128, THREADS = TEAMS * TEAM + 32;
constexpr int ROW = CELLS * STEP * 2, BOX = OUTS * STEP * 2; /* bytes: of cells, of weights */
constexpr int EDGE = 3 * OUTS; /* floats of a warp's first rows that the warp before needs */

/* What a layer is to the kernel. */
struct rows_io {
    const float *b;
    half *y;
    float4 *partial; /* [row tiles][8][TEAM] */
    int side, columns, y_step; /* of the map; columns of tiles; channels of a cell of y */
    int at, channel;           /* first channel of y, of x */
    int up, residual, relu, load_partial, store_partial;
};

/* KERNEL: taps each way, 1 or 3.  BLOCKS: of 64 channels. */
template <int KERNEL, int BLOCKS> struct rows_shape {
    static constexpr int PARTS = KERNEL == 3 ? 3 : 2;  /* of 64 columns of a product */
    static constexpr int CHUNK = KERNEL == 3 ? 1 : 2;  /* of 64 outputs of a block */
    static constexpr int VALID = CELLS + 1 - KERNEL, SUMS = PARTS * 32;
    static constexpr int STAGES = BLOCKS == 1 ? 8 : 4, SLOT = BLOCKS * ROW, TAPS = PARTS * BOX;
    static constexpr int RING = KERNEL * BLOCKS * TAPS, EDGES = RING + STAGES * SLOT;
    static constexpr int BARRIERS = EDGES + 2 * TEAMS * 4 * EDGE * (int)sizeof(float);
    static constexpr int BYTES = BARRIERS + (2 * STAGES + 1) * 8 + 1024;
    static_assert(BYTES <= 227 * 1024, "shared memory of a block");
};

/* Where things are in shared memory. */
template <int KERNEL, int BLOCKS> struct rows_room {
    typedef rows_shape<KERNEL, BLOCKS> Shape;
    uint32_t base; /* multiple of 1024 */
    float *edges;

    __device__ __forceinline__ uint32_t weights(int dy, int block) const
    {
        return base + (dy * BLOCKS + block) * Shape::TAPS;
    }
    __device__ __forceinline__ uint32_t row(unsigned i) const
    {
        return base + Shape::RING + i % Shape::STAGES * Shape::SLOT;
    }
    __device__ __forceinline__ uint32_t full(unsigned i) const
    {
        return base + Shape::BARRIERS + i % Shape::STAGES * 8;
    }
    __device__ __forceinline__ uint32_t empty(unsigned i) const
    {
        return full(i) + Shape::STAGES * 8;
    }
    __device__ __forceinline__ uint32_t loaded() const /* all weights */
    {
        return base + Shape::BARRIERS + 2 * Shape::STAGES * 8;
    }
    static __device__ __forceinline__ unsigned parity(unsigned i) { return i / Shape::STAGES & 1; }
};

/* A block's row tiles, column after column; a segment is those in one column. */
struct segment {
    int x, y, rows; /* first cell and row of the output */
};

static __device__ __forceinline__ segment segment_at(const rows_io &io, int valid, int tile,
                                                      int end)
{
    const int y = tile % io.side;
    return { tile / io.side * valid, y, min(end - tile, io.side - y) };
}

template <int KERNEL, int BLOCKS>
static __device__ __forceinline__ void produce(const rows_io &io,
                                               const rows_room<KERNEL, BLOCKS> &room,
                                               const CUtensorMap *x_map, const CUtensorMap *w_map,
                                               int chunk, int begin, int end)
{
    typedef rows_shape<KERNEL, BLOCKS> Shape;
    mbarrier_expect(room.loaded(), KERNEL * BLOCKS * Shape::TAPS);
    for (int dy = 0; dy < KERNEL; dy++)
        for (int block = 0; block < BLOCKS; block++)
            for (int part = 0; part < Shape::PARTS; part++) /* taps, or outputs */
                bulk_copy_box3(room.weights(dy, block) + part * BOX, w_map,
                               io.channel + block * STEP, KERNEL == 3 ? 3 * dy + part : 0,
                               (chunk * Shape::CHUNK + (KERNEL == 3 ? 0 : part)) * OUTS,
                               room.loaded());
    wait_for_previous(); /* weights need not */
    unsigned n = 0;      /* rows of the input so far */
    for (int tile = begin; tile < end;) {
        const segment s = segment_at(io, Shape::VALID, tile, end);
        for (int i = 0; i < s.rows + KERNEL - 1; i++, n++) {
            mbarrier_wait(room.empty(n), room.parity(n) ^ 1);
            mbarrier_expect(room.full(n), Shape::SLOT);
            for (int block = 0; block < BLOCKS; block++)
                bulk_copy_box3(room.row(n) + block * ROW, x_map, io.channel + block * STEP,
                               s.x - KERNEL / 2, s.y + i - KERNEL / 2, room.full(n));
            /* rows of the output that take it */
            const int users = min(i, s.rows - 1) - max(i - (KERNEL - 1), 0) + 1;
            for (int warp = 4 * users; warp < 4 * KERNEL; warp++)
                mbarrier_arrive(room.empty(n)); /* for rows that are not there */
        }
        tile += s.rows;
    }
}

/* ---- a row of the output ---- */

/* d = the products of the rows from n on of the input, a group each; they run when this returns. */
template <int KERNEL, int BLOCKS>
static __device__ __forceinline__ void
multiply(const rows_room<KERNEL, BLOCKS> &room, unsigned n,
         float (&d)[rows_shape<KERNEL, BLOCKS>::SUMS])
{
#pragma unroll
    for (int dy = 0; dy < KERNEL; dy++) {
        mbarrier_wait(room.full(n + dy), room.parity(n + dy));
        wgmma_fence();
#pragma unroll
        for (int block = 0; block < BLOCKS; block++)
#pragma unroll
            for (int k = 0; k < STEP / 16; k++)
                wgmma_smem<0, 0>(d, wgmma_operand(room.row(n + dy) + block * ROW) + 2 * k,
                                 wgmma_operand(room.weights(dy, block)) + 2 * k, dy || block || k);
        wgmma_commit();
    }
}

/* Cells of the output that a thread has: rows lane / 4 and + 8 of its warp's 16; of each, pairs of
 * outputs 8 j + lane % 4 * 2. */
struct cells {
    float v[2][8][2];
};

/* First rows of the warp for the one before: [0] row 0 of tap 1, [1] [2] rows 0 and 1 of tap 2. */
static __device__ __forceinline__ void give_edge(float *edge, const float (&d)[96])
{
    const int lane = threadIdx.x % 32, c = lane % 4 * 2;
#pragma unroll
    for (int j = 0; j < 8; j++) {
        const float2 one = make_float2(d[32 + 4 * j], d[32 + 4 * j + 1]);
        const float2 two = make_float2(d[64 + 4 * j], d[64 + 4 * j + 1]);
        if (lane < 4)
            *(float2 *)(edge + 8 * j + c) = one;
        if (lane < 8)
            *(float2 *)(edge + (1 + lane / 4) * OUTS + 8 * j + c) = two;
    }
}

/* sum += rows further down by `shift` of tap number `shift`; edge: of the warp behind. */
template <int SHIFT>
static __device__ __forceinline__ void add_tap(cells *sum, const float (&d)[96], const float *edge)
{
    const int lane = threadIdx.x % 32, from = (lane + 4 * SHIFT) % 32, c = lane % 4 * 2;
    const int beyond = lane / 4 + SHIFT - 8; /* row of the warp behind, from 0 on */
#pragma unroll
    for (int j = 0; j < 8; j++) {
        float2 behind = make_float2(0, 0);
        if (beyond >= 0)
            behind = *(const float2 *)(edge + (SHIFT - 1 + beyond) * OUTS + 8 * j + c);
#pragma unroll
        for (int e = 0; e < 2; e++) {
            const float upper = __shfl_sync(ALL, d[32 * SHIFT + 4 * j + e], from);
            const float lower = __shfl_sync(ALL, d[32 * SHIFT + 4 * j + 2 + e], from);
            sum->v[0][j][e] += beyond >= 0 ? lower : upper;
            sum->v[1][j][e] += beyond < 0 ? lower : e ? behind.y : behind.x;
        }
    }
}

/* 4 x 4 words of four neighbouring lanes turned over: word k of lane c becomes word c of lane k. */
static __device__ __forceinline__ uint4 turn(const uint32_t (&x)[4])
{
    const int lane = threadIdx.x % 32;
    const bool odd = lane & 1, high = lane & 2;
    uint32_t half_turned[2][2]; /* [word / 1 of those kept][lane / 2 they are from] */
#pragma unroll
    for (int k = 0; k < 2; k++) {
        const uint32_t other = __shfl_xor_sync(ALL, high ? x[k] : x[k + 2], 2);
        const uint32_t own = high ? x[k + 2] : x[k];
        half_turned[k][0] = high ? other : own;
        half_turned[k][1] = high ? own : other;
    }
    uint32_t y[4];
#pragma unroll
    for (int s = 0; s < 2; s++) {
        const uint32_t other =
            __shfl_xor_sync(ALL, odd ? half_turned[0][s] : half_turned[1][s], 1);
        const uint32_t own = odd ? half_turned[1][s] : half_turned[0][s];
        y[2 * s] = odd ? other : own;
        y[2 * s + 1] = odd ? own : other;
    }
    return make_uint4(y[0], y[1], y[2], y[3]);
}

/* Inputs of the cells, for layers that add them: outputs are channels of block `chunk`. */
template <int BLOCKS>
static __device__ __forceinline__ void load_residual(const rows_room<3, BLOCKS> &room, unsigned n,
                                                     int chunk, uint32_t (&r)[2][8])
{
    const int lane = threadIdx.x % 32, first = threadIdx.x / 32 % 4 * 16 + lane / 4 + 1;
    const uint32_t row = room.row(n) + (BLOCKS > 1 ? chunk : 0) * ROW;
#pragma unroll
    for (int up = 0; up < 2; up++)
#pragma unroll
        for (int j = 0; j < 8; j++) {
            /* cells 64 and 65 of a row are not there; what they would be added to is not stored */
            const int cell = min(first + 8 * up, CELLS - 1);
            const uint32_t at = row + cell * 128 + ((j ^ (cell & 7)) << 4) + lane % 4 * 4;
            asm volatile("ld.shared.u32 %0, [%1];" : "=r"(r[up][j]) : "r"(at) : "memory");
        }
}

/* Sums to the map: bias, relu, residual.  to: 64 outputs of the tile's first cell; step: elements
 * to the next; valid: how many cells there are. */
static __device__ __forceinline__ void store_cells(const rows_io &io, const cells &sum,
                                                   const float2 (&bias)[8],
                                                   const uint32_t (&residual)[2][8], half *to,
                                                   int step, int valid)
{
    const int lane = threadIdx.x % 32, first = threadIdx.x / 32 % 4 * 16 + lane / 4;
#pragma unroll
    for (int up = 0; up < 2; up++) {
        const int cell = first + 8 * up;
        uint32_t out[8];
#pragma unroll
        for (int j = 0; j < 8; j++) {
            float2 v = make_float2(sum.v[up][j][0] + bias[j].x, sum.v[up][j][1] + bias[j].y);
            if (io.relu)
                v = make_float2(fmaxf(v.x, 0), fmaxf(v.y, 0));
            if (io.residual) {
                const float2 r = __half22float2(*(const half2 *)&residual[up][j]);
                v = make_float2(v.x + r.x, v.y + r.y);
            }
            const half2 packed = __floats2half2_rn(v.x, v.y);
            out[j] = *(const uint32_t *)&packed;
        }
#pragma unroll
        for (int m = 0; m < 2; m++) {
            const uint32_t four[4] = { out[4 * m], out[4 * m + 1], out[4 * m + 2], out[4 * m + 3] };
            const uint4 eight = turn(four); /* outputs 8 (4 m + lane % 4) .. + 7 */
            if (cell < valid)
                *(uint4 *)(to + (size_t)cell * step + 8 * (4 * m + lane % 4)) = eight;
        }
    }
}

/* Sums of one tap: outputs 64 part .. of the product. */
template <int SUMS>
static __device__ __forceinline__ cells cells_of(const float (&d)[SUMS], int part)
{
    cells sum;
#pragma unroll
    for (int i = 0; i < 32; i++)
        sum.v[i / 2 % 2][i / 4][i % 2] = d[32 * part + i];
    return sum;
}

/* Its partial sums added, or stored instead: true where they are stored. */
static __device__ __forceinline__ bool through_partial(const rows_io &io, int tile, cells *sum)
{
    float4 *partial = io.partial + (size_t)tile * 8 * TEAM + threadIdx.x % TEAM;
    if (io.load_partial)
#pragma unroll
        for (int i = 0; i < 8; i++) {
            const float4 v = partial[i * TEAM];
            sum->v[0][i][0] += v.x, sum->v[0][i][1] += v.y;
            sum->v[1][i][0] += v.z, sum->v[1][i][1] += v.w;
        }
    if (io.store_partial)
#pragma unroll
        for (int i = 0; i < 8; i++)
            partial[i * TEAM] = make_float4(sum->v[0][i][0], sum->v[0][i][1], sum->v[1][i][0],
                                            sum->v[1][i][1]);
    return io.store_partial;
}

template <int KERNEL, int BLOCKS>
static __device__ __forceinline__ void consume(const rows_io &io,
                                               const rows_room<KERNEL, BLOCKS> &room, int chunk,
                                               int begin, int end)
{
    typedef rows_shape<KERNEL, BLOCKS> Shape;
    const int team = threadIdx.x / TEAM, lane = threadIdx.x % 32, warp = threadIdx.x / 32 % 4;
    float2 bias[Shape::CHUNK][8];
#pragma unroll
    for (int j = 0; j < 8 * Shape::CHUNK; j++)
        bias[j / 8][j % 8] =
            *(const float2 *)(io.b + chunk * Shape::CHUNK * OUTS + 8 * j + lane % 4 * 2);
    auto release = [&](unsigned i) {
        __syncwarp();
        if (!lane)
            mbarrier_arrive(room.empty(i));
    };
    wait_for_previous();
    mbarrier_wait(room.loaded(), 0);
    unsigned n = 0; /* rows of the input before the segment */
    int done = 0;   /* row tiles of the block before it */
    for (int tile = begin; tile < end;) {
        const segment s = segment_at(io, Shape::VALID, tile, end);
        const int valid = min(Shape::VALID, io.side - s.x);
        for (int j = (team + done) % TEAMS; j < s.rows; j += TEAMS) {
            float d[Shape::SUMS];
            const int y = s.y + j;
            multiply(room, n + j, d);
            uint32_t residual[2][8] = {};
            if constexpr (KERNEL == 3) {
                if (io.residual)
                    load_residual(room, n + j + 1, chunk, residual);
                wgmma_wait<2>();
                release(n + j);
                wgmma_wait<1>();
                release(n + j + 1);
            }
            wgmma_wait<0>();
            release(n + j + KERNEL - 1);
#pragma unroll
            for (int i = 0; i < Shape::SUMS; i++)
                asm volatile("" : "+f"(d[i])::"memory");
            if constexpr (KERNEL == 3) {
                /* two sets of edges: who writes one has met all others behind its last readers */
                float *edges = room.edges + ((done + j) / TEAMS % 2 * TEAMS + team) * 4 * EDGE;
                give_edge(edges + warp * EDGE, d);
                asm volatile("bar.sync %0, %1;" ::"r"(1 + team), "n"(TEAM) : "memory");
                cells sum = cells_of(d, 0);
                const float *behind = edges + min(warp + 1, 3) * EDGE; /* warp 3: not stored */
                add_tap<1>(&sum, d, behind);
                add_tap<2>(&sum, d, behind);
                half *to = io.y + ((size_t)y * io.side + s.x) * io.y_step + io.at + chunk * OUTS;
                if (!through_partial(io, tile + j, &sum))
                    store_cells(io, sum, bias[0], residual, to, io.y_step, valid);
            } else {
                /* of a transposed layer a chunk is one of four cells */
                const size_t cell = io.up ? ((size_t)(2 * y + chunk / 2) * io.side + s.x) * 2 +
                                                chunk % 2
                                          : (size_t)y * io.side + s.x;
                half *to = io.y + cell * io.y_step + io.at + (io.up ? 0 : chunk * 2 * OUTS);
#pragma unroll
                for (int part = 0; part < 2; part++)
                    store_cells(io, cells_of(d, part), bias[part], residual, to + part * OUTS,
                                io.y_step << io.up, valid);
            }
        }
        n += s.rows + KERNEL - 1;
        done += s.rows;
        tile += s.rows;
    }
}

template <int KERNEL, int BLOCKS>
__global__ void __launch_bounds__(THREADS, 1)
bev_rows_conv(const __grid_constant__ CUtensorMap x_map,
              const __grid_constant__ CUtensorMap w_map, rows_io io)
{
    typedef rows_shape<KERNEL, BLOCKS> Shape;
    extern __shared__ __align__(1024) unsigned char memory[];
    const uint32_t start = shared_address(memory);
    rows_room<KERNEL, BLOCKS> room;
    room.base = (start + 1023) & ~1023u;
    room.edges = (float *)(memory + (room.base - start) + Shape::EDGES);
    if (threadIdx.x == THREADS - 32) {
        for (int i = 0; i < Shape::STAGES; i++) {
            mbarrier_init(room.full(i), 1);
            mbarrier_init(room.empty(i), KERNEL * 4); /* warps of so many rows of the output */
        }
        mbarrier_init(room.loaded(), 1);
        mbarrier_init_done();
    }
    __syncthreads();
    let_next_start(); /* it takes SMs, and loads its weights, as blocks of this one end */
    const int tiles = io.columns * io.side, chunk = blockIdx.y;
    const int begin = (int)((long long)tiles * blockIdx.x / gridDim.x);
    const int end = (int)((long long)tiles * (blockIdx.x + 1) / gridDim.x);
    if (threadIdx.x < TEAMS * TEAM)
        consume(io, room, chunk, begin, end);
    else if (threadIdx.x == TEAMS * TEAM)
        produce(io, room, &x_map, &w_map, chunk, begin, end);
}

/* ---- launchers ---- */

struct rows_state {
    CUtensorMap x_map[BEV_LAYERS], w_map[BEV_LAYERS];
    half_bits *map[BEV_MAPS]; /* result: not ours; the canvas: zero between runs */
    float4 *partial;
    int sms;
};

static bool by_rows(const bev_layer *l)
{
    return l->stride == 1 && l->groups == 1;
}

template <int KERNEL, int BLOCKS>
static enum op_status launch(const rows_state *t, int number, rows_io io, op_stream s)
{
    typedef rows_shape<KERNEL, BLOCKS> Shape;
    const int chunks = bev_layers[number].rows / (Shape::CHUNK * OUTS);
    io.columns = (io.side + Shape::VALID - 1) / Shape::VALID;
    return launch_early_shared(bev_rows_conv<KERNEL, BLOCKS>, dim3(max(1, t->sms / chunks), chunks),
                               THREADS, 1, Shape::BYTES, s, t->x_map[number], t->w_map[number], io);
}

static enum op_status run_layer(const bev_problem *p, const bev_args *a, const rows_state *t,
                                int number, op_stream s)
{
    const bev_layer *l = &bev_layers[number];
    rows_io io = {};
    io.b = a->b + bev_bias_at(number);
    io.y = (half *)t->map[l->to];
    io.partial = t->partial;
    io.side = p->side / bev_maps[l->from].scale;
    io.y_step = bev_maps[l->to].channels;
    io.at = l->at;
    io.up = l->up;
    io.residual = l->residual;
    io.relu = l->relu;
    if (l->kernel == 1)
        return l->cin == STEP ? launch<1, 1>(t, number, io, s) : launch<1, 2>(t, number, io, s);
    if (l->cin == STEP)
        return launch<3, 1>(t, number, io, s);
    enum op_status status = OP_OK;
    for (; io.channel < l->cin && !status; io.channel += 2 * STEP) {
        io.load_partial = io.channel > 0;
        io.store_partial = io.channel + 2 * STEP < l->cin;
        status = launch<3, 2>(t, number, io, s);
    }
    return status;
}

template <int KERNEL, int BLOCKS> static bool allow(void)
{
    return cudaFuncSetAttribute(bev_rows_conv<KERNEL, BLOCKS>,
                                cudaFuncAttributeMaxDynamicSharedMemorySize,
                                rows_shape<KERNEL, BLOCKS>::BYTES) == cudaSuccess;
}

/* Maps of the bulk copy engine for a layer: of its input and its weights. */
static bool map_layer(const bev_problem *p, const bev_args *a, rows_state *t, int number)
{
    const bev_layer *l = &bev_layers[number];
    const int side = p->side / bev_maps[l->from].scale;
    return tma_map_half3(&t->x_map[number], t->map[l->from], side, side,
                         bev_maps[l->from].channels, CELLS, 1) &&
           tma_map_half3(&t->w_map[number], a->w + bev_weight_at(number), l->rows,
                         l->kernel * l->kernel, l->cin, 1, OUTS);
}

OP_BEGIN

enum op_status bev_rows_setup(const struct bev_problem *p, const struct bev_args *a,
                              const struct op_memory *m, op_stream stream, void **state)
{
    rows_state *t = (rows_state *)aligned_alloc(alignof(rows_state), sizeof *t);
    const int valid = rows_shape<3, 2>::VALID;
    const size_t tiles = (size_t)((p->side + valid - 1) / valid) * p->side;
    int device = 0;
    *state = t;
    if (!t)
        return OP_ENOMEM;
    memset((void *)t, 0, sizeof *t);
    if (cudaGetDevice(&device) != cudaSuccess ||
        cudaDeviceGetAttribute(&t->sms, cudaDevAttrMultiProcessorCount, device) != cudaSuccess ||
        !allow<3, 1>() || !allow<3, 2>() ||
        !allow<1, 1>() || !allow<1, 2>() || bev_own_allow() != OP_OK)
        return OP_EDEVICE;
    for (int i = 0; i < BEV_RESULT; i++) {
        t->map[i] = (half_bits *)m->take(m->context, bev_map_size(p, (bev_map)i) * sizeof(half));
        if (!t->map[i])
            return OP_ENOMEM;
    }
    t->partial = (float4 *)m->take(m->context, tiles * 8 * TEAM * sizeof(float4));
    if (!t->partial)
        return OP_ENOMEM;
    const size_t canvas = bev_map_size(p, BEV_CANVAS) * sizeof(half);
    if (cudaMemsetAsync(t->map[BEV_CANVAS], 0, canvas, stream) != cudaSuccess)
        return OP_EDEVICE;
    for (int i = 0; i < BEV_LAYERS; i++)
        if (by_rows(&bev_layers[i]) && !map_layer(p, a, t, i))
            return OP_EDEVICE;
    return OP_OK;
}

enum op_status bev_rows_layer(const struct bev_problem *p, const struct bev_args *a, void *state,
                              int number, op_stream s)
{
    const rows_state *t = (const rows_state *)state;
    half_bits *canvas = t->map[BEV_CANVAS];
    enum op_status status = OP_OK;
    if (!by_rows(&bev_layers[number])) {
        bev_own_layer(p, a, t->map, number, s);
        return cudaGetLastError() == cudaSuccess ? OP_OK : OP_EDEVICE;
    }
    if (!number)
        status = bev_scatter_rows(p, a, a->x, canvas, s);
    if (!status)
        status = run_layer(p, a, t, number, s);
    if (!number && !status) /* all zeros again: a twentieth of the map has pillars */
        status = bev_scatter_rows(p, a, NULL, canvas, s);
    return status;
}

enum op_status bev_rows(const struct bev_problem *p, const struct bev_args *a, void *state,
                        op_stream s)
{
    enum op_status status = OP_OK;
    for (int i = 0; i < BEV_LAYERS && !status; i++)
        status = bev_rows_layer(p, a, state, i, s);
    return status;
}

OP_END
