/*
 * own_mma.cu - C = A B on tensor cores, A as column vectors (vectors.h).
 *
 * The factors of a product are swapped, so that eight rows of A are its narrow side and a vector
 * of 8x1 fills it; panels of 16 rows do it twice with the same rows of B:
 *
 *     C' [16 columns][8 rows]  +=  B' [16 columns][16 vectors]  A' [16 vectors][8 rows]
 *
 * Which column of B and which vector a place of the product holds is free, as long as both factors
 * agree.  So a lane loads of B what it needs itself, V neighbouring columns at a time, and nothing
 * goes through shared memory.  Lane l, r = l / 4, q = l % 4, tile of 8 V columns:
 *
 *   cols    vectors 4 q .. 4 q + 3            one load of 16 bytes, the same in all r
 *   B       columns r V .. r V + V - 1        four loads, of those four rows: with V elements of
 *                                             16 bytes, eight lanes take a line of 128 bytes
 *   values  row r, vectors 4 q .. 4 q + 3     one load of 8 or 16 bytes to eight rows
 *   C       rows 2 q, 2 q + 1, columns r V .. r V + V - 1
 *
 * Half: m16n8k16 t makes columns r V + 2 t, in the places of rows 0 .. 7 of its C, and r V + 2 t + 1
 * in those of rows 8 .. 15; pairs of vectors are put together from two loads.  TF32: twice
 * m16n8k8, vectors 4 q and 4 q + 1, then 4 q + 2 and 4 q + 3; B is rounded to nearest when it has
 * been loaded, A by set-up.  Sums are float throughout.
 *
 * A warp makes an item: steps of one panel, in one tile of columns, all items of a tile before the
 * next, so that its part of B stays in L2.  Bound by the loads of B.  Long panels are cut; their
 * sums are added in order by a second kernel, so that C is the same in each run.
 *
 * Set-up is done on the device, by as many lanes to a panel as it has rows, each at one row, which
 * merge the columns.
 */
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <limits.h>
#include <stdlib.h>

#include "../common/warp.cuh"
#include "own_kernels.h"
#include "own_mma.cuh"
#include "shape.h"
#include "vectors.h"
#include "view.cuh"

constexpr int BLOCK = 128; /* threads; a block holds its place until its longest item ends */
constexpr int STEP = VECTORS_STEP, GROUP = VECTORS_GROUP;

/* ---- set-up: the vectors of each panel ---- */

constexpr int NONE = INT_MAX; /* beyond every column */

/*
 * Lane r of `rows` lanes walks row r of a panel; the least column of all is the next vector.
 *
 * FILL: writes columns, and values where a row has one; else counts steps.  All lanes of a warp
 * stay as long as one of them has entries.
 */
template <class Type, int GROUPS, bool FILL>
static __global__ __launch_bounds__(SPMM_BLOCK) void merge_rows(spmm_matrix a, int m, int panels,
                                                                int *steps, const int *first,
                                                                int *cols,
                                                                typename Type::Element *values)
{
    constexpr int ROWS = GROUPS * GROUP;
    const int lane = threadIdx.x % ROWS;
    const int panel = blockIdx.x * (SPMM_BLOCK / ROWS) + threadIdx.x / ROWS;
    const long row = (long)panel * ROWS + lane;
    const long begin = FILL && panel < panels ? first[panel] : 0;
    int p = 0, end = 0, count = 0, last = 0;
    if (row < m) {
        p = a.row_ptr[row];
        end = a.row_ptr[row + 1];
    }
    int head = p < end ? a.col[p] : NONE;
    while (__any_sync(ALL_LANES, head != NONE)) {
        int least = head;
#pragma unroll
        for (int d = ROWS / 2; d; d /= 2)
            least = min(least, __shfl_xor_sync(ALL_LANES, least, d));
        if (least == NONE) /* of this panel; others of the warp go on */
            continue;
        const long step = begin + count / STEP;
        const int v = count % STEP;
        if (FILL && lane == 0)
            cols[step * STEP + v] = least;
        last = least;
        count++;
        if (head != least)
            continue;
        if (FILL)
            values[vectors_slot(step, GROUPS, lane, v)] = Type::value(a.val, p);
        p++;
        head = p < end ? a.col[p] : NONE;
    }
    if (lane || panel >= panels)
        return;
    if (!FILL)
        steps[panel] = (count + STEP - 1) / STEP;
    for (; FILL && count % STEP; count++)
        cols[(begin + count / STEP) * STEP + count % STEP] = last;
}

