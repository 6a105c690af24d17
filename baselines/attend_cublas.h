/*
 * attend_cublas.h - attention inside parts by batched products of cuBLAS with a softmax kernel
 * between, and what its parts are on the device.
 */
#ifndef BASELINES_ATTEND_CUBLAS_H
#define BASELINES_ATTEND_CUBLAS_H

#include <cublas_v2.h>

#include "../kernels/group_attn/passes.h"

/* Copies of the arrays of t; waits.  OP_OK, OP_ENOMEM, OP_EDEVICE. */
enum op_status attend_upload(const struct encoder_tokens *t, const struct op_memory *memory,
                             op_stream s, struct encoder_on_device *out);

/* `bytes` of host memory on the device; waits.  NULL, and *status says why, where it fails or
 * *status was a failure. */
void *attend_copy(const void *host, size_t bytes, const struct op_memory *memory, op_stream s,
                  enum op_status *status);

struct attend_batched {
    cublasHandle_t handle;
    void *split; /* half [3][tokens C] */
    void *score; /* [attend_score_bytes] */
};
size_t attend_score_bytes(const struct encoder_tokens *t);
/* A handle on s with this workspace.  NULL: refused. */
cublasHandle_t attend_handle(void *workspace, size_t bytes, op_stream s);

/* o [tokens][C] of qkv [tokens][3][C]; enqueues. */
enum op_status attend_batched_run(const struct attend_batched *a, const struct encoder_tokens *t,
                                  const struct encoder_on_device *d, const void *qkv, void *o,
                                  op_stream s);

#endif
