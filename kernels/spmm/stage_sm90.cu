/*
 * stage_sm90.cu - own_stage: C = A B for one column, B from shared memory.
 *
 * Gathers of B through L1 come at one line a clock: where the 32 columns that a warp asks for lie
 * in as many lines, that bounds the kernel at an entry a clock and SM, half of what memory gives.
 * Shared memory answers 32 addresses in three or four clocks, wherever they lie.  So a block brings
 * its window of B there by one bulk copy, and A is stored anew by set-up: stage.h draws it.
 *
 *   warp    a chunk of A, a step of 256 entries at a time, the loads of the next step ahead
 *   lane    eight neighbouring entries: three loads of 16 bytes, one of 2
 *   rows    that end in a lane are added up there, in order; what is open at its end goes on by a
 *           segmented scan over the lanes, and from step to step in lane 0
 *   C       the sums of a step wait in shared memory until neighbouring lanes store them
 *
 * Where no windows fit, A is cut into panels of columns that do, each a matrix of its own (Part),
 * all in one launch; a second one adds up what the panels have of every row of C.
 *
 * The order of all sums is fixed.  Long rows are shared by chunks, the warp that makes the last
 * piece adds them up (own_plan.h).  Bound by the reading of A: 6.25 bytes an entry.
 */
#include <cub/device/device_scan.cuh>
#include <cuda_runtime.h>

#include <stdlib.h>

#include "../common/mbarrier.cuh"
#include "../common/tma.cuh"
#include "own_kernels.h"
#include "own_plan.h"
#include "own_stream.cuh"
#include "shape.h"
#include "stage.h"
#include "view.cuh"

/* A as stage.h draws it. */
struct Staged {
    uint4 *col;
    float4 *val[2];
    unsigned short *note;
    stage_window *window;     /* [blocks] */
    const int *rows, *before; /* where rows are empty, else NULL: stage_rows */
};

/* A, or a panel of it. */
struct Part {
    own_plan plan;
    Staged a;
    const int *row_ptr; /* NULL: that of A */
    float *c;           /* NULL: C */
    int block;          /* its first one */
};

struct Parts {
    int count;
    Part of[STAGE_PARTS];
};

/* ---- set-up ---- */

/* A thread looks at the ends of a row: columns ascend in it. */
static __global__ __launch_bounds__(STAGE_GROUP) void look_at_rows(spmm_args a, int m,
                                                                   stage_reach *reach)
{
    __shared__ int first, end;
    const int row = blockIdx.x * STAGE_GROUP + threadIdx.x;
    if (threadIdx.x == 0)
        first = 2147483647, end = 0;
    __syncthreads();
    if (row < m) {
        const int from = row_begin(a, row), to = row_begin(a, row + 1);
        if (from < to) {
            atomicMin(&first, column_at(a, from));
            atomicMax(&end, column_at(a, to - 1) + 1);
        }
    }
    __syncthreads();
    if (threadIdx.x == 0)
        reach[blockIdx.x] = { end ? first : 0, end };
}

/* A warp stores a chunk. */
static __global__ __launch_bounds__(SPMM_BLOCK) void store_slots(spmm_args a, int nnz,
                                                                 own_plan plan, int warps, Staged f)
{
    const int c = blockIdx.x * SPMM_BLOCK_WARPS + threadIdx.x / WARP;
    if (c >= plan.chunks)
        return;
    const int begin = plan.bound[c].entry, entries = plan.bound[c + 1].entry - begin;
    const int slots = stage_slots(entries), base = stage_base(begin, c);
    const int shift = STAGE_ZERO - f.window[c / warps].first;
    for (int first = 0; first < slots; first += WARP) {
        const int at = first + threadIdx.x % WARP, start = begin + at * STAGE_SLOT;
        unsigned col[STAGE_SLOT] = {}, ends = 0;
        float val[STAGE_SLOT] = {};
#pragma unroll
        for (int e = 0; e < STAGE_SLOT; e++) {
            const int p = start + e;
            if (p >= begin + entries)
                continue;
            col[e] = column_at(a, p) + shift;
            val[e] = value_at(a, p);
            ends |= (p + 1 == nnz || __ldg(a.a.row + p) != __ldg(a.a.row + p + 1)) << e;
        }
        int upto = __popc(ends);
#pragma unroll
        for (int d = 1; d < WARP; d *= 2) {
            const int y = __shfl_up_sync(ALL_LANES, upto, d);
            upto += (int)threadIdx.x % WARP >= d ? y : 0;
        }
        if (at >= slots)
            continue;
        const size_t to = base + at;
        f.col[to] = make_uint4(col[0] | col[1] << 16, col[2] | col[3] << 16, col[4] | col[5] << 16,
                               col[6] | col[7] << 16);
        f.val[0][to] = make_float4(val[0], val[1], val[2], val[3]);
        f.val[1][to] = make_float4(val[4], val[5], val[6], val[7]);
        f.note[to] = (unsigned short)stage_note(ends, upto - __popc(ends));
    }
}

