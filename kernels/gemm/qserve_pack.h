/*
 * qserve_pack.h - what the set-up of QServe's kernels makes on the GPU and their
 * runs read.  Layouts in qserve_layout.h.
 *
 * X of W4A4 is packed here too, although it is an activation: the kernel that
 * quantises it would store it so, and is no part of the product.
 */
#ifndef KERNELS_GEMM_QSERVE_PACK_H
#define KERNELS_GEMM_QSERVE_PACK_H

/* Device memory, from op_memory; NULL where the scheme has no use for it. */
struct qserve_packed {
    unsigned char *code;
    unsigned char *scale, *subtrahend; /* W4A8_GROUP */
    unsigned char *x;                  /* W4A4 */
    void *x_scale, *w_scale;           /* W4A4_GROUP: half */
    int *sum;                          /* W4A4_CHANNEL: [m][n] */
};

#endif
