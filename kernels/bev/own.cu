/*
 * own.cu - the detector behind the encoder by implicit GEMM: no map is unfolded, none is scattered.
 *
 * A block makes 16 x 16 cells (with stride 2: 16 x 8) of 64 outputs.  Of 64 input channels at a
 * time it holds the cells and their rim in shared memory once, for all nine taps; weights of a
 * tap come in a ring of three:
 *
 *     rim tile    [18][18] cells of 128 bytes        16-byte piece c of cell p stands at
 *     ring        3 x [64 outputs] of 128 bytes      c ^ (p / stride) % 8, of output n at c ^ n % 8
 *
 *     warp w      rows 2 w, 2 w + 1 of the cells: two tiles of 16 by eight of 8 outputs; a tile's 16
 *                 rows are 16 cells along x, so that a tap is an offset of the tile's address
 *
 * The first layer reads pillars through an index of the map: cells without one are zeros that
 * nobody wrote or reads.  The last one takes a branch a block, 8 rows of weights.
 *
 * Bound by tensor cores: 329 GFLOP; with mma.sync about half of what wgmma could reach.
 */
#include <cuda_fp16.h>

#include <cstdlib>

#include "../gemm/mma.cuh"
#include "kernels.h"

constexpr int THREADS = 256, WARPS = THREADS / 32, WIDE = 16, STEP = 64, STAGES = 3;
constexpr int CELL_BYTES = STEP * 2;

/* What a layer is to the kernel. */
struct conv_io {
    const half *x;
    const int32_t *index; /* GATHER: row of x of each cell, or -1 */
    const half *w;        /* [rows][kernel * kernel][cin] */
    const float *b;
    half *y;
    int side, out_side;        /* of input and output, of a transposed layer both the input's */
    int cin, x_step, y_step;   /* channels of a product; of a cell of x, of y */
    int at;                    /* first channel of y */
    int heights;               /* GATHER: rows of x that a cell holds, BEV_IN channels each */
    int quarter;               /* transposed layer: rows of a cell's quarter; 0: another */
    int residual, relu;
    int branch_out[BEV_BRANCHES], branch_at[BEV_BRANCHES]; /* of the last layer */
};

template <int KERNEL, int STRIDE, int TILES> struct conv_shape {
    static constexpr int HIGH = WIDE / STRIDE, MT = HIGH / WARPS, TAPS = KERNEL * KERNEL;
    static constexpr int RIM_WIDE = (WIDE - 1) * STRIDE + KERNEL;
    static constexpr int RIM_HIGH = (HIGH - 1) * STRIDE + KERNEL;
    static constexpr int CELLS = RIM_WIDE * RIM_HIGH, ROWS = TILES * 8;
    static constexpr int RING = CELLS * CELL_BYTES; /* where the ring begins */
    static constexpr int BYTES = RING + STAGES * ROWS * CELL_BYTES;
};

/* Cells and rim of 64 channels from `channel` on. */
template <class Shape, int STRIDE, bool GATHER>
static __device__ __forceinline__ void load_rim(char *rim, const conv_io &io, int y0, int x0,
                                                int channel)
{
#pragma unroll 1 /* more spill where rows are looked up */
    for (int i = threadIdx.x; i < Shape::CELLS * 8; i += THREADS) {
        const int p = i / 8, c = i % 8;
        const int y = y0 + p / Shape::RIM_WIDE, x = x0 + p % Shape::RIM_WIDE;
        bool valid = y >= 0 && x >= 0 && y < io.side && x < io.side;
        int row = valid ? y * io.side + x : 0;
        if (GATHER) {
            row = valid ? io.index[row * io.heights + channel / BEV_IN] : -1;
            valid = row >= 0;
            row = valid ? row : 0;
        }
        copy_async(rim + p * CELL_BYTES + ((c ^ (p / STRIDE & 7)) << 4),
                   io.x + (size_t)row * io.x_step + (GATHER ? channel % BEV_IN : channel) + c * 8,
                   valid);
    }
}

