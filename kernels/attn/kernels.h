/* kernels.h - launchers of attn, for the tables in impls.c and baselines/attn.c. */
#ifndef KERNELS_ATTN_KERNELS_H
#define KERNELS_ATTN_KERNELS_H

#include "attn.h"

OP_BEGIN

/* split_kv*.cu: the sequence split among blocks, tensor cores; split_teardown frees a state. */
extern attn_setup_fn attn_kv4_setup, attn_kv8_setup, attn_kv8_static_setup, attn_kv16_setup;
extern attn_setup_fn attn_kv4_stream_setup, attn_kv8_stream_setup, attn_kv8_static_stream_setup,
    attn_kv16_stream_setup; /* stream.cuh */
extern attn_run_fn attn_split;
void attn_split_teardown(void *state);
/* Partial results written and read. */
double attn_split_extra_bytes(const struct attn_problem *p);
double attn_stream_extra_bytes(const struct attn_problem *p);

/* published.cu: QServe's kernel and the steps of its ablation. */
extern attn_run_fn attn_kv4_published, attn_kv8_published, attn_kv4_naive, attn_kv4_bits,
    attn_kv4_control, attn_kv4_half_scores, attn_kv4_half_values;

OP_END
#endif
