/* kernels.h - set-up functions and launchers of the rows in impls.c. */
#ifndef KERNELS_BOXES_KERNELS_H
#define KERNELS_BOXES_KERNELS_H

#include "boxes.h"

OP_BEGIN

typedef enum op_status boxes_setup_fn(const struct boxes_problem *, const struct op_memory *,
                                      op_stream, void **state);

/* published.cu */
extern boxes_setup_fn boxes_sort_setup;
extern boxes_run_fn boxes_sort;

/* own.cu */
extern boxes_setup_fn boxes_rank_setup;
extern boxes_run_fn boxes_rank;

OP_END
#endif
