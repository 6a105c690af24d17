/*
 * sort.cu - orders by radix sort (CUB): as published with 64-bit keys, four sorts; with 32-bit
 * places and only the bits they need, four sorts; all orders in one sort, order above the place.
 *
 * Bound by launches and passes over the keys: 8 passes of 64 bits, 3 of about 18 bits.
 */
#include <cstdlib>

#include <cub/device/device_radix_sort.cuh>

#include "kernels.h"
#include "place.h"

constexpr int THREADS = 256;

/* Device memory; Key one of int64_t, uint32_t; [4][n] in and out. */
template <class Key> struct sort_state {
    Key *key, *key_out;
    int32_t *row, *row_out;
    void *temp;
    size_t bytes;
    int bits, at_once; /* orders of one sort */
};

/* Key of every cell in every order; rows beside them.  at_once: order above the place. */
template <class Key>
__global__ void __launch_bounds__(THREADS)
flatten_keys(flatten_problem p, flatten_grid g, const flatten_cell *in, Key *key, int32_t *row,
             int order_bit)
{
    const int i = blockIdx.x * THREADS + threadIdx.x, order = blockIdx.y;
    if (i >= p.n)
        return;
    const flatten_cell c = in[i];
    const size_t at = (size_t)order * p.n + i;
    if (sizeof(Key) == 8 && g.serpentine) { /* the formula as published */
        const int w = p.window, shift = order & 1 ? g.shift : 0;
        const int a = (order >> 1 ? c.y : c.x) + shift, b = (order >> 1 ? c.x : c.y) + shift;
        const int a1 = a / w, a2 = a % w, b1 = b / w, b2 = b % w;
        const int64_t back = b1 % 2 ? -1 : 1, up = a2 % 2 ? -1 : 1;
        key[at] = (Key)((2 * (int64_t)g.across * b1 + back * a1) * 4 * w * w +
                        back * (2 * w * a2 + up * b2));
    } else {
        key[at] = (Key)(flatten_place(&g, order, c) | (order_bit ? (uint32_t)order << order_bit : 0));
    }
    row[at] = i;
}

/* Slots of an order from the sorted rows, the last group filled up. */
__global__ void __launch_bounds__(THREADS)
flatten_fill(int n, int slots, int group, const int32_t *row, int32_t *slot)
{
    const int k = blockIdx.x * THREADS + threadIdx.x, order = blockIdx.y;
    if (k < slots)
        slot[(size_t)order * slots + k] = row[(size_t)order * n + (k < n ? k : k - group)];
}

template <class Key> static cudaError_t sort(const sort_state<Key> *t, void *temp, size_t *bytes,
                                             size_t at, int n, cudaStream_t s)
{
    return cub::DeviceRadixSort::SortPairs(temp, *bytes, t->key + at, t->key_out + at, t->row + at,
                                           t->row_out + at, n, 0, t->bits, s);
}

template <class Key>
static op_status make(const flatten_problem *p, const op_memory *m, int bits, int at_once,
                      void **state)
{
    const size_t all = (size_t)FLATTEN_ORDERS * p->n;
    sort_state<Key> *t = (sort_state<Key> *)calloc(1, sizeof *t);
    *state = t;
    if (!t)
        return OP_ENOMEM;
    t->bits = bits;
    t->at_once = at_once;
    if (sort(t, nullptr, &t->bytes, 0, p->n * at_once, nullptr) != cudaSuccess)
        return OP_EDEVICE;
    t->key = (Key *)m->take(m->context, all * sizeof(Key));
    t->key_out = (Key *)m->take(m->context, all * sizeof(Key));
    t->row = (int32_t *)m->take(m->context, all * sizeof(int32_t));
    t->row_out = (int32_t *)m->take(m->context, all * sizeof(int32_t));
    t->temp = m->take(m->context, t->bytes);
    return t->key && t->key_out && t->row && t->row_out && t->temp ? OP_OK : OP_ENOMEM;
}

template <class Key>
static op_status launch(const flatten_problem *p, const flatten_args *a, void *state, op_stream s)
{
    sort_state<Key> *t = (sort_state<Key> *)state;
    const int slots = flatten_slots(p), sorts = FLATTEN_ORDERS / t->at_once;
    const dim3 cells((p->n + THREADS - 1) / THREADS, FLATTEN_ORDERS);
    const dim3 all((slots + THREADS - 1) / THREADS, FLATTEN_ORDERS);
    flatten_keys<Key><<<cells, THREADS, 0, s>>>(*p, flatten_grid_of(p), a->in, t->key, t->row,
                                                t->at_once > 1 ? t->bits - 2 : 0);
    for (int k = 0; k < sorts; k++)
        if (sort(t, t->temp, &t->bytes, (size_t)k * p->n, p->n * t->at_once, s) != cudaSuccess)
            return OP_EDEVICE;
    flatten_fill<<<all, THREADS, 0, s>>>(p->n, slots, flatten_group(p), t->row_out, a->slot);
    return cudaGetLastError() == cudaSuccess ? OP_OK : OP_EDEVICE;
}

static int place_bits(const flatten_problem *p)
{
    const flatten_grid g = flatten_grid_of(p);
    int bits = 1;
    while ((int64_t)1 << bits < (int64_t)g.words * 32)
        bits++;
    return bits;
}

OP_BEGIN

enum op_status flatten_sort64_setup(const struct flatten_problem *p, const struct op_memory *m,
                                    void **state)
{
    return make<int64_t>(p, m, 64, 1, state); /* all bits, as a sort of tensors does */
}

enum op_status flatten_sort32_setup(const struct flatten_problem *p, const struct op_memory *m,
                                    void **state)
{
    return make<uint32_t>(p, m, place_bits(p), 1, state);
}

enum op_status flatten_sort_once_setup(const struct flatten_problem *p, const struct op_memory *m,
                                       void **state)
{
    return make<uint32_t>(p, m, place_bits(p) + 2, FLATTEN_ORDERS, state);
}

enum op_status flatten_sort64(const struct flatten_problem *p, const struct flatten_args *a,
                              void *state, op_stream s)
{
    return launch<int64_t>(p, a, state, s);
}

enum op_status flatten_sort32(const struct flatten_problem *p, const struct flatten_args *a,
                              void *state, op_stream s)
{
    return launch<uint32_t>(p, a, state, s);
}

enum op_status flatten_sort_once(const struct flatten_problem *p, const struct flatten_args *a,
                                 void *state, op_stream s)
{
    return launch<uint32_t>(p, a, state, s);
}

OP_END
