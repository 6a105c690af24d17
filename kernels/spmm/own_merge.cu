/*
 * own_merge.cu - C = A B: a group of lanes makes a chunk of A, whatever the
 * lengths of its rows.
 *
 * Chunks hold equally many entries and ends of rows (own_plan.h), so neither a
 * long row nor a run of empty ones delays anybody.  A group walks its entries
 * without regard to rows: the loads of B of several entries, of several rows
 * where these are short, are under way together.  Before an entry that begins
 * a row the sum so far is stored; empty rows are stored as zero on the way.
 *
 *   entry       e e e e | e e e e | e e       | begin of a batch
 *   row         2 2 4 4   4 5 5 5   5 9
 *   stored          2,3     4         5,6,7,8     9 when the chunk ends, or to a carry
 *
 * The columns of a tile decide the lanes of a group (own_tile.cuh), own_rules.h the
 * size of a chunk.  Bound as own_row.
 */
#include <cuda_runtime.h>

#include <stdlib.h>

#include "own_kernels.h"
#include "own_plan.h"
#include "own_rules.h"
#include "own_tile.cuh"
#include "view.cuh"

/* The row whose sum is being made, and where it ends. */
struct Row {
    int row, last;        /* of the chunk: those before last end in it */
    unsigned next, after; /* the entries at which the two rows after it begin */
    float *c;             /* where the sum goes */
};

static __device__ __forceinline__ unsigned begin_of(const spmm_args &a, int m, int row)
{
    return row <= m ? row_begin(a, row) : ~0u;
}

template <class Columns, int V, int Q>
static __device__ __forceinline__ void finish(const spmm_args &a, int m, const Columns &columns,
                                              Row &r, float (&sum)[Q][V])
{
    columns.store(r.c, sum);
    clear(sum);
    r.row++;
    r.c = (float *)((char *)a.c + (size_t)(unsigned)r.row * columns.stride);
    r.next = r.after; /* loaded a row ahead: it decides about the next entry */
    r.after = begin_of(a, m, r.row + 2);
}

template <int V, int Q, int U, int L>
static __global__ __launch_bounds__(SPMM_BLOCK) void own_chunks(spmm_args a, own_plan plan, int m,
                                                                int n)
{
    constexpr int STEPS = own_more(L, U), W = STEPS / L;
    const int lane = threadIdx.x % L;
    const unsigned chunk = blockIdx.x * (SPMM_BLOCK / L) + threadIdx.x / L;
    const Columns<V, Q, L> columns(a, n, lane);
    Row r = { 0, 0, ~0u, ~0u, NULL };
    unsigned p = 0, end = 0;
    float *carry = NULL;
    if (chunk < plan.chunks) {
        const int4 from = __ldg((const int4 *)plan.bound + chunk);
        const int4 to = __ldg((const int4 *)plan.bound + chunk + 1);
        r.row = from.x;
        r.last = to.x;
        r.next = begin_of(a, m, r.row + 1);
        r.after = begin_of(a, m, r.row + 2);
        r.c = from.z < 0 ? (float *)a.c + (size_t)r.row * n : plan.carry + (from.z + 1LL) * n;
        p = from.y;
        end = to.y;
        if (to.z >= 0)
            carry = plan.carry + (size_t)to.z * n;
    }
    Batch<L, W> batch, next;
    float sum[Q][V];
    clear(sum);
    batch.load(a, p, end, lane);
    while (__any_sync(ALL_LANES, p < end)) {
        const int left = p < end ? end - p : 0;
        next.load(a, p + STEPS, end, lane);
#pragma unroll
        for (int s = 0; s < STEPS; s += U) {
            float x[U][Q][V], value[U];
            if (s && !__any_sync(ALL_LANES, s < left))
                break;
#pragma unroll
            for (int u = 0; u < U; u++) {
                const int col = batch.template col_of<L>(s + u, 0);
                value[u] = batch.template val_of<L>(s + u, 0);
                if (s + u < left)
                    columns.load(col, x[u]);
            }
#pragma unroll
            for (int u = 0; u < U; u++)
                if (s + u < left) {
                    while (p + s + u == r.next)
                        finish(a, m, columns, r, sum);
                    add(value[u], x[u], sum);
                }
        }
        p += STEPS;
        batch = next;
    }
    while (r.row < r.last)
        finish(a, m, columns, r, sum);
    if (carry)
        columns.store(carry, sum);
}

/* ---- set-up ---- */

struct ChunkState {
    struct own_plan plan;
    int lanes;
};

/* ---- launches ---- */

template <int V, int L>
static enum op_status launch(const struct spmm_problem *p, const struct spmm_args *a,
                             const ChunkState *t, op_stream s)
{
    const dim3 grid(spmm_div_up((long)t->plan.chunks * L, SPMM_BLOCK), spmm_div_up(p->n, L * V));
    own_chunks<V, 1, 4, L><<<grid, SPMM_BLOCK, 0, s>>>(*a, t->plan, p->m, p->n);
    const enum op_status status = launched();
    return status ? status : own_plan_combine(p, a, &t->plan, s);
}

template <int V>
static enum op_status launch_lanes(const struct spmm_problem *p, const struct spmm_args *a,
                                   const ChunkState *t, op_stream s)
{
    switch (t->lanes) {
    case 1: return launch<V, 1>(p, a, t, s);
    case 2: return launch<V, 2>(p, a, t, s);
    case 4: return launch<V, 4>(p, a, t, s);
    case 8: return launch<V, 8>(p, a, t, s);
    case 16: return launch<V, 16>(p, a, t, s);
    default: return launch<V, 32>(p, a, t, s);
    }
}

OP_BEGIN
spmm_run_fn spmm_own_merge;
spmm_setup_fn spmm_own_merge_setup;

enum op_status spmm_own_merge_setup(const struct spmm_problem *p, const struct spmm_matrix *host,
                                    const struct spmm_args *args, const struct op_memory *memory,
                                    op_stream s, void **state)
{
    struct spmm_locality locality;
    struct own_merge_form form;
    ChunkState *t = (ChunkState *)calloc(1, sizeof *t);
    *state = NULL;
    if (!t)
        return OP_ENOMEM;
    spmm_locality_of(p, host, &locality);
    own_merge_rule(p, &locality, &form);
    t->lanes = form.lanes;
    const enum op_status status =
        own_plan_chunks(p, args, form.items, form.whole, memory, s, &t->plan);
    if (status) {
        free(t);
        return status;
    }
    *state = t;
    return OP_OK;
}

enum op_status spmm_own_merge(const struct spmm_problem *p, const struct spmm_args *a,
                              void *state, op_stream s)
{
    const ChunkState *t = (const ChunkState *)state;
    switch (spmm_vector(p->n)) {
    case 4: return launch_lanes<4>(p, a, t, s);
    case 2: return launch_lanes<2>(p, a, t, s);
    default: return launch_lanes<1>(p, a, t, s);
    }
}

void spmm_own_merge_teardown(void *state)
{
    free(state);
}
OP_END
