/*
 * fetch.cu - fetch-on-demand over the edges of a graph, as TorchSparse++ (arXiv 2311.12862) runs
 * graph convolution: relations are taps, and an edge has a scale.
 *
 *   block   128 edges of one relation x 32 columns: gathers scaled rows of x in slices of 32
 *           channels, multiplies, adds the products to y with atomics
 *
 *   blocks in x   | relation 0   | relation 1 | relation 2   ...   found by halving
 *                 ^0             ^first_block[1]
 *
 * Float sums and atomics.  A launch a relation is the form before they were fused.
 */
#include <stdlib.h>

#include "device.cuh"
#include "published.h"

constexpr int THREADS = 256, EDGES = 128, COLUMNS = 32, SLICE = 32;

struct FetchWork {
    const int32_t *start, *first_block; /* [relations+1] */
    const int32_t *src, *dst;
    const float *norm, *x, *w;
    float *y;
    int relations, in, out, relu, first_of_launch; /* block */
};

/* The relation with first_block[r] <= block < first_block[r + 1]. */
static __device__ __forceinline__ int relation_of(const FetchWork &p, int block)
{
    int low = 0, high = p.relations;
    while (high - low > 1) {
        const int middle = (low + high) / 2;
        if (__ldg(p.first_block + middle) <= block)
            low = middle;
        else
            high = middle;
    }
    return low;
}

static __global__ __launch_bounds__(THREADS) void fetch_rgcn(const __grid_constant__ FetchWork p)
{
    __shared__ __align__(16) float a[EDGES][SLICE + 4];
    __shared__ __align__(16) float b[SLICE][COLUMNS + 8];
    const int block = p.first_of_launch + blockIdx.x, first_column = blockIdx.y * COLUMNS;
    const int relation = relation_of(p, block);
    const int first = __ldg(p.start + relation) + (block - __ldg(p.first_block + relation)) * EDGES;
    const int edges = min(__ldg(p.start + relation + 1) - first, EDGES);
    const float *w = p.w + (size_t)relation * p.in * p.out + first_column;
    const int row = threadIdx.x / 8, column = threadIdx.x % 8 * 4;
    float sum[4][4] = {};

    for (int k0 = 0; k0 < p.in; k0 += SLICE) {
        const int depth = min(SLICE, p.in - k0), channel = threadIdx.x % 8 * 4;
        __syncthreads();
        for (int r = row; r < EDGES; r += THREADS / 8) {
            float4 v = make_float4(0, 0, 0, 0);
            if (r < edges && channel < depth) {
                const float c = __ldg(p.norm + first + r);
                v = __ldg((const float4 *)(p.x + (size_t)__ldg(p.src + first + r) * p.in + k0 +
                                           channel));
                v = p.relu ? positive(v) : v;
                v = make_float4(c * v.x, c * v.y, c * v.z, c * v.w);
            }
            *(float4 *)&a[r][channel] = v;
        }
        *(float4 *)&b[row][column] =
            row < depth && first_column + column < p.out
                ? __ldg((const float4 *)(w + (size_t)(k0 + row) * p.out + column))
                : make_float4(0, 0, 0, 0);
        __syncthreads();
        for (int k = 0; k < depth; k += 4)
#pragma unroll
            for (int step = 0; step < 4; step++)
#pragma unroll
                for (int i = 0; i < 4; i++)
#pragma unroll
                    for (int e = 0; e < 4; e++)
                        sum[i][e] = fmaf(a[row + 32 * i][k + step], b[k + step][column + e],
                                         sum[i][e]);
    }
    if (first_column + column >= p.out)
        return;
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const int r = row + 32 * i;
        if (r >= edges)
            continue;
        float *y = p.y + (size_t)__ldg(p.dst + first + r) * p.out + first_column + column;
#pragma unroll
        for (int e = 0; e < 4; e++)
            atomicAdd(y + e, sum[i][e]);
    }
}

/* ---- launches ---- */

