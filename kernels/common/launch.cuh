/*
 * launch.cuh - launches that overlap the end of the one before (programmatic dependent launch)
 * and clusters of blocks; compute capability 9.0 on.
 *
 * A kernel that is launched so may start while the one before it in the stream still runs.
 * Until wait_for_previous returns it must touch nothing but constants and its own shared memory:
 * neither read what the one before writes, nor write what it may still read.
 */
#ifndef KERNELS_COMMON_LAUNCH_CUH
#define KERNELS_COMMON_LAUNCH_CUH

#include <cuda_runtime.h>
#include <stdint.h>

#include "../op.h"

/* The next launch may start as soon as every block is here or has ended. */
static __device__ __forceinline__ void let_next_start(void)
{
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
}

/* All that the launches before have written is there, and they have ended. */
static __device__ __forceinline__ void wait_for_previous(void)
{
    asm volatile("griddepcontrol.wait;" ::: "memory");
}

/* All threads of the cluster arrive, later all wait: what was written to shared memory of any
 * of its blocks before the first is seen after the second. */
static __device__ __forceinline__ void cluster_arrive(void)
{
    asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
}

static __device__ __forceinline__ void cluster_wait(void)
{
    asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
}

/* Stores to the same place of block `rank` of the cluster as `local` is in this one. */
static __device__ __forceinline__ void cluster_store(const void *local, int rank, float2 v)
{
    uint32_t there;
    asm("mapa.shared::cluster.u32 %0, %1, %2;"
        : "=r"(there)
        : "r"((uint32_t)__cvta_generic_to_shared(local)), "r"(rank));
    asm volatile("st.shared::cluster.v2.f32 [%0], {%1, %2};" ::"r"(there), "f"(v.x), "f"(v.y)
                 : "memory");
}

/* Launches kernel(arguments) overlapping the one before; cluster blocks in x at a time. */
template <class... Parameters, class... Arguments>
static enum op_status launch_early(void (*kernel)(Parameters...), dim3 grid, int threads,
                                   int cluster, op_stream s, Arguments... arguments)
{
    cudaLaunchAttribute attributes[2] = {};
    attributes[0].id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attributes[0].val.programmaticStreamSerializationAllowed = 1;
    attributes[1].id = cudaLaunchAttributeClusterDimension;
    attributes[1].val.clusterDim.x = cluster;
    attributes[1].val.clusterDim.y = attributes[1].val.clusterDim.z = 1;
    cudaLaunchConfig_t config = {};
    config.gridDim = grid;
    config.blockDim = dim3(threads);
    config.stream = s;
    config.attrs = attributes;
    config.numAttrs = cluster > 1 ? 2 : 1;
    return cudaLaunchKernelEx(&config, kernel, Parameters(arguments)...) == cudaSuccess
               ? OP_OK
               : OP_EDEVICE;
}

#endif
