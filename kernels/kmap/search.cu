/*
 * search.cu - one map from sorted keys, any shape and any size of the grid.
 *
 * Key of an input: ((b Dx + x) Dy + y) Dz + z, each axis widened by a kernel on both sides, so that
 * a key plus the difference of two taps is the key of another place or of nothing.  Keys ascend
 * with the rows, and so do the keys of what successive outputs meet at one tap: the inputs that the
 * rows of a block have in one column of taps (tx, ty) lie between those of its first and its last
 * row.  A block finds these bounds for every column; a row then searches a few hundred keys that
 * are in the first cache, and the taps along z are the keys that follow.
 *
 * Strided: an input writes the keys of the outputs that it meets, 8 at most for kernel 3 stride 2;
 * sorted, those that differ from the one before are the outputs, numbered by counting.  Their
 * number stays on the device.
 *
 * Bound by latency: some 17 dependent loads for the bounds, then 7 a column; strided by the sort.
 */
#include <stdlib.h>

#include "outputs.cuh"
#include "rows.cuh"
#include "scan.cuh"

constexpr int THREADS = 512;

struct Search {
    kmap_shape shape;
    int n, taps, columns, x_fastest;
    int out[3], each, cap; /* sizes of the outputs; candidates an input; room */
    long long dim[3];      /* widened sizes */
    unsigned long long none; /* key of no output: behind all others */
};

struct SearchState {
    Search view;
    int in_bits, out_bits, blocks;
    bool sorted;
    uint64_t *key, *key_sorted, *candidate, *candidate_sorted;
    int32_t *row, *sums;
    void *temp;
    size_t temp_bytes;
};

static __device__ __forceinline__ uint64_t key_of(const Search &v, int b, int x, int y, int z)
{
    const int *k = v.shape.kernel;
    return (uint64_t)(((b * v.dim[0] + x + k[0]) * v.dim[1] + y + k[1]) * v.dim[2] + z + k[2]);
}

static __global__ void search_keys(Search v, const kmap_coord *in, uint64_t *key, int32_t *row)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= v.n)
        return;
    const kmap_coord c = in[i];
    key[i] = key_of(v, c.b, c.x, c.y, c.z);
    row[i] = i;
}

/* ---- outputs of a strided map ---- */

/* Level 0 as it is numbered, and what its voxels meet; source NULL: the caller's order. */
static __global__ void search_candidates(Search v, const kmap_coord *in, const int32_t *source,
                                         kmap_coord *coord, int32_t *source_out, int32_t *count,
                                         uint64_t *candidate)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= v.n)
        return;
    const int from = source ? source[i] : i;
    const kmap_coord c = in[from];
    coord[i] = c;
    source_out[i] = from;
    if (i == 0)
        count[0] = v.n;
    const int2 x = outputs_of(v.shape, 0, c.x, v.out[0]), y = outputs_of(v.shape, 1, c.y, v.out[1]),
               z = outputs_of(v.shape, 2, c.z, v.out[2]);
    uint64_t *to = candidate + (size_t)i * v.each;
    int k = 0;
    for (int a = x.x; a <= x.y; a++)
        for (int b = y.x; b <= y.y; b++)
            for (int d = z.x; d <= z.y; d++)
                to[k++] = (((uint64_t)c.b * v.out[0] + a) * v.out[1] + b) * v.out[2] + d;
    while (k < v.each)
        to[k++] = v.none;
}

static __device__ __forceinline__ bool is_output(const Search &v, const uint64_t *key, int i, int n)
{
    return i < n && key[i] != v.none && (i == 0 || key[i] != key[i - 1]);
}

static __global__ void __launch_bounds__(THREADS)
search_count(Search v, const uint64_t *key, int32_t *sums)
{
    const int i = blockIdx.x * THREADS + threadIdx.x;
    const int outputs = __syncthreads_count(is_output(v, key, i, v.n * v.each));
    if (threadIdx.x == 0)
        sums[blockIdx.x] = outputs;
}

