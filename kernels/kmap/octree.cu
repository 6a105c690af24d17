/*
 * octree.cu - all maps of a network that halves its coordinates, from one sort.
 *
 * Rows of every level are in Morton order, so that
 *   - a coarser level is what is left of the sorted keys when neighbours with an equal prefix are
 *     counted once: one pass numbers the rows of all levels at the same time;
 *   - the children of a row are neighbours: a row of the next finer level is the first child plus
 *     the number of children before it in an 8-bit mask.
 *
 * Kernel 3 goes from coarse to fine.  The neighbours of a voxel lie in its parent and in the seven
 * neighbours of the parent on the voxel's side, along each axis:
 *
 *       parent's neighbour j = 1 |  parent, j = 0  |  not looked at
 *           .        o           |   V       o     |   .       .        V: low bit 0
 *                 offset -1            0      +1
 *
 * so that 8 entries of the parent's row and 8 child masks give all 27.  Only the coarsest level
 * searches keys.  Everything is enqueued with sizes that the host knows; blocks beyond the rows of
 * a level leave at once, so that the run can be captured into a graph.
 *
 * Bound by launches and latency: some 100 bytes are written a row and level.
 */
#include <stdlib.h>

#include "morton.h"
#include "rows.cuh"

constexpr int CHUNK = 512; /* keys a block numbers, one a thread */
constexpr int MAX = KMAP_LEVELS_MAX;
constexpr int TOP_ROWS = 16; /* rows of the coarsest level a block takes: 432 searches */

struct Octree {
    int n, levels, bits, blocks;
    int size[MAX][3], batch;
    int2 *node[MAX];     /* [rows], levels from 1: first child, mask of children */
    int *up[MAX];        /* [rows], levels below the last: parent * 8 + which child */
    uint64_t *top;       /* [rows] keys of the last level */
    int *sums;           /* [levels][blocks] */
    kmap_coord *coord[MAX];
    int32_t *count;
    int32_t *same[MAX], *down[MAX], *inverse[MAX]; /* down, inverse: between level l and l + 1 */
    uint32_t *same_mask[MAX], *down_mask[MAX], *inverse_mask[MAX];
};

struct OctreeState {
    Octree view;
    int key_bits;
    uint64_t *key, *sorted;
    int32_t *row;
    void *temp;
    size_t temp_bytes;
};

static __device__ __forceinline__ kmap_coord coord_of(uint64_t key, int bits)
{
    const uint64_t low = key & ((1ull << 3 * bits) - 1);
    return { (int)(key >> 3 * bits), (int)morton_compact(low >> 2), (int)morton_compact(low >> 1),
             (int)morton_compact(low) };
}

static __global__ void octree_keys(int n, int bits, const kmap_coord *in, uint64_t *key,
                                   int32_t *row)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n)
        return;
    const kmap_coord c = in[i];
    key[i] = morton_key(c.b, c.x, c.y, c.z, bits);
    row[i] = i;
}

/* ---- rows of all levels ---- */

/* The coarsest level that key i is the first of; -1 beyond the keys. */
static __device__ __forceinline__ int first_of(const Octree &t, const uint64_t *key, int i)
{
    if (i >= t.n)
        return -1;
    return i ? morton_first_of(key[i], key[i - 1], t.levels) : t.levels - 1;
}

static __global__ void __launch_bounds__(CHUNK) octree_count(Octree t, const uint64_t *key)
{
    const int i = blockIdx.x * CHUNK + threadIdx.x, level = first_of(t, key, i);
    for (int l = 1; l < t.levels; l++) {
        const int n = __syncthreads_count(level >= l);
        if (threadIdx.x == 0)
            t.sums[l * t.blocks + blockIdx.x] = n;
        if (i < t.n)
            t.node[l][i] = make_int2(0, 0);
    }
}

