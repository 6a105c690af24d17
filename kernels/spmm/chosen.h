/*
 * chosen.h - a row that runs another row: what its set-up chose, and that row's state.
 *
 * A selector's set-up names the row; the rest of a selector's entry in the table
 * is the functions below.
 */
#ifndef KERNELS_SPMM_CHOSEN_H
#define KERNELS_SPMM_CHOSEN_H

#include "spmm.h"

OP_BEGIN

/* Sets impl up and stores it with its state in *state, to be released with
 * spmm_chosen_teardown.  It holds whatever is chosen later. */
enum op_status spmm_chosen_setup(const struct spmm_impl *impl, const struct spmm_problem *p,
                                 const struct spmm_matrix *host, const struct spmm_args *args,
                                 const struct op_memory *memory, op_stream s, void **state);
void spmm_chosen_teardown(void *state);            /* accepts NULL */
const char *spmm_chosen_name(const void *state);   /* of the row; NULL for NULL */
extern spmm_run_fn spmm_chosen_run;

OP_END
#endif
