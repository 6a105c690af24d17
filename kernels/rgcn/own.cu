/*
 * own.cu - relational graph convolution by tiles of one relation; floats throughout.
 *
 * Bound by fetching rows of x: each once for an edge where a layer sums first, once for a pair
 * of relation and source where it multiplies first; what is fetched then has the narrower of the
 * two widths.
 *
 *   piece   up to 32 edges of one relation into one target
 *   tile    4096 / Columns pieces (or sources) of one relation, x Columns:
 *             z [in][rows]      sums of the pieces, or rows of x
 *             w [in][Columns]   weights of the relation
 *           a thread makes 4 x 4 of z' w
 *
 * Sums first: a tile adds its rows to their targets (Add), or stores them in order of pieces and
 * sums.h adds them up.  Multiplies first: it stores them in order of sources, and sums.h takes a
 * scaled row for each edge.
 */
#include <stdlib.h>
#include <string.h>

#include "device.cuh"
#include "own.h"
#include "sums.h"

constexpr int THREADS = 256, PIECE = 32 /* edges */, NODE_BITS = 27;
constexpr int NODES_MAX = 1 << NODE_BITS;

enum Rows { SUM_ADD, SUM_STORE, ROW_STORE };

struct Tiles {
    const int4 *tile;     /* [count]: relation, first row, rows, 0 */
    const int2 *piece;    /* first edge; target and edges - 1 above NODE_BITS */
    const int32_t *node;  /* ROW_STORE: rows of x */
    const int32_t *src;   /* [edges] */
    const float *norm;
    int in, out, relu;
    const float *x, *w;
    float *y;
};

static __device__ __forceinline__ float4 row_of(const Tiles &t, int j, int channel)
{
    const float4 v = __ldg((const float4 *)(t.x + (size_t)j * t.in + channel));
    return t.relu ? positive(v) : v;
}

/* Sum over a piece. */
static __device__ __forceinline__ float4 sum_of(const Tiles &t, int2 piece, int channel)
{
    const int past = piece.x + ((unsigned)piece.y >> NODE_BITS) + 1;
    float4 sum = make_float4(0, 0, 0, 0);
    int e = piece.x;
    for (; e + 4 <= past; e += 4) {
        int j[4];
        float c[4];
        float4 v[4];
#pragma unroll
        for (int i = 0; i < 4; i++)
            j[i] = __ldg(t.src + e + i), c[i] = __ldg(t.norm + e + i);
#pragma unroll
        for (int i = 0; i < 4; i++)
            v[i] = row_of(t, j[i], channel);
#pragma unroll
        for (int i = 0; i < 4; i++)
            add_scaled(&sum, c[i], v[i]);
    }
    for (; e < past; e++)
        add_scaled(&sum, __ldg(t.norm + e), row_of(t, __ldg(t.src + e), channel));
    return sum;
}

