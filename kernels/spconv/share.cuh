/* share.cuh - scratch of share.h, typed. */
#ifndef KERNELS_SPCONV_SHARE_CUH
#define KERNELS_SPCONV_SHARE_CUH

#include "../common/share.h"

/* As scratch of upload.cuh; launches of others may write there between two of one's own. */
template <class T>
static T *shared_scratch(const struct op_memory *memory, size_t count, enum op_status *status)
{
    void *to = *status == OP_OK ? op_scratch(memory, count * sizeof(T)) : NULL;
    if (*status == OP_OK && !to)
        *status = OP_ENOMEM;
    return (T *)to;
}

#endif
