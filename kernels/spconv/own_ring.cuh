/*
 * own_ring.cuh - what the rings of this suite's own kernels share: places, barriers of a part
 * of the block, and gathering copies that arrive by themselves (compute capability 9.0).
 */
#ifndef KERNELS_SPCONV_OWN_RING_CUH
#define KERNELS_SPCONV_OWN_RING_CUH

#include "../common/mbarrier.cuh"
#include "../gemm/mma.cuh"

/* Place in a ring: of producers and consumers each their own. */
struct OwnSlot {
    int index;
    unsigned parity;
    __device__ __forceinline__ void next(int stages)
    {
        if (++index == stages)
            index = 0, parity ^= 1;
    }
};

template <int Threads> static __device__ __forceinline__ void own_sync(int barrier)
{
    asm volatile("bar.sync %0, %1;" ::"r"(barrier), "n"(Threads) : "memory");
}

/* So many bytes to this shared address; zeros, and nothing read, where not valid. */
template <int Bytes>
static __device__ __forceinline__ void gather(uint32_t shared, const void *global, bool valid)
{
    if constexpr (Bytes == 16)
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared), "l"(global),
                     "r"(valid ? 16 : 0)
                     : "memory");
    else
        asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(shared), "l"(global),
                     "n"(Bytes), "r"(valid ? Bytes : 0)
                     : "memory");
}

/* base + row * bytes, in one instruction. */
static __device__ __forceinline__ const char *row_at(const char *base, int row, int bytes)
{
    const char *at;
    asm("mad.wide.s32 %0, %1, %2, %3;" : "=l"(at) : "r"(row), "r"(bytes), "l"(base));
    return at;
}

/* Arrives when the copies that the thread has started so far have come. */
static __device__ __forceinline__ void arrive_with_copies(uint32_t barrier)
{
    asm volatile("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];" ::"r"(barrier) : "memory");
}

#endif
