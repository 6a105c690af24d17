/* spend.cuh - time that a warp lets pass. */
#ifndef KERNELS_COMMON_SPEND_CUH
#define KERNELS_COMMON_SPEND_CUH

static __device__ __forceinline__ void spend(int clocks)
{
    for (const unsigned start = clock(); (unsigned)clock() - start < (unsigned)clocks;)
        ;
}

#endif
