/* rows.cu - see rows.h.  Bound by memory, and on small levels by launches. */
#include <cuda_fp16.h>

#include "../kmap/build.h"
#include "rows.h"

constexpr int THREADS = 256;

static unsigned blocks_of(size_t threads)
{
    return (unsigned)((threads + THREADS - 1) / THREADS);
}

static enum op_status launched()
{
    return cudaGetLastError() == cudaSuccess ? OP_OK : OP_EDEVICE;
}

/* A thread a piece of a row. */
template <class Piece>
static __global__ __launch_bounds__(THREADS) void copy_rows(const Piece *from, int from_step,
                                                            Piece *to, int to_step, int pieces,
                                                            int n, const int32_t *row, int spread)
{
    const size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x;
    const int own = (int)(i / pieces), c = (int)(i % pieces);
    if (own >= n)
        return;
    const int other = row ? __ldg(row + own) : own;
    const int source = spread ? own : other, target = spread ? other : own;
    to[(size_t)target * to_step + c] = from[(size_t)source * from_step + c];
}

template <class Piece>
static enum op_status copy_as(struct net_rows from, struct net_rows to, int channels, int n,
                              const int32_t *row, int spread, op_stream s)
{
    constexpr int SIZE = sizeof(Piece) / sizeof(half);
    const int pieces = channels / SIZE;
    copy_rows<<<blocks_of((size_t)n * pieces), THREADS, 0, s>>>(
        (const Piece *)from.at, from.step / SIZE, (Piece *)to.at, to.step / SIZE, pieces, n, row,
        spread);
    return launched();
}

/* A thread two channels. */
static __global__ __launch_bounds__(THREADS) void finish_rows(half2 *y, const float2 *bias,
                                                              const half2 *residual, int n,
                                                              int pairs, int relu)
{
    const size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x;
    if (i >= (size_t)n * pairs)
        return;
    const float2 b = __ldg(bias + i % pairs);
    float2 v = __half22float2(y[i]);
    v.x += b.x, v.y += b.y;
    if (residual) {
        const float2 r = __half22float2(residual[i]);
        v.x += r.x, v.y += r.y;
    }
    if (relu)
        v.x = fmaxf(v.x, 0), v.y = fmaxf(v.y, 0);
    y[i] = __float22half2_rn(v);
}

/* A thread two channels. */
static __global__ __launch_bounds__(THREADS) void add_rows(const half2 *from, int from_step,
                                                           half2 *to, int to_step, int pairs, int n)
{
    const size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x;
    const int row = (int)(i / pairs), c = (int)(i % pairs);
    if (row >= n)
        return;
    const float2 v = __half22float2(from[(size_t)row * from_step + c]);
    half2 *sum = to + (size_t)row * to_step + c;
    const float2 w = __half22float2(*sum);
    *sum = __floats2half2_rn(w.x + v.x, w.y + v.y);
}

static __global__ __launch_bounds__(THREADS) void mask_rows(half2 *g, const half2 *y, size_t pairs)
{
    const size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x;
    if (i >= pairs)
        return;
    const float2 at = __half22float2(y[i]);
    const float2 v = __half22float2(g[i]);
    g[i] = __floats2half2_rn(at.x > 0 ? v.x : 0, at.y > 0 ? v.y : 0);
}

/* A thread an entry. */
static __global__ __launch_bounds__(THREADS) void transpose_table(const int32_t *table,
                                                                  const int32_t *count, int n,
                                                                  int taps, int32_t *to)
{
    const size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x;
    const int rows = count ? min(__ldg(count), n) : n;
    if (i >= (size_t)rows * taps)
        return;
    const int j = __ldg(table + i);
    if (j >= 0)
        to[(size_t)j * taps + i % taps] = (int32_t)(i / taps);
}

struct SamePlans {
    own_plan level[KMAP_LEVELS_MAX];
};

