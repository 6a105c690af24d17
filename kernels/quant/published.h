/* published.h - launchers of published.cu, for impls.c. */
#ifndef KERNELS_QUANT_PUBLISHED_H
#define KERNELS_QUANT_PUBLISHED_H

#include "quant.h"

OP_BEGIN

extern quant_run_fn quant_published; /* state: halves [m][n] between the two kernels of SILU */

OP_END
#endif
