/* fetch.h - launchers of fetch.cu, for the table in impls.c: forward. */
#ifndef KERNELS_SPCONV_FETCH_H
#define KERNELS_SPCONV_FETCH_H

#include "spconv.h"

OP_BEGIN

/* All taps in one launch, half sums where the dtype is half; the same with a launch a tap; half
 * operands with float sums, converted at the end. */
extern spconv_setup_fn spconv_fetch_setup, spconv_fetch_offset_setup, spconv_fetch_f32_setup;
extern spconv_run_fn spconv_fetch;
void spconv_fetch_teardown(void *state);
void spconv_fetch_counts(const struct spconv_problem *p, const void *state,
                         struct spconv_counts *counts);

OP_END
#endif
