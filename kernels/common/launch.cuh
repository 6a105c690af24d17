/*
 * launch.cuh - launches of clusters that overlap the end of the one before (programmatic
 * dependent launch); compute capability 9.0 on.
 *
 * A kernel that is launched so may start while the one before it in the stream still runs.
 * Until wait_for_previous returns it must touch nothing but constants and its own shared memory:
 * neither read what the one before writes, nor write what it may still read.
 */
#ifndef KERNELS_COMMON_LAUNCH_CUH
#define KERNELS_COMMON_LAUNCH_CUH

#include <cuda_runtime.h>

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

/* Launches kernel(arguments) overlapping the one before; cluster blocks in x at a time, bytes of
 * dynamic shared memory. */
template <class... Parameters, class... Arguments>
static enum op_status launch_early_shared(void (*kernel)(Parameters...), dim3 grid, int threads,
                                          int cluster, size_t bytes, op_stream s,
                                          Arguments... arguments)
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
    config.dynamicSmemBytes = bytes;
    config.stream = s;
    config.attrs = attributes;
    config.numAttrs = cluster > 1 ? 2 : 1;
    return cudaLaunchKernelEx(&config, kernel, Parameters(arguments)...) == cudaSuccess
               ? OP_OK
               : OP_EDEVICE;
}

template <class... Parameters, class... Arguments>
static enum op_status launch_early(void (*kernel)(Parameters...), dim3 grid, int threads,
                                   int cluster, op_stream s, Arguments... arguments)
{
    return launch_early_shared(kernel, grid, threads, cluster, 0, s, arguments...);
}

#endif
