/*
 * own_panel.cu - C = A B for one or two columns: a panel of B waits in shared memory.
 *
 * Where the columns of A lie anywhere, every entry costs a sector of L2 for a few bytes of B,
 * and L2 gives about 130 of them a nanosecond, however few bytes are wanted.  Here B is cut
 * into panels that fit into the shared memory of an SM, and the entries of A are put into
 * the order of (panel, row): a gather then costs no more than a bank, and the column of an
 * entry fits into 16 bits.
 *
 *          panel 0   panel 1  ..
 *   row 0  e   e   | e        |         virtual rows: panel 0 of rows 0 .. m-1, then panel 1, ..
 *   row 1          | e e      |         a block takes as many chunks of them as any other, and
 *   ..                                  fetches a panel when its chunks come to it
 *
 *   groups   four of 256 threads, each at a chunk of its own: own_stream.cuh; while it adds
 *            up, its next entries are on their way
 *   sums     one a virtual row; a second kernel adds those of a row, panel after panel
 *
 * Set-up writes the entries in that order: 6 bytes of each instead of 8.  It pays after a few
 * products.  A chunk that goes over the end of a panel, one a panel, gathers from memory.
 */
#include <cub/device/device_scan.cuh>
#include <cuda_runtime.h>

#include <stdlib.h>

#include "own_kernels.h"
#include "own_rules.h"
#include "own_stream.cuh"

constexpr int GROUPS = 4;
constexpr int THREADS = GROUPS * SPMM_BLOCK;
constexpr int ROUNDS = 4;   /* entries a thread */
constexpr int WHOLE = 4;    /* columns of a panel are a multiple: fetched 16 bytes at a time */

/* A in the order of panels. */
struct Panels {
    int m, k;
    int count;                 /* panels */
    int width;                 /* columns of one, at most 65536 */
    const int *row_ptr;        /* [count * m + 1] of the virtual rows */
    const unsigned short *col; /* [nnz] inside the panel */
    const float *val;          /* [nnz] */
    const int *first;          /* [count + 1] first chunk that begins in a panel, or after it */
    float *sum;                /* [count * m][n]; C itself where there is one panel */
};

/* ---- set-up: the entries in the order of panels ---- */

/* Of the entries begin .. end - 1, ascending by column, the first of column >= limit. */
static __device__ int lower_bound(const int *col, int begin, int end, long long limit)
{
    while (begin < end) {
        const int middle = begin + (end - begin) / 2;
        if (col[middle] < limit)
            begin = middle + 1;
        else
            end = middle;
    }
    return begin;
}

/* A thread counts the entries of a virtual row; the last one is followed by a zero. */
static __global__ void count_entries(const int *row_ptr, const int *col, int m, int panels,
                                     int width, int *count)
{
    const long long v = (long long)blockIdx.x * SPMM_BLOCK + threadIdx.x;
    if (v > (long long)panels * m)
        return;
    if (v == (long long)panels * m) {
        count[v] = 0;
        return;
    }
    const int row = (int)(v % m), begin = row_ptr[row], end = row_ptr[row + 1];
    const long long limit = v / m * width;
    count[v] = lower_bound(col, begin, end, limit + width) - lower_bound(col, begin, end, limit);
}

/* A warp moves the entries of a row. */
static __global__ void move_entries(const spmm_matrix a, int m, int width, const int *to,
                                    unsigned short *col, float *val)
{
    const int row = (blockIdx.x * SPMM_BLOCK + threadIdx.x) / WARP;
    if (row >= m)
        return;
    const int begin = a.row_ptr[row], end = a.row_ptr[row + 1];
    for (int p = begin + threadIdx.x % WARP; p < end; p += WARP) {
        const int panel = a.col[p] / width;
        const int from = lower_bound(a.col, begin, p, (long long)panel * width);
        const int at = to[(long long)panel * m + row] + p - from;
        col[at] = (unsigned short)(a.col[p] - panel * width);
        val[at] = ((const float *)a.val)[p];
    }
}

static __device__ int panel_of(const own_bound &b, int m, int panels)
{
    const int panel = b.row / m;
    return panel < panels ? panel : panels - 1;
}

