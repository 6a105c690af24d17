/* own.h - launchers of this suite's own kernels, for the table in impls.c. */
#ifndef KERNELS_SPCONV_OWN_H
#define KERNELS_SPCONV_OWN_H

#include "own_layer.h"

OP_BEGIN

/* own.cu: forward and dgrad, half; `_N` with N ranges of taps, else as many as own_choose says. */
extern spconv_setup_fn spconv_own_setup, spconv_own_1_setup, spconv_own_2_setup,
    spconv_own_3_setup;
extern spconv_run_fn spconv_own;
extern spconv_run_with_fn spconv_own_with;
void spconv_own_teardown(void *state);
void spconv_own_counts(const struct spconv_problem *p, const void *state,
                       struct spconv_counts *counts);
/* OP_OK, or what it does not cover. */
enum op_status spconv_own_supports(const struct spconv_problem *p, const char **why);
/* Set-up of a form that is chosen. */
enum op_status spconv_own_setup_as(const struct own_choice *choice, const struct spconv_problem *p,
                                   const struct spconv_args *a, const struct op_memory *memory,
                                   op_stream s, void **state);

/* own_wgrad_sm90.cu: wgrad, half; the same bits every time. */
extern spconv_setup_fn spconv_own_wgrad_setup;
extern spconv_run_fn spconv_own_wgrad;
void spconv_own_wgrad_teardown(void *state);
void spconv_own_wgrad_counts(const struct spconv_problem *p, const void *state,
                             struct spconv_counts *counts);
enum op_status spconv_own_wgrad_supports(const struct spconv_problem *p, const char **why);

OP_END
#endif
