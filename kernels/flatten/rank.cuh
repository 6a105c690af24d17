/*
 * rank.cuh - ranks in a bitmap of places: the rank of a cell is the number of occupied places
 * before its own.
 *
 *     bitmap   0 1 1 0 ... | 1 0 0 1 ... |      one bit a place, 32 places a word
 *     before   0           | 2           |      set bits of all words before
 *
 * Shared by the form with three kernels and the form with one.
 */
#ifndef KERNELS_FLATTEN_RANK_CUH
#define KERNELS_FLATTEN_RANK_CUH

#include "place.h"

static __device__ __forceinline__ int rank_of(uint32_t place, uint32_t word, uint32_t before)
{
    return (int)before + __popc(word & ((1u << place % 32) - 1));
}

/* Cell `row` at place k of its order: its slot, and the slot that repeats it in the last group.
 * That is slot k + group where it is not below n and below slots; group divides slots, so that no
 * third slot can. */
static __device__ __forceinline__ void write_rank(int32_t *slot, int32_t *rank, int n, int slots,
                                                  int group, int row, int k)
{
    rank[row] = k;
    slot[k] = row;
    if (k + group >= n && k + group < slots)
        slot[k + group] = row;
}

/* Sum of v over the threads before this one, and over all of them in *total.  sums: shared,
 * [THREADS / 32]; all threads must call. */
template <int THREADS, class T>
static __device__ __forceinline__ T sum_before_all(T v, T *sums, T *total)
{
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    T sum = v;
    for (int d = 1; d < 32; d *= 2) {
        const T other = __shfl_up_sync(0xffffffffu, sum, d);
        sum += lane >= d ? other : 0;
    }
    if (lane == 31)
        sums[warp] = sum;
    __syncthreads();
    T before = 0, all = 0;
    for (int w = 0; w < THREADS / 32; w++) {
        before += w < warp ? sums[w] : 0;
        all += sums[w];
    }
    __syncthreads();
    *total = all;
    return before + sum - v;
}

#endif
