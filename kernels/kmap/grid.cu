/*
 * grid.cu - all maps of a network whose levels are small grids, from one bit a cell.
 *
 *     cell     ((b Dx + x) Dy + y) Dz + z
 *     bits     [cells / 64] which cells hold a voxel
 *     before   [cells / 64] voxels in the words before: row of a voxel = before + bits below its
 * own
 *     sums     voxels of so many words each, counted as bits are set
 *
 * Rows of every level ascend by (batch, x, y, z) without a sort, whatever the order of the input.
 *
 *     mark     the voxels of every level that an input leads to are a box: its bits are set, of all
 *              levels at once
 *     number   a pass over the words of all levels: before, and the coordinates of their voxels
 *     tables   all of them, a lookup a column of taps: those along z are neighbours in the words
 *
 * Bound by reading the finest level's words (Waymo: 11.6 MB, in the second-level cache) and by
 * writing tables.  Nothing goes back to the host.
 */
#include <stdlib.h>

#include "rows.cuh"
#include "scan.cuh"

typedef unsigned long long word_t;

constexpr int THREADS = 256, WORDS = 2, PIECE = THREADS * WORDS; /* words a block numbers */
constexpr int LEVELS = KMAP_LEVELS_MAX;
/* Words of a sum: few where there are few words, so that not all inputs add to the same ones. */
constexpr int FINE = 5, SUMS_FEW = 4096, COARSE = 9; /* log2 of words */
static_assert(1 << COARSE <= PIECE, "a piece begins with a sum");
/* Columns of taps that a thread looks up at a time. */
constexpr int COLUMNS = 9;
constexpr int TABLE_BLOCKS = 6; /* of grid_tables on a multiprocessor */

/* n / d for n < 2^31: (n * factor) >> shift, factor = 2^shift / d rounded up. */
struct Divisor {
    uint32_t factor;
    int shift;
};

/* Along an axis: inputs from a to b lead to outputs from (a + low) / stride to (b + high) / stride,
 * as far as there are any. */
struct Reach {
    Divisor stride;
    int low, high;
};

struct Level {
    int size[3], cap;
    int words, sum_bits, first; /* log2 of words of a sum; first block of grid_number */
    Divisor across[3];           /* by size */
    Reach reach[3];              /* from the level before */
    word_t *bits;
    int32_t *before, *sums;
    kmap_coord *coord;
    int32_t *count;
};

struct Step {
    kmap_shape shape;
    int taps, from, to, transpose;
    int32_t *table;
    uint32_t *mask;
};

struct Tables {
    Level level[LEVELS];
    Step step[KMAP_STEPS_MAX];
    int steps, n;
    const kmap_coord *in;
    int32_t *source;
};
static_assert(sizeof(Tables) <= 4096, "parameters of a kernel");

struct GridState {
    Level level[LEVELS];
    word_t *bits; /* of all levels, the sums behind them */
    size_t cleared;
    int number_blocks, sms;
};

static __device__ __forceinline__ int quotient(int n, const Divisor &d)
{
    return (int)((uint64_t)(uint32_t)n * d.factor >> d.shift);
}

static __device__ __forceinline__ int cell_of(const Level &g, int b, int x, int y, int z)
{
    return ((b * g.size[0] + x) * g.size[1] + y) * g.size[2] + z;
}

/* Row of a cell; -1: no voxel. */
static __device__ __forceinline__ int row_of(const Level &g, int cell)
{
    const word_t word = g.bits[cell >> 6];
    const int bit = cell & 63;
    return word >> bit & 1 ? g.before[cell >> 6] + __popcll(word & ((1ull << bit) - 1)) : -1;
}

/* ---- marking: blockIdx.y is the level ---- */

/* Most bits of a coarse level are there already: reading is cheaper than an atomic for nothing.
 * Bits are only ever set, so that an old value does no harm. */
