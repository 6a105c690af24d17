/*
 * own_row.cu - C = A B: a group of lanes makes a row, several rows a warp.
 *
 * For rows of like length.  Bound by the gathering of B, from memory, L2 or L1 as
 * the columns of neighbouring rows overlap; rows stay in their order, so that
 * they do.  A group is as narrow as vector loads of a tile of columns allow
 * (own_tile.cuh); it grows by teams, E > 1, where rows are long or few, and for
 * n <= 4, where a row of B is one load.  own_rules.h says which form when.
 *
 *   group     0 ..  slots-1     pieces of long rows, first: they take longest
 *             slots ..          row group - slots; a long one is left out
 *
 * A row is long beyond 8 times the mean and some hundred entries; own_plan.h says
 * how its pieces come together.  The loop over batches is the same for all groups of a
 * warp, so that shuffles take full warps.
 *
 * Wide C is made in tiles of columns, all rows of one before the next, so that
 * its part of B stays in L2: 32 to 256 columns.
 */
#include <cuda_runtime.h>

#include <stdlib.h>

#include "own_kernels.h"
#include "own_plan.h"
#include "own_rules.h"
#include "own_tile.cuh"
#include "view.cuh"

/* What a group has to do; sum goes to c, nowhere if NULL. */
struct Work {
    unsigned begin, end;
    float *c;
};

static __device__ __forceinline__ Work work_of(const spmm_args &a, const own_plan &plan, int m,
                                               int n, unsigned group)
{
    Work w = { 0, 0, NULL };
    if (group < plan.slots) {
        const int2 piece = __ldg((const int2 *)plan.piece + group);
        w = { (unsigned)piece.x, (unsigned)piece.y, plan.carry + (size_t)group * n };
    } else if (group - plan.slots < m) {
        const unsigned row = group - plan.slots;
        w = { (unsigned)row_begin(a, row), (unsigned)row_begin(a, row + 1),
              (float *)a.c + (size_t)row * n };
        if (w.end - w.begin > plan.whole)
            w = { 0, 0, NULL };
    }
    return w;
}

template <int V, int Q, int U, int L, int E>
static __global__ __launch_bounds__(SPMM_BLOCK) void own_rows(spmm_args a, own_plan plan, int m,
                                                              int n)
{
    constexpr int T = L * E, STEPS = own_more(L, U), W = STEPS / L;
    const int lane = threadIdx.x % T, e = lane / L;
    const Columns<V, Q, L> columns(a, n, lane % L);
    const Work work = work_of(a, plan, m, n, blockIdx.x * (SPMM_BLOCK / T) + threadIdx.x / T);
    Batch<T, W> batch, next;
    float sum[Q][V];
    clear(sum);
    unsigned p = work.begin;
    batch.load(a, p, work.end, lane);
    while (__any_sync(ALL_LANES, p < work.end)) {
        const int left = p < work.end ? work.end - p : 0;
        p += T * W;
        next.load(a, p, work.end, lane);
#pragma unroll
        for (int s = 0; s < STEPS; s += U) {
            float x[U][Q][V], value[U];
            if (s && !__any_sync(ALL_LANES, s * E < left))
                break;
#pragma unroll
            for (int u = 0; u < U; u++) {
                const int col = batch.template col_of<L>(s + u, e);
                value[u] = batch.template val_of<L>(s + u, e);
                if ((s + u) * E + e < left)
                    columns.load(col, x[u]);
            }
#pragma unroll
            for (int u = 0; u < U; u++)
                if ((s + u) * E + e < left)
                    add(value[u], x[u], sum);
        }
        batch = next;
    }
#pragma unroll
    for (int d = T / 2; d >= L; d /= 2)
#pragma unroll
        for (int q = 0; q < Q; q++)
#pragma unroll
            for (int i = 0; i < V; i++)
                sum[q][i] += __shfl_xor_sync(ALL_LANES, sum[q][i], d);
    if (!e && work.c)
        columns.store(work.c, sum);
}

/* ---- set-up ---- */

struct RowState {
    struct own_plan plan;
    struct own_row_form form;
};

/* ---- launches: the form becomes constants ---- */

template <int V, int Q, int U, int L, int E>
static enum op_status launch(const struct spmm_problem *p, const struct spmm_args *a,
                             const RowState *t, op_stream s)
{
    const long groups = (long)p->m + t->plan.slots;
    const dim3 grid(spmm_div_up(groups * L * E, SPMM_BLOCK), spmm_div_up(p->n, L * V * Q));
    own_rows<V, Q, U, L, E><<<grid, SPMM_BLOCK, 0, s>>>(*a, t->plan, p->m, p->n);
    const enum op_status status = launched();
    return status ? status : own_plan_combine(p, a, &t->plan, s);
}

