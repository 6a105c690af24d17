/* published.h - launchers of fetch.cu and implicit.cu, for the table in impls.c. */
#ifndef KERNELS_RGCN_PUBLISHED_H
#define KERNELS_RGCN_PUBLISHED_H

#include "rgcn.h"

OP_BEGIN
/* Fetch-on-demand; relations in one launch, or a launch each. */
extern rgcn_setup_fn rgcn_fetch_setup, rgcn_fetch_relation_setup;
extern rgcn_run_fn rgcn_fetch;
void rgcn_fetch_teardown(void *state);
void rgcn_fetch_counts(const struct rgcn_problem *p, const void *state, struct rgcn_counts *counts);

/* Implicit GEMM with relations as taps; unsorted, or sorted in ranges of 32 relations. */
extern rgcn_setup_fn rgcn_implicit_setup, rgcn_implicit_sorted_setup;
extern rgcn_run_fn rgcn_implicit;
void rgcn_implicit_teardown(void *state);
void rgcn_implicit_counts(const struct rgcn_problem *p, const void *state,
                          struct rgcn_counts *counts);
OP_END
#endif
