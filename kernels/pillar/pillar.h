/*
 * pillar.h - points to pillars: a vector of 128 for every occupied cell of the plane.
 *
 * A point is (x, y, z, a, b); points in no cell (cell.h) are dropped.  Of a cell with points, c is
 * their mean of (x, y, z) and o the cell's centre (o.z = grid.z_middle):
 *
 *     v   = (x, y, z, a, b, (x, y, z) - c, (x, y, z) - o)                       11 numbers
 *     h1  = relu(W1 v + b1)                                  64     m1 = max of h1 over the points
 *     h2  = relu(W2 [h1; m1] + b2)                          128
 *     out = max of h2 over the points of the cell           128
 *
 * Normalisation is folded into W and b.  Pillars are in raster order: by y, then by x.  Their
 * number is known after the run only, on the device; nothing waits for it.
 *
 * All types: half is IEEE binary16.  W2 is stored in half, as inputs of tensor cores are.
 *
 * Source: FlatFormer (arXiv 2301.08739), dynamic voxel encoder of its published configuration.
 */
#ifndef KERNELS_PILLAR_PILLAR_H
#define KERNELS_PILLAR_PILLAR_H

#include <stdint.h>

#include "../common/half.h"
#include "../flatten/flatten.h"
#include "../op.h"
#include "cell.h"

OP_BEGIN

enum { PILLAR_IN = 5, PILLAR_RAW = 11, PILLAR_HIDDEN = 64, PILLAR_OUT = 128 };

struct pillar_problem {
    int points; /* 1 .. 2^26 */
    struct pillar_grid grid;
};

/* Host or device memory, whichever the implementation is for. */
struct pillar_args {
    const float *in;      /* [points][PILLAR_IN] */
    const float *w1, *b1; /* [PILLAR_HIDDEN][PILLAR_RAW], [PILLAR_HIDDEN] */
    const half_bits *w2;  /* [PILLAR_OUT][2 PILLAR_HIDDEN]: of h1, then of m1; 16-byte aligned */
    const float *b2;      /* [PILLAR_OUT] */
    int32_t *count;       /* pillars */
    struct flatten_cell *cell; /* [pillar_most]; entries from *count on are left as they are */
    half_bits *out;            /* [pillar_most][PILLAR_OUT], likewise; 16-byte aligned */
};

typedef enum op_status pillar_run_fn(const struct pillar_problem *, const struct pillar_args *,
                                     void *state, op_stream);

struct pillar_impl {
    struct op_impl base; /* first */
    int tf32;            /* products of numbers rounded to 11 bits: the loose bound holds */
    /* State for these operands; *state is given to teardown even on failure.  NULL: none. */
    enum op_status (*setup)(const struct pillar_problem *, const struct pillar_args *,
                            const struct op_memory *, op_stream, void **state);
    void (*teardown)(void *state); /* accepts NULL */
    pillar_run_fn *run;            /* NULL where the build has no CUDA */
};

/* Ended by a NULL name. */
extern const struct pillar_impl pillar_references[]; /* ref.c: host memory */
extern const struct pillar_impl pillar_impls[];      /* impls.c: device memory */

/* OP_OK, or OP_EINVAL: points < 1 or too many, a grid without cells or of more than 2^20. */
enum op_status pillar_check(const struct pillar_problem *p);
/* Pillars at most: points, or cells where there are fewer. */
int pillar_most(const struct pillar_problem *p);

/* What a correct result is, in double; all of it to be freed with pillar_want_free. */
struct pillar_want {
    int n;                     /* pillars */
    struct flatten_cell *cell; /* [n] */
    double *out;               /* [n][PILLAR_OUT] */
    float *bound, *loose;      /* how far a result may lie from out; loose: impl.tf32 */
    int fullest;               /* points of the pillar that has most */
    long points;               /* in cells */
};
/* a: host memory; count, cell and out are not used.  values 0: pillars alone.  OP_EINVAL, OP_ENOMEM;
 * then *w is { 0 }. */
enum op_status pillar_reference(const struct pillar_problem *p, const struct pillar_args *a,
                                int values, struct pillar_want *w);
void pillar_want_free(struct pillar_want *w); /* accepts { 0 }; leaves { 0 } */

OP_END
#endif