/* base[l]: rows of level l that lie in the blocks before this one.  A warp a level. */
static __device__ void rows_before(const Octree &t, int *base)
{
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    if (warp < t.levels) {
        int sum = 0;
        for (int b = lane; warp && b < (int)blockIdx.x; b += 32)
            sum += t.sums[warp * t.blocks + b];
        sum = __reduce_add_sync(0xffffffffu, sum);
        if (lane == 0)
            base[warp] = warp ? sum : blockIdx.x * CHUNK;
    }
}

static __global__ void __launch_bounds__(CHUNK)
octree_levels(Octree t, const uint64_t *key)
{
    __shared__ int base[MAX], warps[MAX][CHUNK / 32];
    const int i = blockIdx.x * CHUNK + threadIdx.x, level = first_of(t, key, i);
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    int row[MAX];
    rows_before(t, base);
    for (int l = 0; l < MAX; l++) {
        const unsigned heads = __ballot_sync(0xffffffffu, l < t.levels && level >= l);
        row[l] = __popc(heads & (0xffffffffu >> (31 - lane))) - 1; /* in the warp, so far */
        if (lane == 0)
            warps[l][warp] = __popc(heads);
    }
    __syncthreads();
    if (i >= t.n)
        return;
    const uint64_t k = key[i];
#pragma unroll
    for (int l = 0; l < MAX; l++)
        if (l < t.levels) {
            row[l] += base[l];
            for (int w = 0; w < warp; w++)
                row[l] += warps[l][w];
        }
#pragma unroll
    for (int l = 0; l < MAX; l++) {
        if (level < l)
            break;
        t.coord[l][row[l]] = coord_of(k >> 3 * l, t.bits - l);
        if (l > 0)
            t.node[l][row[l]].x = row[l - (l > 0)];
        if (l + 1 < t.levels) {
            const int child = (int)(k >> 3 * l) & 7, parent = row[l + 1 < MAX ? l + 1 : l];
            t.up[l][row[l]] = parent * 8 + child;
            atomicOr(&t.node[l + 1][parent].y, 1 << child);
        } else {
            t.top[row[l]] = k >> 3 * l;
        }
    }
    if (i == t.n - 1)
#pragma unroll
        for (int l = 0; l < MAX; l++)
            if (l < t.levels)
                t.count[l] = row[l] + 1;
}

/* ---- kernel 3 ---- */

static __device__ int find_key(const uint64_t *key, int n, uint64_t k)
{
    int low = 0, high = n;
    while (low < high) {
        const int middle = (low + high) >> 1;
        if (__ldg(key + middle) < k)
            low = middle + 1;
        else
            high = middle;
    }
    return low < n && __ldg(key + low) == k ? low : -1;
}

/* The coarsest level: a search an entry. */
static __global__ void __launch_bounds__(KMAP_PAD) octree_top(Octree t)
{
    __shared__ uint32_t mask[TOP_ROWS];
    const int l = t.levels - 1, bits = t.bits - l, n = t.count[l], rows = padded_rows(n);
    for (int first = blockIdx.x * TOP_ROWS; first < rows; first += gridDim.x * TOP_ROWS) {
        if (threadIdx.x < TOP_ROWS)
            mask[threadIdx.x] = 0;
        __syncthreads();
        for (int e = threadIdx.x; e < TOP_ROWS * 27; e += KMAP_PAD) {
            const int row = first + e / 27, d = e % 27;
            int at = -1;
            if (row < n) {
                kmap_coord c = coord_of(t.top[row], bits);
                c.x += d % 3 - 1, c.y += d / 3 % 3 - 1, c.z += d / 9 - 1;
                if (c.x >= 0 && c.x < t.size[l][0] && c.y >= 0 && c.y < t.size[l][1] && c.z >= 0 &&
                    c.z < t.size[l][2])
                    at = find_key(t.top, n, morton_key(c.b, c.x, c.y, c.z, bits));
            }
            t.same[l][(size_t)first * 27 + e] = at;
            if (at >= 0)
                atomicOr(&mask[e / 27], 1u << d);
        }
        __syncthreads();
        if (threadIdx.x < TOP_ROWS)
            t.same_mask[l][first + threadIdx.x] = mask[threadIdx.x];
        __syncthreads();
    }
}

