/* prefetch.cuh - brings memory to the L2 that a later block reads (compute capability 9.0). */
#ifndef KERNELS_COMMON_PREFETCH_CUH
#define KERNELS_COMMON_PREFETCH_CUH

/* So many bytes from there, both multiples of 16; one thread.  Nothing waits for it. */
static __device__ __forceinline__ void bulk_prefetch(const void *from, unsigned bytes)
{
    asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" ::"l"(from), "r"(bytes) : "memory");
}

#endif
