/* own.h - launchers of own_sm90.cu, for impls.c and for the search of shapes. */
#ifndef KERNELS_QUANT_OWN_H
#define KERNELS_QUANT_OWN_H

#include "quant.h"
#include "shape.h"

OP_BEGIN

extern quant_run_fn quant_own;
extern quant_run_fn quant_unfused; /* state: halves [m][n] between the two kernels */

/* quant_own with a shape other than quant_shape_of's; OP_EUNSUPPORTED where there is no such. */
enum op_status quant_own_with(const struct quant_problem *p, const struct quant_args *a,
                              struct quant_shape shape, op_stream s);

OP_END
#endif