/* Level l from level l + 1. */
static __global__ void __launch_bounds__(KMAP_PAD) octree_descend(Octree t, int l)
{
    __shared__ __align__(16) int stage[KMAP_PAD * 27];
    const int n = t.count[l], first = blockIdx.x * KMAP_PAD, row = first + threadIdx.x;
    if (first >= n)
        return;
    uint32_t taps = 0;
#pragma unroll
    for (int d = 0; d < 27; d++)
        stage[threadIdx.x * 27 + d] = -1;
    if (row < n) {
        const int up = t.up[l][row], x = up >> 2 & 1, y = up >> 1 & 1, z = up & 1;
        const int32_t *parents = t.same[l + 1] + (size_t)(up >> 3) * 27;
        int2 node[8];
#pragma unroll
        for (int j = 0; j < 8; j++) { /* bits of j: x y z, 1 is the neighbour on the voxel's side */
            const int dx = j & 4 ? 2 * x - 1 : 0, dy = j & 2 ? 2 * y - 1 : 0,
                      dz = j & 1 ? 2 * z - 1 : 0;
            const int parent = parents[(dz + 1) * 9 + (dy + 1) * 3 + dx + 1];
            node[j] = parent >= 0 ? t.node[l + 1][parent] : make_int2(0, 0);
        }
#pragma unroll
        for (int j = 0; j < 8; j++)
#pragma unroll
            for (int c = 0; c < 8; c++) {
                /* where j is 1 only the child towards the voxel is near: both bits of it c, once */
                if (j & c)
                    continue;
                const int cx = j & 4 ? !x : c >> 2, cy = j & 2 ? !y : c >> 1 & 1,
                          cz = j & 1 ? !z : c & 1;
                /* j 0: cell - own bit; j 1: one step to the own side */
                const int ox = j & 4 ? 2 * x - 1 : cx - x, oy = j & 2 ? 2 * y - 1 : cy - y,
                          oz = j & 1 ? 2 * z - 1 : cz - z;
                const int child = cx * 4 + cy * 2 + cz, tap = (oz + 1) * 9 + (oy + 1) * 3 + ox + 1;
                if (node[j].y >> child & 1) {
                    stage[threadIdx.x * 27 + tap] =
                        node[j].x + __popc(node[j].y & ((1 << child) - 1));
                    taps |= 1u << tap;
                }
            }
    }
    t.same_mask[l][row] = taps;
    store_rows(stage, 27, first, t.same[l]);
}

/* ---- kernel 2 and its transpose: blockIdx.y is the finer level ---- */

static __global__ void __launch_bounds__(KMAP_PAD) octree_halves(Octree t)
{
    const int l = blockIdx.y, row = blockIdx.x * KMAP_PAD + threadIdx.x;
    const int fine = t.count[l], coarse = t.count[l + 1];
    if (t.down[l] && row < padded_rows(coarse)) {
        const int2 node = row < coarse ? t.node[l + 1][row] : make_int2(0, 0);
        int e[8];
#pragma unroll
        for (int c = 0; c < 8; c++)
            e[c] = node.y >> c & 1 ? node.x + __popc(node.y & ((1 << c) - 1)) : -1;
        int4 *to = (int4 *)(t.down[l] + (size_t)row * 8);
        to[0] = make_int4(e[0], e[1], e[2], e[3]);
        to[1] = make_int4(e[4], e[5], e[6], e[7]);
        t.down_mask[l][row] = node.y;
    }
    if (t.inverse[l] && row < padded_rows(fine)) {
        const int up = row < fine ? t.up[l][row] : -1, child = up & 7;
        int e[8];
#pragma unroll
        for (int c = 0; c < 8; c++)
            e[c] = up >= 0 && c == child ? up >> 3 : -1;
        int4 *to = (int4 *)(t.inverse[l] + (size_t)row * 8);
        to[0] = make_int4(e[0], e[1], e[2], e[3]);
        to[1] = make_int4(e[4], e[5], e[6], e[7]);
        t.inverse_mask[l][row] = up >= 0 ? 1u << child : 0;
    }
}