/* ---- product ---- */

/* What a lane has of a step. */
struct Slot {
    uint4 col;
    float4 low, high;
    unsigned note;
};

/* Of slots that are not there: zeros, with column 0 of the window, which is zero. */
static __device__ __forceinline__ Slot load_slot(const Staged &f, size_t at, bool there)
{
    Slot s = {};
    if (there) {
        s.col = __ldcs(f.col + at);
        s.low = __ldcs(f.val[0] + at);
        s.high = __ldcs(f.val[1] + at);
        s.note = __ldcs(f.note + at);
    }
    return s;
}

/* By the whole block: the window's copy is on its way when this returns. */
static __device__ __forceinline__ void fetch_window(const float *b, const stage_window &w,
                                                    uint32_t barrier, float *window)
{
    const int whole = w.columns - w.columns % 4; /* 16 bytes at a time */
    if (threadIdx.x == 0) {
        mbarrier_init(barrier, 1);
        mbarrier_init_done();
        mbarrier_expect(barrier, whole * sizeof(float));
        if (whole)
            bulk_copy((uint32_t)__cvta_generic_to_shared(window + STAGE_ZERO), b + w.first,
                      whole * sizeof(float), barrier);
    }
    if (threadIdx.x < STAGE_ZERO) {
        window[threadIdx.x] = 0;
        if (whole + (int)threadIdx.x < w.columns)
            window[STAGE_ZERO + whole + threadIdx.x] = __ldg(b + w.first + whole + threadIdx.x);
    }
    __syncthreads();
}

/* Adds the products of a step; sums of rows that ended go to `to`, in order. Returns how many did;
 * open: in lane 0 of the row that was open before, in all lanes of the one that is now. */
static __device__ __forceinline__ int add_slots(const Slot &s, const float *window, int last,
                                                float *to, float &open)
{
    const int lane = threadIdx.x % WARP;
    const uint32_t words[4] = { s.col.x, s.col.y, s.col.z, s.col.w };
    const float val[STAGE_SLOT] = { s.low.x,  s.low.y,  s.low.z,  s.low.w,
                                    s.high.x, s.high.y, s.high.z, s.high.w };
    const unsigned ends = stage_ends(s.note), before = stage_before(s.note);
    float x[STAGE_SLOT], sum[1];
#pragma unroll
    for (int e = 0; e < STAGE_SLOT; e++)
        x[e] = window[stage_column(words, e)];
    sum[0] = stage_walk(val, x, ends, lane ? 0 : open, to + before);
    const unsigned mask = __ballot_sync(ALL_LANES, ends != 0);
    scan(sum, stage_since(mask, lane));
    const float incoming = __shfl_up_sync(ALL_LANES, sum[0], 1);
    open = __shfl_sync(ALL_LANES, sum[0], WARP - 1);
    if (ends && lane)
        to[before] += incoming;
    return __shfl_sync(ALL_LANES, before + __popc(ends), last);
}

/* The first `count` sums of a step, of the rows from number `ended` of the chunk on. */
static __device__ __forceinline__ void store_sums(const float *sums, int count, int ended,
                                                  const int *rows, float *c, float *piece)
{
    const int lane = threadIdx.x % WARP;
    if (!rows && !piece) {
#pragma unroll 1
        for (int i = lane; i < count; i += WARP)
            __stcs(c + ended + i, sums[i]);
        return;
    }
#pragma unroll 1
    for (int i = lane; i < count; i += WARP) {
        const int row = ended + i;
        float *at = c + (rows ? __ldg(rows + row) : row);
        if (row == 0 && piece) /* the rest of a row that began in another chunk */
            at = piece;
        __stcs(at, sums[i]);
    }
}

