/* outputs.cuh - which outputs an input meets. */
#ifndef KERNELS_KMAP_OUTPUTS_CUH
#define KERNELS_KMAP_OUTPUTS_CUH

#include "kmap.h"

/* Along an axis with `size` outputs, of an input at p: first and last. */
static __device__ __forceinline__ int2 outputs_of(const kmap_shape &s, int a, int p, int size)
{
    if (s.rule == KMAP_FLOOR)
        return make_int2(p / s.stride[a], p / s.stride[a]);
    const int low = p + s.pad[a] - (s.kernel[a] - 1);
    return make_int2(low <= 0 ? 0 : (low + s.stride[a] - 1) / s.stride[a],
                     min((p + s.pad[a]) / s.stride[a], size - 1));
}

#endif
