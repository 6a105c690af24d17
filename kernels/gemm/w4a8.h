/*
 * w4a8.h - what our kernels for 4-bit weights and 8-bit activations share on the
 * host: packing, and the launchers for the table.
 */
#ifndef KERNELS_GEMM_W4A8_H
#define KERNELS_GEMM_W4A8_H

#include "gemm.h"
#include "w4a8_shapes.h"

OP_BEGIN

/* Codes of a->w4_channel, or grouped: codes, scales and zeros of a->w4_progressive (on
 * the device), in the order of w4a8_layout.h, in memory taken from m.  NULL and
 * *status set on failure.  w4a8_pack.cu. */
unsigned char *w4a8_packed(const struct gemm_problem *p, const struct gemm_args *a, int grouped,
                           const struct op_memory *m, op_stream s, enum op_status *status);
/* Those of a->w4_progressive for kernels whose scales act on sums. */
unsigned char *w4a8_packed_on_sums(const struct gemm_problem *p, const struct gemm_args *a,
                                   const struct op_memory *m, op_stream s, enum op_status *status);

/* Our rows of 9.0, w4a8.cu: set-up by variant, one run and teardown for all; one of the
 * three kernels below, by the problem. */
extern gemm_setup_fn gemm_w4a8_channel_own_setup, gemm_w4a8_group_own_setup;
extern gemm_setup_fn gemm_w4a8_channel_own_nodeq_setup, gemm_w4a8_group_own_nodeq_setup;
extern gemm_setup_fn gemm_w4a8_channel_own_loadonly_setup, gemm_w4a8_group_own_loadonly_setup;
extern gemm_setup_fn gemm_w4a8_channel_own_mmaonly_setup, gemm_w4a8_group_own_mmaonly_setup;
extern gemm_setup_fn gemm_w4a8_channel_own_deqonly_setup, gemm_w4a8_group_own_deqonly_setup;
extern gemm_run_fn gemm_w4a8_own;
void gemm_w4a8_own_teardown(void *state);

/* w4a8_sm90.cu: the same, tiles of w4a8_own.cuh whatever the problem. */
extern gemm_setup_fn gemm_w4a8_channel_tiles_setup, gemm_w4a8_group_tiles_setup;
extern gemm_setup_fn gemm_w4a8_channel_tiles_nodeq_setup, gemm_w4a8_group_tiles_nodeq_setup;
extern gemm_setup_fn gemm_w4a8_channel_tiles_loadonly_setup, gemm_w4a8_group_tiles_loadonly_setup;
extern gemm_setup_fn gemm_w4a8_channel_tiles_mmaonly_setup, gemm_w4a8_group_tiles_mmaonly_setup;
extern gemm_setup_fn gemm_w4a8_channel_tiles_deqonly_setup, gemm_w4a8_group_tiles_deqonly_setup;
/* In a tiling that is given: OP_EUNSUPPORTED where it is not compiled or does not fit. */
enum op_status gemm_w4a8_own_shaped(const struct gemm_problem *p, const struct gemm_args *a,
                                    int grouped, struct w4a8_shape shape,
                                    const struct op_memory *m, op_stream s, void **state);
extern gemm_run_fn gemm_w4a8_tiles;
void gemm_w4a8_tiles_teardown(void *state);

/* w4a8_strips_sm90.cu: the same, where w4a8_strips_take says so. */
extern gemm_setup_fn gemm_w4a8_channel_strips_setup, gemm_w4a8_group_strips_setup;
extern gemm_setup_fn gemm_w4a8_channel_strips_nodeq_setup, gemm_w4a8_group_strips_nodeq_setup;
extern gemm_setup_fn gemm_w4a8_channel_strips_loadonly_setup, gemm_w4a8_group_strips_loadonly_setup;
extern gemm_setup_fn gemm_w4a8_channel_strips_mmaonly_setup, gemm_w4a8_group_strips_mmaonly_setup;
extern gemm_setup_fn gemm_w4a8_channel_strips_deqonly_setup, gemm_w4a8_group_strips_deqonly_setup;
extern gemm_run_fn gemm_w4a8_strips;
void gemm_w4a8_strips_teardown(void *state);

/* w4a8_stream_sm90.cu: the same, where w4a8_stream_plan says so. */
extern gemm_setup_fn gemm_w4a8_channel_stream_setup, gemm_w4a8_group_stream_setup;
extern gemm_setup_fn gemm_w4a8_channel_stream_nodeq_setup, gemm_w4a8_group_stream_nodeq_setup;
extern gemm_setup_fn gemm_w4a8_channel_stream_loadonly_setup, gemm_w4a8_group_stream_loadonly_setup;
extern gemm_setup_fn gemm_w4a8_channel_stream_mmaonly_setup, gemm_w4a8_group_stream_mmaonly_setup;
extern gemm_setup_fn gemm_w4a8_channel_stream_deqonly_setup, gemm_w4a8_group_stream_deqonly_setup;
extern gemm_run_fn gemm_w4a8_stream;
void gemm_w4a8_stream_teardown(void *state);

/* w4a8_portable.cu: the same. */
extern gemm_setup_fn gemm_w4a8_channel_portable_setup, gemm_w4a8_group_portable_setup;
extern gemm_run_fn gemm_w4a8_portable;
void gemm_w4a8_portable_teardown(void *state);

/* w4a8_few_sm90.cu: the same for up to W4A8_FEW tokens. */
enum { W4A8_FEW = 32 };
extern gemm_setup_fn gemm_w4a8_channel_few_setup, gemm_w4a8_group_few_setup;
extern gemm_run_fn gemm_w4a8_few;
void gemm_w4a8_few_teardown(void *state);

OP_END
#endif