template <int ROWS>
static __device__ __forceinline__ void load_taps(char *stage, const half *w, size_t step)
{
    for (int i = threadIdx.x; i < ROWS * 8; i += THREADS) {
        const int n = i / 8, c = i % 8;
        copy_async(stage + n * CELL_BYTES + ((c ^ (n & 7)) << 4), w + n * step + c * 8, true);
    }
}

/* sum += cells of one tap times its weights; 64 channels. */
template <class Shape, int STRIDE, int TILES>
static __device__ __forceinline__ void multiply(const char *rim, const char *stage, int offset,
                                                float (&sum)[Shape::MT][TILES][4])
{
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
#pragma unroll
    for (int k = 0; k < STEP / 16; k++) {
        uint32_t a[Shape::MT][4];
#pragma unroll
        for (int m = 0; m < Shape::MT; m++) {
            const int p = (warp * Shape::MT + m) * STRIDE * Shape::RIM_WIDE + lane % 16 * STRIDE +
                          offset;
            const int c = 2 * k + lane / 16;
            ldmatrix(a[m], rim + p * CELL_BYTES + ((c ^ (p / STRIDE & 7)) << 4));
        }
#pragma unroll
        for (int j = 0; j < TILES; j += 2) {
            const int n = 8 * j + lane % 8 + (TILES > 1 ? lane / 16 * 8 : 0);
            const int c = 2 * k + lane / 8 % 2;
            uint32_t b[4];
            ldmatrix(b, stage + n * CELL_BYTES + ((c ^ (n & 7)) << 4));
#pragma unroll
            for (int m = 0; m < Shape::MT; m++) {
                mma(sum[m][j], a[m], b[0], b[1]);
                if constexpr (TILES > 1)
                    mma(sum[m][j + 1], a[m], b[2], b[3]);
            }
        }
    }
}

/* Two neighbouring outputs of a cell. */
static __device__ __forceinline__ void store(const conv_io &io, int y, int x, int row, float u,
                                             float v)
{
    u += io.b[row];
    v += io.b[row + 1];
    if (io.relu) {
        u = fmaxf(u, 0);
        v = fmaxf(v, 0);
    }
    if (io.residual) {
        const float2 r = __half22float2(
            *(const half2 *)(io.x + ((size_t)y * io.side + x) * io.x_step + row));
        u += r.x;
        v += r.y;
    }
    int side = io.out_side;
    if (io.quarter) {
        y = 2 * y + row / io.quarter / 2;
        x = 2 * x + row / io.quarter % 2;
        row %= io.quarter;
        side *= 2;
    }
    *(half2 *)(io.y + ((size_t)y * side + x) * io.y_step + io.at + row) = __floats2half2_rn(u, v);
}

static __device__ __forceinline__ void store_branch(const conv_io &io, int branch, int y, int x,
                                                    int o, float v)
{
    if (o < io.branch_out[branch])
        io.y[((size_t)y * io.out_side + x) * io.y_step + io.branch_at[branch] + o] =
            __float2half_rn(v + io.b[branch * BEV_BRANCH_ROWS + o]);
}

