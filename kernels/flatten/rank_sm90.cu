/*
 * rank_sm90.cu - ranks in a bitmap, one kernel: a cluster of 8 blocks makes an order.
 *
 *   each block   own     bitmap of the cells of its eighth
 *   exchange     block c ors words c W/8 .. of all eight and counts them
 *   each block   all     the whole bitmap, fetched from the eight
 *                before  set bits before each word
 *   each block   ranks and slots of its eighth of the cells
 *
 * Bitmaps stay in shared memory; cells are read twice, the second time from the caches.  Bound by
 * the latency of three barriers of the cluster for few cells, by scattered writes for many.
 */
#include <cooperative_groups.h>

#include "kernels.h"
#include "rank.cuh"

namespace cg = cooperative_groups;

constexpr int THREADS = 1024, BLOCKS = 8; /* the largest portable cluster */

struct shared_sums {
    uint32_t warp[THREADS / 32];
    uint32_t part; /* set bits of this block's share of the words */
};

__global__ void __cluster_dims__(BLOCKS, 1, 1) __launch_bounds__(THREADS, 1)
rank_cluster(int n, int slots, int group, flatten_grid g, const flatten_cell *__restrict__ in,
             int32_t *__restrict__ slot, int32_t *__restrict__ rank)
{
    extern __shared__ uint32_t words[];
    __shared__ shared_sums sums;
    const cg::cluster_group cluster = cg::this_cluster();
    const int order = blockIdx.x / BLOCKS, block = blockIdx.x % BLOCKS;
    uint32_t *own = words, *all = words + g.words, *before = words + 2 * g.words;

    for (int w = threadIdx.x; w < g.words; w += THREADS)
        own[w] = 0;
    __syncthreads();
    for (int i = block * THREADS + threadIdx.x; i < n; i += BLOCKS * THREADS) {
        const uint32_t place = flatten_place(&g, order, in[i]);
        atomicOr(&own[place / 32], 1u << place % 32);
    }
    cluster.sync(); /* all eight bitmaps are complete */

    /* This block's share of the words, in equal runs a thread; counts before them within it. */
    const int share = (g.words + BLOCKS - 1) / BLOCKS, run = (share + THREADS - 1) / THREADS;
    const int low = min(g.words, block * share), high = min(g.words, low + share);
    const int first = min(high, low + run * (int)threadIdx.x), end = min(high, first + run);
    uint32_t count = 0, total;
    for (int w = first; w < end; w++) {
        uint32_t bits = 0;
        for (int b = 0; b < BLOCKS; b++)
            bits |= cluster.map_shared_rank(own, b)[w];
        all[w] = bits;
        count += __popc(bits);
    }
    uint32_t sum = sum_before_all<THREADS>(count, sums.warp, &total);
    for (int w = first; w < end; w++) {
        before[w] = sum;
        sum += __popc(all[w]);
    }
    if (threadIdx.x == 0)
        sums.part = total;
    cluster.sync(); /* shares are complete */

    /* The other shares.  A block writes only words that no other reads: those outside its own. */
    for (int b = 0, base = 0; b < BLOCKS; b++) {
        const int from = min(g.words, b * share), to = min(g.words, from + share);
        const uint32_t *their_all = cluster.map_shared_rank(all, b);
        const uint32_t *their_before = cluster.map_shared_rank(before, b);
        for (int w = from + (int)threadIdx.x; w < to; w += THREADS) {
            own[w] = their_before[w] + base; /* own is not read by others any more */
            if (b != block)
                all[w] = their_all[w];
        }
        base += cluster.map_shared_rank(&sums, b)->part;
    }
    cluster.sync(); /* nobody reads another's memory from here on: it may end */

    for (int i = block * THREADS + threadIdx.x; i < n; i += BLOCKS * THREADS) {
        const uint32_t place = flatten_place(&g, order, in[i]);
        write_rank(slot + (size_t)order * slots, rank + (size_t)order * n, n, slots, group, i,
                   rank_of(place, all[place / 32], own[place / 32]));
    }
}

OP_BEGIN

enum op_status flatten_rank_cluster(const struct flatten_problem *p, const struct flatten_args *a,
                                    void *state, op_stream s)
{
    const flatten_grid g = flatten_grid_of(p);
    const size_t bytes = (size_t)g.words * sizeof(uint32_t) * FLATTEN_CLUSTER_BITMAPS;
    (void)state;
    if (cudaFuncSetAttribute(rank_cluster, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             (int)bytes) != cudaSuccess)
        return OP_EDEVICE;
    rank_cluster<<<FLATTEN_ORDERS * BLOCKS, THREADS, bytes, s>>>(
        p->n, flatten_slots(p), flatten_group(p), g, a->in, a->slot, a->rank);
    return cudaGetLastError() == cudaSuccess ? OP_OK : OP_EDEVICE;
}

OP_END