/* A thread a chunk: it begins all panels between the chunk before it and itself. */
static __global__ void find_first(const own_bound *bound, int chunks, int m, int panels,
                                  int *first)
{
    const int c = blockIdx.x * SPMM_BLOCK + threadIdx.x;
    if (c > chunks)
        return;
    const int before = c ? panel_of(bound[c - 1], m, panels) : -1;
    const int panel = c < chunks ? panel_of(bound[c], m, panels) : panels;
    for (int p = before + 1; p <= panel; p++)
        first[p] = c;
}

/* ---- product ---- */

struct Group {
    int t;       /* thread of it */
    int barrier; /* 0 is the block's */

    __device__ __forceinline__ void sync() const
    {
        asm volatile("bar.sync %0, %1;" ::"r"(barrier), "n"((int)SPMM_BLOCK) : "memory");
    }
};

/* What a thread has of a chunk before its products are made. */
struct Ahead {
    int begin, end; /* of its first row */
    unsigned short col[ROUNDS];
    float val[ROUNDS];
};

static __device__ __forceinline__ void read_bounds(const own_plan &plan, int chunk, int4 &from,
                                                   int4 &to)
{
    from = __ldg((const int4 *)plan.bound + chunk);
    to = __ldg((const int4 *)plan.bound + chunk + 1);
}

static __device__ __forceinline__ void read_entries(const Panels &a, const own_plan &plan,
                                                    int chunk, int t, Ahead &x)
{
    int4 from, to;
    read_bounds(plan, chunk, from, to);
    const int rows = own_chunk_rows(from, to), base = own_aligned(from.y);
    const int i = t / own_lanes(rows);
#pragma unroll
    for (int r = 0; r < ROUNDS; r++) {
        const int p = base + r * SPMM_BLOCK + t;
        x.col[r] = 0;
        x.val[r] = 0;
        if (p < to.y) {
            x.col[r] = __ldcs(a.col + p);
            x.val[r] = __ldcs(a.val + p);
        }
    }
    x.begin = x.end = 0;
    if (i < rows) {
        x.begin = __ldg(a.row_ptr + from.x + i);
        x.end = __ldg(a.row_ptr + from.x + i + 1);
    }
}

/* Columns of the panel from B: as many as there are. */
template <int N>
static __device__ __forceinline__ void fetch_panel(const Panels &a, const float *b, int panel,
                                                   float *x)
{
    const int first = panel * a.width, columns = min(a.width, a.k - first);
    const float *from = b + (size_t)first * N;
    const int vectors = columns * N / 4; /* 16 bytes each; the panel begins at such a boundary */
#pragma unroll 4
    for (int i = threadIdx.x; i < vectors; i += THREADS)
        ((float4 *)x)[i] = __ldg((const float4 *)from + i);
    for (int i = vectors * 4 + threadIdx.x; i < columns * N; i += THREADS)
        x[i] = __ldg(from + i);
}

/* Products of the entries base .. stop - 1: B from the panel; of those at `end` and after, which
 * are of a later panel, from memory. */
template <int N>
static __device__ __forceinline__ void multiply(const Panels &a, const float *b, const float *x,
                                                int panel, int end, int base, int stop,
                                                const Ahead &c, int t,
                                                Shared<N, ROUNDS> &shared)
{
#pragma unroll
    for (int r = 0; r < ROUNDS; r++) {
        const int at = r * SPMM_BLOCK + t;
        const float *from = x + c.col[r] * N;
        if (base + at >= end && base + at < stop) {
            int of = panel + 1;
            while (base + at >= __ldg(a.row_ptr + (size_t)(of + 1) * a.m))
                of++;
            from = b + ((size_t)of * a.width + c.col[r]) * N;
        }
#pragma unroll
        for (int j = 0; j < N; j++)
            shared.product[j][padded(at)] = c.val[r] * from[j];
    }
}

