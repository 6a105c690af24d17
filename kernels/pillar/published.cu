/*
 * published.cu - pillars as the published code makes them: unique cells by a sort of 64-bit keys,
 * sums, maxima and the way back by a kernel each, every intermediate in memory as floats.
 *
 *     sort, heads, sum of heads     pillar of each point
 *     add, features                 means by atomics; [points][11]
 *     product, relu, max, join      [points][64] -> [points][128]
 *     product, relu, max            [points][128] -> [pillars][128]
 *
 * The number of pillars stays on the device, which favours this form: the published one waits for
 * it.  So do maxima by one integer atomic (all are >= 0): there it is a loop of compare-and-swap.
 */
#include <cuda_fp16.h>

#include <cstdlib>

#include <cub/device/device_radix_sort.cuh>
#include <cub/device/device_scan.cuh>

#include "kernels.h"

constexpr int THREADS = 256, HIDDEN = PILLAR_HIDDEN, OUT = PILLAR_OUT;
constexpr int64_t NO_CELL = INT64_MAX;

struct pillar_published {
    int64_t *key, *key_sorted;
    int32_t *row, *row_sorted, *head, *heads; /* [points] */
    int32_t *pillar;                          /* of each point; -1: none */
    void *temp;
    size_t temp_bytes;
    float *sum;              /* [pillars][4]: of x y z, points */
    float *v, *h1, *x2, *h2; /* [points][11], [64], [128], [128] */
    float *m1, *m2;          /* [pillars][64], [128] */
    float *w2;               /* [128][128] */
};

static int blocks_of(size_t n)
{
    return (int)((n + THREADS - 1) / THREADS);
}

__global__ void __launch_bounds__(THREADS)
published_keys(int points, pillar_grid g, const float *in, int64_t *key, int32_t *row)
{
    const int i = blockIdx.x * THREADS + threadIdx.x;
    if (i >= points)
        return;
    const float *v = in + (size_t)i * PILLAR_IN;
    const int cell = pillar_cell(&g, v[0], v[1], v[2]);
    key[i] = cell < 0 ? NO_CELL : cell;
    row[i] = i;
}

__global__ void __launch_bounds__(THREADS)
published_heads(int points, const int64_t *key, int32_t *head)
{
    const int i = blockIdx.x * THREADS + threadIdx.x;
    if (i < points)
        head[i] = key[i] != NO_CELL && (!i || key[i] != key[i - 1]);
}

__global__ void __launch_bounds__(THREADS)
published_unique(int points, int side, const int64_t *key, const int32_t *row, const int32_t *head,
                 const int32_t *heads, int32_t *pillar, flatten_cell *cell, int32_t *count)
{
    const int i = blockIdx.x * THREADS + threadIdx.x;
    if (i >= points)
        return;
    pillar[row[i]] = key[i] == NO_CELL ? -1 : heads[i] - 1;
    if (head[i])
        cell[heads[i] - 1] = { (int)(key[i] % side), (int)(key[i] / side) };
    if (i == points - 1)
        *count = heads[i];
}

/* Rows of the pillars there are. */
__global__ void __launch_bounds__(THREADS)
published_clear(const int32_t *count, float *sum, float *m1, float *m2)
{
    const size_t n = *count, step = (size_t)gridDim.x * THREADS;
    for (size_t i = blockIdx.x * (size_t)THREADS + threadIdx.x; i < n * OUT; i += step) {
        m2[i] = 0;
        if (i < n * HIDDEN)
            m1[i] = 0;
        if (i < n * 4)
            sum[i] = 0;
    }
}

__global__ void __launch_bounds__(THREADS)
published_add(int points, const float *in, const int32_t *pillar, float *sum)
{
    const int i = blockIdx.x * THREADS + threadIdx.x;
    if (i >= points || pillar[i] < 0)
        return;
    float *to = sum + (size_t)pillar[i] * 4;
    for (int a = 0; a < 3; a++)
        atomicAdd(to + a, in[(size_t)i * PILLAR_IN + a]);
    atomicAdd(to + 3, 1.f);
}

