/*
 * perplexity_kept.h - what cases of one process have in common, computed once: losses of rows
 * that do not depend on what the cases differ in, what searches found, and the distributions of
 * the original model.
 *
 * Keys are texts that name everything that a result depends on.  What is kept lives as long as
 * the process; where there is no memory, nothing is kept.
 */
#ifndef SUITES_OPS_PERPLEXITY_KEPT_H
#define SUITES_OPS_PERPLEXITY_KEPT_H

#include "../models/quant_model.h"

enum { KEPT_KEY = 512 };

struct kept_row {
    double *loss, *kl; /* [windows] */
    double ratio;
    struct quant_steps steps;
};

/* NULL: not kept. */
const struct kept_row *kept_row(const char *key);
void kept_row_add(const char *key, int windows, const struct kept_row *row); /* copies */

/* count numbers found by searches: NAN where none has been, to be written by who finds them.
 * The same ones for the same key; never freed.  NULL after cb_error. */
double *kept_numbers(const char *key, size_t count);

/* The losses [windows] and, in the host's memory, the distributions of an original model.  Of one
 * model alone: who takes it has it, and gives it back.  false: not kept. */
bool kept_original_take(const char *key, int windows, double *loss, struct quant_reference *out);
void kept_original_give(const char *key, int windows, const double *loss,
                        struct quant_reference *r); /* *r becomes { 0 } */

#endif