template <int N>
static __global__ __launch_bounds__(THREADS, 1) void own_panels(Panels a, own_plan plan,
                                                                const float *b)
{
    extern __shared__ float4 dynamic[];
    Shared<N, ROUNDS> &shared = ((Shared<N, ROUNDS> *)dynamic)[threadIdx.x / SPMM_BLOCK];
    float *const x = (float *)((Shared<N, ROUNDS> *)dynamic + GROUPS);
    const int g = threadIdx.x / SPMM_BLOCK;
    const Group group = { (int)threadIdx.x % SPMM_BLOCK, g + 1 };
    const int last = (int)((long long)plan.chunks * (blockIdx.x + 1) / gridDim.x);
    int chunk = (int)((long long)plan.chunks * blockIdx.x / gridDim.x);
    while (chunk < last) {
        const int panel = panel_of(plan.bound[chunk], a.m, a.count);
        const int stop = min(last, __ldg(a.first + panel + 1));
        const int end = __ldg(a.row_ptr + (size_t)(panel + 1) * a.m);
        Ahead have;
        int c = chunk + g;
        if (c < stop)
            read_entries(a, plan, c, group.t, have);
        __syncthreads(); /* no group reads the panel before */
        fetch_panel<N>(a, b, panel, x);
        __syncthreads();
        for (; c < stop; c += GROUPS) {
            int4 from, to;
            read_bounds(plan, c, from, to);
            const int base = own_aligned(from.y), row_begin = have.begin, row_end = have.end;
            if (group.t == 0)
                shared.rows = shared.last[0] = shared.last[1] = 0;
            multiply<N>(a, b, x, panel, end, base, to.y, have, group.t, shared);
            if (c + GROUPS < stop)
                read_entries(a, plan, c + GROUPS, group.t, have);
            group.sync();
            add_chunk(a.row_ptr, a.sum, plan, from, to, base, row_begin, row_end, shared, group);
            group.sync();
        }
        chunk = stop;
    }
}

/* C from the sums of the panels, one after another; a thread an element. */
static __global__ void add_panels(const float *sum, int panels, long size, float *c)
{
    const long i = (long)blockIdx.x * SPMM_BLOCK + threadIdx.x;
    float total = 0;
    if (i >= size)
        return;
#pragma unroll 4
    for (int p = 0; p < panels; p++)
        total += __ldcs(sum + p * size + i);
    __stcs(c + i, total);
}

/* ---- set-up and launches ---- */

struct Prepared {
    Panels a;
    own_plan plan;
    int blocks;
    size_t shared;
};

template <class T> static T *take(const struct op_memory *memory, size_t count)
{
    return (T *)memory->take(memory->context, (count ? count : 1) * sizeof(T));
}

static size_t groups_bytes(int n)
{
    return n == 1 ? GROUPS * sizeof(Shared<1, ROUNDS>) : GROUPS * sizeof(Shared<2, ROUNDS>);
}

/* Panels of equal width that leave room for what the groups share. */
static enum op_status cut(const struct spmm_problem *p, Prepared *of)
{
    int device, most;
    if (cudaGetDevice(&device) ||
        cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, device) ||
        cudaDeviceGetAttribute(&of->blocks, cudaDevAttrMultiProcessorCount, device))
        return OP_EDEVICE;
    const long room = (most - (long)groups_bytes(p->n)) / (long)(p->n * sizeof(float));
    const long widest = spmm_least(room, 1 << 16) / WHOLE * WHOLE;
    if (widest < SPMM_TILE)
        return OP_EUNSUPPORTED;
    const long count = spmm_div_up(p->k, widest);
    of->a.width = (int)(spmm_div_up(spmm_div_up(p->k, count), WHOLE) * WHOLE);
    of->a.count = (int)spmm_div_up(p->k, of->a.width);
    of->shared = groups_bytes(p->n) + (size_t)of->a.width * p->n * sizeof(float);
    return OP_OK;
}