/* The widest group that was compiled and is not wider than the form's. */
template <int V, int U, int L>
static enum op_status launch_teams(const struct spmm_problem *p, const struct spmm_args *a,
                                   const RowState *t, op_stream s)
{
    const int teams = t->form.teams;
    if constexpr (L == 1) {
        switch (teams) {
        case 32: return launch<V, 1, U, L, 32>(p, a, t, s);
        case 16: return launch<V, 1, U, L, 16>(p, a, t, s);
        case 8: return launch<V, 1, U, L, 8>(p, a, t, s);
        case 4: return launch<V, 1, U, L, 4>(p, a, t, s);
        case 2: return launch<V, 1, U, L, 2>(p, a, t, s);
        }
    } else {
        if constexpr (L < WARP)
            if (teams >= WARP / L)
                return launch<V, 1, U, L, WARP / L>(p, a, t, s);
        if constexpr (V == 4 && L < 8)
            if (teams >= 4)
                return launch<V, 1, U, L, 4>(p, a, t, s);
    }
    return launch<V, 1, U, L, 1>(p, a, t, s);
}

template <int V>
static enum op_status launch_lanes(const struct spmm_problem *p, const struct spmm_args *a,
                                   const RowState *t, op_stream s)
{
    switch (t->form.lanes) {
    case 1: return launch_teams<V, 4, 1>(p, a, t, s);
    case 2: return launch_teams<V, 4, 2>(p, a, t, s);
    case 4: return launch_teams<V, 4, 4>(p, a, t, s);
    case 8: return launch_teams<V, 4, 8>(p, a, t, s);
    case 16: return launch_teams<V, 4, 16>(p, a, t, s);
    default: return launch_teams<V, 4, 32>(p, a, t, s);
    }
}

/* Two vectors a lane: tiles of 32 columns and more. */
static enum op_status launch_two(const struct spmm_problem *p, const struct spmm_args *a,
                                 const RowState *t, op_stream s)
{
    switch (t->form.lanes) {
    case 4: return launch<4, 2, 4, 4, 1>(p, a, t, s);
    case 8: return launch<4, 2, 4, 8, 1>(p, a, t, s);
    case 16: return launch<4, 2, 4, 16, 1>(p, a, t, s);
    default: return launch<4, 2, 4, 32, 1>(p, a, t, s);
    }
}

/* Eight rows of B in flight a lane: tiles of 8, 16 and 32 columns. */
static enum op_status launch_eight(const struct spmm_problem *p, const struct spmm_args *a,
                                   const RowState *t, op_stream s)
{
    switch (t->form.lanes) {
    case 2: return launch_teams<4, 8, 2>(p, a, t, s);
    case 4: return launch_teams<4, 8, 4>(p, a, t, s);
    default: return launch_teams<4, 8, 8>(p, a, t, s);
    }
}

OP_BEGIN
spmm_run_fn spmm_own_row;
spmm_setup_fn spmm_own_row_setup;

enum op_status spmm_own_row_setup(const struct spmm_problem *p, const struct spmm_matrix *host,
                                  const struct spmm_args *args, const struct op_memory *memory,
                                  op_stream s, void **state)
{
    struct spmm_locality locality;
    RowState *t = (RowState *)calloc(1, sizeof *t);
    *state = NULL;
    if (!t)
        return OP_ENOMEM;
    spmm_locality_of(p, host, &locality);
    own_row_rule(p, &locality, &t->form);
    const enum op_status status = own_plan_pieces(p, args, t->form.whole, memory, s, &t->plan);
    if (status) {
        free(t);
        return status;
    }
    *state = t;
    return OP_OK;
}

enum op_status spmm_own_row(const struct spmm_problem *p, const struct spmm_args *a, void *state,
                            op_stream s)
{
    const RowState *t = (const RowState *)state;
    if (t->form.vectors == 2)
        return launch_two(p, a, t, s);
    if (t->form.loads == 8)
        return launch_eight(p, a, t, s);
    switch (spmm_vector(p->n)) {
    case 4: return launch_lanes<4>(p, a, t, s);
    case 2: return launch_lanes<2>(p, a, t, s);
    default: return launch_lanes<1>(p, a, t, s);
    }
}

void spmm_own_row_teardown(void *state)
{
    free(state);
}
OP_END