static __device__ __forceinline__ void mark_word(const Level &g, int word, word_t wanted)
{
    const word_t missing = wanted & ~__ldcg(g.bits + word);
    if (!missing)
        return;
    const word_t fresh = missing & ~atomicOr(g.bits + word, missing);
    if (fresh)
        atomicAdd(g.sums + (word >> g.sum_bits), __popcll(fresh));
}

/* Cells first to last. */
static __device__ __forceinline__ void mark_cells(const Level &g, int first, int last)
{
    for (int word = first >> 6; word <= last >> 6; word++) {
        const word_t from = word == first >> 6 ? ~0ull << (first & 63) : ~0ull;
        const word_t to = word == last >> 6 ? ~0ull >> (63 - (last & 63)) : ~0ull;
        mark_word(g, word, from & to);
    }
}

static __global__ void __launch_bounds__(THREADS) grid_mark(const __grid_constant__ Tables t)
{
    const int i = blockIdx.x * THREADS + threadIdx.x, level = blockIdx.y;
    if (i >= t.n)
        return;
    const kmap_coord c = t.in[i];
    int low[3] = { c.x, c.y, c.z }, high[3] = { c.x, c.y, c.z };
    for (int l = 1; l <= level; l++)
#pragma unroll
        for (int a = 0; a < 3; a++) {
            const Reach &r = t.level[l].reach[a];
            low[a] = quotient(max(low[a] + r.low, 0), r.stride);
            high[a] = min(quotient(high[a] + r.high, r.stride), t.level[l].size[a] - 1);
            if (low[a] > high[a])
                return;
        }
    const Level &g = t.level[level];
    for (int x = low[0]; x <= high[0]; x++)
        for (int y = low[1]; y <= high[1]; y++)
            mark_cells(g, cell_of(g, c.b, x, y, low[2]), cell_of(g, c.b, x, y, high[2]));
}

/* ---- numbering: the blocks of the coarsest level come first ---- */

static __device__ __forceinline__ void write_voxel(const Level &g, int cell, int row)
{
    const int column = quotient(cell, g.across[2]), plane = quotient(column, g.across[1]);
    const int b = quotient(plane, g.across[0]);
    if (row < g.cap)
        *(int4 *)(g.coord + row) = make_int4(b, plane - b * g.size[0],
                                             column - plane * g.size[1],
                                             cell - column * g.size[2]);
}

static __global__ void __launch_bounds__(THREADS) grid_number(const __grid_constant__ Tables t)
{
    __shared__ int shared[THREADS / 32];
    int l = 0;
    while ((int)blockIdx.x < t.level[l].first)
        l++;
    const Level &g = t.level[l];
    const int first_word = ((int)blockIdx.x - g.first) * PIECE, lane = threadIdx.x % 32;
    const int at = first_word + threadIdx.x * WORDS; /* words is a multiple of WORDS */
    ulonglong2 mine = make_ulonglong2(0, 0);
    if (at < g.words)
        mine = *(const ulonglong2 *)(g.bits + at);
    int before = 0;
    for (int i = threadIdx.x; i < first_word >> g.sum_bits; i += THREADS)
        before += g.sums[i];
    before = block_sum<THREADS>(before, shared);
    const int voxels = __popcll(mine.x) + __popcll(mine.y);
    const int row = before + sum_before(voxels, shared);
    if (at < g.words)
        *(int2 *)(g.before + at) = make_int2(row, row + __popcll(mine.x));
    if (threadIdx.x == THREADS - 1 && first_word + PIECE >= g.words)
        *g.count = row + voxels;
    /* a word at a time by the warp: scans fill some and leave most empty */
#pragma unroll
    for (int k = 0; k < WORDS; k++) {
        const word_t own = k ? mine.y : mine.x;
        const int own_row = k ? row + __popcll(mine.x) : row;
        for (unsigned left = __ballot_sync(~0u, own != 0); left; left &= left - 1) {
            const int of = __ffs(left) - 1, first = __shfl_sync(~0u, own_row, of);
            const word_t word = __shfl_sync(~0u, own, of);
            const int cell = (at + (of - lane) * WORDS + k) * 64;
#pragma unroll
            for (int bit = lane; bit < 64; bit += 32)
                if (word >> bit & 1)
                    write_voxel(g, cell + bit, first + __popcll(word & ((1ull << bit) - 1)));
        }
    }
}

