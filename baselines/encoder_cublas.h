/*
 * encoder_cublas.h - the encoder and attention alone with cuBLAS behind the signatures of
 * group_attn.h, for the tables in group_attn.c.  Names of set-up functions say the form.
 */
#ifndef BASELINES_ENCODER_CUBLAS_H
#define BASELINES_ENCODER_CUBLAS_H

#include "../kernels/group_attn/group_attn.h"

OP_BEGIN

typedef enum op_status encoder_setup_fn(const struct encoder_problem *, const struct encoder_host *,
                                        const struct encoder_args *, const struct op_memory *,
                                        op_stream, void **state);

/* encoder_cublas.c, encoder_run_cublas.c */
extern encoder_setup_fn encoder_published_setup, encoder_published_unfused_setup, encoder_sst_setup;
extern encoder_setup_fn encoder_groups_setup, encoder_groups_unfused_setup;
extern encoder_setup_fn encoder_padded_setup, encoder_padded_unfused_setup;
extern encoder_setup_fn encoder_windows_setup;
extern encoder_run_fn encoder_cublas_run;
void encoder_cublas_teardown(void *state);

/* group_attn_cublas.c */
enum op_status group_attn_flash_setup(const struct group_attn_problem *, const struct op_memory *,
                                      op_stream, void **state);
enum op_status group_attn_unfused_setup(const struct group_attn_problem *, const struct op_memory *,
                                        op_stream, void **state);
extern group_attn_run_fn group_attn_flash, group_attn_unfused;
void group_attn_cublas_teardown(void *state);

OP_END
#endif
