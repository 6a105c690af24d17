/* own.h - launchers of own.cu, for the table in impls.c. */
#ifndef KERNELS_RGCN_OWN_H
#define KERNELS_RGCN_OWN_H

#include "rgcn.h"

OP_BEGIN
/* A layer sums first or multiplies first, whichever moves fewer bytes.  Where it sums first, own
 * adds products into their targets with atomics; own_ordered stores them and sums them in order. */
extern rgcn_setup_fn rgcn_own_setup, rgcn_own_ordered_setup;
extern rgcn_run_fn rgcn_own;
void rgcn_own_teardown(void *state);
void rgcn_own_counts(const struct rgcn_problem *p, const void *state, struct rgcn_counts *counts);
OP_END
#endif