/* ---- a step ---- */

struct Format {
    const int4 *cols;   /* [steps][4] */
    const void *values; /* [steps][GROUPS][32] of Type::Values */
    const vectors_item *item;
    float *carry; /* [slots][rows of a panel][n] */
    int items;
};

template <class Type, int V, int Q, int GROUPS> struct Tile {
    static constexpr int PRODUCTS = V > 1 ? V / 2 : 1;
    using Load = typename Type::template Load<V>;

    float sum[Q][GROUPS][PRODUCTS][4];
    const char *b[Q]; /* this lane's columns of row 0 */
    size_t stride;    /* of a row of B, bytes */

    __device__ __forceinline__ void clear()
    {
#pragma unroll
        for (int q = 0; q < Q; q++)
#pragma unroll
            for (int g = 0; g < GROUPS; g++)
#pragma unroll
                for (int t = 0; t < PRODUCTS; t++)
#pragma unroll
                    for (int e = 0; e < 4; e++)
                        sum[q][g][t][e] = 0;
    }

    static __device__ __forceinline__ void load_cols(const Format &f, int at, int end,
                                                     int4 (&cols)[2])
    {
#pragma unroll
        for (int u = 0; u < 2; u++)
            if (at + u < end)
                cols[u] = __ldg(f.cols + (size_t)(at + u) * 4 + threadIdx.x % 4);
    }

    /* U steps from `at` on, whose columns are in cols; then those of the two after it are. */
    template <int U>
    __device__ __forceinline__ void steps(const Format &f, int at, int end, int4 (&cols)[2])
    {
        const int lane = threadIdx.x % WARP;
        Load x[U][4][Q];
        typename Type::Values values[U][GROUPS];
#pragma unroll
        for (int u = 0; u < U; u++) {
            const int row[4] = { cols[u].x, cols[u].y, cols[u].z, cols[u].w };
#pragma unroll
            for (int i = 0; i < 4; i++)
#pragma unroll
                for (int q = 0; q < Q; q++)
                    x[u][i][q].load(b[q] + (size_t)(unsigned)row[i] * stride);
#pragma unroll
            for (int g = 0; g < GROUPS; g++)
                values[u][g] = __ldcs((const typename Type::Values *)f.values +
                                      ((size_t)(at + u) * GROUPS + g) * WARP + lane);
        }
        load_cols(f, at + U, end, cols);
#pragma unroll
        for (int u = 0; u < U; u++)
#pragma unroll
            for (int q = 0; q < Q; q++)
#pragma unroll
                for (int t = 0; t < PRODUCTS; t++) {
                    const typename Type::Factor factor(x[u][0][q], x[u][1][q], x[u][2][q],
                                                       x[u][3][q], t);
#pragma unroll
                    for (int g = 0; g < GROUPS; g++)
                        factor.multiply(sum[q][g][t], values[u][g]);
                }
    }
};

/* ---- kernel ---- */

