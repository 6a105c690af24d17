/* scan.cuh - sums over the threads of a block; all of them must call. */
#ifndef KERNELS_KMAP_SCAN_CUH
#define KERNELS_KMAP_SCAN_CUH

/* Sum over the block, in every thread.  shared: [THREADS / 32]. */
template <int THREADS> static __device__ int block_sum(int v, int *shared)
{
    v = __reduce_add_sync(0xffffffffu, v);
    if (threadIdx.x % 32 == 0)
        shared[threadIdx.x / 32] = v;
    __syncthreads();
    int sum = 0;
    for (int w = 0; w < THREADS / 32; w++)
        sum += shared[w];
    __syncthreads();
    return sum;
}

/* Sum of the list in the places before this block. */
template <int THREADS> static __device__ int blocks_before(const int32_t *sums, int *shared)
{
    int before = 0;
    for (int b = threadIdx.x; b < (int)blockIdx.x; b += THREADS)
        before += sums[b];
    return block_sum<THREADS>(before, shared);
}

/* Sum of v over the threads before this one.  shared: [THREADS / 32]. */
static __device__ __forceinline__ int sum_before(int v, int *shared)
{
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    int sum = v;
    for (int d = 1; d < 32; d *= 2) {
        const int other = __shfl_up_sync(0xffffffffu, sum, d);
        sum += lane >= d ? other : 0;
    }
    if (lane == 31)
        shared[warp] = sum;
    __syncthreads();
    for (int w = 0; w < warp; w++)
        sum += shared[w];
    __syncthreads();
    return sum - v;
}

#endif
