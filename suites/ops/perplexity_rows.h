/* perplexity_rows.h - the rows of the operator perplexity: what is quantised, and how. */
#ifndef SUITES_OPS_PERPLEXITY_ROWS_H
#define SUITES_OPS_PERPLEXITY_ROWS_H

#include "../../kernels/op.h"
#include "../models/quant_model.h"

enum { PERPLEXITY_ROWS = 30 };

struct perplexity_row {
    struct op_impl base;
    struct quant_recipe recipe;
};

extern const struct perplexity_row perplexity_rows[PERPLEXITY_ROWS];

#endif