template <int Columns, int Lanes, Rows Kind>
static __global__ __launch_bounds__(THREADS) void own_rgcn(const __grid_constant__ Tiles t)
{
    constexpr int ROWS = 4096 / Columns, SLICE = 4 * Lanes, GROUPS = THREADS / Lanes;
    constexpr int ACROSS = Columns / 4;
    __shared__ __align__(16) float z[SLICE][ROWS + 4];
    __shared__ __align__(16) float w[SLICE][Columns];
    const int4 tile = __ldg(t.tile + blockIdx.x);
    const int first_column = blockIdx.y * Columns;
    const int row = threadIdx.x / ACROSS * 4, column = threadIdx.x % ACROSS * 4;
    const float *weights = t.w + (size_t)tile.x * t.in * t.out + first_column;
    float sum[4][4] = {};

    for (int k0 = 0; k0 < t.in; k0 += SLICE) {
        const int channel = k0 + threadIdx.x % Lanes * 4, depth = min(SLICE, t.in - k0);
        __syncthreads();
        for (int i = threadIdx.x; i < SLICE * ACROSS; i += THREADS) {
            const int k = i / ACROSS, c = i % ACROSS * 4;
            *(float4 *)&w[k][c] = k < depth && first_column + c < t.out
                                      ? __ldg((const float4 *)(weights + (size_t)(k0 + k) * t.out + c))
                                      : make_float4(0, 0, 0, 0);
        }
#pragma unroll 2
        for (int r = threadIdx.x / Lanes; r < ROWS; r += GROUPS) {
            float4 v = make_float4(0, 0, 0, 0);
            if (r < tile.z && channel < t.in) {
                if (Kind == ROW_STORE)
                    v = row_of(t, __ldg(t.node + tile.y + r), channel);
                else
                    v = sum_of(t, __ldg(t.piece + tile.y + r), channel);
            }
            const int k = threadIdx.x % Lanes * 4;
            z[k][r] = v.x, z[k + 1][r] = v.y, z[k + 2][r] = v.z, z[k + 3][r] = v.w;
        }
        __syncthreads();
        for (int k = 0; k < depth; k += 4) /* widths are multiples of 4 */
#pragma unroll
            for (int step = 0; step < 4; step++) {
                const float4 a = *(const float4 *)&z[k + step][row];
                const float4 b = *(const float4 *)&w[k + step][column];
                const float left[4] = { a.x, a.y, a.z, a.w }, right[4] = { b.x, b.y, b.z, b.w };
#pragma unroll
                for (int i = 0; i < 4; i++)
#pragma unroll
                    for (int j = 0; j < 4; j++)
                        sum[i][j] = fmaf(left[i], right[j], sum[i][j]);
            }
    }
    if (first_column + column >= t.out)
        return;
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const int at = tile.y + row + i;
        if (row + i >= tile.z)
            break;
        const float4 v = make_float4(sum[i][0], sum[i][1], sum[i][2], sum[i][3]);
        if (Kind == SUM_ADD) {
            const int target = __ldg(&t.piece[at].y) & (NODES_MAX - 1);
            add_four(t.y + (size_t)target * t.out + first_column + column, v);
        } else {
            *(float4 *)(t.y + (size_t)at * t.out + first_column + column) = v;
        }
    }
}

/* ---- layers ---- */

struct OwnLayer {
    Rows kind;
    Tiles tiles;           /* without operands */
    int count, columns;    /* of tiles */
    struct rgcn_sums sums; /* but of SUM_ADD */
    float *buffer;         /* rows that sums reads */
    int rows;              /* multiplied */
};

struct OwnRgcn {
    OwnLayer layer[2];
    float *hidden;
};

static int columns_of(int out)
{
    return out > 32 ? 64 : out > 16 ? 32 : 16;
}

/* Tiles of so many rows over first [relations+1]. */
static enum op_status make_tiles(int relations, const int32_t *first, OwnLayer *l,
                                 const struct op_memory *memory, op_stream s)
{
    const int rows = 4096 / l->columns;
    enum op_status status = OP_OK;
    int4 *tile = (int4 *)malloc(((size_t)first[relations] / rows + relations + 1) * sizeof *tile);
    if (!tile)
        return OP_ENOMEM;
    for (int r = 0; r < relations; r++)
        for (int at = first[r]; at < first[r + 1]; at += rows) {
            const int left = first[r + 1] - at;
            tile[l->count++] = make_int4(r, at, left < rows ? left : rows, 0);
        }
    l->rows = first[relations];
    l->tiles.tile = upload(memory, s, tile, (size_t)l->count, &status);
    free(tile);
    return status;
}

/* ---- pieces ---- */

struct Pieces {
    int2 *piece;
    int32_t *first; /* [relations+1] */
    int32_t *node;  /* [count] target of each */
};

/* The pieces of relation r, the longest first. */
static void make_pieces(const struct rgcn_pairs *pairs, int r, Pieces *out)
{
    int place[PIECE + 2] = { 0 }; /* by PIECE - length */
    const int base = out->first[r];
    for (int pass = 0; pass < 2; pass++) {
        for (int k = pairs->first[r]; k < pairs->first[r + 1]; k++)
            for (int e = pairs->edge[k]; e < pairs->edge[k + 1]; e += PIECE) {
                const int left = pairs->edge[k + 1] - e, length = left < PIECE ? left : PIECE;
                if (pass) {
                    const int at = base + place[PIECE - length]++;
                    out->piece[at] = make_int2(
                        e, (int)((unsigned)pairs->node[k] | (unsigned)(length - 1) << NODE_BITS));
                    out->node[at] = pairs->node[k];
                } else {
                    place[PIECE - length + 1]++;
                }
            }
        for (int k = 0; !pass && k <= PIECE; k++)
            place[k + 1] += place[k];
    }
    out->first[r + 1] = base + place[PIECE];
}

