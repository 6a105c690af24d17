/*
 * own_variants.h - candidates for the next form of `own`: tiles in parts, more warps that gather,
 * one block on a multiprocessor.  Not in the table of implementations: timed by
 * `gpu_spconv time SCAN variants`.
 */
#ifndef KERNELS_SPCONV_OWN_VARIANTS_H
#define KERNELS_SPCONV_OWN_VARIANTS_H

#include "own_parts.h"
#include "own_layer.h"

OP_BEGIN

enum own_shape {
    OWN_SHAPE_TUNED,     /* as own */
    OWN_SHAPE_PRODUCERS, /* 64 columns: four warps gather instead of two */
    OWN_SHAPE_ONE        /* up to 128 columns: one block, a ring twice as deep, four warps gather */
};

/* Whether a shape exists for so many channels and columns. */
int own_shape_covers(enum own_shape shape, int channels, int columns);

/* own_layer_open of that shape with tiles in parts.  OP_EUNSUPPORTED where it does not cover. */
enum op_status own_layer_open_parts(enum own_shape shape, const struct own_plan *plan,
                                    const struct own_parts *parts, int taps, int channels,
                                    int columns, const void *w, const struct op_memory *memory,
                                    op_stream s, struct own_layer **out);

/* Rows of forward, half; ended by an entry whose base.name is NULL. */
extern const struct spconv_impl spconv_variants[]; /* own_variants.c */

/* own_variants.cu: set-up of a variant, and what all of them share. */
enum op_status own_variant_setup(enum own_shape shape, int splits, int most,
                                 const struct spconv_problem *p, const struct spconv_args *a,
                                 const struct op_memory *memory, op_stream s, void **state);
extern spconv_run_fn own_variant_run;
void own_variant_teardown(void *state);
void own_variant_counts(const struct spconv_problem *p, const void *state,
                        struct spconv_counts *counts);

OP_END
#endif