template <class Type, int V, int Q, int GROUPS>
static __global__ __launch_bounds__(BLOCK) void own_mma(Format f, const void *b, void *c, int m,
                                                        int n)
{
    constexpr int ROWS = GROUPS * GROUP, U = 2 / Q;
    const int at = blockIdx.x * (BLOCK / WARP) + threadIdx.x / WARP;
    if (at >= f.items)
        return;
    const int4 item = __ldg((const int4 *)f.item + at);
    const int lane = threadIdx.x % WARP, r = lane / 4, pair = lane % 4 * 2;
    const int j0 = blockIdx.y * (GROUP * V * Q) + r * V;
    Tile<Type, V, Q, GROUPS> tile;
    tile.clear();
    tile.stride = (size_t)n * sizeof(typename Type::Element);
#pragma unroll
    for (int q = 0; q < Q; q++) {
        const int j = j0 + q * GROUP * V; /* a lane without columns reads the last, stores none */
        tile.b[q] = (const char *)((const typename Type::Element *)b + (j < n ? j : n - V));
    }
    int s = item.y;
    int4 cols[2] = {};
    tile.load_cols(f, s, item.z, cols);
    for (; s + U <= item.z; s += U)
        tile.template steps<U>(f, s, item.z, cols);
    if (U > 1 && s < item.z)
        tile.template steps<1>(f, s, item.z, cols);
#pragma unroll
    for (int q = 0; q < Q; q++)
#pragma unroll
        for (int g = 0; g < GROUPS; g++)
#pragma unroll
            for (int i = 0; i < 2; i++) {
                const int j = j0 + q * GROUP * V, row = g * GROUP + pair + i;
                const long to = (long)item.x * ROWS + row;
                float out[V];
#pragma unroll
                for (int v = 0; v < V; v++)
                    out[v] = tile.sum[q][g][v / 2][v % 2 * 2 + i];
                if (j >= n || to >= m)
                    continue;
                if (item.w < 0)
                    Type::store((typename Type::Element *)c + (size_t)to * n + j, out);
                else
                    for (int v = 0; v < V; v++)
                        f.carry[((size_t)item.w * ROWS + row) * n + j + v] = out[v];
            }
}

/* ---- panels in pieces: a block adds up one of them, or a part of its columns ---- */

template <class Type>
static __global__ __launch_bounds__(SPMM_BLOCK) void add_pieces(const vectors_cut *cut,
                                                                const float *carry, void *c,
                                                                int rows, int m, int n)
{
    const vectors_cut of = cut[blockIdx.x];
    const size_t elements = (size_t)rows * n;
    for (size_t e = blockIdx.y * (size_t)SPMM_BLOCK + threadIdx.x; e < elements;
         e += (size_t)gridDim.y * SPMM_BLOCK) {
        const size_t first = (size_t)of.panel * rows * n;
        float sum[1] = { 0 };
        for (int i = 0; i < of.pieces; i++)
            sum[0] += carry[((size_t)of.first + i) * elements + e];
        if (first + e < (size_t)m * n)
            Type::store((typename Type::Element *)c + first + e, sum);
    }
}

/* ---- set-up ---- */

struct Mma {
    Format format;
    vectors_cut *cut;
    int cuts, panels, groups, vector, tiles_of; /* columns: of a lane's load; loads to a lane */
    long steps, vectors;
};

template <class Type, bool FILL>
static void merge(const struct spmm_problem *p, const struct spmm_args *a, const Mma *t, int *steps,
                  const int *first, op_stream s)
{
    const int rows = t->groups * GROUP;
    const unsigned blocks = spmm_div_up(t->panels, SPMM_BLOCK / rows);
    int *const cols = (int *)t->format.cols;
    typename Type::Element *const values = (typename Type::Element *)t->format.values;
    if (t->groups == 1)
        merge_rows<Type, 1, FILL><<<blocks, SPMM_BLOCK, 0, s>>>(a->a, p->m, t->panels, steps, first,
                                                              cols, values);
    else
        merge_rows<Type, 2, FILL><<<blocks, SPMM_BLOCK, 0, s>>>(a->a, p->m, t->panels, steps, first,
                                                              cols, values);
}

/* Counts the steps of all panels: on the device `first` becomes where each begins, on the host
 * `steps` how many it has; both [panels]. */
template <class Type>
static enum op_status count_steps(const struct spmm_problem *p, const struct spmm_args *a, Mma *t,
                                  int *first, int *steps, op_stream s)
{
    const size_t bytes = (size_t)t->panels * sizeof *steps;
    int *begin;
    merge<Type, false>(p, a, t, first, NULL, s);
    enum op_status status = launched();
    if (!status)
        status = done(cudaMemcpyAsync(steps, first, bytes, cudaMemcpyDeviceToHost, s));
    if (!status)
        status = done(cudaStreamSynchronize(s));
    if (status)
        return status;
    begin = (int *)malloc(bytes);
    if (!begin)
        return OP_ENOMEM;
    for (int i = 0; i < t->panels; i++) {
        begin[i] = (int)t->steps;
        t->steps += steps[i];
    }
    status = done(cudaMemcpyAsync(first, begin, bytes, cudaMemcpyHostToDevice, s));
    if (!status)
        status = done(cudaStreamSynchronize(s));
    free(begin);
    return status;
}