OP_BEGIN

enum op_status kmap_octree_setup(const struct kmap_plan *p, const struct op_memory *m, void **out)
{
    OctreeState *x = (OctreeState *)calloc(1, sizeof *x);
    const size_t n = (size_t)p->n_in;
    bool good = x != NULL;
    *out = NULL;
    if (!x)
        return OP_ENOMEM;
    Octree &t = x->view;
    t.n = p->n_in;
    t.levels = p->levels;
    t.batch = p->batch;
    t.blocks = (p->n_in + CHUNK - 1) / CHUNK;
    t.bits = p->levels - 1; /* shifted keys keep the batch above the bits that are left */
    for (int a = 0; a < 3; a++) {
        const int bits = kmap_bits(p->size[0][a]);
        t.bits = bits > t.bits ? bits : t.bits;
        for (int l = 0; l < p->levels; l++)
            t.size[l][a] = p->size[l][a];
    }
    x->key_bits = 3 * t.bits + kmap_bits(p->batch);
    x->temp_bytes = kmap_sort_bytes(p->n_in);
#define TAKE(to, type, count) \
    good = good && ((to) = (type *)m->take(m->context, (count) * sizeof(type) + 1)) != NULL
    TAKE(x->key, uint64_t, n);
    TAKE(x->sorted, uint64_t, n);
    TAKE(x->row, int32_t, n);
    TAKE(x->temp, char, x->temp_bytes);
    TAKE(t.top, uint64_t, n);
    TAKE(t.sums, int, (size_t)t.levels * t.blocks);
    for (int l = 0; l < t.levels; l++) {
        TAKE(t.node[l], int2, n);
        TAKE(t.up[l], int, n);
    }
#undef TAKE
    if (!good) {
        free(x);
        return OP_ENOMEM;
    }
    *out = x;
    return OP_OK;
}

/* Outputs of a plan into the view. */
static Octree with_args(const OctreeState *x, const struct kmap_plan *p, const struct kmap_args *a)
{
    Octree t = x->view;
    for (int l = 0; l < t.levels; l++)
        t.coord[l] = a->coord[l];
    t.count = a->count;
    for (int i = 0; i < p->steps; i++) {
        const kmap_step &s = p->step[i];
        int32_t **to = s.from == s.to ? t.same : s.transpose ? t.inverse : t.down;
        uint32_t **mask = s.from == s.to ? t.same_mask : s.transpose ? t.inverse_mask : t.down_mask;
        to[s.from] = a->table[i];
        mask[s.from] = a->mask[i];
    }
    return t;
}

enum op_status kmap_octree(const struct kmap_plan *p, const struct kmap_args *a, void *state,
                           op_stream s)
{
    const OctreeState *x = (const OctreeState *)state;
    const Octree t = with_args(x, p, a);
    octree_keys<<<(t.n + 255) / 256, 256, 0, s>>>(t.n, t.bits, a->in, x->key, x->row);
    const enum op_status status = kmap_sort_pairs(x->temp, x->temp_bytes, x->key, x->sorted, x->row,
                                                  a->source, t.n, x->key_bits, s);
    if (status)
        return status;
    octree_count<<<t.blocks, CHUNK, 0, s>>>(t, x->sorted);
    octree_levels<<<t.blocks, CHUNK, 0, s>>>(t, x->sorted);
    if (t.same[0]) {
        const int top = (t.n + TOP_ROWS - 1) / TOP_ROWS + KMAP_PAD / TOP_ROWS;
        octree_top<<<top < 1056 ? top : 1056, KMAP_PAD, 0, s>>>(t);
        for (int l = t.levels - 2; l >= 0; l--)
            octree_descend<<<row_blocks(t.n), KMAP_PAD, 0, s>>>(t, l);
    }
    octree_halves<<<dim3(row_blocks(t.n), t.levels - 1), KMAP_PAD, 0, s>>>(t);
    return launched();
}

OP_END
