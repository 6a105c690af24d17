/*
 * w4_pack.h - packs plain 4-bit weights into the published formats, on the GPU.
 *
 * What the set-up of every published W4A16 kernel makes and its runs read.
 */
#ifndef KERNELS_GEMM_W4_PACK_H
#define KERNELS_GEMM_W4_PACK_H

#include <stdint.h>

#include "gemm.h"

OP_BEGIN

enum w4_format {
    W4_AWQ2023,
    W4_AWQ2023_GEMV,
    W4_AWQ2024,
    W4_GPTQ,
    W4_GPTQ_R /* as W4_GPTQ, input channels in the order of gptq_order */
};

/* Device memory, from op_memory; layouts in awq_layout.h. */
struct w4_packed {
    uint32_t *code;
    void *scale;    /* half */
    uint32_t *zero; /* NULL: W4_AWQ2024 */
    void *shift;    /* half -scale*zero: W4_AWQ2024; else NULL */
    int *order;     /* [k] input channel of each row: W4_GPTQ_R; else NULL */
    int *group;     /* [k] group of each row: W4_GPTQ and W4_GPTQ_R; else NULL */
    void *work;     /* what a kernel's own set-up adds; else NULL */
    int *lock;
};

/* Enqueues.  *state is a struct w4_packed, the caller's to free with
 * w4_packed_free, which accepts NULL and leaves the device memory to its owner.
 * On failure it is NULL.  The divisors of n and k that the format asks for are
 * the row's `supports` to check. */
enum op_status w4_pack(enum w4_format f, const struct gemm_problem *p, const struct gemm_args *a,
                       const struct op_memory *memory, op_stream s, void **state);
void w4_packed_free(void *packed);

OP_END
#endif
