/*
 * own_scan.cu - C = A B for one to four columns: a warp makes a chunk of A by
 * itself, 32 neighbouring entries at a time, products in registers.
 *
 * own_spmv.cu adds up products in shared memory, between barriers of its block;
 * here no warp waits for another.  Set-up notes where rows end, a bit an entry:
 *
 *   entries     e e e|e e|e e e e e e e e|e e ..   32 of a step, one a lane
 *   ends        0 0 1 0 1 0 0 0 0 0 0 0 1 0 0 ..   a word of the bits
 *   first row   +++++                              with the sums of the steps before
 *   inner rows        +++ +++++++++++++++          segmented scan
 *   open row                              ++++ ..  stays in its lanes
 *
 * A step without an end, of a long row, is one addition a lane: the sum of a row
 * is taken over the lanes once, where it ends.  The scan is left out where one
 * row ends.  The lane of an end stores the row; COO rows say which.
 *
 * Chunks hold equally many entries and rows, long rows are shared (own_plan.h):
 * the warp that makes the last piece of one adds them up, in order, so that
 * there is one launch.  Bound by the gathering of B, else by the reading of A.
 */
#include <cuda_runtime.h>

#include <stdlib.h>

#include "own_kernels.h"
#include "own_plan.h"
#include "own_rules.h"
#include "own_stream.cuh"
#include "shape.h"
#include "view.cuh"

constexpr int BLOCK = 128; /* threads; small, as a block holds its place until its last warp ends */
constexpr int BLOCK_WARPS = BLOCK / WARP;
/* 32 bits a lane are read at once: all ends of a chunk that begins at a multiple of 32. */
constexpr int ROOM = WARP * WARP - (WARP - 1);

/* Steps whose loads are in flight together. */
static __host__ __device__ constexpr int steps_of(int n)
{
    return n <= 2 ? 4 : 2;
}

/* Blocks an SM shall hold: 48 warps, or 40. */
static __host__ __device__ constexpr int blocks_of(int n)
{
    return n == 1 ? 12 : 10;
}

/* ---- where rows end ---- */

static __global__ __launch_bounds__(SPMM_BLOCK) void mark_ends(const int *row, int nnz,
                                                               unsigned *ends)
{
    const unsigned p = blockIdx.x * (unsigned)SPMM_BLOCK + threadIdx.x;
    const bool end = p < (unsigned)nnz && (p + 1 == (unsigned)nnz || row[p] != row[p + 1]);
    const unsigned word = __ballot_sync(ALL_LANES, end);
    if (threadIdx.x % WARP == 0 && p < (unsigned)nnz)
        ends[p / WARP] = word;
}

/* ---- a step of a warp ---- */

constexpr int NONE = -1, SIGN = -2147483647 - 1; /* NONE | SIGN is NONE */

/* Its chunk, and the state between steps. */
template <int N> struct Chunk {
    unsigned begin, entries;
    unsigned ends; /* of 32 of them, this lane's */
    float open[N]; /* of the row that has not ended, this lane's part of the sum */
    int slot;      /* of its piece here, where it began in another chunk; else NONE;
                    * with SIGN once that piece is stored */

    /* Where step 0 begins: loads are aligned. */
    __device__ __forceinline__ unsigned base() const
    {
        return begin & ~(WARP - 1u);
    }

    __device__ __forceinline__ bool holds(unsigned p) const
    {
        return p - begin < entries;
    }

    /* All `count` from p on. */
    __device__ __forceinline__ bool holds(unsigned p, unsigned count) const
    {
        return p >= begin && p + count <= begin + entries;
    }

    /* p, or an entry that may be read instead. */
    __device__ __forceinline__ unsigned within(unsigned p) const
    {
        return min(max(p, begin), begin + entries - 1);
    }
};