template <int W>
static __global__
__launch_bounds__(W *WARP, 32 / W) void own_stages(spmm_args a, const __grid_constant__ Parts parts)
{
    extern __shared__ float4 shared[];
    int q = 0;
    while (q + 1 < parts.count && (int)blockIdx.x >= parts.of[q + 1].block)
        q++;
    const own_plan &plan = parts.of[q].plan;
    const Staged &f = parts.of[q].a;
    const int block = blockIdx.x - parts.of[q].block;
    const int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP, c = block * W + warp;
    const uint32_t barrier = (uint32_t)__cvta_generic_to_shared(shared);
    float *const sums = (float *)(shared + 1) + warp * STAGE_STEP;
    float *const window = (float *)(shared + 1) + W * STAGE_STEP;
    const bool here = c < plan.chunks;
    const int4 from = __ldg((const int4 *)plan.bound + min(c, plan.chunks));
    const int4 to = __ldg((const int4 *)plan.bound + min(c + 1, plan.chunks));
    const int slots = stage_slots(to.y - from.y);
    const size_t base = (size_t)stage_base(from.y, c) + lane;
    Slot next = load_slot(f, base, lane < slots);
    const stage_window w = f.window[block];
    fetch_window((const float *)a.b, w, barrier, window);
    if (parts.of[q].c) {
        a.a.row_ptr = parts.of[q].row_ptr;
        a.c = parts.of[q].c;
    }
    if (f.rows && here)
        store_empty<1>(a, from.x, to.x);
    const int *rows = f.rows && here ? f.rows + __ldg(f.before + c) : NULL;
    float *const at = (float *)a.c + (rows ? 0 : from.x);
    float *const piece = from.z < 0 ? NULL : plan.carry + from.z + 1;
    float open = 0;
    int ended = 0;
    mbarrier_wait(barrier, 0);
    for (int first = 0; first < slots; first += WARP) {
        const Slot now = next;
        const int ahead = first + WARP;
        next = load_slot(f, base + ahead, ahead + lane < slots);
        const int count = add_slots(now, window, min(slots - first, WARP) - 1, sums, open);
        __syncwarp();
        store_sums(sums, count, ended, rows, at, piece);
        ended += count;
        __syncwarp();
    }
    if (!here)
        return;
    if (from.z >= 0 && ended)
        finish_piece<1>(a, plan, from.w);
    if (to.z < 0)
        return;
    if (lane == 0)
        store_row(plan.carry + to.z, { open });
    finish_piece<1>(a, plan, to.w);
}

/* C from what the panels have of it, one after another; a thread a row. */
static __global__ __launch_bounds__(SPMM_BLOCK) void add_parts(const float *part, int count, int m,
                                                               float *c)
{
    const int i = blockIdx.x * SPMM_BLOCK + threadIdx.x;
    float sum = 0;
    if (i >= m)
        return;
#pragma unroll 4
    for (int q = 0; q < count; q++)
        sum += __ldcs(part + (size_t)q * m + i);
    __stcs(c + i, sum);
}

/* ---- set-up: A in panels of columns ---- */

/* A thread counts what a row has in each panel: count [panels][m + 1], a zero behind each panel. */
static __global__ __launch_bounds__(SPMM_BLOCK) void count_entries(spmm_args a, int m, int panels,
                                                                   int width, int *count)
{
    const int row = blockIdx.x * SPMM_BLOCK + threadIdx.x;
    if (row > m)
        return;
    const int end = row < m ? row_begin(a, row + 1) : 0;
    int begin = row < m ? row_begin(a, row) : 0;
    for (int q = 0; q < panels; q++) {
        const int next = stage_first_from(a.a.col, begin, end, (q + 1) * width);
        count[(size_t)q * (m + 1) + row] = next - begin;
        begin = next;
    }
}

/* A warp moves the entries of a row; to [panels][m + 1] inside a panel, base [panels] of it. */
static __global__ __launch_bounds__(SPMM_BLOCK) void move_entries(spmm_args a, int m, int panels,
                                                                  int width, const int *to,
                                                                  const int *base, int *col,
                                                                  int *rows, float *val)
{
    const int row = blockIdx.x * SPMM_BLOCK_WARPS + threadIdx.x / WARP;
    if (row >= m)
        return;
    const int end = row_begin(a, row + 1);
    int begin = row_begin(a, row);
    for (int q = 0; q < panels; q++) {
        const int next = stage_first_from(a.a.col, begin, end, (q + 1) * width);
        const int at = __ldg(base + q) + __ldg(to + (size_t)q * (m + 1) + row);
        for (int p = begin + threadIdx.x % WARP; p < next; p += WARP) {
            col[at + p - begin] = column_at(a, p);
            val[at + p - begin] = value_at(a, p);
            rows[at + p - begin] = row;
        }
        begin = next;
    }
}

