/*
 * ref_f64.cu - the definition in double on the device, for maps that take minutes on the host: a
 * thread an output, weights widened and turned so that neighbouring outputs read neighbours.
 */
#include <cuda_fp16.h>

#include "bev.h"

constexpr int THREADS = 128;

/* Layer without its table: what a kernel needs. */
struct plain_layer {
    int side, out_side, from_channels, to_channels, cin, rows, kernel, stride, at, up, groups;
    int residual, relu;
    int out[BEV_BRANCHES], branch_at[BEV_BRANCHES];
};

__global__ void __launch_bounds__(THREADS)
ref_widen(int rows, int k, const half *w, double *to)
{
    const int i = blockIdx.x * THREADS + threadIdx.x;
    if (i < rows * k)
        to[i] = (double)__half2float(w[(size_t)(i % rows) * k + i / rows]);
}

__global__ void __launch_bounds__(THREADS)
ref_scatter(int pillars, int wide, const flatten_cell *cell, const half *x, double *canvas)
{
    const int i = blockIdx.x * THREADS + threadIdx.x, row = i / BEV_IN;
    if (row < pillars)
        canvas[((size_t)cell[row].y * wide + cell[row].x) * BEV_IN + i % BEV_IN] =
            (double)__half2float(x[i]);
}

__global__ void __launch_bounds__(THREADS)
ref_layer(plain_layer l, const double *from, const double *w, const float *b, double *to)
{
    const size_t i = blockIdx.x * (size_t)THREADS + threadIdx.x, cell = i / l.rows;
    const int row = (int)(i % l.rows), y = (int)(cell / l.out_side), x = (int)(cell % l.out_side);
    if (y >= l.out_side)
        return;
    const int group = row / (l.rows / l.groups);
    double sum = b[row];
    for (int dy = 0; dy < l.kernel; dy++)
        for (int dx = 0; dx < l.kernel; dx++) {
            const int iy = y * l.stride + dy - l.kernel / 2, ix = x * l.stride + dx - l.kernel / 2;
            if (iy < 0 || ix < 0 || iy >= l.side || ix >= l.side)
                continue;
            const double *v = from + ((size_t)iy * l.side + ix) * l.from_channels + group * l.cin;
            const double *tap = w + (size_t)(dy * l.kernel + dx) * l.cin * l.rows + row;
            for (int c = 0; c < l.cin; c++)
                sum += v[c] * tap[(size_t)c * l.rows];
        }
    if (l.relu && sum < 0)
        sum = 0;
    if (l.residual)
        sum += from[((size_t)y * l.side + x) * l.from_channels + row];
    const int wide = l.up ? 2 * l.out_side : l.out_side;
    const int quarter = l.rows / 4;
    const int oy = l.up ? 2 * y + row / quarter / 2 : y, ox = l.up ? 2 * x + row / quarter % 2 : x;
    double *out = to + ((size_t)oy * wide + ox) * l.to_channels;
    if (l.groups == 1)
        out[l.at + (l.up ? row % quarter : row)] = sum;
    else if (row % BEV_BRANCH_ROWS < l.out[group])
        out[l.branch_at[group] + row % BEV_BRANCH_ROWS] = sum;
}

static plain_layer plain(const bev_problem *p, const bev_layer *l)
{
    const bev_shape *n = bev_shape_of(p);
    plain_layer q = {};
    q.side = p->side / n->map[l->from].scale;
    q.out_side = q.side / l->stride;
    q.from_channels = n->map[l->from].channels;
    q.to_channels = n->map[l->to].channels;
    q.cin = l->cin, q.rows = l->rows, q.kernel = l->kernel, q.stride = l->stride;
    q.at = l->at, q.up = l->up, q.groups = l->groups, q.residual = l->residual, q.relu = l->relu;
    for (int i = 0; i < n->branches; i++) {
        q.out[i] = n->branch_out[i];
        q.branch_at[i] = n->branch_at[i];
    }
    return q;
}

static unsigned blocks_of(size_t n)
{
    return (unsigned)((n + THREADS - 1) / THREADS);
}

OP_BEGIN

enum op_status bev_reference_cuda(const struct bev_problem *p, const struct bev_args *a,
                                  const struct op_memory *memory, double *want, op_stream s)
{
    double *map[BEV_MAPS];
    if (bev_check(p) != OP_OK)
        return OP_EINVAL;
    const bev_shape *n = bev_shape_of(p);
    double *w = (double *)memory->take(memory->context, bev_weight_at(n->end) * sizeof *w);
    if (!w)
        return OP_ENOMEM;
    for (int m = 0; m < BEV_RESULT; m++) {
        map[m] = (double *)memory->take(memory->context,
                                        bev_map_size(p, (bev_map)m) * sizeof **map);
        if (!map[m])
            return OP_ENOMEM;
    }
    map[BEV_RESULT] = want;
    if (cudaMemsetAsync(map[BEV_CANVAS], 0, bev_map_size(p, BEV_CANVAS) * sizeof **map, s) !=
        cudaSuccess)
        return OP_EDEVICE;
    ref_scatter<<<blocks_of((size_t)p->pillars * BEV_IN), THREADS, 0, s>>>(
        p->pillars, p->side * n->heights, a->cell, (const half *)a->x, map[BEV_CANVAS]);
    for (int i = n->first; i < n->end; i++) {
        const bev_layer *l = &bev_layers[i];
        const plain_layer q = plain(p, l);
        const int k = l->kernel * l->kernel * l->cin;
        ref_widen<<<blocks_of((size_t)l->rows * k), THREADS, 0, s>>>(
            l->rows, k, (const half *)a->w + bev_weight_at(i), w);
        ref_layer<<<blocks_of((size_t)q.out_side * q.out_side * l->rows), THREADS, 0, s>>>(
            q, map[l->from], w, a->b + bev_bias_at(i), map[l->to]);
    }
    return cudaGetLastError() == cudaSuccess ? OP_OK : OP_EDEVICE;
}

OP_END