__global__ void __launch_bounds__(THREADS)
published_features(int points, pillar_grid g, const float *in, const int32_t *pillar,
                   const flatten_cell *cell, const float *sum, float *v)
{
    const int i = blockIdx.x * THREADS + threadIdx.x;
    if (i >= points)
        return;
    float *to = v + (size_t)i * PILLAR_RAW;
    const float *x = in + (size_t)i * PILLAR_IN;
    const int k = pillar[i];
    if (k < 0) {
        for (int c = 0; c < PILLAR_RAW; c++)
            to[c] = 0;
        return;
    }
    const float *s = sum + (size_t)k * 4;
    const float middle[3] = { pillar_centre(&g, cell[k].x), pillar_centre(&g, cell[k].y),
                              g.z_middle };
    for (int c = 0; c < PILLAR_IN; c++)
        to[c] = x[c];
    for (int a = 0; a < 3; a++) {
        to[5 + a] = x[a] - s[a] / s[3];
        to[8 + a] = x[a] - middle[a];
    }
}

__global__ void __launch_bounds__(THREADS)
published_relu(size_t count, int n, const float *bias, float *y)
{
    const size_t i = blockIdx.x * (size_t)THREADS + threadIdx.x;
    if (i < count)
        y[i] = fmaxf(y[i] + bias[i % n], 0);
}

/* Of numbers >= 0, whose order is that of their bits. */
__global__ void __launch_bounds__(THREADS)
published_max(size_t count, int n, const int32_t *pillar, const float *y, float *most)
{
    const size_t i = blockIdx.x * (size_t)THREADS + threadIdx.x;
    if (i >= count || pillar[i / n] < 0)
        return;
    atomicMax((int *)&most[(size_t)pillar[i / n] * n + i % n], __float_as_int(y[i]));
}

__global__ void __launch_bounds__(THREADS)
published_join(size_t count, const int32_t *pillar, const float *h1, const float *m1, float *x2)
{
    const size_t i = blockIdx.x * (size_t)THREADS + threadIdx.x;
    if (i >= count)
        return;
    const size_t row = i / OUT;
    const int c = (int)(i % OUT), k = pillar[row];
    x2[i] = c < HIDDEN ? h1[row * HIDDEN + c] : k < 0 ? 0 : m1[(size_t)k * HIDDEN + c - HIDDEN];
}

__global__ void __launch_bounds__(THREADS)
published_half(const int32_t *count, const float *m2, half *out)
{
    const size_t n = *count, step = (size_t)gridDim.x * THREADS;
    for (size_t i = blockIdx.x * (size_t)THREADS + threadIdx.x; i < n * OUT; i += step)
        out[i] = __float2half_rn(m2[i]);
}

__global__ void __launch_bounds__(THREADS)
published_widen(int count, const half *from, float *to)
{
    const int i = blockIdx.x * THREADS + threadIdx.x;
    if (i < count)
        to[i] = __half2float(from[i]);
}

static cudaError_t sort(const pillar_published *t, void *temp, size_t *bytes, int n, cudaStream_t s)
{
    return cub::DeviceRadixSort::SortPairs(temp, *bytes, t->key, t->key_sorted, t->row,
                                           t->row_sorted, n, 0, 64, s);
}

static cudaError_t sum(const pillar_published *t, void *temp, size_t *bytes, int n, cudaStream_t s)
{
    return cub::DeviceScan::InclusiveSum(temp, *bytes, t->head, t->heads, n, s);
}

static void *take(const op_memory *m, size_t bytes, bool *out_of_memory)
{
    void *p = m->take(m->context, bytes);
    *out_of_memory |= !p;
    return p;
}

OP_BEGIN