/* blockIdx.y is the level. */
static __global__ __launch_bounds__(SPCONV_TILE)
void plans_same(const __grid_constant__ SamePlans plans, const int32_t *count)
{
    const own_plan &plan = plans.level[blockIdx.y];
    const int tile = blockIdx.x, row = tile * SPCONV_TILE + threadIdx.x;
    if (!plan.row || tile >= plan.tiles)
        return;
    const int n = __ldg(count + blockIdx.y);
    const int value = row < n ? row : -1;
    plan.row[row] = value;
    plan.index[row] = value;
    if (threadIdx.x == 0) {
        const uint32_t lower = tile * SPCONV_TILE < n;
        const uint32_t upper = tile * SPCONV_TILE + SPCONV_TILE / 2 < n;
        plan.mask[2 * tile] = lower;
        plan.mask[2 * tile + 1] = upper;
        plan.part[tile] = { tile, lower, upper, 1 << OWN_PARTS };
        if (tile == 0)
            plan.count[0] = plan.count[1] = (n + SPCONV_TILE - 1) / SPCONV_TILE;
    }
}

OP_BEGIN
enum op_status net_copy_rows(struct net_rows from, struct net_rows to, int channels, int n,
                             const int32_t *row, int spread, op_stream s)
{
    if (channels % 2 || from.step % 2 || to.step % 2 || n < 1)
        return OP_EINVAL;
    if (channels % 8 || from.step % 8 || to.step % 8)
        return copy_as<half2>(from, to, channels, n, row, spread, s);
    return copy_as<uint4>(from, to, channels, n, row, spread, s);
}

enum op_status net_finish_rows(void *y, const float *bias, const void *residual, int n,
                               int channels, int relu, op_stream s)
{
    if (channels % 2 || n < 1)
        return OP_EINVAL;
    finish_rows<<<blocks_of((size_t)n * channels / 2), THREADS, 0, s>>>(
        (half2 *)y, (const float2 *)bias, (const half2 *)residual, n, channels / 2, relu);
    return launched();
}

enum op_status net_add_rows(struct net_rows from, struct net_rows to, int channels, int n,
                            op_stream s)
{
    if (channels % 2 || from.step % 2 || to.step % 2 || n < 1)
        return OP_EINVAL;
    add_rows<<<blocks_of((size_t)n * channels / 2), THREADS, 0, s>>>(
        (const half2 *)from.at, from.step / 2, (half2 *)to.at, to.step / 2, channels / 2, n);
    return launched();
}

enum op_status net_mask_rows(void *g, const void *y, size_t count, op_stream s)
{
    if (count % 2 || !count)
        return OP_EINVAL;
    mask_rows<<<blocks_of(count / 2), THREADS, 0, s>>>((half2 *)g, (const half2 *)y, count / 2);
    return launched();
}

enum op_status net_transpose_table(const int32_t *table, const int32_t *count, int n, int taps,
                                   int32_t *to, int to_rows, op_stream s)
{
    if (cudaMemsetAsync(to, 0xff, (size_t)to_rows * taps * sizeof *to, s))
        return OP_EDEVICE;
    transpose_table<<<blocks_of((size_t)n * taps), THREADS, 0, s>>>(table, count, n, taps, to);
    return launched();
}

enum op_status net_plans_same(const struct own_plan *plan, int levels, const int32_t *count,
                              op_stream s)
{
    SamePlans plans = {};
    int tiles = 0;
    if (levels > KMAP_LEVELS_MAX)
        return OP_EINVAL;
    for (int l = 0; l < levels; l++) {
        plans.level[l] = plan[l];
        tiles = plan[l].row && plan[l].tiles > tiles ? plan[l].tiles : tiles;
    }
    if (!tiles)
        return OP_OK;
    plans_same<<<dim3(tiles, levels), SPCONV_TILE, 0, s>>>(plans, count);
    return launched();
}

enum op_status net_upload(void *to, const void *from, size_t bytes, op_stream s)
{
    return cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, s) || cudaStreamSynchronize(s)
               ? OP_EDEVICE
               : OP_OK;
}
OP_END
