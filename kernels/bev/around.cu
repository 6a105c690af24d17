/*
 * around.cu - steps that are no convolutions, for forms whose convolutions are a library's: pillars
 * to the map, neighbours side by side, the relu and the sum behind it, parts of the neck side by
 * side, outputs of the branches picked from padded rows, weights of groups among zeros.  Each is
 * bound by memory: 16 bytes a thread where neighbours allow.
 */
#include <cuda_fp16.h>

#include "kernels.h"

constexpr int THREADS = 256, EIGHT = 8; /* halves of 16 bytes */

static int blocks_of(size_t n)
{
    return (int)((n + THREADS - 1) / THREADS);
}

/* x NULL: zeros. */
__global__ void __launch_bounds__(THREADS)
scatter_rows(int pillars, int wide, const flatten_cell *cell, const uint4 *x, uint4 *canvas)
{
    constexpr int PIECES = BEV_IN / EIGHT;
    const int i = blockIdx.x * THREADS + threadIdx.x, row = i / PIECES;
    if (row >= pillars)
        return;
    const flatten_cell c = cell[row];
    canvas[((size_t)c.y * wide + c.x) * PIECES + i % PIECES] = x ? x[i] : make_uint4(0, 0, 0, 0);
}

/* Piece i of the unfolded rows. */
__global__ void __launch_bounds__(THREADS)
unfold_rows(int side, int out_side, int kernel, int stride, int pieces, int y0, size_t count,
            const uint4 *x, uint4 *to)
{
    const size_t i = blockIdx.x * (size_t)THREADS + threadIdx.x, cell = i / pieces / (kernel * kernel);
    if (i >= count)
        return;
    const int piece = (int)(i % pieces), tap = (int)(i / pieces % (kernel * kernel));
    const int y = (y0 + (int)(cell / out_side)) * stride + tap / kernel - kernel / 2;
    const int column = (int)(cell % out_side) * stride + tap % kernel - kernel / 2;
    const bool inside = y >= 0 && column >= 0 && y < side && column < side;
    to[i] = inside ? x[((size_t)y * side + column) * pieces + piece] : make_uint4(0, 0, 0, 0);
}

__global__ void __launch_bounds__(THREADS)
finish_rows(size_t count, int relu, const half2 *x, half2 *y)
{
    const size_t i = blockIdx.x * (size_t)THREADS + threadIdx.x;
    if (i >= count)
        return;
    half2 v = y[i];
    if (relu)
        v = __hmax2(v, __float2half2_rn(0));
    y[i] = x ? __hadd2(x[i], v) : v;
}

__global__ void __launch_bounds__(THREADS) add_rows(size_t count, const half2 *x, half2 *y)
{
    const size_t i = blockIdx.x * (size_t)THREADS + threadIdx.x;
    if (i < count)
        y[i] = __hadd2(x[i], y[i]);
}

/* A cell has PIECES of plain, then as many of the quarter of the cell of half the side. */
template <int PIECES>
__global__ void __launch_bounds__(THREADS)
join_rows(int side, const uint4 *plain, const uint4 *up, uint4 *neck)
{
    const size_t i = blockIdx.x * (size_t)THREADS + threadIdx.x, cell = i / (2 * PIECES);
    const int piece = (int)(i % (2 * PIECES)), y = (int)(cell / side), x = (int)(cell % side);
    if (y >= side)
        return;
    const size_t low = (size_t)(y / 2) * (side / 2) + x / 2;
    const int quarter = 2 * (y % 2) + x % 2;
    neck[i] = piece < PIECES ? plain[cell * PIECES + piece]
                             : up[(low * 4 + quarter) * PIECES + piece - PIECES];
}

struct branches {
    int count, channels, out[BEV_BRANCHES], at[BEV_BRANCHES];
};

__global__ void __launch_bounds__(THREADS)
pick_rows(size_t cells, branches b, const half *rows, half *y)
{
    const size_t i = blockIdx.x * (size_t)THREADS + threadIdx.x, cell = i / b.count;
    const int branch = (int)(i % b.count);
    if (cell >= cells)
        return;
    for (int o = 0; o < b.out[branch]; o++)
        y[cell * b.channels + b.at[branch] + o] = rows[i * BEV_BRANCH_ROWS + o];
}

__global__ void __launch_bounds__(THREADS) narrow_row(size_t count, const float *from, half *to)
{
    const size_t i = blockIdx.x * (size_t)THREADS + threadIdx.x;
    if (i < count)
        to[i] = __float2half_rn(from[i]);
}

