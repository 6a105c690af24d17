/*
 * search.cu - one map with equal inputs and outputs, from sorted keys.
 *
 * Key of a voxel: ((b Dx' + x) Dy' + y) Dz' + z, each axis widened by half a kernel on both
 * sides, so that a key plus the difference of an offset is the key of the neighbour or of
 * nothing.  Keys ascend with the rows, and so do keys plus a constant: the neighbours that the rows
 * of a block have in one column (dx, dy) lie between those of its first and its last row.  A
 * block finds these bounds for every column, a row then searches a few hundred keys that are in
 * the first cache, and the taps along z are the keys that follow.
 *
 * Bound by latency: about 17 dependent loads for the bounds, then 7 a column.
 */
#include <stdlib.h>

#include "rows.cuh"

struct Search {
    int n, taps, columns, half[3], kernel[3];
    long long dim[3]; /* widened sizes */
};

struct SearchState {
    Search view;
    int bits;
    bool sorted;
    uint64_t *key, *key_sorted;
    int32_t *row;
    void *temp;
    size_t temp_bytes;
};

static __device__ uint64_t key_of(const Search &v, const kmap_coord &c)
{
    return (uint64_t)(((c.b * v.dim[0] + c.x + v.half[0]) * v.dim[1] + c.y + v.half[1]) * v.dim[2] +
                      c.z + v.half[2]);
}

static __global__ void search_keys(Search v, const kmap_coord *in, uint64_t *key, int32_t *row)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= v.n)
        return;
    key[i] = key_of(v, in[i]);
    row[i] = i;
}

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

/* What a column adds to a key: its first tap along z. */
static __device__ long long column_step(const Search &v, int column)
{
    const int dx = column % v.kernel[0] - v.half[0], dy = column / v.kernel[0] - v.half[1];
    return ((long long)dx * v.dim[1] + dy) * v.dim[2] - v.half[2];
}

static __global__ void __launch_bounds__(KMAP_PAD)
search_same(Search v, const uint64_t *key, const int32_t *source, const kmap_coord *in,
            kmap_coord *coord, int32_t *source_out, int32_t *count, int32_t *table, uint32_t *mask)
{
    __shared__ __align__(16) int stage[KMAP_PAD * KMAP_TAPS_MAX];
    __shared__ int bound[2 * KMAP_TAPS_MAX];
    const int first = blockIdx.x * KMAP_PAD, row = first + threadIdx.x;
    const int last = min(first + KMAP_PAD, v.n) - 1;
    if (threadIdx.x < 2 * v.columns) {
        const int column = threadIdx.x >> 1, end = threadIdx.x & 1;
        const uint64_t from = key[end ? last : first] + column_step(v, column);
        bound[threadIdx.x] = lower_bound(key, 0, v.n, end ? from + v.kernel[2] : from);
    }
    __syncthreads();
    const bool real = row < v.n;
    const uint64_t mine = real ? key[row] : 0;
    uint32_t taps = 0;
    for (int c = 0; c < v.columns; c++) {
        const uint64_t from = mine + column_step(v, c);
        const int end = bound[2 * c + 1];
        int at = real ? lower_bound(key, bound[2 * c], end, from) : end;
        for (int z = 0; z < v.kernel[2]; z++) {
            const int tap = z * v.columns + c; /* x fastest: the kernel is odd */
            const bool hit = at < end && __ldg(key + at) == from + z;
            stage[threadIdx.x * v.taps + tap] = hit ? at : -1;
            taps |= (uint32_t)hit << tap;
            at += hit;
        }
    }
    store_rows(stage, v.taps, first, table);
    mask[row] = taps;
    if (real) {
        const int from = source ? source[row] : row;
        coord[row] = in[from];
        source_out[row] = from;
    }
    if (row == 0)
        count[0] = v.n;
}

OP_BEGIN

enum op_status kmap_search_setup(const struct kmap_plan *p, const struct op_memory *m, void **out)
{
    const kmap_shape *s = &p->step[0].shape;
    SearchState *x = (SearchState *)calloc(1, sizeof *x);
    *out = NULL;
    if (!x)
        return OP_ENOMEM;
    double cells = p->batch;
    x->view.n = p->n_in;
    x->view.taps = kmap_taps(s);
    x->view.columns = s->kernel[0] * s->kernel[1];
    for (int a = 0; a < 3; a++) {
        x->view.kernel[a] = s->kernel[a];
        x->view.half[a] = s->pad[a];
        x->view.dim[a] = s->size[a] + 2 * s->pad[a];
        cells *= x->view.dim[a];
    }
    const size_t n = (size_t)p->n_in;
    x->bits = kmap_bits(cells);
    x->sorted = p->sorted;
    x->temp_bytes = p->sorted ? 0 : kmap_sort_bytes(p->n_in);
    x->key = (uint64_t *)m->take(m->context, n * sizeof *x->key);
    x->row = (int32_t *)m->take(m->context, n * sizeof *x->row);
    if (!p->sorted) {
        x->key_sorted = (uint64_t *)m->take(m->context, n * sizeof *x->key);
        x->temp = m->take(m->context, x->temp_bytes + 1);
    }
    if (!x->key || !x->row || (!p->sorted && (!x->key_sorted || !x->temp))) {
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
    search_keys<<<(p->n_in + 255) / 256, 256, 0, s>>>(x->view, a->in, x->key, x->row);
    if (!x->sorted) {
        /* rows in order end up in source: the output of the sort */
        const enum op_status status = kmap_sort_pairs(x->temp, x->temp_bytes, x->key, x->key_sorted,
                                                      x->row, a->source, p->n_in, x->bits, s);
        if (status)
            return status;
    }
    search_same<<<row_blocks(p->n_in), KMAP_PAD, 0, s>>>(
        x->view, x->sorted ? x->key : x->key_sorted, x->sorted ? NULL : a->source, a->in,
        a->coord[0], a->source, a->count, a->table[0], a->mask[0]);
    return launched();
}

OP_END
