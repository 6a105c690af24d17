/* kernels.h - launchers of attn, for the tables in impls.c and baselines/attn.c. */
#ifndef KERNELS_ATTN_KERNELS_H
#define KERNELS_ATTN_KERNELS_H

#include "split_plan.h"

OP_BEGIN

/* split_kv*.cu: the sequence split among blocks, tensor cores; split_teardown frees a state. */
extern attn_setup_fn attn_kv4_setup, attn_kv8_setup, attn_kv8_static_setup, attn_kv16_setup;
extern attn_run_fn attn_split;
void attn_split_teardown(void *state);
/* The same with a plan other than its own, for tests that compare plans; choice may be NULL. */
typedef enum op_status attn_setup_as_fn(const struct attn_problem *, const struct attn_args *,
                                        const struct split_choice *choice,
                                        const struct op_memory *, op_stream, void **state);
extern attn_setup_as_fn attn_kv4_setup_as, attn_kv8_setup_as, attn_kv8_static_setup_as,
    attn_kv16_setup_as;
/* Partial results written and read. */
double attn_kv4_extra_bytes(const struct attn_problem *p);
double attn_kv8_extra_bytes(const struct attn_problem *p);
double attn_kv8_static_extra_bytes(const struct attn_problem *p);
double attn_kv16_extra_bytes(const struct attn_problem *p);

/* published.cu: QServe's kernel and the steps of its ablation. */
extern attn_run_fn attn_kv4_published, attn_kv8_published, attn_kv4_naive, attn_kv4_bits,
    attn_kv4_control, attn_kv4_half_scores, attn_kv4_half_values;

OP_END
#endif
