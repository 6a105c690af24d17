/*
 * implicit.cu - implicit GEMM over a graph with relations for taps, in the published tiles of
 * TorchSparse++ (arXiv 2311.12862).
 *
 *   block   128 targets x Columns; for each of its relations, in slices of channels:
 *             a [128][slice]      scaled sums of x over the edges of relation and target
 *             b [slice][Columns]  weights
 *
 *   pair    [rows][relations of a range] index of the pair of relation and target, or -1; its
 *           edges are edge[pair] .. edge[pair + 1] - 1, for a target may have many of a relation
 *
 * Unsorted: one range of all relations, every block takes all of them.  Sorted: ranges of 32
 * relations; rows of a range in descending order of the bits of those they have, a block skips
 * what none of its rows has, and results of ranges are summed afterwards.
 */
#include <stdlib.h>
#include <string.h>

#include "device.cuh"
#include "published.h"

constexpr int TILE = 128, RANGE = 32;

struct ImplicitWork {
    const int32_t *pair;  /* [ranges][padded rows][taps] */
    const int32_t *edge;  /* [pairs+1] */
    const int32_t *row;   /* [ranges][padded rows] target, -1: padding; NULL: unsorted */
    const uint32_t *mask; /* [ranges][tiles]; NULL: unsorted */
    const int32_t *src;
    const float *norm, *x, *w;
    float *y;             /* [ranges][nodes][out] */
    int nodes, relations, taps, tiles, in, out, relu;
};

/* One published setting: columns of a tile, channels of a slice, threads. */
template <int C, int S, int T> struct Setting {
    static constexpr int COLUMNS = C, SLICE = S, THREADS = T;
    static constexpr int ACROSS = C / 4;                     /* threads */
    static constexpr int ROWS = TILE / (T / ACROSS);         /* of a thread, T / ACROSS apart */
};

static __device__ __forceinline__ float4 sum_pair(const ImplicitWork &p, int pair, int channel)
{
    float4 sum = make_float4(0, 0, 0, 0);
    for (int e = __ldg(p.edge + pair); e < __ldg(p.edge + pair + 1); e++) {
        const float4 v =
            __ldg((const float4 *)(p.x + (size_t)__ldg(p.src + e) * p.in + channel));
        add_scaled(&sum, __ldg(p.norm + e), p.relu ? positive(v) : v);
    }
    return sum;
}

template <class S>
static __global__ __launch_bounds__(S::THREADS) void implicit_rgcn(
    const __grid_constant__ ImplicitWork p)
{
    __shared__ __align__(16) float a[TILE][S::SLICE + 4];
    __shared__ __align__(16) float b[S::SLICE][S::COLUMNS + 8];
    constexpr int LANES = S::SLICE / 4, DOWN = S::THREADS / S::ACROSS;
    const int range = blockIdx.z, tile = blockIdx.x, first_column = blockIdx.y * S::COLUMNS;
    const int first_relation = range * p.taps, taps = min(p.taps, p.relations - first_relation);
    const size_t first_row = ((size_t)range * p.tiles + tile) * TILE;
    const uint32_t mask = p.mask ? __ldg(p.mask + range * p.tiles + tile) : ~0u;
    const int row = threadIdx.x / S::ACROSS, column = threadIdx.x % S::ACROSS * 4;
    float sum[S::ROWS][4] = {};

    for (int tap = 0; tap < taps; tap++) {
        if (p.mask && !(mask >> tap & 1))
            continue;
        const float *w = p.w + (size_t)(first_relation + tap) * p.in * p.out + first_column;
        for (int k0 = 0; k0 < p.in; k0 += S::SLICE) {
            const int depth = min(S::SLICE, p.in - k0);
            __syncthreads();
            for (int i = threadIdx.x; i < TILE * LANES; i += S::THREADS) {
                const int r = i / LANES, k = i % LANES * 4;
                const int pair = __ldg(p.pair + (first_row + r) * p.taps + tap);
                *(float4 *)&a[r][k] = pair >= 0 && k < depth ? sum_pair(p, pair, k0 + k)
                                                             : make_float4(0, 0, 0, 0);
            }
            for (int i = threadIdx.x; i < S::SLICE * S::ACROSS; i += S::THREADS) {
                const int k = i / S::ACROSS, c = i % S::ACROSS * 4;
                *(float4 *)&b[k][c] =
                    k < depth && first_column + c < p.out
                        ? __ldg((const float4 *)(w + (size_t)(k0 + k) * p.out + c))
                        : make_float4(0, 0, 0, 0);
            }
            __syncthreads();
            for (int k = 0; k < depth; k++) {
                const float4 v = *(const float4 *)&b[k][column];
#pragma unroll
                for (int i = 0; i < S::ROWS; i++) {
                    const float left = a[row + i * DOWN][k];
                    sum[i][0] = fmaf(left, v.x, sum[i][0]);
                    sum[i][1] = fmaf(left, v.y, sum[i][1]);
                    sum[i][2] = fmaf(left, v.z, sum[i][2]);
                    sum[i][3] = fmaf(left, v.w, sum[i][3]);
                }
            }
        }
    }
    if (first_column + column >= p.out)
        return;
#pragma unroll
    for (int i = 0; i < S::ROWS; i++) {
        const int r = row + i * DOWN;
        const int target = p.row ? __ldg(p.row + first_row + r) : tile * TILE + r;
        if (target >= 0 && target < p.nodes)
            *(float4 *)(p.y + ((size_t)range * p.nodes + target) * p.out + first_column + column) =
                make_float4(sum[i][0], sum[i][1], sum[i][2], sum[i][3]);
    }
}

