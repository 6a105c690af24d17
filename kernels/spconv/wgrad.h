/* wgrad.h - launchers of wgrad.cu, for the table in impls.c. */
#ifndef KERNELS_SPCONV_WGRAD_H
#define KERNELS_SPCONV_WGRAD_H

#include "spconv.h"

OP_BEGIN

/* Rows of the input as they are; sorted by mask, with 1 to 4 ranges of taps. */
extern spconv_setup_fn spconv_wgrad_0_setup, spconv_wgrad_1_setup, spconv_wgrad_2_setup,
    spconv_wgrad_3_setup, spconv_wgrad_4_setup;
extern spconv_setup_like_fn spconv_wgrad_setup_like; /* of any of them */
extern spconv_run_fn spconv_wgrad;
void spconv_wgrad_teardown(void *state);
void spconv_wgrad_counts(const struct spconv_problem *p, const void *state,
                         struct spconv_counts *counts);

OP_END
#endif