static __global__ void __launch_bounds__(THREADS)
search_number(Search v, const uint64_t *key, const int32_t *sums, kmap_coord *coord, int32_t *count)
{
    __shared__ int shared[THREADS / 32];
    const int i = blockIdx.x * THREADS + threadIdx.x;
    const bool mine = is_output(v, key, i, v.n * v.each);
    const int before = blocks_before<THREADS>(sums, shared);
    const int row = before + sum_before(mine, shared);
    if (blockIdx.x == gridDim.x - 1 && threadIdx.x == THREADS - 1)
        count[1] = row + mine;
    if (!mine || row >= v.cap)
        return;
    uint64_t k = key[i];
    kmap_coord c;
    c.z = (int)(k % v.out[2]), k /= v.out[2];
    c.y = (int)(k % v.out[1]), k /= v.out[1];
    c.x = (int)(k % v.out[0]), c.b = (int)(k / v.out[0]);
    coord[row] = c;
}

/* ---- the table ---- */

/* First of [low, high) whose key is not below k. */
static __device__ __forceinline__ int lower_bound(const uint64_t *key, int low, int high,
                                                  uint64_t k)
{
    while (low < high) {
        const int middle = (low + high) >> 1;
        if (__ldg(key + middle) < k)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Key of the input at the first tap of an output. */
static __device__ __forceinline__ uint64_t corner_of(const Search &v, const kmap_coord &q)
{
    const kmap_shape &s = v.shape;
    return key_of(v, q.b, q.x * s.stride[0] - s.pad[0], q.y * s.stride[1] - s.pad[1],
                  q.z * s.stride[2] - s.pad[2]);
}

/* What the column of taps (column % kx, column / kx) adds to it. */
static __device__ __forceinline__ uint64_t column_step(const Search &v, int column)
{
    const int k = v.shape.kernel[0];
    return (uint64_t)((column % k * v.dim[1] + column / k) * v.dim[2]);
}

/* coord: of the rows, where they are outputs of their own.  Equal inputs and outputs: in and source
 * give the rows, and coord, source_out and count are written. */
static __global__ void __launch_bounds__(KMAP_PAD)
search_table(Search v, const uint64_t *key, const kmap_coord *in, const int32_t *source,
             kmap_coord *coord, int32_t *source_out, int32_t *count, int32_t *table, uint32_t *mask)
{
    __shared__ __align__(16) int stage[KMAP_PAD * KMAP_TAPS_MAX];
    __shared__ int bound[2 * KMAP_TAPS_MAX];
    __shared__ uint64_t ends[2];
    const bool same = v.shape.rule == KMAP_SAME;
    const int n = same ? v.n : min(count[1], v.cap), first = blockIdx.x * KMAP_PAD;
    if (first >= n)
        return;
    const int row = first + threadIdx.x, last = min(first + KMAP_PAD, n) - 1, kz = v.shape.kernel[2];
    const bool real = row < n;
    uint64_t mine = 0;
    if (real) {
        const int from = same && source ? source[row] : row;
        const kmap_coord q = same ? in[from] : coord[row];
        mine = corner_of(v, q);
        if (same) {
            coord[row] = q;
            source_out[row] = from;
        }
        if (same && row == 0)
            count[0] = n;
        if (row == first)
            ends[0] = mine;
        if (row == last)
            ends[1] = mine;
    }
    __syncthreads();
    if (threadIdx.x < 2 * v.columns) {
        const int end = threadIdx.x & 1;
        const uint64_t from = ends[end] + column_step(v, threadIdx.x >> 1);
        bound[threadIdx.x] = lower_bound(key, 0, v.n, end ? from + kz : from);
    }
    __syncthreads();
    uint32_t taps = 0;
    for (int c = 0; c < v.columns; c++) {
        const uint64_t from = mine + column_step(v, c);
        const int end = bound[2 * c + 1], tx = c % v.shape.kernel[0], ty = c / v.shape.kernel[0];
        int at = real ? lower_bound(key, bound[2 * c], end, from) : end;
        for (int z = 0; z < kz; z++) {
            const int tap = v.x_fastest ? z * v.columns + c : (tx * v.shape.kernel[1] + ty) * kz + z;
            const bool hit = at < end && __ldg(key + at) == from + z;
            stage[threadIdx.x * v.taps + tap] = hit ? at : -1;
            taps |= (uint32_t)hit << tap;
            at += hit;
        }
    }
    mask[row] = taps;
    store_rows(stage, v.taps, first, table);
}

/* ---- host ---- */

static Search view_of(const struct kmap_plan *p)
{
    const kmap_shape *s = &p->step[0].shape;
    Search v = {};
    v.shape = *s;
    v.n = p->n_in;
    v.taps = kmap_taps(s);
    v.columns = s->kernel[0] * s->kernel[1];
    v.x_fastest = s->kernel[0] & s->kernel[1] & s->kernel[2] & 1;
    v.each = 1;
    v.none = p->batch;
    kmap_out_size(s, v.out);
    for (int a = 0; a < 3; a++) {
        v.dim[a] = s->size[a] + 2 * s->kernel[a];
        v.none *= v.out[a];
        if (s->rule == KMAP_SPCONV)
            v.each *= (s->kernel[a] + s->stride[a] - 1) / s->stride[a];
    }
    v.cap = p->cap[p->levels - 1];
    return v;
}

OP_BEGIN

enum op_status kmap_search_setup(const struct kmap_plan *p, const struct op_memory *m, void **out)
{
    SearchState *x = (SearchState *)calloc(1, sizeof *x);
    *out = NULL;
    if (!x)
        return OP_ENOMEM;
    const Search v = x->view = view_of(p);
    const bool strided = p->levels > 1;
    const size_t n = (size_t)p->n_in, all = n * v.each;
    x->in_bits = kmap_bits((double)p->batch * v.dim[0] * v.dim[1] * v.dim[2]);
    x->out_bits = kmap_bits((double)v.none + 1);
    x->blocks = (int)((all + THREADS - 1) / THREADS);
    x->sorted = p->sorted;
    x->temp_bytes = kmap_sort_bytes(strided ? (int)all : p->n_in);
    bool good = true;
#define TAKE(to, type, count) \
    good = good && ((to) = (type *)m->take(m->context, (count) * sizeof(type) + 1)) != NULL
    TAKE(x->key, uint64_t, n);
    TAKE(x->row, int32_t, n);
    TAKE(x->temp, char, x->temp_bytes);
    if (!p->sorted)
        TAKE(x->key_sorted, uint64_t, n);
    if (strided) {
        TAKE(x->candidate, uint64_t, all);
        TAKE(x->candidate_sorted, uint64_t, all);
        TAKE(x->sums, int32_t, (size_t)x->blocks);
    }
#undef TAKE
    if (!good) {
        free(x);
        return OP_ENOMEM;
    }
    *out = x;
    return OP_OK;
}

enum op_status kmap_search(const struct kmap_plan *p, const struct kmap_args *a, void *state,
                           op_stream s)
{
    const SearchState *x = (const SearchState *)state;
    const Search v = x->view;
    const int blocks = (v.n + 255) / 256, to = p->levels - 1;
    const uint64_t *key = x->sorted ? x->key : x->key_sorted;
    const int32_t *source = x->sorted ? NULL : a->source; /* where the sort leaves the rows */
    enum op_status status = OP_OK;
    search_keys<<<blocks, 256, 0, s>>>(v, a->in, x->key, x->row);
    if (!x->sorted)
        status = kmap_sort_pairs(x->temp, x->temp_bytes, x->key, x->key_sorted, x->row, a->source,
                                 v.n, x->in_bits, s);
    if (!status && to > 0) {
        search_candidates<<<blocks, 256, 0, s>>>(v, a->in, source, a->coord[0], a->source, a->count,
                                                 x->candidate);
        status = kmap_sort_keys(x->temp, x->temp_bytes, x->candidate, x->candidate_sorted,
                                v.n * v.each, x->out_bits, s);
    }
    if (status)
        return status;
    if (to > 0) {
        search_count<<<x->blocks, THREADS, 0, s>>>(v, x->candidate_sorted, x->sums);
        search_number<<<x->blocks, THREADS, 0, s>>>(v, x->candidate_sorted, x->sums, a->coord[1],
                                                    a->count);
    }
    search_table<<<row_blocks(to > 0 ? v.cap : v.n), KMAP_PAD, 0, s>>>(
        v, key, a->in, source, a->coord[to], a->source, a->count, a->table[0], a->mask[0]);
    return launched();
}

OP_END
