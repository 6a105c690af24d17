/*
 * own_layer.h - this suite's own layer on a plan that its caller keeps: networks have many
 * layers on one.
 */
#ifndef KERNELS_SPCONV_OWN_LAYER_H
#define KERNELS_SPCONV_OWN_LAYER_H

#include "own_plan.h"

OP_BEGIN

/* y = relu(conv(x) + bias + residual), 0 where mask is not above 0; what is NULL or 0 left out.  Half
 * rows on the device, x_step ... elements apart, so that a part of wider rows can be read and
 * written: multiples of 8 (x_step: of what the channels are a multiple of). */
struct own_layer_io {
    const void *x;
    void *y;
    const void *residual; /* [rows][columns]; may be y */
    const float *bias;    /* [columns] */
    const void *mask;     /* [rows][columns], y_step apart, not y: what a ReLU gave */
    int x_step, y_step, residual_step;
    int relu;
};

/* Forms of the kernel. */
enum own_shape {
    OWN_BY_WIDTH, /* two thread blocks on a multiprocessor up to 64 columns, one for more */
    OWN_ONE,      /* one for 64 columns too, a ring twice as deep */
    OWN_SHARES    /* 64 columns a block: more blocks where there are few rows */
};

enum { OWN_WHOLE = 32 }; /* parts of so many taps: tiles are not cut */

/* What a layer runs as: a form, ranges of taps, taps of a part (0: by what there is to do). */
struct own_choice {
    enum own_shape shape;
    int splits, most;
};
/* For so many rows, at most, of a map: by what was measured on an H200 (own_rules.c).  finer: 1
 * where they gather from fewer, as on the way up or back. */
struct own_choice own_choose(int rows, int finer, int taps, int channels, int columns);

/* How a plan is cut for such a layer. */
enum op_status own_cut_for(const struct own_choice *choice, int channels, int columns,
                           struct own_cut *cut);

struct own_layer;

/* w [taps][channels][columns] half, back: [taps][columns][channels], at this address in every
 * run.  Workspace is taken from memory.  OP_EUNSUPPORTED: channels not even, back: no multiple of
 * 64, columns no multiple of 16.  OP_EINVAL: the plan is cut for fewer columns.  Layers of one plan
 * run one after another. */
enum op_status own_layer_open(enum own_shape shape, const struct own_plan *plan, int taps,
                              int channels, int columns, const void *w, int back,
                              const struct op_memory *memory, op_stream s,
                              struct own_layer **out);
/* Enqueues.  OP_EUNSUPPORTED: a mask on a layer that is not back and has channels in multiples of
 * 64. */
enum op_status own_layer_run(const struct own_layer *layer, const struct own_layer_io *io,
                             op_stream s);
void own_layer_close(struct own_layer *layer); /* accepts NULL */

OP_END
#endif
