/*
 * grid.cu - all maps of a network whose levels are small grids, from one bit a cell.
 *
 *     cell     ((b Dx + x) Dy + y) Dz + z
 *     bits     [cells / 64] which cells hold a voxel
 *     before   [cells / 64] voxels in the words before: row of a voxel = before + bits below its
 * own
 *
 * Rows of every level ascend by (batch, x, y, z) without a sort, whatever the order of the input.
 * A pass over the words of a level numbers its voxels, writes their coordinates and sets the bits
 * of the next level; a last launch makes all tables, a lookup an entry.
 *
 * Bound by reading the finest level's words (Waymo: 11.6 MB, in the second-level cache) and by
 * launches.  Nothing goes back to the host.
 */
#include <stdlib.h>

#include "outputs.cuh"
#include "rows.cuh"
#include "scan.cuh"

typedef unsigned long long word_t;

constexpr int THREADS = 256, WORDS = 4, PIECE = THREADS * WORDS; /* words a block numbers */
constexpr int LEVELS = KMAP_LEVELS_MAX;
/* Voxels that a block lists at a time.  Scans fill some words and leave most empty: a thread would
 * have hundreds of voxels to write, one after the other, where its neighbours have none. */
constexpr int LIST = 4096;
static_assert(PIECE * 64 == 1 << 16, "a cell of a block in 16 bits");

struct Level {
    int size[3], cap;
    int words, blocks;
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
};

struct GridState {
    Level level[LEVELS];
    word_t *bits;
    size_t bits_bytes;
};

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

static __global__ void grid_mark(Level g, const kmap_coord *in, int n)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n)
        return;
    const kmap_coord c = in[i];
    const int cell = cell_of(g, c.b, c.x, c.y, c.z);
    atomicOr(g.bits + (cell >> 6), 1ull << (cell & 63));
}

static __global__ void grid_source(Level g, const kmap_coord *in, int n, int32_t *source)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n)
        return;
    const kmap_coord c = in[i];
    source[row_of(g, cell_of(g, c.b, c.x, c.y, c.z))] = i;
}

/* ---- numbering ---- */

/* A thread's WORDS words; 0 behind the last one. */
static __device__ __forceinline__ void load_words(const Level &g, word_t w[WORDS])
{
    const int at = blockIdx.x * PIECE + threadIdx.x * WORDS; /* words is a multiple of WORDS */
    const ulonglong2 none = make_ulonglong2(0, 0);
    const ulonglong2 *from = (const ulonglong2 *)(g.bits + at);
    const ulonglong2 a = at < g.words ? from[0] : none, b = at < g.words ? from[1] : none;
    w[0] = a.x, w[1] = a.y, w[2] = b.x, w[3] = b.y;
}

static __device__ __forceinline__ int voxels_of(const word_t w[WORDS])
{
    return __popcll(w[0]) + __popcll(w[1]) + __popcll(w[2]) + __popcll(w[3]);
}

static __global__ void __launch_bounds__(THREADS) grid_count(Level g)
{
    __shared__ int shared[THREADS / 32];
    word_t w[WORDS];
    load_words(g, w);
    const int sum = block_sum<THREADS>(voxels_of(w), shared);
    if (threadIdx.x == 0)
        g.sums[blockIdx.x] = sum;
}

static __device__ void mark_outputs(const kmap_shape &s, const Level &next, const kmap_coord &c)
{
    const int2 x = outputs_of(s, 0, c.x, next.size[0]), y = outputs_of(s, 1, c.y, next.size[1]),
               z = outputs_of(s, 2, c.z, next.size[2]);
    for (int i = x.x; i <= x.y; i++)
        for (int j = y.x; j <= y.y; j++)
            for (int k = z.x; k <= z.y; k++) {
                const int cell = cell_of(next, c.b, i, j, k);
                atomicOr(next.bits + (cell >> 6), 1ull << (cell & 63));
            }
}