/* ---- tables ---- */

/* Along an axis: the output that input p meets at a tap.  false: none. */
static __device__ __forceinline__ bool output_at(const Step &s, int a, int p, int tap, int size,
                                                 int *q)
{
    const int far = p + s.shape.pad[a] - tap;
    *q = far / s.shape.stride[a];
    return far >= 0 && far % s.shape.stride[a] == 0 && *q < size;
}

/* Taps of a row of a transpose, one by one. */
static __device__ __forceinline__ uint32_t look_back(const Step &s, const Level &found,
                                                     const kmap_coord &c, int *to)
{
    const int *k = s.shape.kernel;
    const bool x_fastest = k[0] & k[1] & k[2] & 1;
    uint32_t taps = 0;
    for (int tx = 0; tx < k[0]; tx++)
        for (int ty = 0; ty < k[1]; ty++) {
            int x, y, z;
            const bool column = output_at(s, 0, c.x, tx, found.size[0], &x) &
                                output_at(s, 1, c.y, ty, found.size[1], &y);
            for (int tz = 0; tz < k[2]; tz++) {
                const int tap =
                    x_fastest ? (tz * k[1] + ty) * k[0] + tx : (tx * k[1] + ty) * k[2] + tz;
                int at = -1;
                if (column && output_at(s, 2, c.z, tz, found.size[2], &z))
                    at = row_of(found, cell_of(found, c.b, x, y, z));
                to[tap] = at;
                taps |= (uint32_t)(at >= 0) << tap;
            }
        }
    return taps;
}

/* Taps of a row by columns along z, whose inputs are neighbouring cells. */
static __device__ __forceinline__ uint32_t look(const Step &s, const Level &found,
                                                const kmap_coord &c, int *to)
{
    const int *k = s.shape.kernel, *stride = s.shape.stride, *pad = s.shape.pad;
    const bool x_fastest = k[0] & k[1] & k[2] & 1;
    const int columns = k[0] * k[1], step = x_fastest ? columns : 1;
    const int x0 = c.x * stride[0] - pad[0], y0 = c.y * stride[1] - pad[1];
    const int z0 = c.z * stride[2] - pad[2];
    const int skip = max(-z0, 0), inside = min(k[2], found.size[2] - z0) - skip; /* taps */
    uint32_t taps = 0;
    for (int first = 0, tx = 0, ty = 0; first < columns; first += COLUMNS) {
        word_t low[COLUMNS], high[COLUMNS]; /* the words that they begin and end in */
        int before[COLUMNS], bit[COLUMNS], tap[COLUMNS];
#pragma unroll
        for (int u = 0; u < COLUMNS; u++) { /* all on their way at once */
            const int x = x0 + tx, y = y0 + ty;
            const bool exists = (first + u < columns) & (inside > 0) & (x >= 0) &
                                (x < found.size[0]) & (y >= 0) & (y < found.size[1]);
            const int cell = cell_of(found, c.b, x, y, z0 + skip);
            low[u] = exists ? found.bits[cell >> 6] : 0;
            high[u] = exists ? found.bits[(cell + inside - 1) >> 6] : 0;
            before[u] = exists ? found.before[cell >> 6] : 0;
            bit[u] = cell & 63;
            tap[u] = x_fastest ? ty * k[0] + tx : (tx * k[1] + ty) * k[2];
            if (++ty == k[1])
                ty = 0, tx++;
        }
#pragma unroll
        for (int u = 0; u < COLUMNS; u++) {
            /* the next word's by two shifts: one of 64 is undefined */
            const word_t behind = bit[u] + inside > 64 ? high[u] << 1 << (63 - bit[u]) : 0;
            const uint32_t cells = (uint32_t)(low[u] >> bit[u] | behind);
            const uint32_t present = inside > 0 ? (cells & ~0u >> (32 - inside)) << skip : 0;
            int row = before[u] + __popcll(low[u] & ((1ull << bit[u]) - 1));
            for (int tz = 0; first + u < columns && tz < k[2]; tz++) {
                const int hit = present >> tz & 1;
                to[tap[u]] = hit ? row : -1;
                taps |= (uint32_t)hit << tap[u];
                row += hit;
                tap[u] += step;
            }
        }
    }
    return taps;
}

