/*
 * mbarrier.cuh - barriers in shared memory, and clusters of blocks (compute
 * capability 9.0).
 *
 * An mbarrier counts arrivals of threads and bytes of copies that are still on
 * their way.  When both are through, its phase ends and the next one begins:
 *
 *   phase            0         1         2         3
 *   wait(parity 0)   waits     returns   waits     returns
 *   wait(parity 1)   returns   waits     returns   waits
 *
 * so whoever waits for phase i passes parity i % 2 and is never more than one
 * phase behind.  Addresses are those of the shared window (32 bits).
 */
#ifndef KERNELS_COMMON_MBARRIER_CUH
#define KERNELS_COMMON_MBARRIER_CUH

#include <stdint.h>

static __device__ __forceinline__ void mbarrier_init(uint32_t barrier, unsigned arrivals)
{
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals)
                 : "memory");
}

/* By the thread that initialised, before another thread or a copy meets the barriers. */
static __device__ __forceinline__ void mbarrier_init_done()
{
    asm volatile("fence.mbarrier_init.release.cluster;\n\tfence.proxy.async.shared::cta;" ::
                     : "memory");
}

static __device__ __forceinline__ void mbarrier_arrive(uint32_t barrier)
{
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}

/* Arrives, and makes the phase wait for so many bytes of copies. */
static __device__ __forceinline__ void mbarrier_expect(uint32_t barrier, unsigned bytes)
{
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier),
                 "r"(bytes)
                 : "memory");
}

/* What the copies of that phase brought is visible to the caller afterwards. */
static __device__ __forceinline__ void mbarrier_wait(uint32_t barrier, unsigned parity)
{
    asm volatile("{\n\t"
                 ".reg .pred done;\n\t"
                 "again:\n\t"
                 "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n\t"
                 "@!done bra again;\n\t"
                 "}" ::"r"(barrier),
                 "r"(parity)
                 : "memory");
}

/* ---- clusters ---- */

static __device__ __forceinline__ unsigned cluster_rank()
{
    unsigned rank;
    asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
    return rank;
}

/* All threads of all blocks of the cluster take part: what a thread wrote to
 * shared memory before it arrived is seen by all that have waited. */
static __device__ __forceinline__ void cluster_arrive()
{
    asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
}

static __device__ __forceinline__ void cluster_wait()
{
    asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
}

/* Says only that the block has started and what mbarrier_init_done covers: nothing else that it
 * wrote need be seen.  Followed by cluster_wait. */
static __device__ __forceinline__ void cluster_arrive_started()
{
    asm volatile("barrier.cluster.arrive.relaxed.aligned;" ::: "memory");
}

/* Two floats to this address of block `rank`, on their way when this returns: 8 bytes for the
 * barrier there, whose phase ends when they are seen by who waits as for arrivals from others. */
static __device__ __forceinline__ void cluster_send(uint32_t address, uint32_t barrier,
                                                    unsigned rank, float x, float y)
{
    asm volatile(
        "{\n\t"
        ".reg .b32 there, at;\n\t"
        "mapa.shared::cluster.u32 there, %0, %2;\n\t"
        "mapa.shared::cluster.u32 at, %1, %2;\n\t"
        "st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.v2.f32 [there], {%3, %4}, "
        "[at];\n\t"
        "}" ::"r"(address),
        "r"(barrier), "r"(rank), "f"(x), "f"(y)
        : "memory");
}

/* Arrives at the barrier at this address of block `rank`: what the caller wrote,
 * or saw written after a barrier of its block, is seen by who waits there. */
static __device__ __forceinline__ void mbarrier_arrive_at(uint32_t barrier, unsigned rank)
{
    asm volatile("{\n\t"
                 ".reg .b32 there;\n\t"
                 "mapa.shared::cluster.u32 there, %0, %1;\n\t"
                 "mbarrier.arrive.release.cluster.shared::cluster.b64 _, [there];\n\t"
                 "}" ::"r"(barrier),
                 "r"(rank)
                 : "memory");
}

/* Arrives there where the caller has only read: copies that wait for it may overwrite
 * that, but nothing that the caller wrote need be seen. */
static __device__ __forceinline__ void mbarrier_free_at(uint32_t barrier, unsigned rank)
{
    asm volatile("{\n\t"
                 ".reg .b32 there;\n\t"
                 "mapa.shared::cluster.u32 there, %0, %1;\n\t"
                 "mbarrier.arrive.shared::cluster.b64 _, [there];\n\t"
                 "}" ::"r"(barrier),
                 "r"(rank)
                 : "memory");
}

/* mbarrier_wait for arrivals from other blocks of the cluster. */
static __device__ __forceinline__ void mbarrier_wait_cluster(uint32_t barrier, unsigned parity)
{
    asm volatile("{\n\t"
                 ".reg .pred done;\n\t"
                 "again:\n\t"
                 "mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 done, [%0], %1;\n\t"
                 "@!done bra again;\n\t"
                 "}" ::"r"(barrier),
                 "r"(parity)
                 : "memory");
}

/* Four words at this address of the shared memory of block `rank`. */
static __device__ __forceinline__ int4 cluster_load_s32(uint32_t address, unsigned rank)
{
    int4 v;
    asm volatile("{\n\t"
                 ".reg .b32 there;\n\t"
                 "mapa.shared::cluster.u32 there, %4, %5;\n\t"
                 "ld.shared::cluster.v4.s32 {%0, %1, %2, %3}, [there];\n\t"
                 "}"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                 : "r"(address), "r"(rank)
                 : "memory");
    return v;
}

/* Four floats at this address of the shared memory of block `rank`. */
static __device__ __forceinline__ float4 cluster_load(uint32_t address, unsigned rank)
{
    float4 v;
    asm volatile("{\n\t"
                 ".reg .b32 there;\n\t"
                 "mapa.shared::cluster.u32 there, %4, %5;\n\t"
                 "ld.shared::cluster.v4.f32 {%0, %1, %2, %3}, [there];\n\t"
                 "}"
                 : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w)
                 : "r"(address), "r"(rank)
                 : "memory");
    return v;
}

#endif