/* The entries of A in the order of panels. */
static enum op_status sort(const struct spmm_problem *p, const struct spmm_args *args,
                           const struct op_memory *memory, op_stream s, Panels *a)
{
    const size_t rows = (size_t)a->count * p->m;
    size_t bytes = 0;
    int *count = take<int>(memory, rows + 1), *row_ptr = take<int>(memory, rows + 1);
    unsigned short *col = take<unsigned short>(memory, p->nnz);
    float *val = take<float>(memory, p->nnz);
    if (!count || !row_ptr || !col || !val)
        return OP_ENOMEM;
    if (cub::DeviceScan::ExclusiveSum(NULL, bytes, count, row_ptr, rows + 1, s))
        return OP_EDEVICE;
    void *scratch = take<char>(memory, bytes);
    if (!scratch)
        return OP_ENOMEM;
    count_entries<<<(unsigned)spmm_div_up(rows + 1, SPMM_BLOCK), SPMM_BLOCK, 0, s>>>(
        args->a.row_ptr, args->a.col, p->m, a->count, a->width, count);
    if (cub::DeviceScan::ExclusiveSum(scratch, bytes, count, row_ptr, rows + 1, s))
        return OP_EDEVICE;
    move_entries<<<(unsigned)spmm_div_up((long)p->m * WARP, SPMM_BLOCK), SPMM_BLOCK, 0, s>>>(
        args->a, p->m, a->width, row_ptr, col, val);
    a->row_ptr = row_ptr;
    a->col = col;
    a->val = val;
    return launched();
}

/* Chunks of the virtual rows, and where the panels begin among them. */
static enum op_status divide(const struct spmm_problem *p, const struct spmm_args *args,
                             const struct op_memory *memory, op_stream s, Prepared *of)
{
    Panels *a = &of->a;
    struct spmm_problem rows = *p;
    struct spmm_args virtually = *args;
    rows.m = a->count * p->m;
    virtually.a.row_ptr = a->row_ptr;
    const int items = own_spmv_rule(&rows, own_room(ROUNDS));
    enum op_status status = own_plan_chunks(&rows, &virtually, items, own_room(ROUNDS) - items,
                                            memory, s, &of->plan);
    int *first = take<int>(memory, a->count + 1);
    if (!status && !first)
        status = OP_ENOMEM;
    if (status)
        return status;
    find_first<<<(unsigned)spmm_div_up(of->plan.chunks + 1, SPMM_BLOCK), SPMM_BLOCK, 0, s>>>(
        of->plan.bound, of->plan.chunks, p->m, a->count, first);
    a->first = first;
    a->sum = a->count > 1 ? take<float>(memory, (size_t)rows.m * p->n) : NULL;
    return a->count > 1 && !a->sum ? OP_ENOMEM : launched();
}

template <int N>
static enum op_status launch(const struct spmm_problem *p, const struct spmm_args *args,
                             const Prepared *of, op_stream s)
{
    Panels a = of->a;
    const long size = (long)p->m * N;
    if (!a.sum)
        a.sum = (float *)args->c;
    own_panels<N><<<of->blocks, THREADS, of->shared, s>>>(a, of->plan, (const float *)args->b);
    if (of->a.sum)
        add_panels<<<(unsigned)spmm_div_up(size, SPMM_BLOCK), SPMM_BLOCK, 0, s>>>(
            a.sum, a.count, size, (float *)args->c);
    return launched();
}

OP_BEGIN
spmm_run_fn spmm_own_panel;
spmm_setup_fn spmm_own_panel_setup;

enum op_status spmm_own_panel_setup(const struct spmm_problem *p, const struct spmm_matrix *,
                                    const struct spmm_args *args, const struct op_memory *memory,
                                    op_stream s, void **state)
{
    constexpr auto room = cudaFuncAttributeMaxDynamicSharedMemorySize;
    Prepared *of = (Prepared *)calloc(1, sizeof *of);
    *state = NULL;
    if (!of)
        return OP_ENOMEM;
    of->a.m = p->m;
    of->a.k = p->k;
    enum op_status status = cut(p, of);
    if (!status)
        status = sort(p, args, memory, s, &of->a);
    if (!status)
        status = divide(p, args, memory, s, of);
    if (!status && cudaFuncSetAttribute(p->n == 1 ? own_panels<1> : own_panels<2>, room,
                                        (int)of->shared))
        status = OP_EDEVICE;
    if (status) {
        free(of);
        return status;
    }
    *state = of;
    return OP_OK;
}

enum op_status spmm_own_panel(const struct spmm_problem *p, const struct spmm_args *a,
                              void *state, op_stream s)
{
    const Prepared *of = (const Prepared *)state;
    switch (p->n) {
    case 1: return launch<1>(p, a, of, s);
    case 2: return launch<2>(p, a, of, s);
    }
    return OP_EUNSUPPORTED;
}

void spmm_own_panel_teardown(void *state)
{
    free(state);
}
OP_END