/* KMAP_PAD rows of a table. */
static __device__ __forceinline__ void make_rows(const Tables &t, const Step &s, int first,
                                                 int *stage)
{
    const Level &rows = t.level[s.transpose ? s.from : s.to];
    const Level &found = t.level[s.transpose ? s.to : s.from];
    const int n = min(*rows.count, rows.cap), row = first + threadIdx.x;
    int *to = stage + threadIdx.x * s.taps;
    uint32_t taps = 0;
    if (row < n) {
        const int4 v = *(const int4 *)(rows.coord + row);
        const kmap_coord c = { v.x, v.y, v.z, v.w };
        taps = s.transpose ? look_back(s, found, c, to) : look(s, found, c, to);
    } else {
        for (int d = 0; d < s.taps; d++)
            to[d] = -1;
    }
    s.mask[row] = taps;
    store_rows(stage, s.taps, first, s.table);
    __syncthreads(); /* the stage is free */
}

/* Blocks take KMAP_PAD rows of any table in turns: how many there are only the device knows.
 * Behind them which row of the input each row of level 0 is. */
static __global__ void __launch_bounds__(KMAP_PAD, TABLE_BLOCKS)
grid_tables(const __grid_constant__ Tables t)
{
    __shared__ __align__(16) int stage[KMAP_PAD * KMAP_TAPS_MAX];
    __shared__ int end[KMAP_STEPS_MAX]; /* of the pieces of a step */
    if (threadIdx.x < t.steps) {
        const Step &s = t.step[threadIdx.x];
        const Level &rows = t.level[s.transpose ? s.from : s.to];
        end[threadIdx.x] = padded_rows(min(*rows.count, rows.cap)) / KMAP_PAD;
    }
    __syncthreads();
    if (threadIdx.x == 0)
        for (int i = 1; i < t.steps; i++)
            end[i] += end[i - 1];
    __syncthreads();
    const int pieces = end[t.steps - 1], all = pieces + padded_rows(t.n) / KMAP_PAD;
    for (int piece = blockIdx.x, i = 0; piece < all; piece += gridDim.x) {
        while (i < t.steps && end[i] <= piece)
            i++;
        if (i < t.steps) {
            make_rows(t, t.step[i], (piece - (i ? end[i - 1] : 0)) * KMAP_PAD, stage);
            continue;
        }
        const int from = (piece - pieces) * KMAP_PAD + threadIdx.x;
        if (from < t.n) {
            const kmap_coord c = t.in[from];
            t.source[row_of(t.level[0], cell_of(t.level[0], c.b, c.x, c.y, c.z))] = from;
        }
    }
}

/* ---- host ---- */

static Divisor divisor_of(int d)
{
    int bits = 0;
    while ((int64_t)1 << bits < d)
        bits++;
    const uint64_t whole = (uint64_t)1 << (31 + bits);
    return { (uint32_t)((whole + (uint32_t)d - 1) / (uint32_t)d), 31 + bits };
}

/* First, last output q of an input p: p + pad - kernel < stride q, stride q <= p + pad. */
static Reach reach_of(const kmap_shape *s, int a)
{
    Reach r = { divisor_of(s->stride[a]), 0, 0 };
    if (s->rule == KMAP_SPCONV) {
        r.low = s->pad[a] - s->kernel[a] + s->stride[a];
        r.high = s->pad[a];
    }
    return r;
}