static enum op_status sums_first(const struct rgcn_problem *p, const struct rgcn_pairs *pairs,
                                 const struct op_memory *memory, op_stream s, OwnLayer *l)
{
    const size_t most = (size_t)pairs->count + (size_t)p->edges / PIECE + 1;
    Pieces pieces = { (int2 *)malloc(most * sizeof(int2)),
                      (int32_t *)malloc(((size_t)p->relations + 1) * sizeof(int32_t)),
                      (int32_t *)malloc(most * sizeof(int32_t)) };
    enum op_status status = pieces.piece && pieces.first && pieces.node ? OP_OK : OP_ENOMEM;
    if (status == OP_OK) {
        pieces.first[0] = 0;
        for (int r = 0; r < p->relations; r++)
            make_pieces(pairs, r, &pieces);
        const int count = pieces.first[p->relations];
        status = make_tiles(p->relations, pieces.first, l, memory, s);
        l->tiles.piece = upload(memory, s, pieces.piece, (size_t)count, &status);
        if (l->kind == SUM_STORE && status == OP_OK) {
            status = rgcn_sums_of(p->nodes, count, pieces.node, NULL, NULL, memory, s, &l->sums);
            l->buffer = scratch<float>(memory, (size_t)count * l->tiles.out, &status);
        }
    }
    free(pieces.piece);
    free(pieces.first);
    free(pieces.node);
    return status;
}

static enum op_status product_first(const struct rgcn_problem *p, const struct rgcn_graph *host,
                                    const struct rgcn_pairs *sources,
                                    const struct op_memory *memory, op_stream s, OwnLayer *l)
{
    enum op_status status = make_tiles(p->relations, sources->first, l, memory, s);
    l->tiles.node = upload(memory, s, sources->node, (size_t)sources->count, &status);
    l->buffer = scratch<float>(memory, (size_t)sources->count * l->tiles.out, &status);
    if (status == OP_OK)
        status = rgcn_sums_of(p->nodes, (int)p->edges, host->dst, sources->of, host->norm, memory,
                              s, &l->sums);
    return status;
}

/* Elements that a layer moves when it multiplies first, less those when it sums first: of the
 * latter each pair's products are read and written, by atomics or by sums of them. */
static double first_costs(const struct rgcn_problem *p, int in, int out, int targets, int sources)
{
    const double edges = (double)p->edges;
    return (double)sources * (in + out) + edges * out - (edges * in + 2.0 * targets * out);
}

static enum op_status make_layers(const struct rgcn_problem *p, const struct rgcn_graph *host,
                                  Rows summed, const struct op_memory *memory, op_stream s,
                                  OwnRgcn *own)
{
    struct rgcn_pairs targets = {}, sources = {};
    enum op_status status = rgcn_targets(p, host, &targets);
    if (status == OP_OK)
        status = rgcn_sources(p, host, &sources);
    for (int i = 0; i < 2 && status == OP_OK; i++) {
        OwnLayer *l = &own->layer[i];
        l->tiles.in = i ? p->hidden : p->in;
        l->tiles.out = i ? p->out : p->hidden;
        l->columns = columns_of(l->tiles.out);
        l->kind = first_costs(p, l->tiles.in, l->tiles.out, targets.count, sources.count) < 0
                      ? ROW_STORE
                      : summed;
        status = l->kind == ROW_STORE ? product_first(p, host, &sources, memory, s, l)
                                      : sums_first(p, &targets, memory, s, l);
    }
    rgcn_pairs_free(&targets);
    rgcn_pairs_free(&sources);
    return status;
}

