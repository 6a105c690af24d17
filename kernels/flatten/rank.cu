/*
 * rank.cu - ranks in a bitmap, for all four orders at once: bits cleared, then three kernels.
 *
 *     rank_mark    a thread a cell and order: sets a bit
 *     rank_count   a block an order: sums of bits before each word
 *     rank_write   a thread a cell and order: its rank, its slots
 *
 * Bound by the launches up to some ten thousand cells, then by the scattered writes.
 */
#include <cstdlib>

#include "kernels.h"
#include "rank.cuh"

constexpr int THREADS = 256, COUNTERS = 1024;

struct rank_state {
    uint32_t *bits;   /* [orders][words] */
    uint32_t *before; /* [orders][words] */
};

__global__ void __launch_bounds__(THREADS)
rank_mark(int n, flatten_grid g, const flatten_cell *in, uint32_t *bits)
{
    const int i = blockIdx.x * THREADS + threadIdx.x, order = blockIdx.y;
    if (i >= n)
        return;
    const uint32_t place = flatten_place(&g, order, in[i]);
    atomicOr(&bits[(size_t)order * g.words + place / 32], 1u << place % 32);
}

/* Threads take equal runs of words. */
__global__ void __launch_bounds__(COUNTERS)
rank_count(flatten_grid g, const uint32_t *bits, uint32_t *before)
{
    __shared__ uint32_t sums[COUNTERS / 32];
    const size_t at = (size_t)blockIdx.x * g.words;
    const int run = (g.words + COUNTERS - 1) / COUNTERS;
    const int first = min(g.words, run * (int)threadIdx.x), end = min(g.words, first + run);
    uint32_t count = 0, total;
    for (int w = first; w < end; w++)
        count += __popc(bits[at + w]);
    uint32_t sum = sum_before_all<COUNTERS>(count, sums, &total);
    for (int w = first; w < end; w++) {
        before[at + w] = sum;
        sum += __popc(bits[at + w]);
    }
}

__global__ void __launch_bounds__(THREADS)
rank_write(int n, int slots, int group, flatten_grid g, const flatten_cell *in,
           const uint32_t *bits, const uint32_t *before, int32_t *slot, int32_t *rank)
{
    const int i = blockIdx.x * THREADS + threadIdx.x, order = blockIdx.y;
    if (i >= n)
        return;
    const uint32_t place = flatten_place(&g, order, in[i]);
    const size_t word = (size_t)order * g.words + place / 32;
    write_rank(slot + (size_t)order * slots, rank + (size_t)order * n, n, slots, group, i,
               rank_of(place, bits[word], before[word]));
}

OP_BEGIN

enum op_status flatten_rank_setup(const struct flatten_problem *p, const struct op_memory *m,
                                  void **state)
{
    const flatten_grid g = flatten_grid_of(p);
    const size_t bytes = (size_t)g.words * FLATTEN_ORDERS * sizeof(uint32_t);
    rank_state *t = (rank_state *)calloc(1, sizeof *t);
    *state = t;
    if (!t)
        return OP_ENOMEM;
    t->bits = (uint32_t *)m->take(m->context, bytes);
    t->before = (uint32_t *)m->take(m->context, bytes);
    return t->bits && t->before ? OP_OK : OP_ENOMEM;
}

enum op_status flatten_rank(const struct flatten_problem *p, const struct flatten_args *a,
                            void *state, op_stream s)
{
    const rank_state *t = (const rank_state *)state;
    const flatten_grid g = flatten_grid_of(p);
    const dim3 cells((p->n + THREADS - 1) / THREADS, FLATTEN_ORDERS);
    const size_t bytes = (size_t)g.words * FLATTEN_ORDERS * sizeof(uint32_t);
    if (cudaMemsetAsync(t->bits, 0, bytes, s) != cudaSuccess)
        return OP_EDEVICE;
    rank_mark<<<cells, THREADS, 0, s>>>(p->n, g, a->in, t->bits);
    rank_count<<<FLATTEN_ORDERS, COUNTERS, 0, s>>>(g, t->bits, t->before);
    rank_write<<<cells, THREADS, 0, s>>>(p->n, flatten_slots(p), flatten_group(p), g, a->in,
                                         t->bits, t->before, a->slot, a->rank);
    return cudaGetLastError() == cudaSuccess ? OP_OK : OP_EDEVICE;
}

OP_END