static void describe_level(const struct kmap_plan *p, int l, Level *g)
{
    const int made_by = l ? kmap_step_to(p, l) : -1;
    for (int a = 0; a < 3; a++) {
        g->size[a] = p->size[l][a];
        g->across[a] = divisor_of(g->size[a]);
        if (made_by >= 0)
            g->reach[a] = reach_of(&p->step[made_by].shape, a);
    }
    const long long cells = (long long)p->batch * g->size[0] * g->size[1] * g->size[2];
    g->cap = p->cap[l];
    g->words = (int)((cells + 64 * WORDS - 1) / (64 * WORDS) * WORDS);
    g->sum_bits = g->words >> FINE <= SUMS_FEW ? FINE : COARSE;
}

static size_t sums_of(const Level *g)
{
    return ((size_t)g->words >> g->sum_bits) + 1;
}

OP_BEGIN

enum op_status kmap_grid_setup(const struct kmap_plan *p, const struct op_memory *m, void **out)
{
    GridState *x = (GridState *)calloc(1, sizeof *x);
    size_t words = 0, sums = 0;
    int device;
    *out = NULL;
    if (!x)
        return OP_ENOMEM;
    for (int l = p->levels - 1; l >= 0; l--) {
        Level *g = &x->level[l];
        describe_level(p, l, g);
        g->first = x->number_blocks;
        x->number_blocks += (g->words + PIECE - 1) / PIECE;
        words += (size_t)g->words;
        sums += sums_of(g);
    }
    x->cleared = words * sizeof *x->bits + sums * sizeof(int32_t);
    x->bits = (word_t *)m->take(m->context, x->cleared);
    bool good = x->bits != NULL;
    int32_t *sum = (int32_t *)(x->bits + words);
    words = 0;
    for (int l = 0; good && l < p->levels; l++) {
        Level *g = &x->level[l];
        g->bits = x->bits + words;
        g->sums = sum;
        g->before = (int32_t *)m->take(m->context, (size_t)g->words * sizeof *g->before);
        good = g->before != NULL;
        words += (size_t)g->words;
        sum += sums_of(g);
    }
    if (!good) {
        free(x);
        return OP_ENOMEM;
    }
    if (cudaGetDevice(&device) ||
        cudaDeviceGetAttribute(&x->sms, cudaDevAttrMultiProcessorCount, device)) {
        free(x);
        return OP_EDEVICE;
    }
    *out = x;
    return OP_OK;
}

enum op_status kmap_grid(const struct kmap_plan *p, const struct kmap_args *a, void *state,
                         op_stream s)
{
    const GridState *x = (const GridState *)state;
    const int blocks = (p->n_in + THREADS - 1) / THREADS;
    Tables t = {};
    long pieces = row_blocks(p->n_in);
    t.steps = p->steps;
    t.n = p->n_in;
    t.in = a->in;
    t.source = a->source;
    for (int l = 0; l < p->levels; l++) {
        t.level[l] = x->level[l];
        t.level[l].coord = a->coord[l];
        t.level[l].count = a->count + l;
    }
    for (int i = 0; i < p->steps; i++) {
        t.step[i] = { p->step[i].shape, kmap_taps(&p->step[i].shape), p->step[i].from,
                      p->step[i].to,    p->step[i].transpose,         a->table[i],
                      a->mask[i] };
        pieces += row_blocks(kmap_step_rows(p, i));
    }
    if (cudaMemsetAsync(x->bits, 0, x->cleared, s) != cudaSuccess)
        return OP_EDEVICE;
    grid_mark<<<dim3(blocks, p->levels), THREADS, 0, s>>>(t);
    grid_number<<<x->number_blocks, THREADS, 0, s>>>(t);
    const long most = (long)x->sms * TABLE_BLOCKS;
    grid_tables<<<(unsigned)(pieces < most ? pieces : most), KMAP_PAD, 0, s>>>(t);
    return launched();
}

OP_END