struct Fetch {
    float *hidden;
    const int32_t *on_device; /* first_block */
    int32_t *first_block;     /* the same, host */
    bool fused;
};

static void free_fetch(Fetch *v)
{
    free(v->first_block);
    free(v);
}

static enum op_status setup(const struct rgcn_problem *p, const struct rgcn_graph *host, bool fused,
                            const struct op_memory *memory, op_stream s, void **state)
{
    enum op_status status = rgcn_check(p);
    *state = NULL;
    if (status != OP_OK)
        return status;
    Fetch *v = (Fetch *)calloc(1, sizeof *v);
    if (!v)
        return OP_ENOMEM;
    v->fused = fused;
    v->first_block = (int32_t *)malloc(((size_t)p->relations + 1) * sizeof *v->first_block);
    if (!v->first_block) {
        free_fetch(v);
        return OP_ENOMEM;
    }
    v->first_block[0] = 0;
    for (int r = 0; r < p->relations; r++)
        v->first_block[r + 1] =
            v->first_block[r] + (host->start[r + 1] - host->start[r] + EDGES - 1) / EDGES;
    v->on_device = upload(memory, s, v->first_block, (size_t)p->relations + 1, &status);
    v->hidden = scratch<float>(memory, (size_t)p->nodes * p->hidden, &status);
    if (status != OP_OK) {
        free_fetch(v);
        return status;
    }
    *state = v;
    return OP_OK;
}

static enum op_status run_layer(const Fetch *v, const struct rgcn_layer *l,
                                const struct rgcn_problem *p, const struct rgcn_graph *g,
                                op_stream s)
{
    FetchWork work = { g->start, v->on_device, g->src,  g->dst, g->norm, l->x, l->w,
                       l->y,     p->relations, l->in, l->out, l->relu, 0 };
    const unsigned across = (l->out + COLUMNS - 1) / COLUMNS;
    if (rgcn_clear(l->y, (size_t)p->nodes * l->out, s) != OP_OK)
        return OP_EDEVICE;
    for (int r = 0; r < p->relations; r += v->fused ? p->relations : 1) {
        const int end = v->first_block[v->fused ? p->relations : r + 1];
        work.first_of_launch = v->first_block[r];
        if (end > work.first_of_launch)
            fetch_rgcn<<<dim3(end - work.first_of_launch, across), THREADS, 0, s>>>(work);
    }
    return cudaGetLastError() == cudaSuccess ? OP_OK : OP_EDEVICE;
}

OP_BEGIN
#define SETUP(name, fused)                                                                     \
    enum op_status name(const struct rgcn_problem *p, const struct rgcn_graph *host,           \
                        const struct rgcn_args *a, const struct op_memory *m, op_stream s,     \
                        void **state)                                                          \
    {                                                                                          \
        (void)a;                                                                               \
        return setup(p, host, fused, m, s, state);                                             \
    }
SETUP(rgcn_fetch_setup, true)
SETUP(rgcn_fetch_relation_setup, false)
#undef SETUP

enum op_status rgcn_fetch(const struct rgcn_problem *p, const struct rgcn_args *a, void *state,
                          op_stream s)
{
    const Fetch *v = (const Fetch *)state;
    enum op_status status = OP_OK;
    for (int l = 0; l < 2 && status == OP_OK; l++) {
        const struct rgcn_layer layer = rgcn_layer_of(p, a, v->hidden, l);
        status = run_layer(v, &layer, p, &a->graph, s);
    }
    return status;
}

void rgcn_fetch_teardown(void *state)
{
    if (state)
        free_fetch((Fetch *)state);
}

void rgcn_fetch_counts(const struct rgcn_problem *p, const void *state, struct rgcn_counts *counts)
{
    const Fetch *v = (const Fetch *)state;
    counts->rows = 2.0 * v->first_block[p->relations] * EDGES;
    counts->extra_bytes = 8.0 * (double)p->edges * (p->hidden + p->out);
}
OP_END
