/* kernels.h - set-up functions and launchers of the rows in impls.c, and the state of the kernels. */
#ifndef KERNELS_PILLAR_KERNELS_H
#define KERNELS_PILLAR_KERNELS_H

#include "pillar.h"

OP_BEGIN

typedef enum op_status pillar_setup_fn(const struct pillar_problem *, const struct pillar_args *,
                                       const struct op_memory *, op_stream, void **state);

/* own.cu */
extern pillar_setup_fn pillar_own_setup;
extern pillar_run_fn pillar_own;

/* units.cu */
extern pillar_setup_fn pillar_units_setup;
extern pillar_run_fn pillar_units;
/* Its first kernels alone, for tests to time: up to counts, to points in place, to all but pillars
 * of more than one tile, to the end.  A state that has run to counts alone is of no further use. */
enum pillar_units_end {
    PILLAR_UNITS_COUNTED, PILLAR_UNITS_PLACED, PILLAR_UNITS_NET, PILLAR_UNITS_ALL
};
enum op_status pillar_units_part(const struct pillar_problem *, const struct pillar_args *,
                                 void *state, enum pillar_units_end, op_stream);

/* published.cu: what stands between the two products of matrices, given by the caller. */
struct pillar_published;
extern pillar_setup_fn pillar_published_setup;
/* y [rows][n] = x [rows][k] w^T, all float; rows is that of the problem. */
typedef enum op_status pillar_product_fn(void *context, int rows, int n, int k, const float *x,
                                         const float *w, float *y);
enum op_status pillar_published_run(const struct pillar_problem *, const struct pillar_args *,
                                    struct pillar_published *, pillar_product_fn *, void *context,
                                    op_stream);

/* pillar_cublas.c of the baselines: published.cu with products by cuBLAS. */
extern pillar_setup_fn pillar_scatter_setup;
extern pillar_run_fn pillar_scatter;
void pillar_scatter_teardown(void *state);

OP_END
#endif