/* ---- set-up and launches ---- */

struct Stage {
    Parts parts;
    float *part; /* [panels][m]; NULL: one part */
    int warps, blocks, columns;
    long chunks, nnz;
};

static size_t shared_of(const Stage *of)
{
    stage_form f = {};
    f.warps = of->warps;
    return stage_shared(&f) + of->columns * sizeof(float);
}

/* A copy on the device of `count` on the host, there when this returns. */
template <class T>
static enum op_status put(const struct op_memory *memory, const T *from, size_t count, op_stream s,
                          T **to)
{
    *to = take_of<T>(memory, count);
    if (!*to)
        return OP_ENOMEM;
    if (cudaMemcpyAsync(*to, from, count * sizeof(T), cudaMemcpyHostToDevice, s))
        return OP_EDEVICE;
    return done(cudaStreamSynchronize(s));
}

/* The columns of every group of rows, on the host, where the caller frees them. */
static enum op_status look(const struct spmm_problem *p, const struct spmm_args *args,
                           const struct op_memory *memory, op_stream s, stage_reach **out)
{
    const size_t groups = spmm_div_up(p->m, STAGE_GROUP), bytes = groups * sizeof(stage_reach);
    stage_reach *reach = take_of<stage_reach>(memory, groups);
    *out = (stage_reach *)malloc(bytes);
    if (!reach || !*out)
        return OP_ENOMEM;
    look_at_rows<<<(unsigned)groups, STAGE_GROUP, 0, s>>>(*args, p->m, reach);
    if (launched() || cudaMemcpyAsync(*out, reach, bytes, cudaMemcpyDeviceToHost, s))
        return OP_EDEVICE;
    return done(cudaStreamSynchronize(s));
}

/* All that a block may have: what is set holds for every set-up that is alive. */
template <int W> static enum op_status allow(int most)
{
    if (cudaFuncSetAttribute(own_stages<W>, cudaFuncAttributeMaxDynamicSharedMemorySize, most) ||
        cudaFuncSetAttribute(own_stages<W>, cudaFuncAttributePreferredSharedMemoryCarveout,
                             cudaSharedmemCarveoutMaxShared))
        return OP_EDEVICE;
    return OP_OK;
}

template <int W> struct Warps {
    static constexpr int value = W;
};

/* Calls what with the number of warps of a block as a type. */
template <class What> static enum op_status with_warps(int warps, What what)
{
    switch (warps) {
    case 8:
        return what(Warps<8>());
    case 16:
        return what(Warps<16>());
    case 32:
        return what(Warps<32>());
    }
    return OP_EUNSUPPORTED;
}

/* The windows of a form, and which rows have entries if not all. */
static enum op_status put_windows(const struct spmm_problem *p, const int *row_ptr,
                                  const stage_reach *reach, const stage_form *f,
                                  const struct op_memory *memory, op_stream s, Staged *of)
{
    const size_t rows = p->m - p->empty_rows;
    stage_window *window = (stage_window *)malloc(f->blocks * sizeof *window);
    int *row = (int *)malloc((rows + f->chunks) * sizeof *row), *there = NULL;
    enum op_status status = window && row ? OP_OK : OP_ENOMEM;
    if (!status) {
        stage_windows(p, row_ptr, reach, f, window);
        status = put(memory, window, f->blocks, s, &of->window);
    }
    if (!status && p->empty_rows) {
        stage_rows(p, row_ptr, f, row, row + rows);
        status = put(memory, row, rows + f->chunks, s, &there);
        of->rows = there;
        of->before = there + rows;
    }
    free(window);
    free(row);
    return status;
}

static enum op_status store(const struct spmm_problem *p, const struct spmm_args *args, int warps,
                            const struct op_memory *memory, op_stream s, Part *of)
{
    Staged *a = &of->a;
    const int chunks = of->plan.chunks;
    const size_t slots = stage_base((int)p->nnz, chunks);
    a->col = take_of<uint4>(memory, slots);
    a->val[0] = take_of<float4>(memory, slots);
    a->val[1] = take_of<float4>(memory, slots);
    a->note = take_of<unsigned short>(memory, slots);
    if (!a->col || !a->val[0] || !a->val[1] || !a->note)
        return OP_ENOMEM;
    store_slots<<<(unsigned)spmm_div_up(chunks, SPMM_BLOCK_WARPS), SPMM_BLOCK, 0, s>>>(
        *args, (int)p->nnz, of->plan, warps, *a);
    return launched();
}