template <int KERNEL, int STRIDE, int TILES, bool GATHER>
__global__ void __launch_bounds__(THREADS, 2) bev_conv(conv_io io)
{
    typedef conv_shape<KERNEL, STRIDE, TILES> Shape;
    extern __shared__ uint4 memory[];
    char *rim = (char *)memory, *ring = rim + Shape::RING;
    const int part = blockIdx.x, x0 = blockIdx.y * WIDE, y0 = blockIdx.z * Shape::HIGH;
    const int in_x = x0 * STRIDE - KERNEL / 2, in_y = y0 * STRIDE - KERNEL / 2;
    const int first = TILES == 1 ? part * io.cin : 0; /* a branch reads channels of its own */
    const size_t step = (size_t)Shape::TAPS * io.cin;
    const half *w = io.w + (size_t)part * Shape::ROWS * step;
    const int count = io.cin / STEP * Shape::TAPS; /* (64 channels, tap) in this order */
    float sum[Shape::MT][TILES][4] = {};
    load_rim<Shape, STRIDE, GATHER>(rim, io, in_y, in_x, first);
    load_taps<Shape::ROWS>(ring, w, step);
    copy_commit();
    if (count > 1)
        load_taps<Shape::ROWS>(ring + Shape::ROWS * CELL_BYTES,
                               w + 1 % Shape::TAPS * io.cin + 1 / Shape::TAPS * STEP, step);
    copy_commit();
    for (int i = 0; i < count; i++) {
        const int tap = i % Shape::TAPS, next = i + STAGES - 1;
        if (i && !tap) {
            __syncthreads(); /* all are through with the cells of the channels before */
            load_rim<Shape, STRIDE, GATHER>(rim, io, in_y, in_x, first + i / Shape::TAPS * STEP);
            copy_commit();
            copy_wait<0>();
        } else {
            copy_wait<STAGES - 2>();
        }
        __syncthreads(); /* pieces of all threads are there; the stage of step i - 1 is free */
        if (next < count)
            load_taps<Shape::ROWS>(ring + next % STAGES * Shape::ROWS * CELL_BYTES,
                                   w + next % Shape::TAPS * io.cin + next / Shape::TAPS * STEP,
                                   step);
        copy_commit();
        multiply<Shape, STRIDE, TILES>(rim, ring + i % STAGES * Shape::ROWS * CELL_BYTES,
                                       tap / KERNEL * Shape::RIM_WIDE + tap % KERNEL, sum);
    }
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
#pragma unroll
    for (int m = 0; m < Shape::MT; m++)
        for (int up = 0; up < 2; up++) {
            const int y = y0 + warp * Shape::MT + m, x = x0 + lane / 4 + 8 * up;
            if (y >= io.out_side || x >= io.out_side)
                continue;
#pragma unroll
            for (int j = 0; j < TILES; j++) {
                const int row = 8 * j + lane % 4 * 2;
                if constexpr (TILES == 1) {
                    store_branch(io, part, y, x, row, sum[m][j][2 * up]);
                    store_branch(io, part, y, x, row + 1, sum[m][j][2 * up + 1]);
                } else {
                    store(io, y, x, part * Shape::ROWS + row, sum[m][j][2 * up],
                          sum[m][j][2 * up + 1]);
                }
            }
        }
}

__global__ void __launch_bounds__(THREADS)
bev_index(int pillars, int wide, const flatten_cell *cell, int32_t *index)
{
    const int i = blockIdx.x * THREADS + threadIdx.x;
    if (i < pillars)
        index[cell[i].y * wide + cell[i].x] = i;
}

/* ---- launchers ---- */

struct bev_state {
    int32_t *index;
    half_bits *map[BEV_MAPS]; /* canvas and result: not ours */
};

template <int KERNEL, int STRIDE, int TILES, bool GATHER>
static bool allow(void)
{
    return cudaFuncSetAttribute(bev_conv<KERNEL, STRIDE, TILES, GATHER>,
                                cudaFuncAttributeMaxDynamicSharedMemorySize,
                                conv_shape<KERNEL, STRIDE, TILES>::BYTES) == cudaSuccess;
}

template <int KERNEL, int STRIDE, int TILES, bool GATHER>
static void launch(const conv_io &io, int rows, op_stream s)
{
    typedef conv_shape<KERNEL, STRIDE, TILES> Shape;
    const dim3 grid(rows / Shape::ROWS, (io.out_side + WIDE - 1) / WIDE,
                    (io.out_side + Shape::HIGH - 1) / Shape::HIGH);
    bev_conv<KERNEL, STRIDE, TILES, GATHER><<<grid, THREADS, Shape::BYTES, s>>>(io);
}

