/* implicit.h - launchers of implicit.cu, for the table in impls.c: forward and dgrad. */
#ifndef KERNELS_SPCONV_IMPLICIT_H
#define KERNELS_SPCONV_IMPLICIT_H

#include "spconv.h"

OP_BEGIN

/* All taps for every tile; 1 to 4 ranges of taps, rows sorted by mask. */
extern spconv_setup_fn spconv_implicit_0_setup, spconv_implicit_1_setup, spconv_implicit_2_setup,
    spconv_implicit_3_setup, spconv_implicit_4_setup;
/* One range, with one of the generator's steps left out or changed. */
extern spconv_setup_fn spconv_implicit_nohoist_setup, spconv_implicit_nopad_setup,
    spconv_implicit_tile_setup, spconv_implicit_2stage_setup, spconv_implicit_4stage_setup;
/* This suite's own of the same form: wider tiles, a ring, rows in Gray order; any GPU. */
extern spconv_setup_fn spconv_own_portable_setup;
extern spconv_setup_like_fn spconv_implicit_setup_like; /* of any of them */
extern spconv_run_fn spconv_implicit;
void spconv_implicit_teardown(void *state);
void spconv_implicit_counts(const struct spconv_problem *p, const void *state,
                            struct spconv_counts *counts);

OP_END
#endif