static __device__ __forceinline__ void write_voxel(const Level &g, const Level &next,
                                                   const kmap_shape &shape, int cell, int row)
{
    kmap_coord c;
    c.z = cell % g.size[2], cell /= g.size[2];
    c.y = cell % g.size[1], cell /= g.size[1];
    c.x = cell % g.size[0], c.b = cell / g.size[0];
    if (row < g.cap)
        g.coord[row] = c;
    if (next.bits)
        mark_outputs(shape, next, c);
}

/* Numbers the voxels of a level.  next.bits NULL: the last level. */
static __global__ void __launch_bounds__(THREADS) grid_number(Level g, Level next, kmap_shape shape)
{
    __shared__ int shared[THREADS / 32], total;
    __shared__ uint16_t list[LIST];
    word_t w[WORDS];
    load_words(g, w);
    const int before = blocks_before<THREADS>(g.sums, shared);
    const int mine = voxels_of(w), local = sum_before(mine, shared);
    if (threadIdx.x == THREADS - 1) {
        total = local + mine;
        if (blockIdx.x == gridDim.x - 1)
            *g.count = before + local + mine;
    }
    const int at = blockIdx.x * PIECE + threadIdx.x * WORDS;
    if (at < g.words) {
        int4 first;
        first.x = before + local, first.y = first.x + __popcll(w[0]),
        first.z = first.y + __popcll(w[1]), first.w = first.z + __popcll(w[2]);
        *(int4 *)(g.before + at) = first;
    }
    __syncthreads();
    const int voxels = total;
    for (int listed = 0; listed < voxels; listed += LIST) {
        int place = local - listed;
        if (place < LIST && place + mine > 0)
#pragma unroll
            for (int k = 0; k < WORDS; k++)
                for (word_t left = w[k]; left; left &= left - 1, place++)
                    if (place >= 0 && place < LIST)
                        list[place] =
                            (uint16_t)((threadIdx.x * WORDS + k) * 64 + __ffsll(left) - 1);
        __syncthreads();
        for (int i = threadIdx.x; i < LIST && listed + i < voxels; i += THREADS)
            write_voxel(g, next, shape, blockIdx.x * PIECE * 64 + list[i], before + listed + i);
        __syncthreads();
    }
}

/* ---- tables: blockIdx.y is the step ---- */

/* Along an axis: of the input that output q meets at tap t, or of the output that an input p meets
 * there.  false: none. */
static __device__ __forceinline__ bool other_end(const Step &s, int a, int own, int tap, int size,
                                                 int *other)
{
    const int stride = s.shape.stride[a];
    if (!s.transpose) {
        *other = own * stride - s.shape.pad[a] + tap;
    } else {
        const int far = own + s.shape.pad[a] - tap;
        *other = far / stride;
        if (far < 0 || far % stride)
            return false;
    }
    return *other >= 0 && *other < size;
}

static __global__ void __launch_bounds__(KMAP_PAD) grid_tables(const __grid_constant__ Tables t)
{
    __shared__ __align__(16) int stage[KMAP_PAD * KMAP_TAPS_MAX];
    const Step &s = t.step[blockIdx.y];
    const Level &rows = t.level[s.transpose ? s.from : s.to];
    const Level &found = t.level[s.transpose ? s.to : s.from];
    const int n = min(*rows.count, rows.cap), first = blockIdx.x * KMAP_PAD,
              row = first + threadIdx.x;
    if (first >= n)
        return;
    const bool real = row < n;
    const kmap_coord c = real ? rows.coord[row] : kmap_coord{ 0, 0, 0, 0 };
    const int *k = s.shape.kernel;
    const bool x_fastest = k[0] & k[1] & k[2] & 1;
    uint32_t taps = 0;
    for (int tx = 0; tx < k[0]; tx++)
        for (int ty = 0; ty < k[1]; ty++) {
            int x, y, z;
            const bool column = real && other_end(s, 0, c.x, tx, found.size[0], &x) &
                                            other_end(s, 1, c.y, ty, found.size[1], &y);
            for (int tz = 0; tz < k[2]; tz++) {
                const int tap =
                    x_fastest ? (tz * k[1] + ty) * k[0] + tx : (tx * k[1] + ty) * k[2] + tz;
                int at = -1;
                if (column && other_end(s, 2, c.z, tz, found.size[2], &z))
                    at = row_of(found, cell_of(found, c.b, x, y, z));
                stage[threadIdx.x * s.taps + tap] = at;
                taps |= (uint32_t)(at >= 0) << tap;
            }
        }
    s.mask[row] = taps;
    store_rows(stage, s.taps, first, s.table);
}