/* Adds products x and stores the rows that end: `row`, in the lanes of their ends. */
template <int N>
static __device__ __forceinline__ void add_step(const spmm_args &a, const own_plan &plan,
                                                unsigned ends, int row, float (&x)[N],
                                                Chunk<N> &chunk)
{
    if (!ends) {
#pragma unroll
        for (int j = 0; j < N; j++)
            chunk.open[j] += x[j];
        return;
    }
    const int lane = threadIdx.x % WARP;
    const unsigned before = ends & ((1u << lane) - 1);
    float first[N];
#pragma unroll
    for (int j = 0; j < N; j++) {
        first[j] = chunk.open[j] + (before ? 0 : x[j]);
        chunk.open[j] = ends >> lane ? 0 : x[j];
    }
    sum_group(first, WARP);
    if (ends & (ends - 1))
        scan(x, lane - WARP + __clz(before));
    if (ends >> lane & 1) {
#pragma unroll
        for (int j = 0; j < N; j++)
            x[j] = before ? x[j] : first[j];
        const bool piece = !before && chunk.slot >= 0;
        float *to = piece ? plan.carry : (float *)a.c;
        store_row(to + (size_t)(unsigned)(piece ? chunk.slot : row) * N, x);
    }
    chunk.slot |= SIGN;
}

/* ---- rows that chunks share ---- */

/* After all steps: the pieces of the rows that chunks c - 1 and c + 1 share with this one. */
template <int N>
static __device__ __forceinline__ void finish(const spmm_args &a, const own_plan &plan, int c,
                                              Chunk<N> &chunk, int steps)
{
    const unsigned last = chunk.begin + chunk.entries - 1;
    const unsigned ends = __shfl_sync(ALL_LANES, chunk.ends, steps - 1);
    /* The bounds are read again, by the few that want them: they would hold registers till here. */
    if (chunk.slot < 0 && chunk.slot != NONE)
        finish_piece<N>(a, plan, plan.bound[c].cut);
    if (!chunk.entries || ends >> last % WARP & 1)
        return;
    sum_group(chunk.open, WARP);
    if (threadIdx.x % WARP == 0)
        store_row(plan.carry + (size_t)plan.bound[c + 1].slot * N, chunk.open);
    finish_piece<N>(a, plan, plan.bound[c + 1].cut);
}

/* ---- kernel ---- */

/* The R steps from `first` on: entries of A; outside the chunk, some that may be read. */
template <int N, int R>
static __device__ __forceinline__ void load_entries(const spmm_args &a, const Chunk<N> &chunk,
                                                    int first, int (&col)[R], float (&val)[R])
{
    const unsigned start = chunk.base() + first * WARP, lane = threadIdx.x % WARP;
    if (chunk.holds(start, R * WARP)) {
        const int *cols = a.a.col + (start + lane);
        const float *vals = (const float *)a.a.val + (start + lane);
#pragma unroll
        for (int r = 0; r < R; r++) {
            col[r] = __ldcs(cols + r * WARP);
            val[r] = __ldcs(vals + r * WARP);
        }
    } else {
#pragma unroll
        for (int r = 0; r < R; r++) {
            const unsigned p = chunk.within(start + r * WARP + lane);
            col[r] = __ldcs(a.a.col + p);
            val[r] = __ldcs((const float *)a.a.val + p);
        }
    }
}

/* Products of the R steps from `first` on, 0 outside the chunk, and the rows that end there. */
template <int N, int R>
static __device__ __forceinline__ void multiply(const spmm_args &a, const Chunk<N> &chunk,
                                                int first, const int (&col)[R],
                                                const float (&val)[R], float (&x)[R][N],
                                                int (&row)[R])
{
    const unsigned start = chunk.base() + first * WARP, lane = threadIdx.x % WARP;
#pragma unroll
    for (int r = 0; r < R; r++)
        load_row((const float *)a.b, col[r], x[r]);
#pragma unroll
    for (int r = 0; r < R; r++) {
        const unsigned ends = __shfl_sync(ALL_LANES, chunk.ends, first + r);
        /* lanes without an end read what costs no sector more */
        row[r] = __ldg(a.a.row + (ends >> lane & 1 ? start + r * WARP + lane : chunk.begin));
    }
#pragma unroll
    for (int r = 0; r < R; r++)
#pragma unroll
        for (int j = 0; j < N; j++)
            x[r][j] *= val[r];
    if (chunk.holds(start, R * WARP))
        return;
#pragma unroll
    for (int r = 0; r < R; r++)
        if (!chunk.holds(start + r * WARP + lane))
#pragma unroll
            for (int j = 0; j < N; j++)
                x[r][j] = 0;
}