/* Items, cuts and carries on the device, from the steps of the panels. */
static enum op_status take_plan(const struct spmm_problem *p, Mma *t, const int *steps,
                                const struct op_memory *memory, op_stream s)
{
    const long tiles = spmm_div_up(p->n, (long)GROUP * t->vector * t->tiles_of);
    struct vectors_plan plan;
    enum op_status status = vectors_divide(steps, t->panels, vectors_whole(t->steps, tiles), &plan);
    if (status)
        return status;
    const size_t items = (size_t)plan.items * sizeof *plan.item;
    const size_t cuts = (size_t)plan.cuts * sizeof *plan.cut;
    const size_t slot = (size_t)t->groups * GROUP * p->n * sizeof *t->format.carry;
    vectors_item *const item = (vectors_item *)take(memory, items);
    t->cut = (vectors_cut *)take(memory, cuts);
    t->cuts = plan.cuts;
    t->format.item = item;
    t->format.items = plan.items;
    t->format.carry = (float *)take(memory, slot * plan.slots);
    if (!item || !t->cut || !t->format.carry)
        status = OP_ENOMEM;
    if (!status)
        status = done(cudaMemcpyAsync(item, plan.item, items, cudaMemcpyHostToDevice, s));
    if (!status && cuts)
        status = done(cudaMemcpyAsync(t->cut, plan.cut, cuts, cudaMemcpyHostToDevice, s));
    if (!status)
        status = done(cudaStreamSynchronize(s));
    vectors_plan_free(&plan);
    return status;
}

template <class Type>
static enum op_status take_vectors(const struct spmm_problem *p, const struct spmm_args *a, Mma *t,
                                   const int *first, const struct op_memory *memory, op_stream s)
{
    const size_t values = (size_t)t->steps * STEP * GROUP * t->groups;
    const size_t bytes = values * sizeof(typename Type::Element);
    t->format.cols = (int4 *)take(memory, (size_t)t->steps * STEP * sizeof(int));
    t->format.values = take(memory, bytes);
    if (!t->format.cols || !t->format.values)
        return OP_ENOMEM;
    enum op_status status = done(cudaMemsetAsync((void *)t->format.values, 0, bytes, s));
    if (status)
        return status;
    merge<Type, true>(p, a, t, NULL, first, s);
    status = launched();
    return status ? status : done(cudaStreamSynchronize(s));
}

/* The widest load that rows of B allow and a tile of n columns fills. */
static void shape_of(const struct spmm_problem *p, int widest, Mma *t)
{
    const int groups = vectors_rule(p);
    t->groups = groups ? groups : 1;
    t->panels = (int)spmm_div_up(p->m, t->groups * GROUP);
    t->vector = widest;
    while (t->vector > 1 && (p->n % t->vector || (t->vector > 2 && p->n < t->vector * GROUP)))
        t->vector /= 2;
    t->tiles_of = t->vector == widest && p->n % (2 * widest * GROUP) == 0 ? 2 : 1;
}

template <class Type>
static enum op_status set_up(const struct spmm_problem *p, const struct spmm_args *a,
                             const struct op_memory *memory, op_stream s, Mma *t)
{
    shape_of(p, Type::WIDEST, t);
    const size_t bytes = (size_t)t->panels * sizeof(int);
    int *const first = (int *)take(memory, bytes), *const steps = (int *)malloc(bytes);
    enum op_status status = first && steps ? OP_OK : OP_ENOMEM;
    if (!status)
        status = count_steps<Type>(p, a, t, first, steps, s);
    if (!status)
        status = take_plan(p, t, steps, memory, s);
    if (!status)
        status = take_vectors<Type>(p, a, t, first, memory, s);
    t->vectors = p->vectors[t->groups - 1];
    free(steps);
    return status;
}

