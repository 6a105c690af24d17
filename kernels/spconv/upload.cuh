/* upload.cuh - arrays that set-up made in host memory, on the device. */
#ifndef KERNELS_SPCONV_UPLOAD_CUH
#define KERNELS_SPCONV_UPLOAD_CUH

#include <cuda_runtime.h>

#include "../op.h"

/* A copy of `count` elements in memory taken from `memory`; waits.  NULL, and *status is
 * the reason, where it fails; does nothing where *status is one already. */
template <class T>
static const T *upload(const struct op_memory *memory, op_stream s, const T *from, size_t count,
                       enum op_status *status)
{
    if (*status != OP_OK)
        return NULL;
    void *to = memory->take(memory->context, count * sizeof *from);
    *status = !to ? OP_ENOMEM
              : cudaMemcpyAsync(to, from, count * sizeof *from, cudaMemcpyHostToDevice, s) ||
                      cudaStreamSynchronize(s)
                  ? OP_EDEVICE
                  : OP_OK;
    return *status == OP_OK ? (const T *)to : NULL;
}

/* The same, uninitialised. */
template <class T>
static T *scratch(const struct op_memory *memory, size_t count, enum op_status *status)
{
    if (*status != OP_OK)
        return NULL;
    void *to = memory->take(memory->context, count * sizeof(T));
    if (!to)
        *status = OP_ENOMEM;
    return (T *)to;
}

#endif