static void run_layer(const bev_problem *p, const bev_args *a, const int32_t *index,
                      half_bits *const *map, int number, op_stream s)
{
    const bev_layer *l = &bev_layers[number];
    const bev_shape *n = bev_shape_of(p);
    conv_io io = {};
    io.x = (const half *)(l->from == BEV_CANVAS ? a->x : map[l->from]);
    io.index = index;
    io.w = (const half *)a->w + bev_weight_at(number);
    io.b = a->b + bev_bias_at(number);
    io.y = (half *)(l->to == BEV_RESULT ? a->y : map[l->to]);
    io.side = p->side / n->map[l->from].scale;
    io.out_side = io.side / l->stride;
    io.cin = l->cin;
    io.x_step = l->from == BEV_CANVAS ? BEV_IN : n->map[l->from].channels;
    io.y_step = n->map[l->to].channels;
    io.at = l->at;
    io.heights = n->heights;
    io.quarter = l->up ? l->rows / 4 : 0;
    io.residual = l->residual;
    io.relu = l->relu;
    for (int i = 0; i < n->branches; i++) {
        io.branch_out[i] = n->branch_out[i];
        io.branch_at[i] = n->branch_at[i];
    }
    if (l->from == BEV_CANVAS)
        launch<3, 1, 8, true>(io, l->rows, s);
    else if (l->groups > 1)
        launch<3, 1, 1, false>(io, l->rows, s);
    else if (l->stride == 2)
        launch<3, 2, 8, false>(io, l->rows, s);
    else if (l->kernel == 3)
        launch<3, 1, 8, false>(io, l->rows, s);
    else
        launch<1, 1, 8, false>(io, l->rows, s);
}

static size_t index_bytes(const bev_problem *p)
{
    return (size_t)p->side * p->side * bev_shape_of(p)->heights * sizeof(int32_t);
}

OP_BEGIN

enum op_status bev_own_allow(void)
{
    return allow<3, 1, 8, true>() && allow<3, 1, 1, false>() && allow<3, 2, 8, false>() &&
                   allow<3, 1, 8, false>() && allow<1, 1, 8, false>()
               ? OP_OK
               : OP_EDEVICE;
}

void bev_own_layer(const struct bev_problem *p, const struct bev_args *a, half_bits *const *map,
                   int number, op_stream s)
{
    run_layer(p, a, NULL, map, number, s);
}

enum op_status bev_own_setup(const struct bev_problem *p, const struct bev_args *a,
                             const struct op_memory *m, op_stream stream, void **state)
{
    bev_state *t = (bev_state *)calloc(1, sizeof *t);
    (void)a, (void)stream;
    *state = t;
    if (!t)
        return OP_ENOMEM;
    if (bev_own_allow() != OP_OK)
        return OP_EDEVICE;
    t->index = (int32_t *)m->take(m->context, index_bytes(p));
    if (!t->index)
        return OP_ENOMEM;
    for (int i = BEV_A0; i < BEV_RESULT; i++) {
        t->map[i] = (half_bits *)m->take(m->context, bev_map_size(p, (bev_map)i) * sizeof(half));
        if (!t->map[i])
            return OP_ENOMEM;
    }
    return OP_OK;
}

enum op_status bev_own(const struct bev_problem *p, const struct bev_args *a, void *state,
                       op_stream s)
{
    const bev_state *t = (const bev_state *)state;
    const int blocks = (p->pillars + THREADS - 1) / THREADS;
    const bev_shape *n = bev_shape_of(p);
    if (cudaMemsetAsync(t->index, 0xff, index_bytes(p), s) != cudaSuccess)
        return OP_EDEVICE;
    bev_index<<<blocks, THREADS, 0, s>>>(p->pillars, p->side * n->heights, a->cell, t->index);
    for (int i = n->first; i < n->end; i++)
        run_layer(p, a, t->index, t->map, i, s);
    return cudaGetLastError() == cudaSuccess ? OP_OK : OP_EDEVICE;
}

OP_END
