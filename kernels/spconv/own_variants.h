/*
 * own_variants.h - forms of `own` beside the one that own_choose takes.  Not in the table of
 * implementations: timed by `gpu_spconv time SCAN variants`, so that own_choose can be set right.
 */
#ifndef KERNELS_SPCONV_OWN_VARIANTS_H
#define KERNELS_SPCONV_OWN_VARIANTS_H

#include "spconv.h"

OP_BEGIN

/* Rows of forward and dgrad, half; ended by an entry whose base.name is NULL. */
extern const struct spconv_impl spconv_variants[];

OP_END
#endif