static __global__ __launch_bounds__(256) void sum_ranges(const float4 *part, int ranges,
                                                         size_t count, float4 *y)
{
    const size_t i = (size_t)blockIdx.x * 256 + threadIdx.x;
    if (i >= count)
        return;
    float4 sum = part[i];
    for (int k = 1; k < ranges; k++)
        add_scaled(&sum, 1, part[k * count + i]);
    y[i] = sum;
}

/* ---- set-up ---- */

struct Implicit {
    ImplicitWork work; /* without operands */
    int ranges;
    float *hidden, *parts;
    double blocks;     /* of 128 rows and a relation, executed */
};

/* A row of a range: its bits above, its target below; descending, padding last. */
static int descending(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x < y) - (x > y);
}

/* What set-up makes in host memory. */
struct Tables {
    int32_t *pair, *row;
    uint32_t *mask;
    uint64_t *key;
};

/* Places of the rows of a range: row[place]; and masks of its tiles. */
static void sort_range(const struct rgcn_problem *p, const Implicit *v,
                       const struct rgcn_pairs *pairs, int range, const Tables *t)
{
    const int padded = v->work.tiles * TILE, first = range * v->work.taps;
    int32_t *row = t->row + (size_t)range * padded;
    memset(t->key, 0, (size_t)padded * sizeof *t->key);
    for (int i = 0; i < p->nodes; i++)
        t->key[i] = (uint64_t)(p->nodes - i); /* equal masks: ascending targets */
    for (int r = first; r < first + v->work.taps && r < p->relations; r++)
        for (int k = pairs->first[r]; k < pairs->first[r + 1]; k++)
            t->key[pairs->node[k]] |= (uint64_t)1 << (r - first + 32);
    qsort(t->key, (size_t)padded, sizeof *t->key, descending);
    for (int i = 0; i < padded; i++) {
        const int from_end = (int)(uint32_t)t->key[i];
        row[i] = from_end ? p->nodes - from_end : -1;
        t->mask[range * v->work.tiles + i / TILE] |= (uint32_t)(t->key[i] >> 32);
    }
}

static void fill_pairs(const struct rgcn_problem *p, const Implicit *v,
                       const struct rgcn_pairs *pairs, int range, const Tables *t, int32_t *place)
{
    const int padded = v->work.tiles * TILE, taps = v->work.taps, first = range * taps;
    int32_t *pair = t->pair + (size_t)range * padded * taps;
    for (int i = 0; i < padded; i++) {
        const int node = t->row ? t->row[(size_t)range * padded + i] : i < p->nodes ? i : -1;
        if (node >= 0)
            place[node] = i;
    }
    for (int r = first; r < first + taps && r < p->relations; r++)
        for (int k = pairs->first[r]; k < pairs->first[r + 1]; k++)
            pair[(size_t)place[pairs->node[k]] * taps + r - first] = k;
}

static enum op_status make_tables(const struct rgcn_problem *p, const struct rgcn_pairs *pairs,
                                  bool sorted, const struct op_memory *memory, op_stream s,
                                  Implicit *v)
{
    const size_t rows = (size_t)v->ranges * v->work.tiles * TILE;
    const size_t cells = rows * v->work.taps;
    int32_t *place = (int32_t *)malloc((size_t)p->nodes * sizeof *place);
    Tables t = {};
    t.pair = (int32_t *)malloc(cells * sizeof *t.pair);
    enum op_status status = place && t.pair ? OP_OK : OP_ENOMEM;
    if (sorted) {
        t.row = (int32_t *)malloc(rows * sizeof *t.row);
        t.mask = (uint32_t *)calloc((size_t)v->ranges * v->work.tiles, sizeof *t.mask);
        t.key = (uint64_t *)malloc((size_t)v->work.tiles * TILE * sizeof *t.key);
        status = status == OP_OK && t.row && t.mask && t.key ? OP_OK : OP_ENOMEM;
    }
    if (status == OP_OK) {
        memset(t.pair, 0xff, cells * sizeof *t.pair);
        for (int range = 0; range < v->ranges; range++) {
            if (sorted)
                sort_range(p, v, pairs, range, &t);
            fill_pairs(p, v, pairs, range, &t, place);
        }
        v->work.pair = upload(memory, s, t.pair, cells, &status);
    }
    if (sorted) {
        v->work.row = upload(memory, s, t.row, rows, &status);
        v->work.mask = upload(memory, s, t.mask, (size_t)v->ranges * v->work.tiles, &status);
        for (int i = 0; status == OP_OK && i < v->ranges * v->work.tiles; i++)
            v->blocks += __builtin_popcount(t.mask[i]);
    } else {
        v->blocks = (double)v->work.tiles * p->relations;
    }
    free(place);
    free(t.pair);
    free(t.row);
    free(t.mask);
    free(t.key);
    return status;
}