enum op_status pillar_published_setup(const struct pillar_problem *p, const struct pillar_args *a,
                                      const struct op_memory *m, op_stream stream, void **state)
{
    pillar_published *t = (pillar_published *)calloc(1, sizeof *t);
    const size_t points = (size_t)p->points, pillars = (size_t)pillar_most(p);
    size_t sum_bytes = 0;
    bool failed = false;
    *state = t;
    if (!t)
        return OP_ENOMEM;
    if (sort(t, nullptr, &t->temp_bytes, p->points, stream) != cudaSuccess ||
        sum(t, nullptr, &sum_bytes, p->points, stream) != cudaSuccess)
        return OP_EDEVICE;
    t->temp_bytes = t->temp_bytes > sum_bytes ? t->temp_bytes : sum_bytes;
    t->key = (int64_t *)take(m, points * 8, &failed);
    t->key_sorted = (int64_t *)take(m, points * 8, &failed);
    t->row = (int32_t *)take(m, points * 4, &failed);
    t->row_sorted = (int32_t *)take(m, points * 4, &failed);
    t->head = (int32_t *)take(m, points * 4, &failed);
    t->heads = (int32_t *)take(m, points * 4, &failed);
    t->pillar = (int32_t *)take(m, points * 4, &failed);
    t->temp = take(m, t->temp_bytes, &failed);
    t->sum = (float *)take(m, pillars * 16, &failed);
    t->v = (float *)take(m, points * PILLAR_RAW * 4, &failed);
    t->h1 = (float *)take(m, points * HIDDEN * 4, &failed);
    t->x2 = (float *)take(m, points * OUT * 4, &failed);
    t->h2 = (float *)take(m, points * OUT * 4, &failed);
    t->m1 = (float *)take(m, pillars * HIDDEN * 4, &failed);
    t->m2 = (float *)take(m, pillars * OUT * 4, &failed);
    t->w2 = (float *)take(m, OUT * 2 * HIDDEN * 4, &failed);
    if (failed)
        return OP_ENOMEM;
    published_widen<<<blocks_of(OUT * 2 * HIDDEN), THREADS, 0, stream>>>(
        OUT * 2 * HIDDEN, (const half *)a->w2, t->w2);
    return cudaGetLastError() == cudaSuccess ? OP_OK : OP_EDEVICE;
}

enum op_status pillar_published_run(const struct pillar_problem *p, const struct pillar_args *a,
                                    struct pillar_published *t, pillar_product_fn *product,
                                    void *context, op_stream stream)
{
    const int n = p->points, blocks = blocks_of(n), some = 1024;
    const size_t hidden = (size_t)n * HIDDEN, wide = (size_t)n * OUT;
    enum op_status status;
    published_keys<<<blocks, THREADS, 0, stream>>>(n, p->grid, a->in, t->key, t->row);
    if (sort(t, t->temp, &t->temp_bytes, n, stream) != cudaSuccess)
        return OP_EDEVICE;
    published_heads<<<blocks, THREADS, 0, stream>>>(n, t->key_sorted, t->head);
    if (sum(t, t->temp, &t->temp_bytes, n, stream) != cudaSuccess)
        return OP_EDEVICE;
    published_unique<<<blocks, THREADS, 0, stream>>>(n, p->grid.side, t->key_sorted, t->row_sorted,
                                                     t->head, t->heads, t->pillar, a->cell,
                                                     a->count);
    published_clear<<<some, THREADS, 0, stream>>>(a->count, t->sum, t->m1, t->m2);
    published_add<<<blocks, THREADS, 0, stream>>>(n, a->in, t->pillar, t->sum);
    published_features<<<blocks, THREADS, 0, stream>>>(n, p->grid, a->in, t->pillar, a->cell, t->sum,
                                                       t->v);
    status = product(context, n, HIDDEN, PILLAR_RAW, t->v, a->w1, t->h1);
    if (status)
        return status;
    published_relu<<<blocks_of(hidden), THREADS, 0, stream>>>(hidden, HIDDEN, a->b1, t->h1);
    published_max<<<blocks_of(hidden), THREADS, 0, stream>>>(hidden, HIDDEN, t->pillar, t->h1,
                                                             t->m1);
    published_join<<<blocks_of(wide), THREADS, 0, stream>>>(wide, t->pillar, t->h1, t->m1, t->x2);
    status = product(context, n, OUT, 2 * HIDDEN, t->x2, t->w2, t->h2);
    if (status)
        return status;
    published_relu<<<blocks_of(wide), THREADS, 0, stream>>>(wide, OUT, a->b2, t->h2);
    published_max<<<blocks_of(wide), THREADS, 0, stream>>>(wide, OUT, t->pillar, t->h2, t->m2);
    published_half<<<some, THREADS, 0, stream>>>(a->count, t->m2, (half *)a->out);
    return cudaGetLastError() == cudaSuccess ? OP_OK : OP_EDEVICE;
}

OP_END
