/*
 * own_row.cu - C = A B: a group of lanes makes a row, several rows a warp.
 *
 * For rows of like length.  Bound by the gathering of B, from memory, L2 or L1 as
 * the columns of neighbouring rows overlap; rows stay in their order, so that
 * they do.  A group is as narrow as vector loads of a tile of columns allow
 * (own_tile.cuh); it grows by teams, E > 1, where rows are so few that the
 * device would idle, and for n <= 4, where a row of B is one load.
 *
 *   group     0 ..  slots-1     pieces of long rows, first: they take longest
 *             slots ..          row group - slots; a long one is left out
 *
 * A row is long beyond 8 times the mean and 256 entries; own_plan.h says how its
 * pieces come together.  The loop over batches is the same for all groups of a
 * warp, so that shuffles take full warps.
 *
 * Wide C is made in tiles of columns, all rows of one before the next, so that
 * its part of B stays in L2: up to 128 columns (own_row), 256 (own_row_q2), 32
 * (own_row_panel).
 */
#include <cuda_runtime.h>

#include <stdlib.h>

#include "own_kernels.h"
#include "own_plan.h"
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
    int lanes, teams;
};

static enum op_status set_up(const struct spmm_problem *p, const struct spmm_args *args, int lanes,
                             const struct op_memory *memory, op_stream s, void **state)
{
    const int mean = (int)(p->row_mean + 0.5);
    RowState *t = (RowState *)calloc(1, sizeof *t);
    *state = NULL;
    if (!t)
        return OP_ENOMEM;
    t->lanes = lanes;
    t->teams = 1;
    /* four entries a team: as many loads in flight as a batch has steps */
    while (lanes == 1 && t->teams < WARP && t->teams * 4 < mean)
        t->teams *= 2;
    /* twice the warps that any device holds, if a row has two batches for each team */
    while (lanes * t->teams < WARP && (long)p->m * lanes * t->teams < (16384L * WARP) &&
           mean >= t->teams * 2 * 2 * own_more(lanes, 4))
        t->teams *= 2;
    int whole = 256 * t->teams;
    while (whole < 8 * mean)
        whole *= 2;
    const enum op_status status = own_plan_pieces(p, args, whole, memory, s, &t->plan);
    if (status) {
        free(t);
        return status;
    }
    *state = t;
    return OP_OK;
}

/* ---- launches: the state's lanes and teams become constants ---- */

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

/* The widest group that was compiled and is not wider than the state's. */
template <int V, int Q, int U, int L>
static enum op_status launch_teams(const struct spmm_problem *p, const struct spmm_args *a,
                                   const RowState *t, op_stream s)
{
    if constexpr (L == 1) {
        switch (t->teams) {
        case 32: return launch<V, Q, U, L, 32>(p, a, t, s);
        case 16: return launch<V, Q, U, L, 16>(p, a, t, s);
        case 8: return launch<V, Q, U, L, 8>(p, a, t, s);
        case 4: return launch<V, Q, U, L, 4>(p, a, t, s);
        case 2: return launch<V, Q, U, L, 2>(p, a, t, s);
        }
    } else {
        if constexpr (L < WARP)
            if (t->teams >= WARP / L)
                return launch<V, Q, U, L, WARP / L>(p, a, t, s);
        if constexpr (V == 4 && L < 8)
            if (t->teams >= 4)
                return launch<V, Q, U, L, 4>(p, a, t, s);
    }
    return launch<V, Q, U, L, 1>(p, a, t, s);
}

template <int V, int Q, int U>
static enum op_status launch_lanes(const struct spmm_problem *p, const struct spmm_args *a,
                                   void *state, op_stream s)
{
    const RowState *t = (const RowState *)state;
    switch (t->lanes) {
    case 1: return launch_teams<V, Q, U, 1>(p, a, t, s);
    case 2: return launch_teams<V, Q, U, 2>(p, a, t, s);
    case 4: return launch_teams<V, Q, U, 4>(p, a, t, s);
    case 8: return launch_teams<V, Q, U, 8>(p, a, t, s);
    case 16: return launch_teams<V, Q, U, 16>(p, a, t, s);
    default: return launch_teams<V, Q, U, 32>(p, a, t, s);
    }
}

OP_BEGIN
spmm_run_fn spmm_own_row, spmm_own_row_u8, spmm_own_row_q2;
spmm_setup_fn spmm_own_row_setup, spmm_own_row_panel_setup, spmm_own_row_q2_setup;

enum op_status spmm_own_row_setup(const struct spmm_problem *p, const struct spmm_matrix *,
                                  const struct spmm_args *args, const struct op_memory *memory,
                                  op_stream s, void **state)
{
    return set_up(p, args, own_lanes(p->n, spmm_vector(p->n), WARP), memory, s, state);
}

enum op_status spmm_own_row_panel_setup(const struct spmm_problem *p, const struct spmm_matrix *,
                                    const struct spmm_args *args, const struct op_memory *memory,
                                    op_stream s, void **state)
{
    const int v = spmm_vector(p->n);
    return set_up(p, args, own_lanes(p->n, v, SPMM_TILE / v), memory, s, state);
}

enum op_status spmm_own_row_q2_setup(const struct spmm_problem *p, const struct spmm_matrix *,
                                     const struct spmm_args *args, const struct op_memory *memory,
                                     op_stream s, void **state)
{
    return set_up(p, args, own_lanes_exact(p->n, 8), memory, s, state);
}

enum op_status spmm_own_row(const struct spmm_problem *p, const struct spmm_args *a, void *state,
                            op_stream s)
{
    switch (spmm_vector(p->n)) {
    case 4: return launch_lanes<4, 1, 4>(p, a, state, s);
    case 2: return launch_lanes<2, 1, 4>(p, a, state, s);
    default: return launch_lanes<1, 1, 4>(p, a, state, s);
    }
}

enum op_status spmm_own_row_u8(const struct spmm_problem *p, const struct spmm_args *a,
                               void *state, op_stream s)
{
    return launch_lanes<4, 1, 8>(p, a, state, s);
}

enum op_status spmm_own_row_q2(const struct spmm_problem *p, const struct spmm_args *a,
                               void *state, op_stream s)
{
    return launch_lanes<4, 2, 4>(p, a, state, s);
}

void spmm_own_row_teardown(void *state)
{
    free(state);
}
OP_END
