/*
 * around.cu - steps that are no convolutions, for forms whose convolutions are a library's: pillars
 * to the map, the sum behind the relu, parts of the neck side by side, outputs of the branches
 * picked from padded rows.  Each bound by memory: 16 bytes a thread where neighbours allow.
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
scatter_rows(int pillars, int side, const flatten_cell *cell, const uint4 *x, uint4 *canvas)
{
    constexpr int PIECES = BEV_IN / EIGHT;
    const int i = blockIdx.x * THREADS + threadIdx.x, row = i / PIECES;
    if (row >= pillars)
        return;
    const flatten_cell c = cell[row];
    canvas[((size_t)c.y * side + c.x) * PIECES + i % PIECES] = x ? x[i] : make_uint4(0, 0, 0, 0);
}

__global__ void __launch_bounds__(THREADS) add_rows(size_t count, const half2 *x, half2 *y)
{
    const size_t i = blockIdx.x * (size_t)THREADS + threadIdx.x;
    if (i < count)
        y[i] = __hadd2(x[i], y[i]);
}

/* Piece 0 .. 15 of a cell: of plain; 16 .. 31: of the quarter of the cell of half the side. */
__global__ void __launch_bounds__(THREADS)
join_rows(int side, const uint4 *plain, const uint4 *up, uint4 *neck)
{
    const size_t i = blockIdx.x * (size_t)THREADS + threadIdx.x, cell = i / 32;
    const int piece = (int)(i % 32), y = (int)(cell / side), x = (int)(cell % side);
    if (y >= side)
        return;
    const size_t low = (size_t)(y / 2) * (side / 2) + x / 2;
    const int quarter = 2 * (y % 2) + x % 2;
    neck[i] = piece < 16 ? plain[cell * 16 + piece] : up[(low * 4 + quarter) * 16 + piece - 16];
}

struct branches {
    int out[BEV_BRANCHES], at[BEV_BRANCHES];
};

__global__ void __launch_bounds__(THREADS)
pick_rows(size_t cells, branches b, const half *rows, half *y)
{
    const size_t i = blockIdx.x * (size_t)THREADS + threadIdx.x, cell = i / BEV_BRANCHES;
    const int branch = (int)(i % BEV_BRANCHES);
    if (cell >= cells)
        return;
    for (int o = 0; o < b.out[branch]; o++)
        y[cell * BEV_OUT + b.at[branch] + o] = rows[i * BEV_BRANCH_ROWS + o];
}

__global__ void __launch_bounds__(THREADS) narrow_row(size_t count, const float *from, half *to)
{
    const size_t i = blockIdx.x * (size_t)THREADS + threadIdx.x;
    if (i < count)
        to[i] = __float2half_rn(from[i]);
}

static enum op_status launched(void)
{
    return cudaGetLastError() == cudaSuccess ? OP_OK : OP_EDEVICE;
}

OP_BEGIN

enum op_status bev_scatter_rows(const struct bev_problem *p, const struct bev_args *a,
                                const half_bits *x, half_bits *canvas, op_stream s)
{
    scatter_rows<<<blocks_of((size_t)p->pillars * (BEV_IN / EIGHT)), THREADS, 0, s>>>(
        p->pillars, p->side, a->cell, (const uint4 *)x, (uint4 *)canvas);
    return launched();
}

enum op_status bev_scatter(const struct bev_problem *p, const struct bev_args *a, half_bits *canvas,
                           op_stream s)
{
    if (cudaMemsetAsync(canvas, 0, bev_map_size(p, BEV_CANVAS) * sizeof *canvas, s) != cudaSuccess)
        return OP_EDEVICE;
    return bev_scatter_rows(p, a, a->x, canvas, s);
}

enum op_status bev_add(size_t count, const half_bits *x, half_bits *y, op_stream s)
{
    add_rows<<<blocks_of(count / 2), THREADS, 0, s>>>(count / 2, (const half2 *)x, (half2 *)y);
    return launched();
}

enum op_status bev_join(int side, const half_bits *plain, const half_bits *up, half_bits *neck,
                        op_stream s)
{
    join_rows<<<blocks_of((size_t)side * side * 32), THREADS, 0, s>>>(
        side, (const uint4 *)plain, (const uint4 *)up, (uint4 *)neck);
    return launched();
}

enum op_status bev_pick(size_t cells, const half_bits *rows, half_bits *y, op_stream s)
{
    branches b;
    for (int i = 0; i < BEV_BRANCHES; i++) {
        b.out[i] = bev_branch_out[i];
        b.at[i] = bev_branch_at[i];
    }
    pick_rows<<<blocks_of(cells * BEV_BRANCHES), THREADS, 0, s>>>(cells, b, (const half *)rows,
                                                                  (half *)y);
    return launched();
}

enum op_status bev_narrow(size_t count, const float *from, half_bits *to, op_stream s)
{
    narrow_row<<<blocks_of(count), THREADS, 0, s>>>(count, from, (half *)to);
    return launched();
}

OP_END