/* This lane's word of ends, without those of rows of the chunks before and after. */
static __device__ __forceinline__ unsigned ends_within(const unsigned *ends, unsigned begin,
                                                       unsigned end, int steps)
{
    const int lane = threadIdx.x % WARP;
    unsigned word = 0;
    if (lane < steps) {
        word = __ldg(ends + begin / WARP + lane);
        if (lane == 0)
            word &= ALL_LANES << begin % WARP;
        if (lane == steps - 1)
            word &= ALL_LANES >> -end % WARP;
    }
    return word;
}

template <int N, int R>
static __global__ __launch_bounds__(BLOCK, blocks_of(N)) void
own_scans(spmm_args a, own_plan plan, const unsigned *ends, bool empty_rows)
{
    const int c = blockIdx.x * BLOCK_WARPS + threadIdx.x / WARP;
    if (c >= plan.chunks)
        return;
    const int4 from = __ldg((const int4 *)plan.bound + c);
    const int4 to = __ldg((const int4 *)plan.bound + c + 1);
    Chunk<N> chunk = { (unsigned)from.y, (unsigned)(to.y - from.y) };
    const int steps = chunk.entries ? (int)(to.y - chunk.base() + WARP - 1) / WARP : 0;
    int col[R], row[R];
    float val[R], x[R][N];
    if (steps)
        load_entries(a, chunk, 0, col, val);
    chunk.ends = ends_within(ends, from.y, to.y, steps);
    chunk.slot = from.z < 0 ? NONE : from.z + 1;
    if (empty_rows)
        store_empty<N>(a, from.x, to.x);
    for (int first = 0; first < steps; first += R) {
        multiply(a, chunk, first, col, val, x, row);
        if (first + R < steps)
            load_entries(a, chunk, first + R, col, val);
#pragma unroll
        for (int r = 0; r < R; r++)
            add_step(a, plan, __shfl_sync(ALL_LANES, chunk.ends, first + r), row[r], x[r], chunk);
    }
    finish(a, plan, c, chunk, steps);
}

/* ---- set-up and launches ---- */

struct Scan {
    own_plan plan;
    unsigned *ends; /* bit p % 32 of word p / 32: entry p is the last of its row */
};

template <int N>
static enum op_status launch(const struct spmm_problem *p, const struct spmm_args *a,
                             const Scan *of, op_stream s)
{
    const unsigned blocks = (of->plan.chunks + BLOCK_WARPS - 1) / BLOCK_WARPS;
    own_scans<N, steps_of(N)><<<blocks, BLOCK, 0, s>>>(*a, of->plan, of->ends, p->empty_rows > 0);
    return launched();
}

static enum op_status set_up(const struct spmm_problem *p, const struct spmm_args *args,
                             const struct op_memory *memory, op_stream s, Scan *of)
{
    const int items = own_scan_rule(p, ROOM);
    const long words = spmm_div_up(p->nnz, WARP);
    if (words) {
        of->ends = (unsigned *)memory->take(memory->context, words * sizeof *of->ends);
        if (!of->ends)
            return OP_ENOMEM;
        mark_ends<<<spmm_div_up(p->nnz, SPMM_BLOCK), SPMM_BLOCK, 0, s>>>(args->a.row, (int)p->nnz,
                                                                         of->ends);
    }
    return own_plan_chunks(p, args, items, items / 2, memory, s, &of->plan);
}

OP_BEGIN
spmm_run_fn spmm_own_scan;
spmm_setup_fn spmm_own_scan_setup;

enum op_status spmm_own_scan_setup(const struct spmm_problem *p, const struct spmm_matrix *,
                                   const struct spmm_args *args, const struct op_memory *memory,
                                   op_stream s, void **state)
{
    Scan *of = (Scan *)calloc(1, sizeof *of);
    *state = NULL;
    if (!of)
        return OP_ENOMEM;
    const enum op_status status = set_up(p, args, memory, s, of);
    if (status) {
        free(of);
        return status;
    }
    *state = of;
    return OP_OK;
}

enum op_status spmm_own_scan(const struct spmm_problem *p, const struct spmm_args *a, void *state,
                             op_stream s)
{
    const Scan *of = (const Scan *)state;
    switch (p->n) {
    case 1: return launch<1>(p, a, of, s);
    case 2: return launch<2>(p, a, of, s);
    case 3: return launch<3>(p, a, of, s);
    case 4: return launch<4>(p, a, of, s);
    }
    return OP_EUNSUPPORTED;
}

void spmm_own_scan_teardown(void *state)
{
    free(state);
}
OP_END
