/* qserve_kernels.h - launchers and set-ups of the published W4A8, W8A8 and W4A4
 * kernels, for impls.c. */
#ifndef KERNELS_GEMM_QSERVE_KERNELS_H
#define KERNELS_GEMM_QSERVE_KERNELS_H

#include "gemm.h"

OP_BEGIN

/* qserve_w8a8.cu: W as it comes, no set-up */
extern gemm_run_fn gemm_w8a8;

/* qserve_w4a8_channel.cu */
extern gemm_run_fn gemm_w4a8_channel;
extern gemm_run_fn gemm_w4a8_channel_nodeq, gemm_w4a8_channel_loadonly;
extern gemm_run_fn gemm_w4a8_channel_mmaonly, gemm_w4a8_channel_deqonly;

/* qserve_w4a8_group.cu */
extern gemm_run_fn gemm_w4a8_group, gemm_w4a8_group_v2;
extern gemm_run_fn gemm_w4a8_group_nodeq, gemm_w4a8_group_noscale, gemm_w4a8_group_loadonly;
extern gemm_run_fn gemm_w4a8_group_mmaonly, gemm_w4a8_group_deqonly;

/* qserve_w4a4.cu */
extern gemm_run_fn gemm_w4a4_group, gemm_w4a4_channel;
extern gemm_run_fn gemm_w4a4_group_nodeq, gemm_w4a4_group_loadonly;
extern gemm_run_fn gemm_w4a4_group_mmaonly, gemm_w4a4_group_deqonly;

/* qserve_pack.cu; their state is freed by qserve_packed_free */
extern gemm_setup_fn gemm_w4a8_channel_setup, gemm_w4a8_group_setup;
extern gemm_setup_fn gemm_w4a4_group_setup, gemm_w4a4_channel_setup;
void qserve_packed_free(void *packed);

OP_END
#endif
