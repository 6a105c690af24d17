/*
 * own_plan.cu - makes the divisions of own_plan.h on the device, and adds up
 * what is in the carries.
 *
 * Slots are given out by an atomic counter: which slots a row gets differs from
 * one set-up to the next, the order of its pieces within them does not.
 */
#include "own_plan.h"
#include "shape.h"
#include "view.cuh"

/* Counted by set-up. */
struct Count {
    int cuts, slots;
};

/* Returns which cut it is. */
static __device__ int add_cut(Count *count, own_cut *cut, int row, int pieces)
{
    const int at = atomicAdd(&count->cuts, 1);
    cut[at] = { row, atomicAdd(&count->slots, pieces), pieces, 0 };
    return at;
}

/* ---- chunks: a thread makes one bound ---- */

static __global__ void place_bounds(const int *row_ptr, int m, int chunks, int items, int whole,
                                    own_bound *bound, own_cut *cut, Count *count)
{
    const int c = blockIdx.x * SPMM_BLOCK + threadIdx.x;
    if (c > chunks)
        return;
    const own_bound b = own_bound_at(row_ptr, m, (long long)c * items, whole);
    bound[c].row = b.row;
    bound[c].entry = b.entry;
    if (!own_bound_cuts(row_ptr, &b)) {
        bound[c].slot = -1;
        return;
    }
    int begin;
    const int cuts = own_first_cut(row_ptr, b.row, items, &begin);
    if (begin != c) /* the first of the row writes the slots of all */
        return;
    const int at = add_cut(count, cut, b.row, cuts + 1);
    for (int i = 0; i < cuts; i++) {
        bound[c + i].slot = cut[at].first + i;
        bound[c + i].cut = at;
    }
}

/* ---- pieces: a thread looks at one row ---- */

static __global__ void place_pieces(const int *row_ptr, int m, int whole, own_piece *piece,
                                    own_cut *cut, Count *count)
{
    const int row = blockIdx.x * SPMM_BLOCK + threadIdx.x;
    if (row >= m)
        return;
    const int begin = row_ptr[row], end = row_ptr[row + 1];
    const int pieces = own_pieces(end - begin, whole);
    if (!pieces)
        return;
    const int first = cut[add_cut(count, cut, row, pieces)].first;
    for (int i = 0; i < pieces; i++)
        piece[first + i] = { begin + i * whole, i + 1 < pieces ? begin + (i + 1) * whole : end };
}

/* ---- set-up ---- */

/* Fetches what was counted, and takes the carries. */
static enum op_status take_carries(const struct spmm_problem *p, const Count *count,
                                   const struct op_memory *memory, op_stream s,
                                   struct own_plan *plan)
{
    Count have = { 0, 0 };
    enum op_status status = launched();
    if (!status)
        status = done(cudaMemcpyAsync(&have, count, sizeof have, cudaMemcpyDeviceToHost, s));
    if (!status)
        status = done(cudaStreamSynchronize(s));
    if (status)
        return status;
    plan->cuts = have.cuts;
    plan->slots = have.slots;
    plan->carry = (float *)take(memory, (size_t)have.slots * p->n * sizeof *plan->carry);
    return plan->carry ? OP_OK : OP_ENOMEM;
}

/* Room for the shared rows, `most` of them, and a zero count. */
static enum op_status take_cuts(long most, const struct op_memory *memory, op_stream s,
                                struct own_plan *plan, Count **count)
{
    plan->cut = (own_cut *)take(memory, most * sizeof *plan->cut);
    *count = (Count *)take(memory, sizeof **count);
    if (!plan->cut || !*count)
        return OP_ENOMEM;
    return done(cudaMemsetAsync(*count, 0, sizeof **count, s));
}

OP_BEGIN

enum op_status own_plan_chunks(const struct spmm_problem *p, const struct spmm_args *args,
                               int items, int whole, const struct op_memory *memory, op_stream s,
                               struct own_plan *plan)
{
    Count *count = NULL;
    enum op_status status = OP_OK;
    plan->chunks = (int)spmm_div_up(p->m + p->nnz, items);
    plan->whole = whole;
    plan->bound = (own_bound *)take(memory, ((size_t)plan->chunks + 1) * sizeof *plan->bound);
    if (!plan->bound)
        return OP_ENOMEM;
    if (p->row_max > whole)
        status = take_cuts(spmm_least(plan->chunks, p->nnz / whole + 1), memory, s, plan, &count);
    if (status)
        return status;
    place_bounds<<<spmm_div_up(plan->chunks + 1L, SPMM_BLOCK), SPMM_BLOCK, 0, s>>>(
        args->a.row_ptr, p->m, plan->chunks, items, whole, plan->bound, plan->cut, count);
    return count ? take_carries(p, count, memory, s, plan) : launched();
}

enum op_status own_plan_pieces(const struct spmm_problem *p, const struct spmm_args *args,
                               int whole, const struct op_memory *memory, op_stream s,
                               struct own_plan *plan)
{
    const long most = p->nnz / whole + 1; /* long rows; each has at most one piece that is short */
    Count *count = NULL;
    enum op_status status;
    plan->whole = whole;
    if (p->row_max <= whole)
        return OP_OK;
    plan->piece = (own_piece *)take(memory, 2 * most * sizeof *plan->piece);
    if (!plan->piece)
        return OP_ENOMEM;
    status = take_cuts(most, memory, s, plan, &count);
    if (status)
        return status;
    place_pieces<<<spmm_div_up(p->m, SPMM_BLOCK), SPMM_BLOCK, 0, s>>>(
        args->a.row_ptr, p->m, whole, plan->piece, plan->cut, count);
    return take_carries(p, count, memory, s, plan);
}

OP_END

/* ---- adding up: a block makes `columns` columns of a shared row ---- */

/*
 *   thread      0 .. columns-1 | columns .. | ..       columns = 1, 2, .. 32
 *   piece       0                1            2 ..     and every `slices`th after it
 *
 * then a tree over the slices.
 */
static __global__ __launch_bounds__(SPMM_BLOCK) void combine(const own_cut *cut, const float *carry,
                                                             float *c, int n, int columns)
{
    __shared__ float part[SPMM_BLOCK];
    const own_cut row = cut[blockIdx.x];
    const int slices = SPMM_BLOCK / columns, slice = threadIdx.x / columns;
    const int j = blockIdx.y * columns + threadIdx.x % columns;
    float sum = 0;
    if (j < n) {
#pragma unroll 4
        for (int i = slice; i < row.pieces; i += slices)
            sum += carry[(size_t)(row.first + i) * n + j];
    }
    part[threadIdx.x] = sum;
    for (int half = slices / 2; half; half /= 2) {
        __syncthreads();
        if (slice < half)
            part[threadIdx.x] += part[threadIdx.x + half * columns];
    }
    if (!slice && j < n)
        c[(size_t)row.row * n + j] = part[threadIdx.x];
}

OP_BEGIN

enum op_status own_plan_combine(const struct spmm_problem *p, const struct spmm_args *args,
                                const struct own_plan *plan, op_stream s)
{
    int columns = 1;
    if (!plan->cuts)
        return OP_OK;
    while (columns < p->n && columns < SPMM_TILE)
        columns *= 2;
    const dim3 grid(plan->cuts, spmm_div_up(p->n, columns));
    combine<<<grid, SPMM_BLOCK, 0, s>>>(plan->cut, plan->carry, (float *)args->c, p->n, columns);
    return launched();
}

OP_END