static enum op_status setup(const struct rgcn_problem *p, const struct rgcn_graph *host,
                            Rows summed, const struct op_memory *memory, op_stream s, void **state)
{
    enum op_status status = rgcn_check(p);
    *state = NULL;
    if (status != OP_OK || p->nodes > NODES_MAX)
        return status != OP_OK ? status : OP_EUNSUPPORTED;
    OwnRgcn *own = (OwnRgcn *)calloc(1, sizeof *own);
    if (!own)
        return OP_ENOMEM;
    own->hidden = scratch<float>(memory, (size_t)p->nodes * p->hidden, &status);
    if (status == OP_OK)
        status = make_layers(p, host, summed, memory, s, own);
    if (status != OP_OK) {
        free(own);
        return status;
    }
    *state = own;
    return OP_OK;
}

/* ---- launches ---- */

template <int Columns, Rows Kind> static void launch(const OwnLayer *l, const Tiles &t, op_stream s)
{
    const dim3 grid(l->count, (t.out + Columns - 1) / Columns);
    if (t.in <= 16)
        own_rgcn<Columns, 4, Kind><<<grid, THREADS, 0, s>>>(t);
    else
        own_rgcn<Columns, 8, Kind><<<grid, THREADS, 0, s>>>(t);
}

template <Rows Kind> static void launch_columns(const OwnLayer *l, const Tiles &t, op_stream s)
{
    if (l->columns == 64)
        launch<64, Kind>(l, t, s);
    else if (l->columns == 32)
        launch<32, Kind>(l, t, s);
    else
        launch<16, Kind>(l, t, s);
}

static enum op_status run_layer(const OwnLayer *l, const struct rgcn_layer *op,
                                const struct rgcn_problem *p, const struct rgcn_graph *g,
                                op_stream s)
{
    Tiles t = l->tiles;
    t.src = g->src;
    t.norm = g->norm;
    t.relu = op->relu;
    t.x = op->x;
    t.w = op->w;
    t.y = l->kind == SUM_ADD ? op->y : l->buffer;
    if (l->kind == SUM_ADD && rgcn_clear(op->y, (size_t)p->nodes * t.out, s) != OP_OK)
        return OP_EDEVICE;
    if (l->kind == SUM_ADD)
        launch_columns<SUM_ADD>(l, t, s);
    else if (l->kind == SUM_STORE)
        launch_columns<SUM_STORE>(l, t, s);
    else
        launch_columns<ROW_STORE>(l, t, s);
    if (cudaGetLastError() != cudaSuccess)
        return OP_EDEVICE;
    return l->kind == SUM_ADD ? OP_OK : rgcn_sums_run(&l->sums, t.out, l->buffer, op->y, s);
}

OP_BEGIN
#define SETUP(name, summed)                                                                    \
    enum op_status name(const struct rgcn_problem *p, const struct rgcn_graph *host,           \
                        const struct rgcn_args *a, const struct op_memory *m, op_stream s,     \
                        void **state)                                                          \
    {                                                                                          \
        (void)a;                                                                               \
        return setup(p, host, summed, m, s, state);                                            \
    }
SETUP(rgcn_own_setup, SUM_ADD)
SETUP(rgcn_own_ordered_setup, SUM_STORE)
#undef SETUP

enum op_status rgcn_own(const struct rgcn_problem *p, const struct rgcn_args *a, void *state,
                        op_stream s)
{
    const OwnRgcn *own = (const OwnRgcn *)state;
    enum op_status status = OP_OK;
    for (int l = 0; l < 2 && status == OP_OK; l++) {
        const struct rgcn_layer layer = rgcn_layer_of(p, a, own->hidden, l);
        status = run_layer(&own->layer[l], &layer, p, &a->graph, s);
    }
    return status;
}

void rgcn_own_teardown(void *state)
{
    free(state);
}

void rgcn_own_counts(const struct rgcn_problem *p, const void *state, struct rgcn_counts *counts)
{
    const OwnRgcn *own = (const OwnRgcn *)state;
    *counts = {};
    for (int l = 0; l < 2; l++) {
        const OwnLayer *layer = &own->layer[l];
        counts->rows += layer->rows;
        counts->extra_bytes += 8.0 * layer->rows * layer->tiles.out +
                               (layer->kind == SUM_ADD ? 8.0 * layer->rows : 8.0 * (double)p->edges);
    }
}
OP_END
