/*
 * judge.cu - what set-up needs on the device to find out whether a library's way to do a layer is
 * right: its input, written as late as a layer in front may write it, and what is picked of its
 * output.
 *
 * On an H200 one of cuDNN's plans was right when it was run alone and wrong in a captured graph,
 * where kernels follow one another without a gap.  A kernel launched as programmatically dependent
 * may start before the one in front is done and has to wait before it reads; one that does not, or
 * that waits for a kernel of its own plan only, is right as long as there are gaps.  late_rows lets
 * its dependents start at once and writes long after.
 */
#include <cuda_fp16.h>

#include "../common/launch.cuh"
#include "kernels.h"

/* Few blocks: those of the next kernel find room beside them. */
constexpr int THREADS = 256, LATE_BLOCKS = 120, LATE_CLOCKS = 60000;

__global__ void __launch_bounds__(THREADS)
late_rows(size_t count, int period, const half *pattern, half *x)
{
#if __CUDA_ARCH__ >= 900
    let_next_start();
#endif
    const long long from = clock64();
    while (clock64() - from < LATE_CLOCKS)
        ;
    for (size_t i = blockIdx.x * (size_t)THREADS + threadIdx.x; i < count;
         i += (size_t)LATE_BLOCKS * THREADS)
        x[i] = pattern[i % period];
}

/* *broken: how many of y are not finite. */
__global__ void __launch_bounds__(THREADS)
pick_places(size_t count, const half *y, int places, const uint64_t *at, half *got, int *broken)
{
    const int thread = blockIdx.x * THREADS + threadIdx.x;
    int bad = 0;
    for (size_t i = thread; i < count; i += (size_t)gridDim.x * THREADS)
        bad += (__half_as_ushort(y[i]) & 0x7c00) == 0x7c00;
    if (bad)
        atomicAdd(broken, bad);
    for (int i = thread; i < places; i += gridDim.x * THREADS)
        got[i] = y[at[i]];
}

OP_BEGIN

enum op_status bev_late(size_t count, int period, const half_bits *pattern, half_bits *x,
                        op_stream s)
{
    late_rows<<<LATE_BLOCKS, THREADS, 0, s>>>(count, period, (const half *)pattern, (half *)x);
    return cudaGetLastError() == cudaSuccess ? OP_OK : OP_EDEVICE;
}

enum op_status bev_places(size_t count, const half_bits *y, int places, const uint64_t *at,
                          half_bits *got, int *broken, op_stream s)
{
    pick_places<<<4 * LATE_BLOCKS, THREADS, 0, s>>>(count, (const half *)y, places, at, (half *)got,
                                                    broken);
    return cudaGetLastError() == cudaSuccess ? OP_OK : OP_EDEVICE;
}

OP_END