/* [rows][taps][groups * cin] of [rows][taps][cin]: 0 where a row reads nothing. */
__global__ void __launch_bounds__(THREADS)
spread_rows(int rows, int taps, int cin, int groups, const half *from, half *to)
{
    const int i = blockIdx.x * THREADS + threadIdx.x, wide = groups * cin;
    const int channel = i % wide, tap = i / wide % taps, row = i / wide / taps;
    if (row >= rows)
        return;
    const bool own = channel / cin == row / (rows / groups);
    to[i] = own ? from[((size_t)row * taps + tap) * cin + channel % cin] : __float2half_rn(0);
}

static enum op_status launched(void)
{
    return cudaGetLastError() == cudaSuccess ? OP_OK : OP_EDEVICE;
}

template <int PIECES>
static void join(const bev_problem *p, const half_bits *plain, const half_bits *up, half_bits *neck,
                 op_stream s)
{
    join_rows<PIECES><<<blocks_of((size_t)p->side * p->side * 2 * PIECES), THREADS, 0, s>>>(
        p->side, (const uint4 *)plain, (const uint4 *)up, (uint4 *)neck);
}

OP_BEGIN

enum op_status bev_scatter_rows(const struct bev_problem *p, const struct bev_args *a,
                                const half_bits *x, half_bits *canvas, op_stream s)
{
    scatter_rows<<<blocks_of((size_t)p->pillars * (BEV_IN / EIGHT)), THREADS, 0, s>>>(
        p->pillars, p->side * bev_shape_of(p)->heights, a->cell, (const uint4 *)x,
        (uint4 *)canvas);
    return launched();
}

enum op_status bev_scatter(const struct bev_problem *p, const struct bev_args *a, half_bits *canvas,
                           op_stream s)
{
    if (cudaMemsetAsync(canvas, 0, bev_map_size(p, BEV_CANVAS) * sizeof *canvas, s) != cudaSuccess)
        return OP_EDEVICE;
    return bev_scatter_rows(p, a, a->x, canvas, s);
}

enum op_status bev_unfold(const struct bev_layer *l, int side, int channels, int y, int high,
                          const half_bits *x, half_bits *to, op_stream s)
{
    const int out_side = side / l->stride, pieces = channels / EIGHT;
    const size_t count = (size_t)high * out_side * l->kernel * l->kernel * pieces;
    if (channels % EIGHT)
        return OP_EUNSUPPORTED;
    unfold_rows<<<blocks_of(count), THREADS, 0, s>>>(side, out_side, l->kernel, l->stride, pieces, y,
                                                     count, (const uint4 *)x, (uint4 *)to);
    return launched();
}

enum op_status bev_finish(size_t count, int relu, const half_bits *x, half_bits *y, op_stream s)
{
    finish_rows<<<blocks_of(count / 2), THREADS, 0, s>>>(count / 2, relu, (const half2 *)x,
                                                         (half2 *)y);
    return launched();
}

enum op_status bev_add(size_t count, const half_bits *x, half_bits *y, op_stream s)
{
    add_rows<<<blocks_of(count / 2), THREADS, 0, s>>>(count / 2, (const half2 *)x, (half2 *)y);
    return launched();
}

enum op_status bev_join(const struct bev_problem *p, const half_bits *plain, const half_bits *up,
                        half_bits *neck, op_stream s)
{
    const int channels = bev_shape_of(p)->map[BEV_NECK].channels;
    if (channels == 256)
        join<16>(p, plain, up, neck, s);
    else if (channels == 512)
        join<32>(p, plain, up, neck, s);
    else
        return OP_EUNSUPPORTED;
    return launched();
}

enum op_status bev_pick(const struct bev_problem *p, const half_bits *rows, half_bits *y,
                        op_stream s)
{
    const bev_shape *n = bev_shape_of(p);
    const size_t cells = (size_t)p->side * p->side;
    branches b = {};
    b.count = n->branches;
    b.channels = n->out;
    for (int i = 0; i < n->branches; i++) {
        b.out[i] = n->branch_out[i];
        b.at[i] = n->branch_at[i];
    }
    pick_rows<<<blocks_of(cells * n->branches), THREADS, 0, s>>>(cells, b, (const half *)rows,
                                                                 (half *)y);
    return launched();
}

enum op_status bev_spread(const struct bev_layer *l, const half_bits *from, half_bits *to,
                          op_stream s)
{
    const int taps = l->kernel * l->kernel;
    spread_rows<<<blocks_of((size_t)l->rows * taps * l->cin * l->groups), THREADS, 0, s>>>(
        l->rows, taps, l->cin, l->groups, (const half *)from, (half *)to);
    return launched();
}

enum op_status bev_narrow(size_t count, const float *from, half_bits *to, op_stream s)
{
    narrow_row<<<blocks_of(count), THREADS, 0, s>>>(count, from, (half *)to);
    return launched();
}

OP_END