/* The next part of *of, in that form. */
static enum op_status add_part(const struct spmm_problem *p, const int *row_ptr,
                               const struct spmm_args *args, const stage_reach *reach,
                               const stage_form *f, const struct op_memory *memory, op_stream s,
                               Stage *of)
{
    Part *part = &of->parts.of[of->parts.count];
    part->block = of->blocks;
    enum op_status status = put_windows(p, row_ptr, reach, f, memory, s, &part->a);
    if (!status)
        status = own_plan_chunks(p, args, f->items, f->whole, memory, s, &part->plan);
    if (!status)
        status = store(p, args, f->warps, memory, s, part);
    of->parts.count++;
    of->warps = f->warps;
    of->blocks += f->blocks;
    of->chunks += f->chunks;
    of->columns = of->columns > f->columns ? of->columns : f->columns;
    return status;
}

/* A in the order of panels, on the device; and row_ptr of all of them on the host. */
struct Panels {
    stage_cut cut;
    int *row_ptr;          /* device, [panels][m + 1], each from 0 on */
    int *host;             /* the same, owned */
    int base[STAGE_PARTS]; /* entries before a panel */
    int *col, *row;
    float *val;
};

static enum op_status scan_counts(const struct spmm_problem *p, const int *count,
                                  const struct op_memory *memory, op_stream s, Panels *of)
{
    const size_t rows = (size_t)p->m + 1;
    size_t bytes = 0;
    if (cub::DeviceScan::ExclusiveSum(NULL, bytes, count, of->row_ptr, (int)rows, s))
        return OP_EDEVICE;
    void *scratch = take_of<char>(memory, bytes);
    if (!scratch)
        return OP_ENOMEM;
    for (int q = 0; q < of->cut.panels; q++)
        if (cub::DeviceScan::ExclusiveSum(scratch, bytes, count + q * rows, of->row_ptr + q * rows,
                                          (int)rows, s))
            return OP_EDEVICE;
    const size_t all = of->cut.panels * rows * sizeof(int);
    if (cudaMemcpyAsync(of->host, of->row_ptr, all, cudaMemcpyDeviceToHost, s))
        return OP_EDEVICE;
    return done(cudaStreamSynchronize(s));
}

static enum op_status sort(const struct spmm_problem *p, const struct spmm_args *args,
                           const struct op_memory *memory, op_stream s, Panels *of)
{
    const size_t rows = (size_t)p->m + 1;
    const stage_cut *cut = &of->cut;
    int *count = take_of<int>(memory, cut->panels * rows), *base;
    of->row_ptr = take_of<int>(memory, cut->panels * rows);
    of->host = (int *)malloc(cut->panels * rows * sizeof(int));
    of->col = take_of<int>(memory, p->nnz);
    of->row = take_of<int>(memory, p->nnz);
    of->val = take_of<float>(memory, p->nnz);
    if (!count || !of->row_ptr || !of->host || !of->col || !of->row || !of->val)
        return OP_ENOMEM;
    count_entries<<<(unsigned)spmm_div_up(rows, SPMM_BLOCK), SPMM_BLOCK, 0, s>>>(
        *args, p->m, cut->panels, cut->width, count);
    enum op_status status = launched();
    if (!status)
        status = scan_counts(p, count, memory, s, of);
    if (status)
        return status;
    for (int q = 0, sum = 0; q < cut->panels; q++) {
        of->base[q] = sum;
        sum += of->host[q * rows + p->m];
    }
    status = put(memory, of->base, cut->panels, s, &base);
    if (status)
        return status;
    move_entries<<<(unsigned)spmm_div_up(p->m, SPMM_BLOCK_WARPS), SPMM_BLOCK, 0, s>>>(
        *args, p->m, cut->panels, cut->width, of->row_ptr, base, of->col, of->row, of->val);
    return launched();
}

