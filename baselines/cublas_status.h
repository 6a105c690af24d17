/* cublas_status.h - what a launcher returns for a status of cuBLAS or cuBLASLt. */
#ifndef BASELINES_CUBLAS_STATUS_H
#define BASELINES_CUBLAS_STATUS_H

#include <cublas_v2.h>

#include "../kernels/op.h"

static inline enum op_status cublas_op_status(cublasStatus_t s)
{
    switch (s) {
    case CUBLAS_STATUS_SUCCESS: return OP_OK;
    case CUBLAS_STATUS_NOT_SUPPORTED: return OP_EUNSUPPORTED;
    case CUBLAS_STATUS_ALLOC_FAILED: return OP_ENOMEM;
    default: return OP_EDEVICE;
    }
}

#endif