template <class Type>
static enum op_status new_state(const struct spmm_problem *p, const struct spmm_args *a,
                                const struct op_memory *memory, op_stream s, void **state)
{
    Mma *t = (Mma *)calloc(1, sizeof *t);
    *state = NULL;
    if (!t)
        return OP_ENOMEM;
    const enum op_status status = set_up<Type>(p, a, memory, s, t);
    if (status) {
        free(t);
        return status;
    }
    *state = t;
    return OP_OK;
}

/* ---- launches: the form becomes constants ---- */

template <class Type, int V, int Q, int GROUPS>
static enum op_status launch(const struct spmm_problem *p, const struct spmm_args *a, const Mma *t,
                             op_stream s)
{
    const int rows = GROUPS * GROUP;
    const dim3 grid(spmm_div_up(t->format.items, BLOCK / WARP), spmm_div_up(p->n, GROUP * V * Q));
    own_mma<Type, V, Q, GROUPS><<<grid, BLOCK, 0, s>>>(t->format, a->b, a->c, p->m, p->n);
    enum op_status status = launched();
    if (status || !t->cuts)
        return status;
    const dim3 sums(t->cuts, spmm_least(spmm_div_up((long)rows * p->n, SPMM_BLOCK), SPMM_GRID_Y));
    add_pieces<Type><<<sums, SPMM_BLOCK, 0, s>>>(t->cut, t->format.carry, a->c, rows, p->m, p->n);
    return launched();
}

template <class Type, int V, int Q>
static enum op_status launch_groups(const struct spmm_problem *p, const struct spmm_args *a,
                                    const Mma *t, op_stream s)
{
    return t->groups == 1 ? launch<Type, V, Q, 1>(p, a, t, s) : launch<Type, V, Q, 2>(p, a, t, s);
}

template <class Type>
static enum op_status run(const struct spmm_problem *p, const struct spmm_args *a, const Mma *t,
                          op_stream s)
{
    if (t->tiles_of == 2)
        return launch_groups<Type, Type::WIDEST, 2>(p, a, t, s);
    switch (t->vector) {
    case 8:
        if constexpr (Type::WIDEST == 8)
            return launch_groups<Type, 8, 1>(p, a, t, s);
        break;
    case 4: return launch_groups<Type, 4, 1>(p, a, t, s);
    case 2: return launch_groups<Type, 2, 1>(p, a, t, s);
    case 1: return launch_groups<Type, 1, 1>(p, a, t, s);
    }
    return OP_EUNSUPPORTED;
}

OP_BEGIN
spmm_setup_fn spmm_own_mma_f16_setup, spmm_own_mma_tf32_setup;
spmm_run_fn spmm_own_mma_f16, spmm_own_mma_tf32;

enum op_status spmm_own_mma_f16_setup(const struct spmm_problem *p, const struct spmm_matrix *,
                                      const struct spmm_args *args, const struct op_memory *memory,
                                      op_stream s, void **state)
{
    return new_state<Half>(p, args, memory, s, state);
}

enum op_status spmm_own_mma_tf32_setup(const struct spmm_problem *p, const struct spmm_matrix *,
                                       const struct spmm_args *args, const struct op_memory *memory,
                                       op_stream s, void **state)
{
    return new_state<Tf32>(p, args, memory, s, state);
}

enum op_status spmm_own_mma_f16(const struct spmm_problem *p, const struct spmm_args *a,
                                void *state, op_stream s)
{
    return run<Half>(p, a, (const Mma *)state, s);
}

enum op_status spmm_own_mma_tf32(const struct spmm_problem *p, const struct spmm_args *a,
                                 void *state, op_stream s)
{
    return run<Tf32>(p, a, (const Mma *)state, s);
}

void spmm_own_mma_f16_format(const void *state, struct spmm_format *out)
{
    const Mma *t = (const Mma *)state;
    const long values = t->steps * STEP * GROUP * t->groups;
    *out = { t->groups * GROUP, t->vectors, values, 2.0 * values + 4.0 * STEP * t->steps };
}

void spmm_own_mma_tf32_format(const void *state, struct spmm_format *out)
{
    spmm_own_mma_f16_format(state, out);
    out->bytes += 2.0 * out->values;
}

void spmm_own_mma_teardown(void *state)
{
    free(state);
}
OP_END