static enum op_status setup(const struct rgcn_problem *p, const struct rgcn_graph *host,
                            bool sorted, const struct op_memory *memory, op_stream s, void **state)
{
    const int widest = p->hidden > p->out ? p->hidden : p->out;
    struct rgcn_pairs pairs;
    enum op_status status = rgcn_check(p);
    *state = NULL;
    if (status != OP_OK || (status = rgcn_targets(p, host, &pairs)) != OP_OK)
        return status;
    Implicit *v = (Implicit *)calloc(1, sizeof *v);
    if (!v) {
        rgcn_pairs_free(&pairs);
        return OP_ENOMEM;
    }
    v->work.nodes = p->nodes;
    v->work.relations = p->relations;
    v->work.taps = sorted && p->relations > RANGE ? RANGE : p->relations;
    v->work.tiles = (p->nodes + TILE - 1) / TILE;
    v->ranges = (p->relations + v->work.taps - 1) / v->work.taps;
    status = make_tables(p, &pairs, sorted, memory, s, v);
    v->work.edge = upload(memory, s, pairs.edge, (size_t)pairs.count + 1, &status);
    v->hidden = scratch<float>(memory, (size_t)p->nodes * p->hidden, &status);
    if (v->ranges > 1)
        v->parts = scratch<float>(memory, (size_t)v->ranges * p->nodes * widest, &status);
    rgcn_pairs_free(&pairs);
    if (status != OP_OK) {
        free(v);
        return status;
    }
    *state = v;
    return OP_OK;
}

/* ---- launches ---- */

template <class S> static void launch(const ImplicitWork &work, int ranges, op_stream s)
{
    const dim3 grid(work.tiles, (work.out + S::COLUMNS - 1) / S::COLUMNS, ranges);
    implicit_rgcn<S><<<grid, S::THREADS, 0, s>>>(work);
}

/* As published: by what the channels divide by. */
static void launch_setting(const ImplicitWork &work, int ranges, op_stream s)
{
    if (work.out % 64 == 0 && work.in % 32 == 0)
        launch<Setting<64, 32, 128>>(work, ranges, s);
    else if (work.out % 16 == 0 && work.in % 32 == 0)
        launch<Setting<16, 32, 64>>(work, ranges, s);
    else
        launch<Setting<16, 16, 64>>(work, ranges, s);
}

static enum op_status run_layer(const Implicit *v, const struct rgcn_layer *l,
                                const struct rgcn_graph *g, op_stream s)
{
    const size_t fours = (size_t)v->work.nodes * l->out / 4;
    ImplicitWork work = v->work;
    work.src = g->src;
    work.norm = g->norm;
    work.x = l->x;
    work.w = l->w;
    work.y = v->ranges > 1 ? v->parts : l->y;
    work.in = l->in;
    work.out = l->out;
    work.relu = l->relu;
    launch_setting(work, v->ranges, s);
    if (v->ranges > 1)
        sum_ranges<<<(unsigned)((fours + 255) / 256), 256, 0, s>>>((const float4 *)v->parts,
                                                                   v->ranges, fours,
                                                                   (float4 *)l->y);
    return cudaGetLastError() == cudaSuccess ? OP_OK : OP_EDEVICE;
}

OP_BEGIN
#define SETUP(name, sorted)                                                                    \
    enum op_status name(const struct rgcn_problem *p, const struct rgcn_graph *host,           \
                        const struct rgcn_args *a, const struct op_memory *m, op_stream s,     \
                        void **state)                                                          \
    {                                                                                          \
        (void)a;                                                                               \
        return setup(p, host, sorted, m, s, state);                                            \
    }
SETUP(rgcn_implicit_setup, false)
SETUP(rgcn_implicit_sorted_setup, true)
#undef SETUP

enum op_status rgcn_implicit(const struct rgcn_problem *p, const struct rgcn_args *a, void *state,
                             op_stream s)
{
    const Implicit *v = (const Implicit *)state;
    enum op_status status = OP_OK;
    for (int l = 0; l < 2 && status == OP_OK; l++) {
        const struct rgcn_layer layer = rgcn_layer_of(p, a, v->hidden, l);
        status = run_layer(v, &layer, &a->graph, s);
    }
    return status;
}

void rgcn_implicit_teardown(void *state)
{
    free(state);
}

void rgcn_implicit_counts(const struct rgcn_problem *p, const void *state,
                          struct rgcn_counts *counts)
{
    const Implicit *v = (const Implicit *)state;
    const double widths = p->hidden + p->out;
    counts->rows = 2 * v->blocks * TILE;
    counts->extra_bytes = 8 * v->blocks * TILE +
                          (v->ranges > 1 ? 8.0 * v->ranges * p->nodes * widths : 0);
}
OP_END