OP_BEGIN

enum op_status kmap_grid_setup(const struct kmap_plan *p, const struct op_memory *m, void **out)
{
    GridState *x = (GridState *)calloc(1, sizeof *x);
    size_t words = 0;
    *out = NULL;
    if (!x)
        return OP_ENOMEM;
    for (int l = 0; l < p->levels; l++) {
        Level &g = x->level[l];
        for (int a = 0; a < 3; a++)
            g.size[a] = p->size[l][a];
        const long long cells = (long long)p->batch * g.size[0] * g.size[1] * g.size[2];
        g.cap = p->cap[l];
        g.words = (int)((cells + 64 * WORDS - 1) / (64 * WORDS) * WORDS);
        g.blocks = (g.words + PIECE - 1) / PIECE;
        words += (size_t)g.words;
    }
    x->bits_bytes = words * sizeof *x->bits;
    x->bits = (word_t *)m->take(m->context, x->bits_bytes);
    bool good = x->bits != NULL;
    words = 0;
    for (int l = 0; good && l < p->levels; l++) {
        Level &g = x->level[l];
        g.bits = x->bits + words;
        g.before = (int32_t *)m->take(m->context, (size_t)g.words * sizeof *g.before);
        g.sums = (int32_t *)m->take(m->context, (size_t)g.blocks * sizeof *g.sums);
        good = g.before && g.sums;
        words += (size_t)g.words;
    }
    if (!good) {
        free(x);
        return OP_ENOMEM;
    }
    *out = x;
    return OP_OK;
}

enum op_status kmap_grid(const struct kmap_plan *p, const struct kmap_args *a, void *state,
                         op_stream s)
{
    const GridState *x = (const GridState *)state;
    Tables t = {};
    int rows = 0;
    for (int l = 0; l < p->levels; l++) {
        t.level[l] = x->level[l];
        t.level[l].coord = a->coord[l];
        t.level[l].count = a->count + l;
        rows = p->cap[l] > rows ? p->cap[l] : rows;
    }
    for (int i = 0; i < p->steps; i++)
        t.step[i] = { p->step[i].shape, kmap_taps(&p->step[i].shape), p->step[i].from,
                      p->step[i].to,    p->step[i].transpose,         a->table[i],
                      a->mask[i] };
    if (cudaMemsetAsync(x->bits, 0, x->bits_bytes, s) != cudaSuccess)
        return OP_EDEVICE;
    const int blocks = (p->n_in + 255) / 256;
    grid_mark<<<blocks, 256, 0, s>>>(t.level[0], a->in, p->n_in);
    for (int l = 0; l < p->levels; l++) {
        const int next = l + 1 < p->levels ? kmap_step_to(p, l + 1) : -1;
        Level none = {};
        grid_count<<<t.level[l].blocks, THREADS, 0, s>>>(t.level[l]);
        grid_number<<<t.level[l].blocks, THREADS, 0, s>>>(
            t.level[l], next < 0 ? none : t.level[l + 1], p->step[next < 0 ? 0 : next].shape);
    }
    grid_source<<<blocks, 256, 0, s>>>(t.level[0], a->in, p->n_in, a->source);
    grid_tables<<<dim3(row_blocks(rows), p->steps), KMAP_PAD, 0, s>>>(t);
    return launched();
}

OP_END