static enum op_status add_panel(const struct spmm_problem *p, const Panels *panels, int q,
                                const stage_device *d, const struct op_memory *memory, op_stream s,
                                Stage *of)
{
    const size_t at = q * ((size_t)p->m + 1);
    const int *row_ptr = panels->host + at, base = panels->base[q];
    struct spmm_problem part = *p;
    struct spmm_args args = {};
    stage_reach *reach = NULL;
    stage_form f = {};
    f.warps = STAGE_WIDEST;
    f.items = panels->cut.items;
    args.a.row_ptr = panels->row_ptr + at;
    args.a.col = panels->col + base;
    args.a.row = panels->row + base;
    args.a.val = panels->val + base;
    spmm_describe(p->m, p->k, row_ptr, &part);
    enum op_status status = look(&part, &args, memory, s, &reach);
    if (!status)
        status = stage_complete(&part, row_ptr, reach, d, &f);
    if (!status)
        status = add_part(&part, row_ptr, &args, reach, &f, memory, s, of);
    free(reach);
    of->parts.of[q].row_ptr = args.a.row_ptr;
    of->parts.of[q].c = of->part + (size_t)q * p->m;
    return status;
}

static enum op_status add_panels(const struct spmm_problem *p, const struct spmm_args *args,
                                 const stage_device *d, const struct op_memory *memory, op_stream s,
                                 Stage *of)
{
    Panels panels = {};
    enum op_status status = stage_cut_of(p, d, &panels.cut);
    if (!status)
        status = sort(p, args, memory, s, &panels);
    of->part = status ? NULL : take_of<float>(memory, (size_t)panels.cut.panels * p->m);
    if (!status && !of->part)
        status = OP_ENOMEM;
    for (int q = 0; !status && q < panels.cut.panels; q++)
        status = add_panel(p, &panels, q, d, memory, s, of);
    free(panels.host);
    return status;
}

static enum op_status set_up(const struct spmm_problem *p, const int *row_ptr,
                             const struct spmm_args *args, const struct op_memory *memory,
                             op_stream s, Stage *of)
{
    stage_device d;
    stage_form f;
    stage_reach *reach = NULL;
    int device, most;
    if (cudaGetDevice(&device) ||
        cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, device) ||
        cudaDeviceGetAttribute(&d.sms, cudaDevAttrMultiProcessorCount, device) ||
        cudaDeviceGetAttribute(&d.shared, cudaDevAttrMaxSharedMemoryPerMultiprocessor, device))
        return OP_EDEVICE;
    enum op_status status = look(p, args, memory, s, &reach);
    if (!status && !stage_choose(p, row_ptr, reach, &d, &f))
        status = add_part(p, row_ptr, args, reach, &f, memory, s, of);
    else if (!status)
        status = add_panels(p, args, &d, memory, s, of);
    free(reach);
    of->nnz = p->nnz;
    return status ? status
                  : with_warps(of->warps, [&](auto w) { return allow<decltype(w)::value>(most); });
}

OP_BEGIN
spmm_run_fn spmm_own_stage;
spmm_setup_fn spmm_own_stage_setup;

enum op_status spmm_own_stage_setup(const struct spmm_problem *p, const struct spmm_matrix *host,
                                    const struct spmm_args *args, const struct op_memory *memory,
                                    op_stream s, void **state)
{
    Stage *of = (Stage *)calloc(1, sizeof *of);
    *state = NULL;
    if (!of)
        return OP_ENOMEM;
    const enum op_status status = set_up(p, host->row_ptr, args, memory, s, of);
    if (status) {
        free(of);
        return status;
    }
    *state = of;
    return OP_OK;
}

enum op_status spmm_own_stage(const struct spmm_problem *p, const struct spmm_args *a, void *state,
                              op_stream s)
{
    const Stage *of = (const Stage *)state;
    const enum op_status status = with_warps(of->warps, [&](auto w) {
        constexpr int W = decltype(w)::value;
        own_stages<W><<<of->blocks, W * WARP, shared_of(of), s>>>(*a, of->parts);
        return launched();
    });
    if (status || !of->part)
        return status;
    add_parts<<<(unsigned)spmm_div_up(p->m, SPMM_BLOCK), SPMM_BLOCK, 0, s>>>(
        of->part, of->parts.count, p->m, (float *)a->c);
    return launched();
}

/* Values with those of the slots that are filled up, as if each chunk filled up half a one. */
void spmm_own_stage_format(const void *state, struct spmm_format *out)
{
    const Stage *of = (const Stage *)state;
    const long values = of->nnz + of->chunks * STAGE_SLOT / 2;
    *out = { 1, of->nnz, values, values * (6 + 2.0 / STAGE_SLOT) };
}

void spmm_own_stage_teardown(void *state)
{
    free(state);
}
OP_END
